"""
Loss in every form: whatever takes a term away ends it by the same trigger and cause on every store.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from servers import Consul, Etcd, Proxy, Server, ZooKeeper
from store_cases import CASES, Case, served

from leadership import Candidate, DemotionCause, Follower, StoreRefused, Term, connect
from leadership._runtime.follower import FollowerDriver

each_store = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
PREFIX, ELECTION = "losses", "jobs/nightly"


class Terms:
    """
    What a candidate is told of its terms.
    """

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.elected: list[int] = []
        self.causes: list[DemotionCause] = []
        candidate.on_elected(self._elected)
        candidate.on_demoted(self._demoted)

    def _elected(self, term: Term) -> None:
        self.elected.append(term.token)

    def _demoted(self, _term: Term, cause: DemotionCause) -> None:
        self.causes.append(cause)


def wait(holds: Callable[[], object], what: str, within: float = 15.0) -> None:
    """
    Wait until something holds.
    """
    end = time.monotonic() + within
    while not holds():
        assert time.monotonic() < end, f"not within {within:g} s: {what}"
        time.sleep(0.005)


@contextmanager
def leading(case: Case, host: str, **options: Any) -> Iterator[Terms]:
    """
    A candidate that leads and may lose.
    """
    with connect(case.url(host, PREFIX), **options) as store:
        candidate = Candidate(store, ELECTION, node="ann", ttl=case.ttl, cool_down=0.0)
        terms = Terms(candidate)
        candidate.start()
        assert candidate.wait_elected(20.0) is not None, candidate.status()
        wait(lambda: terms.elected, "on_elected")
        yield terms
        assert candidate.stop(20.0), candidate.status()
    assert len(terms.elected) == len(terms.causes)
    assert sorted(set(terms.elected)) == terms.elected, "tokens rise"


def entry_of(server: Server) -> str:
    """
    The key by which somebody leads.
    """
    keys = [key for key in server.keys(PREFIX) if key.startswith(f"{PREFIX}/{ELECTION}") and ".leadership" not in key]
    return max(keys, key=len)


def end_session(server: Server, terms: Terms) -> None:
    """
    End the candidate's session, as an operator can.
    """
    if isinstance(server, Etcd):
        (lease,) = server.leases()
        server.revoke(lease)
    elif isinstance(server, Consul):
        (session,) = server.sessions()
        server.destroy(session)
    else:
        assert isinstance(server, ZooKeeper)
        driver: Any = terms.candidate._driver
        session_id, password = driver.campaign.session.link._client._client.client_id
        server.end_session(session_id, password)


@each_store
def test_an_operator_ends_the_session(case: Case, tmp_path: Path) -> None:
    """
    Lease revoked, session destroyed, session closed: `session_lost` within a moment, and a new term.
    """
    with served(case, tmp_path) as server, leading(case, server.host) as terms:
        end_session(server, terms)
        wait(lambda: len(terms.elected) == 2, "a second term")

        assert [DemotionCause.SESSION_LOST] == terms.causes


@each_store
def test_an_operator_ends_the_session_as_the_view_is_read(case: Case, tmp_path: Path) -> None:
    """
    A read, which each candidate makes once in a TTL, may be quicker than the watch, and finds nobody: `session_lost`.
    """
    with served(case, tmp_path) as server, leading(case, server.host) as terms:
        driver: Any = terms.candidate._driver
        driver.engine.post(driver.follower._watch.close)
        end_session(server, terms)
        driver.engine.post(driver.follower.read_now)
        wait(lambda: len(terms.elected) == 2, "a second term")

        assert [DemotionCause.SESSION_LOST] == terms.causes


@each_store
def test_an_operator_deletes_the_entry(case: Case, tmp_path: Path) -> None:
    """
    The session lives, the entry is gone: `deleted`, and a new term with a higher token.
    """
    with served(case, tmp_path) as server, leading(case, server.host) as terms:
        server.delete(entry_of(server))
        wait(lambda: len(terms.elected) == 2, "a second term")

        assert [DemotionCause.DELETED] == terms.causes


@each_store
def test_an_operator_overwrites_the_entry(case: Case, tmp_path: Path) -> None:
    """
    Another name stands in our entry: `superseded`, and a new term with a higher token.
    """
    with served(case, tmp_path) as server, leading(case, server.host) as terms:
        server.put(entry_of(server), "intruder")
        wait(lambda: len(terms.elected) == 2, "a second term")

        assert [DemotionCause.SUPERSEDED] == terms.causes


def test_who_follows_sees_the_leader_after_an_overwritten_one(
    zookeeper: ZooKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Seen before the court of faults: the next leader had waited since before the operator wrote, so that its token was
    lower than that of the writing, and a follower said for 15 seconds that nobody leads.
    """
    defaults = {**(FollowerDriver.__init__.__kwdefaults__ or {}), "reread": 3600.0}  # so that only the watch can tell
    monkeypatch.setattr(FollowerDriver.__init__, "__kwdefaults__", defaults)
    base = f"/losses/{uuid.uuid4().hex}"
    with connect(f"zookeeper://{zookeeper.host}{base}") as store, Follower(store, ELECTION) as follower:
        first, second = (Candidate(store, ELECTION, node=node, ttl=5.0, cool_down=30.0) for node in ("ann", "bob"))
        first.start()
        assert first.wait_elected(20.0)
        second.start()
        wait(lambda: len(zookeeper.keys(f"{base}/{ELECTION}")) == 3, "two candidates")
        wait(lambda: follower.leader is not None, "the first leader")
        zookeeper.put(min(zookeeper.keys(f"{base}/{ELECTION}")[1:], key=lambda key: key[-10:]), "mallory")
        assert second.wait_elected(20.0)

        wait(lambda: follower.leader is not None and follower.leader.node == "bob", "the second leader")
        assert first.stop(20.0)
        assert second.stop(20.0)


@each_store
def test_a_connection_is_cut_with_its_socket_left_open(case: Case, tmp_path: Path) -> None:
    """
    Nothing comes through, and nobody is told: `lease_expired` at the deadline, and a new term when it heals.
    """
    with served(case, tmp_path) as server, Proxy(server.port) as proxy, leading(case, proxy.host) as terms:
        looks: list[float] = []

        def is_over() -> bool:
            began = time.monotonic()
            if terms.candidate.is_leader:
                looks.append(began)
                return False
            return True

        began = time.monotonic()
        proxy.cut()
        cut = time.monotonic()
        wait(is_over, "the deadline", case.ttl + 5.0)
        assert 0.4 * case.ttl <= time.monotonic() - began
        assert looks[-1] - cut <= 0.9 * case.ttl + 0.02
        time.sleep(case.ttl)
        proxy.heal()
        wait(lambda: len(terms.elected) == 2, "a second term", 20.0)

        assert [DemotionCause.LEASE_EXPIRED] == terms.causes


@each_store
def test_the_reply_to_an_acquire_is_lost(case: Case, tmp_path: Path) -> None:
    """
    The entry was written and nobody knows: it is settled when the store answers again, and there is one entry.
    """
    with served(case, tmp_path) as server, Proxy(server.port) as proxy, connect(case.url(proxy.host, PREFIX)) as store:
        first = Candidate(store, "other", node="ann", ttl=case.ttl)  # so that the session is there
        first.start()
        assert first.wait_elected(20.0) is not None
        proxy.cut(requests=False)
        candidate = Candidate(store, ELECTION, node="ann", ttl=case.ttl, cool_down=0.0)
        candidate.start()
        time.sleep(case.ttl)
        assert not candidate.is_leader
        proxy.heal()
        term = candidate.wait_elected(20.0)

        assert term is not None
        entries = [key for key in server.keys(PREFIX) if ELECTION in key and ".leadership" not in key]
        leaves = [key for key in entries if not any(other.startswith(f"{key}/") for other in entries)]
        assert 1 == len(leaves), leaves
        assert candidate.stop(20.0)
        assert first.stop(20.0)


@each_store
def test_the_reply_to_a_release_is_lost(case: Case, tmp_path: Path) -> None:
    """
    The next candidate leads all the same, not later than the lease would have ended.
    """
    with (
        served(case, tmp_path) as server,
        Proxy(server.port) as proxy,
        leading(case, proxy.host) as terms,
        connect(case.url(server.host, PREFIX)) as store,
        Candidate(store, ELECTION, node="bob", ttl=case.ttl) as bob,
    ):
        time.sleep(0.3)
        proxy.cut(requests=False)
        terms.candidate.resign(cool_down=60.0, timeout=0.0)
        assert bob.wait_elected(case.takeover) is not None
        proxy.heal()

        assert [DemotionCause.RESIGNED] == terms.causes


@pytest.mark.parametrize("case", [case for case in CASES if case.name != "zookeeper"], ids=lambda case: case.name)
def test_credentials_are_revoked(case: Case, tmp_path: Path) -> None:
    """
    The leader's user or token is gone: `store_error` by the next renewal, then idle with a typed error.
    """
    server: Etcd | Consul = (Etcd if case.name == "etcd" else Consul)(tmp_path / case.name, auth=True)
    with server:
        if isinstance(server, Etcd):
            server.add_user("ann", "pw", PREFIX)
            options: dict[str, Any] = {"user": "ann", "password": "pw"}
        else:
            rules = f'key_prefix "{PREFIX}/" {{ policy = "write" }} session_prefix "" {{ policy = "write" }}'
            options = {"token": server.make_token(rules)}
        with connect(case.url(server.host, PREFIX), **options) as store:
            candidate = Candidate(store, ELECTION, node="ann", ttl=case.ttl)
            terms = Terms(candidate)
            candidate.start()
            assert candidate.wait_elected(20.0) is not None
            if isinstance(server, Etcd):
                server.remove_user("ann")
            else:
                server.revoke_token(options["token"])
            wait(lambda: terms.causes, "the end of the term", 2 * case.ttl)
            assert [DemotionCause.STORE_ERROR] == terms.causes
            with pytest.raises(StoreRefused):
                candidate.wait_elected(10.0)


def test_a_role_is_revoked(tmp_path: Path) -> None:
    """
    etcd renews a lease for whoever asks: a leader without its role led on, blind for all that happened to its entry.
    """
    with Etcd(tmp_path, auth=True) as server:
        server.add_user("ann", "pw", PREFIX)
        with connect(f"etcd://{server.host}/{PREFIX}", user="ann", password="pw") as store:
            candidate = Candidate(store, ELECTION, node="ann", ttl=2.0)
            terms = Terms(candidate)
            candidate.start()
            assert candidate.wait_elected(20.0) is not None
            server.admin("auth/user/revoke", name="ann", role="ann")
            wait(lambda: terms.causes, "the end of the term", 2 * 2.0)
            assert [DemotionCause.STORE_ERROR] == terms.causes
            wait(lambda: candidate.state == "idle", "the end of the candidate")
            server.admin("auth/user/grant", user="ann", role="ann")
            candidate.start()
            assert candidate.wait_elected(20.0) is not None
            server.delete(entry_of(server))
            wait(lambda: len(terms.causes) == 2, "what an operator does is seen again")
            assert DemotionCause.DELETED is terms.causes[1]
            assert candidate.stop(20.0)


@each_store
def test_tokens_rise_whatever_is_done(case: Case, tmp_path: Path) -> None:
    """
    One life through a deletion, an overwrite, a session that is ended, all keys removed, and the store killed and
    started again with its data: each term's token is greater than the last one's.
    """
    with served(case, tmp_path) as server, leading(case, server.host) as terms:
        deeds: list[Callable[[], object]] = [
            lambda: server.delete(entry_of(server)),
            lambda: server.put(entry_of(server), "intruder"),
            lambda: end_session(server, terms),
            lambda: server.delete_all(PREFIX),
            server.kill,
        ]
        for deed in deeds:
            term = terms.candidate.wait_elected(20.0)
            assert term is not None
            deed()
            if not server.running:
                wait(lambda: not terms.candidate.is_leader, "the deadline")
                server.start()
            wait(lambda term=term: len(terms.elected) > 1 and terms.elected[-1] != term.token, "another term", 20.0)  # type: ignore[misc]

        assert len(deeds) < len(terms.elected)
        assert sorted(set(terms.elected)) == terms.elected


@each_store
def test_a_connection_breaks_and_the_watch_goes_on(case: Case, tmp_path: Path) -> None:
    """
    All connections are closed at once; the term goes on, and what an operator does afterwards is heard of as before.

    On etcd a watch that was told of its end and closed for it raised, and was never opened again: a leader whose key
    was deleted led on until it read the truth, while another led.
    """
    slow = replace(case, ttl=9.0)
    with served(case, tmp_path) as server, Proxy(server.port) as proxy, leading(slow, proxy.host) as terms:
        before = terms.candidate.term
        proxy.reset()
        time.sleep(2.5)
        assert before is not None
        assert before.is_current
        assert not terms.candidate.is_stale
        server.delete(entry_of(server))
        wait(lambda: not before.is_current, "the end of the term", 1.0)
        wait(lambda: terms.causes, "on_demoted")

        assert [DemotionCause.DELETED] == terms.causes

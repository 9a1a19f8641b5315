"""
`etcdctl elect`, which is clientv3's `concurrency.Election`, and our candidates share elections.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from random import Random
from types import TracebackType
from typing import Any, Self

import pytest
from servers import Etcd
from servers._where import program
from witness import witness

from leadership import Candidate, DemotionCause, Follower, connect
from leadership.backends._etcd_session import EtcdSession
from leadership.term import Term

SOON = 20.0


def until(true: Callable[[], object]) -> None:
    """
    Wait for something that takes milliseconds on an idle machine.
    """
    deadline = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Elect:
    """
    `etcdctl elect NAME PROPOSAL`, which leads until it is asked to stop.
    """

    def __init__(self, server: Etcd, name: str, proposal: str) -> None:
        self.proposal = proposal
        self.process = subprocess.Popen(
            [program("etcdctl"), f"--endpoints={server.host}", "elect", name, proposal],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.elected_at: float | None = None
        self.asked_at: float | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip() == self.proposal:
                self.elected_at = time.monotonic()

    def resign(self) -> None:
        """
        Ask it to give up.
        """
        self.asked_at = time.monotonic()
        self.process.send_signal(signal.SIGTERM)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


def waits(server: Etcd, name: str, number: int) -> Callable[[], bool]:
    """
    Whether so many keys stand below an election.
    """
    return lambda: number == len(server.keys(f"{name}/"))


@pytest.mark.timeout(90)
def test_etcdctl_and_ours_take_turns(etcd: Etcd) -> None:
    """
    Six terms of etcdctl and ours alternate without an overlap; tokens rise; our follower names each, and etcdctl ours.
    """
    name = f"{uuid.uuid4().hex}/service/leader"
    terms: list[tuple[float, float, str]] = []
    began: list[float] = []
    tokens: list[int] = []
    with connect(f"etcd://{etcd.host}") as store, Follower(store, name, log=False) as follower:
        candidate = Candidate(store, name, node="ours", ttl=5.0, cool_down=0.0, log=False)

        @candidate.on_elected
        def elected(term: Term) -> None:
            began.append(time.monotonic())
            tokens.append(term.token)

        @candidate.on_demoted
        def demoted(_term: Term, _cause: DemotionCause) -> None:
            terms.append((began[-1], time.monotonic(), "ours"))

        def leader() -> tuple[str, int] | None:
            found = follower.leader
            return None if found is None else (found.node, found.token)

        theirs = Elect(etcd, name, "theirs 0")
        for round_ in range(3):
            with theirs:
                until(lambda: theirs.elected_at)  # noqa: B023 - of this round
                until(lambda: (leader() or ("", 0))[0] == theirs.proposal)  # noqa: B023
                tokens.append((leader() or ("", 0))[1])
                assert not candidate.is_leader
                candidate.start()
                until(waits(etcd, name, 2))
                time.sleep(0.2)
                assert not candidate.is_leader
                theirs.resign()
                until(lambda: candidate.is_leader)
                terms.append((theirs.elected_at or 0.0, theirs.asked_at or 0.0, theirs.proposal))
            until(lambda: (leader() or ("", 0))[0] == "ours")
            standing = subprocess.run(
                [program("etcdctl"), f"--endpoints={etcd.host}", "get", "--prefix", f"{name}/", "--print-value-only"],
                capture_output=True,
                text=True,
                check=True,
            )
            assert "ours" == standing.stdout.strip()
            theirs = Elect(etcd, name, f"theirs {round_ + 1}")
            until(waits(etcd, name, 2))
            time.sleep(0.2)
            assert theirs.elected_at is None
            assert candidate.resign(cool_down=60.0)
            candidate.stop()
        with theirs:
            until(lambda: theirs.elected_at)
    terms.sort()
    assert ["theirs 0", "ours", "theirs 1", "ours", "theirs 2", "ours"] == [who for _, _, who in terms]
    assert [] == [(one, two) for one, two in itertools.pairwise(terms) if one[1] > two[0]]
    assert sorted(set(tokens)) == tokens


@pytest.mark.timeout(60)
def test_the_causes_of_an_operators_deeds(etcd: Etcd) -> None:
    """
    A revoked lease ends a term as session_lost, a deleted key as deleted, a key put over ours as superseded; a request
    to resign as resigned; each time the candidate stands again with a higher token.
    """
    name = uuid.uuid4().hex
    with connect(f"etcd://{etcd.host}") as store:
        candidate = Candidate(store, name, node="ours", ttl=5.0, cool_down=0.0, log=False)
        told = witness(candidate)
        candidate.start()

        def elected() -> str:
            until(lambda: candidate.is_leader and etcd.keys(f"{name}/"))
            (key,) = etcd.keys(f"{name}/")
            return key

        etcd.revoke(elected().rpartition("/")[2])
        until(lambda: len(told) == 3)
        etcd.delete(elected())
        until(lambda: len(told) == 5)
        etcd.put(elected(), "operator")
        until(lambda: len(told) == 7)
        term = candidate.term
        assert term is not None
        etcd.put(f"{name}.leadership/resign", f'{{"token": {term.token}, "reason": "by hand"}}')
        until(lambda: len(told) == 9)
        until(lambda: candidate.is_leader)
        candidate.stop()
    causes = [line.rpartition(" ")[2] for line in told if line.startswith("demoted")]
    assert ["session_lost", "deleted", "superseded", "resigned", "stopped"] == causes
    tokens = [int(line.split()[1]) for line in told if line.startswith("elected")]
    assert sorted(set(tokens)) == tokens
    assert 5 == len(tokens)


@pytest.mark.timeout(60)
def test_five_hundred_elections_of_one_process(etcd: Etcd) -> None:
    """
    500 elections below a prefix are led by one session, and all are left when it goes; requests stay few.
    """
    prefix = uuid.uuid4().hex
    with connect(f"etcd://{etcd.host}/{prefix}") as store:
        candidates = [Candidate(store, f"job/{index}", node="ours", ttl=10.0, log=False) for index in range(500)]
        for candidate in candidates:
            candidate.start()
        until(lambda: all(candidate.is_leader for candidate in candidates))
        until(lambda: 1000 == len(etcd.keys(f"{prefix}/")))
        assert 1 == len({key.rpartition("/")[2] for key in etcd.keys(f"{prefix}/")})
    assert [] == etcd.keys(f"{prefix}/")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_an_operator_does_somebody_leads(seed: int, etcd: Etcd) -> None:
    """
    Eight candidates of three stores, and an operator who deletes and overwrites keys, revokes leases and asks for
    resignations: who resigns has ended before the next begins, who is deposed hears of it at once (and may be deposed
    while it resigns), tokens rise, there is a leader again each time, and nothing is left.
    """
    random, prefix = Random(seed), uuid.uuid4().hex
    terms: list[tuple[int, float, float, DemotionCause]] = []
    began: dict[int, float] = {}
    deposed: set[int] = set()
    graceful = (DemotionCause.RESIGNED, DemotionCause.STOPPED)
    with contextlib.ExitStack() as stack:
        stores = [stack.enter_context(connect(f"etcd://{etcd.host}/{prefix}")) for _ in range(3)]
        candidates = [
            Candidate(stores[index % 3], "job", f"node {index}", ttl=5.0, cool_down=0.05, log=False)
            for index in range(8)
        ]
        for candidate in candidates:

            @candidate.on_elected
            def elected(term: Term) -> None:
                began[term.token] = time.monotonic()

            @candidate.on_demoted
            def demoted(term: Term, cause: DemotionCause) -> None:
                terms.append((term.token, began[term.token], time.monotonic(), cause))

            candidate.start()
        for _ in range(80):
            until(lambda: any(candidate.is_leader for candidate in candidates))
            claims = etcd.entries(f"{prefix}/job/")
            claim = random.choice(claims[:1] * 3 + claims) if claims else None
            deed = random.choice(["resign", "resign", "delete", "put", "revoke"])
            if deed == "resign" or claim is None:
                random.choice(candidates).resign(timeout=0.0)
            elif deed == "delete":
                deposed.add(int(claim["create_revision"]))
                etcd.delete(claim["key"])
            elif deed == "put":
                deposed.add(int(claim["create_revision"]))
                etcd.put(claim["key"], "operator", lease=claim["key"].rpartition("/")[2])
            elif random.random() < 0.3:
                deposed.update(int(each["create_revision"]) for each in claims if each["lease"] == claim["lease"])
                etcd.revoke(claim["key"].rpartition("/")[2])
            time.sleep(random.random() * 0.06)
        for candidate in candidates:
            assert candidate.stop(SOON)
        resets = [record for candidate in candidates for record in candidate.history if record.reason == "token_reset"]
        assert [] == resets
    terms.sort()
    assert len(terms) > 5
    overlaps = [(one, two) for one, two in itertools.pairwise(terms) if one[2] > two[1]]
    assert [] == [(one, two) for one, two in overlaps if one[2] - two[1] > 1.0]
    assert [] == [(one, two) for one, two in overlaps if one[3] in graceful and one[0] not in deposed]
    assert [] == etcd.keys(f"{prefix}/")


def test_an_overwrite_while_a_claim_is_made_anew_is_not_forgotten(etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Who makes its claim anew, behind an overwritten one, hears meanwhile of one that was overwritten later: that was
    taken for a memory of a store that has lost its data, so that others led with lower tokens and said `token_reset`.
    """
    prefix = uuid.uuid4().hex
    overwritten: list[tuple[Any, int]] = []
    acquire = EtcdSession._acquire

    async def overtaken(session: Any, entry: Any, until_when: float) -> Any:
        reply = await acquire(session, entry, until_when)
        watches = session._store.watches
        if entry.node == "b" and watches.taken and not overwritten:
            etcd.put(f"{prefix}/other", "x")
            overwritten.append((watches, int(etcd.entries(f"{prefix}/other")[0]["mod_revision"])))
            watches.saw_taken("job", overwritten[0][1])
        return reply

    monkeypatch.setattr(EtcdSession, "_acquire", overtaken)
    with connect(f"etcd://{etcd.host}/{prefix}") as one, connect(f"etcd://{etcd.host}/{prefix}") as two:
        first, second = Candidate(one, "job", node="a"), Candidate(two, "job", node="b")
        first.start()
        until(lambda: first.is_leader)
        second.start()
        until(lambda: len(etcd.entries(f"{prefix}/job/")) == 2)
        (head, _) = etcd.entries(f"{prefix}/job/")
        etcd.put(head["key"], "operator", lease=head["key"].rpartition("/")[2])
        until(lambda: bool(overwritten))
        until(lambda: second.is_leader or first.is_leader)
        watches, revision = overwritten[0]
        assert revision == watches.taken["job"]

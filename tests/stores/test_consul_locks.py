"""
What stands at Consul for an election, whoever writes it: ours, an operator, or a client of another language.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from consul_scenes import granted, opened
from scenes import Told, entry, on_a_loop, refused, released, taken
from servers import Consul, Proxy
from servers._where import program
from servers.consul import LOCK_FLAGS

from leadership import Candidate, Follower, connect
from leadership.errors import ConfigError, StoreRefused, StoreUnavailable
from leadership.store import Fact, Outcome

FOREIGN = """
import base64, http.client, json, sys, time

# A client of Consul's own kind: key, flags, session; it unlocks and leaves the key.
port, key, rounds = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
connection = http.client.HTTPConnection("127.0.0.1", port)

def call(method, path, body=None):
    connection.request(method, "/v1/" + path, body)
    answer = connection.getresponse()
    text = answer.read()
    return (json.loads(text) if answer.status == 200 else None), answer.getheader("X-Consul-Index")

session = call("PUT", "session/create", json.dumps({"TTL": "30s", "LockDelay": "0s", "NodeChecks": []}))[0]["ID"]
index = "0"
while rounds:
    found, index = call("GET", f"kv/{key}?consistent=1&index={index}&wait=2s")
    if found and found[0].get("Session"):
        continue
    if call("PUT", f"kv/{key}?acquire={session}&flags=3304740253564472344", "foreign")[0]:
        begun = time.monotonic()
        time.sleep(0.2)
        print(json.dumps([begun, time.monotonic()]), flush=True)
        call("PUT", f"kv/{key}?release={session}&flags=3304740253564472344", "foreign")
        rounds -= 1
        time.sleep(0.3)
call("PUT", f"session/destroy/{session}")
"""


@on_a_loop
async def test_layout_is_that_of_consuls_own_lock(consul: Consul) -> None:
    """
    The key is the election's name, with the lock's flags, the session and the node's name; a side entry has the rest,
    and after the release nothing is left but what the term was asked for, until another has ended unasked.
    """
    path = uuid.uuid4().hex
    async with opened(consul, path) as store:
        session, claim = await granted(store), entry("a/b", "näve", metadata={"address": "a:1"})
        token = await taken(session, claim)
        lock = consul.entry(f"{path}/a/b")
        assert lock is not None
        assert (LOCK_FLAGS, session.id, token) == (lock["Flags"], lock["Session"], lock["ModifyIndex"])
        assert "näve" == base64.b64decode(lock["Value"]).decode()
        side = consul.entry(f"{path}/a/b.leadership/{session.id}")
        assert side is not None
        assert (session.id, token) == (side["Session"], side["ModifyIndex"])
        assert {"address": "a:1"} == json.loads(base64.b64decode(side["Value"]))["metadata"]
        await store.request_resign("a/b", token, "why")
        assert 3 == len(consul.keys(path))
        await released(session, claim)
        assert [f"{path}/a/b.leadership/resign"] == consul.keys(path)
        told = Told()
        store.watch("a/b", told)
        await taken(session, claim := entry("a/b", "näve"))
        await told.until(Fact.LEADER_OBSERVED)
        await released(session, claim)
        assert [] == consul.keys(path)


@on_a_loop
async def test_key_that_is_no_lock_is_refused(consul: Consul) -> None:
    """
    A key with other flags, held or not, is not taken: a typed error says what stands there. Its holder leads.
    """
    path = uuid.uuid4().hex
    async with opened(consul, path) as store:
        session, other = await granted(store), consul.make_session()
        consul.put(f"{path}/job", "data")
        with pytest.raises(StoreRefused, match=r"a key with flags 0x0 stands at '.*/job': it is not a lock"):
            await session.acquire(entry())
        assert {"job": None} == await store.read(["job"])
        assert b"data" == consul.get(f"{path}/job")
        consul.put(f"{path}/held", "somebody", acquire=other, flags=7)
        with pytest.raises(StoreRefused, match=r"a key with flags 0x7 stands at '.*/held'"):
            await session.acquire(entry("held"))
        holder = (await store.read(["held"]))["held"]
        assert holder is not None
        assert ("somebody", other) == (holder.node, holder.session)


@on_a_loop
async def test_tokens_rise_whatever_is_done_to_the_key(consul: Consul) -> None:
    """
    Over release, deletion by an operator, a foreign release that leaves the key, and an operator's overwriting; the
    key's CreateIndex and LockIndex would repeat.
    """
    path, tokens = uuid.uuid4().hex, list[int]()
    async with opened(consul, path) as store:
        session, other = await granted(store), consul.make_session()
        spoils: tuple[Callable[[], object], ...] = (
            list,
            lambda: consul.delete(f"{path}/job"),
            lambda: consul.put(f"{path}/job", "x"),
            lambda: consul.delete_all(path),
        )
        for spoil in spoils:
            claim = entry()
            tokens.append(await taken(session, claim))
            spoil()
            await released(session, claim)
            assert [] == consul.keys(path)
        for _ in range(2):
            consul.put(f"{path}/job", "foreign", acquire=other, flags=LOCK_FLAGS)
            holder = (await store.read(["job"]))["job"]
            assert holder is not None
            assert ("foreign", other, {}) == (holder.node, holder.session, holder.metadata)
            tokens.append(holder.token)
            await refused(session, entry())
            consul.put(f"{path}/job", "foreign", release=other, flags=LOCK_FLAGS)
            assert {"job": None} == await store.read(["job"])
            claim = entry()
            tokens.append(await taken(session, claim))
            consul.put(f"{path}/job", "ann", release=session.id, flags=LOCK_FLAGS)  # by somebody, over our head
            await released(session, claim)
        assert sorted(set(tokens)) == tokens


@on_a_loop
async def test_release_leaves_anothers_lock(consul: Consul) -> None:
    """
    The key was deleted by an operator and locked by another: the late release of the term before removes what stands
    beside it, and not the lock.
    """
    path = uuid.uuid4().hex
    async with opened(consul, path) as store:
        session, other, claim = await granted(store), consul.make_session(), entry()
        token = await taken(session, claim)
        consul.delete(f"{path}/job")
        consul.put(f"{path}/job", "foreign", acquire=other, flags=LOCK_FLAGS)
        await released(session, claim)
        assert [f"{path}/job"] == consul.keys(path)
        holder = (await store.read(["job"]))["job"]
        assert holder is not None
        assert ("foreign", other) == (holder.node, holder.session)
        assert holder.token > token


@on_a_loop
async def test_plain_write_ends_the_term(consul: Consul) -> None:
    """
    A write without a session over a lock succeeds and keeps the session: watches are told another holder with a newer
    token, and the release frees the election all the same.
    """
    path = uuid.uuid4().hex
    async with opened(consul, path) as store:
        session, claim, told = await granted(store), entry(), Told()
        token = await taken(session, claim)
        store.watch("job", told)
        await told.until(Fact.LEADER_OBSERVED)
        consul.put(f"{path}/job", "operator")
        lock = consul.entry(f"{path}/job")
        assert lock is not None
        assert (session.id, 0) == (lock["Session"], lock["LockIndex"])
        async with asyncio.timeout(5.0):
            while told[-1].holder is None or told[-1].holder.node != "operator":
                await asyncio.sleep(0.01)
        holder = told[-1].holder
        assert holder.token > token
        assert holder.session != session.id
        assert {"job": holder} == await store.read(["job"])
        again = await session.acquire(claim)
        assert (Outcome.REFUSED, holder) == (again.outcome, again.holder)
        async with opened(consul, path) as other:  # who comes by meanwhile waits, and is not turned away
            await refused(await granted(other), entry())
        await released(session, claim)
        await told.until(Fact.KEY_DELETED, token=holder.token)
        assert await taken(session, entry()) > holder.token


@on_a_loop
async def test_renewal_does_not_tell_that_the_key_is_gone(consul: Consul) -> None:
    """
    After an operator's deletion the session is renewed as before; the watch says what happened, and no more.
    """
    path = uuid.uuid4().hex
    async with opened(consul, path) as store:
        lost, told = Told(), Told()
        session = await granted(store, lost)
        token = await taken(session, entry())
        store.watch("job", told)
        await told.until(Fact.LEADER_OBSERVED)
        consul.delete(f"{path}/job")
        await told.until(Fact.KEY_DELETED, token=token)
        assert Outcome.DONE is (await session.renew()).outcome
        assert [] == lost


@on_a_loop
async def test_end_of_the_session_is_told_before_that_of_its_terms(consul: Consul) -> None:
    """
    An operator destroys the session: SESSION_LOST first, then KEY_DELETED, in every election that it led.
    """
    async with opened(consul) as store:
        told = Told()
        session = await granted(store, told)
        for name in ("one", "two", "three"):
            await taken(session, entry(name))
            store.watch(name, told)
        async with asyncio.timeout(5.0):
            while told.facts.count(Fact.LEADER_OBSERVED) < 3:
                await asyncio.sleep(0.01)
        consul.destroy(session.id)
        async with asyncio.timeout(5.0):
            while told.facts.count(Fact.KEY_DELETED) < 3:
                await asyncio.sleep(0.01)
        ends = [fact for fact in told.facts if fact is not Fact.LEADER_OBSERVED]
        assert [Fact.SESSION_LOST, *[Fact.KEY_DELETED] * 3] == ends
        assert Outcome.REFUSED is (await session.renew()).outcome
        await refused(session, entry("one"))


@on_a_loop
async def test_request_to_resign_is_for_one_term_of_ours(consul: Consul) -> None:
    """
    A foreign leader hears no request, and the answer says so; one that its leader never took is told to no other, and
    is gone with the next term's end.
    """
    path = uuid.uuid4().hex
    async with opened(consul, path) as store:
        other = consul.make_session(behavior="delete")
        consul.put(f"{path}/job", "foreign", acquire=other, flags=LOCK_FLAGS)
        holder = (await store.read(["job"]))["job"]
        assert holder is not None
        reply = await store.request_resign("job", holder.token, None)
        assert Outcome.REFUSED is reply.outcome
        assert "'foreign' leads" in str(reply.error)
        consul.destroy(other)
        session = await granted(store)
        token = await taken(session, entry())
        for reason in (None, "why", None, "for another reason"):
            assert Outcome.DONE is (await store.request_resign("job", token, reason)).outcome
        store.watch("job", first := Told())
        assert "why" == (await first.until(Fact.RESIGN_REQUESTED)).reason, "the first words"
        consul.destroy(session.id)
        assert [f"{path}/job.leadership/resign"] == consul.keys(path)
        told, second = Told(), await granted(store)
        await taken(second, claim := entry())
        store.watch("job", told)
        await told.until(Fact.LEADER_OBSERVED)
        assert Fact.RESIGN_REQUESTED not in told.facts
        await released(second, claim)
        assert [] == consul.keys(path)


def test_foreign_lock_takes_turns_with_candidates(consul: Consul) -> None:
    """
    A program that locks as Consul's own clients do, and leaves the key when it unlocks, alternates with two candidates
    without overlap; a follower names it.
    """
    path, ours, seen = uuid.uuid4().hex, list[tuple[float, float]](), list[str]()
    url = f"consul://{consul.host}/{path}?least_ttl=1"
    with connect(url) as one, connect(url) as two, connect(url) as three:
        follower = Follower(three, "job")
        follower.on_leader_changed(lambda leader: seen.append("" if leader is None else leader.node))
        follower.start()
        candidates = [
            Candidate(store, "job", node=node, ttl=5.0, cool_down=0.3) for store, node in ((one, "a"), (two, "b"))
        ]
        for candidate in candidates:

            @candidate.on_elected
            def lead(term: object, candidate: Candidate = candidate) -> None:
                begun = time.monotonic()
                time.sleep(0.2)
                ours.append((begun, time.monotonic()))
                candidate.resign()

            candidate.start()
        command = [sys.executable, "-c", FOREIGN, str(consul.port), f"{path}/job", "4"]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=40)
        for candidate in candidates:
            assert candidate.stop(10.0)
    theirs = [tuple(json.loads(line)) for line in done.stdout.splitlines()]
    assert 4 == len(theirs)
    assert len(ours) >= 3
    spans = sorted([*ours, *theirs])
    overlaps = [(first, second) for first, second in itertools.pairwise(spans) if second[0] < first[1]]
    assert [] == overlaps
    assert {"a", "b", "foreign"} <= set(seen)


def test_consul_lock_takes_turns_with_a_candidate(consul: Consul, tmp_path: Path) -> None:
    """
    `consul lock PREFIX` shares the election `.lock` below the prefix: it waits for ours, and ours for it.
    """
    path, mark = uuid.uuid4().hex, tmp_path / "mark"
    with connect(f"consul://{consul.host}/{path}?least_ttl=1") as store:
        candidate = Candidate(store, ".lock", node="ours", ttl=5.0, cool_down=1.0)
        candidate.start()
        assert candidate.wait_elected(10.0)
        command = [program("consul"), "lock", f"-http-addr={consul.host}", path, f"touch {mark}; sleep 1.5"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as other:
            time.sleep(0.7)
            assert candidate.is_leader
            assert not mark.exists()
            assert candidate.resign(cool_down=5.0)  # in which the other has asked, however late it began
            wait(mark.exists)
            assert not candidate.is_leader
            wait(lambda: candidate.leader is not None and not candidate.leader.is_self)
            assert 0 == other.wait(10.0)
        assert candidate.wait_elected(20.0)
        assert candidate.stop(10.0)


def wait(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 10.0
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@on_a_loop
async def test_lock_delay_holds_the_lock_back(consul: Consul) -> None:
    """
    After a session was destroyed nobody gets its lock for the lock-delay, and who waits is told when to ask again; a
    graceful end begins no delay.
    """
    path = uuid.uuid4().hex
    async with opened(consul, path, lock_delay=1.5) as store, opened(consul, path) as other:
        told = Told()
        session, second, rival = await granted(store), await granted(store), await granted(other, told)
        await taken(session, entry("ended"))
        await taken(second, entry("destroyed"))
        await session.end()
        await taken(rival, entry("ended"))
        begun, claim = time.monotonic(), entry("destroyed")
        consul.destroy(second.id)
        await refused(rival, claim)
        while True:
            await told.until(Fact.TURN, key=claim.key)
            told.clear()
            if (await rival.acquire(claim)).outcome is Outcome.DONE:
                break
        assert 1.4 < time.monotonic() - begun < 5.0


@on_a_loop
async def test_lost_answers_are_settled(consul: Consul) -> None:
    """
    An acquire and a release whose answers were lost are looked at again; if that is not possible the outcome is
    unknown, and asking again settles it.
    """
    path = uuid.uuid4().hex
    with Proxy(consul.port) as proxy:
        async with opened(proxy.host, path) as store:
            session, claim = await granted(store, ttl=8.0), entry()
            for change in (session.acquire, session.release):
                proxy.cut(requests=False)
                call = asyncio.create_task(change(claim))
                await _done(lambda change=change: bool(consul.keys(path)) is (change == session.acquire))  # type: ignore[misc]
                proxy.reset()
                proxy.heal()
                assert Outcome.DONE is (await call).outcome
            token = await taken(session, claim)
            proxy.cut(requests=False)
            with pytest.raises(StoreUnavailable, match="no answer within"):
                await session.release(claim)
            proxy.reset()
            proxy.heal()
            await released(session, claim)
            assert await taken(session, claim) > token
            proxy.cut()
            with pytest.raises(StoreUnavailable):
                await session.acquire(entry())
            proxy.reset()
            proxy.heal()


async def _done(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5.0):
        while not true():
            await asyncio.sleep(0.005)


@on_a_loop
async def test_names_that_would_clash_are_refused(consul: Consul) -> None:
    """
    A part of a name that ends as side entries do, `.` and `..`, and a name that is too long.
    """
    async with opened(consul) as store:
        for name in ("job.leadership", "job.leadership/x", "a/./b", "..", "x" * 1024):
            with pytest.raises(ConfigError, match="election name"):
                store.check_election(name)
        store.check_election("leadership/.lock")
        store.check_election("é/\u200bx")

"""
A ZooKeeper that hangs, dies, comes back with or without its data; a client that is cut off or whose process was forked.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
from pathlib import Path

import pytest
from servers import Proxy, ZooKeeper, ZooKeeperCluster
from store_cases import TICK
from zookeeper_stage import Heard, entry, eventually, holder, run, take

from leadership import Candidate
from leadership.backends.zookeeper import ZooKeeperStore
from leadership.errors import ConfigError, LeadershipError, StoreUnavailable
from leadership.store import MARGIN, Fact, Outcome

TTL = 2.0


def test_hung_server(own_zookeeper: ZooKeeper) -> None:
    """
    Every call ends with a typed error within its time, the session is suspended, and lives on when the server goes on
    in time; what was asked for meanwhile is not done behind anybody's back.
    """

    async def scenario() -> None:
        store, told, watched = ZooKeeperStore(f"{own_zookeeper.host}/app", timeout=1.0), Heard(), Heard()
        session = await store.open_session(TTL, told)
        store.watch("job", watched)
        token = await take(session, claim := entry())
        await watched.until(Fact.LEADER_OBSERVED, token=token)
        await session.renew()
        own_zookeeper.freeze()
        for call in (session.renew, lambda: session.acquire(entry("other")), lambda: session.release(claim)):
            begun = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await call()
            assert time.monotonic() - begun < TTL / 4 + 0.45  # this machine may be busy
        await told.until(Fact.SESSION_SUSPENDED)
        own_zookeeper.thaw()
        await told.until(Fact.SESSION_RESTORED)
        await watched.until(Fact.SESSION_RESTORED)
        assert Outcome.DONE is (await session.renew()).outcome
        assert Outcome.DONE is (await session.release(claim)).outcome
        assert await holder(store) is None
        await take(session, entry("other"))
        await store.aclose()

    run(scenario)


@pytest.mark.parametrize("call", ["acquire", "release"])
def test_any_call_finds_a_server_hung(own_zookeeper: ZooKeeper, call: str) -> None:
    """
    Nothing renews here. Only a renewal had a silent connection cut: the time-out that a place has for all it asks
    ended an acquire or a release before the question's own did.
    """

    async def scenario() -> None:
        store, told = ZooKeeperStore(f"{own_zookeeper.host}/app", timeout=1.0), Heard()
        session = await store.open_session(TTL, told)
        await take(session, claim := entry())
        own_zookeeper.freeze()
        with pytest.raises(StoreUnavailable):
            await (session.acquire(entry("other")) if call == "acquire" else session.release(claim))
        await told.until(Fact.SESSION_SUSPENDED)
        own_zookeeper.thaw()
        await told.until(Fact.SESSION_RESTORED)
        await store.aclose()

    run(scenario)


def test_closing_while_the_server_hangs(own_zookeeper: ZooKeeper) -> None:
    """
    `aclose` takes two seconds at most, and leaves no thread and no descriptor.
    """

    async def scenario() -> None:
        # Python's threads: those of gRPC, of tests before this one, come and go as they please.
        threads, files = threading.enumerate(), len(os.listdir("/proc/self/fd"))
        store = ZooKeeperStore(f"{own_zookeeper.host}/app")
        await take(await store.open_session(TTL, Heard()), entry())
        await take(await store.open_session(TTL, Heard()), entry("other"))
        own_zookeeper.freeze()
        begun = time.monotonic()
        await store.aclose()
        assert time.monotonic() - begun < 2.0
        async with asyncio.timeout(5.0):  # its last act is to say that it ends
            while [thread for thread in threading.enumerate() if thread not in threads]:
                await asyncio.sleep(0.01)
        assert files == len(os.listdir("/proc/self/fd"))
        own_zookeeper.thaw()

    run(scenario)


def test_server_killed_and_restarted_with_its_data(own_zookeeper: ZooKeeper) -> None:
    """
    The session and its entry are still there; a session that was given up meanwhile is ended first thing.
    """

    async def scenario() -> None:
        store, told, watched = ZooKeeperStore(f"{own_zookeeper.host}/app"), Heard(), Heard()
        session, other = await store.open_session(10.0, told), await store.open_session(10.0, Heard())
        store.watch("job", watched)
        token, _ = await take(session, claim := entry()), await take(other, entry("other"))
        await watched.until(Fact.LEADER_OBSERVED, token=token)
        own_zookeeper.kill()
        await told.until(Fact.SESSION_SUSPENDED)
        await watched.until(Fact.SESSION_SUSPENDED)
        with pytest.raises(StoreUnavailable):
            await other.end()
        await asyncio.to_thread(own_zookeeper.start)
        await told.until(Fact.SESSION_RESTORED)
        await watched.until(Fact.SESSION_RESTORED)
        assert token == (await session.acquire(claim)).token
        await eventually(lambda: _is_vacant(store, "other"), "the session that was given up ends", 5.0)
        assert Outcome.DONE is (await other.end()).outcome
        assert Fact.KEY_DELETED not in watched.facts
        await store.aclose()

    run(scenario)


async def _is_vacant(store: ZooKeeperStore, election: str) -> bool:
    return await holder(store, election) is None


def test_server_restarted_without_its_data(own_zookeeper: ZooKeeper) -> None:
    """
    The session is lost, which a server that has lost its data does not say by itself; the next grant says that tokens
    begin again.
    """

    async def scenario() -> None:
        store, told, watched = ZooKeeperStore(f"{own_zookeeper.host}/app"), Heard(), Heard()
        session = await store.open_session(TTL, told)
        store.watch("job", watched)
        for number in range(20):
            await take(session, entry(f"other{number}"))
        token = await take(session, entry())
        await watched.until(Fact.LEADER_OBSERVED, token=token)
        own_zookeeper.kill()
        own_zookeeper.wipe()
        await asyncio.to_thread(own_zookeeper.start)
        await told.until(Fact.SESSION_LOST, seconds=15.0)
        await watched.until(Fact.LEASE_EXPIRED, token=token)
        again = await store.open_session(TTL, Heard())
        reply = await again.acquire(entry(above=token))
        assert (Outcome.DONE, True) == (reply.outcome, reply.token_reset)
        assert reply.token is not None
        assert reply.token < token
        await watched.until(Fact.LEADER_OBSERVED, token=reply.token)
        await store.aclose()

    run(scenario)


def test_connection_that_is_dead_with_its_socket_open(zookeeper: ZooKeeper) -> None:
    """
    A renewal that hears nothing cuts the connection and makes another, long before the lease is over.
    """

    async def scenario() -> None:
        with Proxy(zookeeper.port) as proxy:
            store, told = ZooKeeperStore(f"{proxy.host}/outages/dead"), Heard()
            session = await store.open_session(TTL, told)
            await take(session, entry())
            proxy.cut()
            with pytest.raises(StoreUnavailable):
                await session.renew()
            proxy.reset()
            proxy.heal()
            await told.until(Fact.SESSION_RESTORED, seconds=TTL * (1 - MARGIN))
            assert Outcome.DONE is (await session.renew()).outcome
            assert Fact.SESSION_LOST not in told.facts
            await store.aclose()

    run(scenario)


def test_waiting_costs_little_while_the_server_is_away(own_zookeeper: ZooKeeper) -> None:
    """
    A connection that tries again and again does not spin: that takes a core, or its share of one.
    """

    async def scenario() -> None:
        store, told = ZooKeeperStore(f"{own_zookeeper.host}/app"), Heard()
        session = await store.open_session(10.0, told)
        await take(session, entry())
        store.watch("job", Heard())
        own_zookeeper.kill()
        await told.until(Fact.SESSION_SUSPENDED)
        await asyncio.sleep(2.0)
        before = time.process_time()
        await asyncio.sleep(4.0)
        assert (time.process_time() - before) / 4.0 < 0.25
        await store.aclose()

    run(scenario)


def test_own_connection_of_a_follower_comes_back(own_zookeeper: ZooKeeper) -> None:
    """
    Without a session of a candidate's, watches have a connection of their own; it outlives its session.
    """

    async def scenario() -> None:
        store, watched = ZooKeeperStore(f"{own_zookeeper.host}/app"), Heard()
        store.watch("job", watched)
        await watched.until(Fact.VACANT_OBSERVED)
        client = store._reader._client._client  # type: ignore[union-attr]
        await asyncio.to_thread(own_zookeeper.end_session, client._session_id, client._session_passwd)
        await watched.until(Fact.SESSION_SUSPENDED)
        await watched.until(Fact.SESSION_RESTORED)
        other = ZooKeeperStore(f"{own_zookeeper.host}/app")
        token = await take(await other.open_session(TTL, Heard()), entry())
        await watched.until(Fact.LEADER_OBSERVED, token=token)
        await other.aclose()
        await watched.until(Fact.KEY_DELETED, token=token)
        await store.aclose()

    run(scenario)


def test_forked_child_is_refused(zookeeper: ZooKeeper) -> None:
    """
    In a forked child every call is a `ConfigError`; the parent's session is none the worse.
    """

    async def scenario() -> None:
        store = ZooKeeperStore(f"{zookeeper.host}/outages/fork")
        session = await store.open_session(TTL, Heard())
        await take(session, entry())
        child = os.fork()
        if child == 0:
            code = 1
            try:
                calls = (store.watch, store.check_usable)
                refused = 0
                for call in (lambda: calls[0]("job", Heard()), calls[1]):
                    try:
                        call()
                    except ConfigError as error:
                        refused += "forked" in str(error)
                try:
                    session.renew().send(None)
                except ConfigError:
                    refused += 1
                code = 0 if refused == 3 else 2
            finally:
                os._exit(code)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert 0 == os.waitstatus_to_exitcode(status)
        assert Outcome.DONE is (await session.renew()).outcome
        await store.aclose()

    run(scenario)


@pytest.mark.timeout(100)
def test_server_of_the_connection_hangs(tmp_path: Path) -> None:
    """
    Of three servers the follower that is connected to hangs: the session goes on at another one before its lease ends.

    Where the leading server hangs, the others may take longer than this lease to agree on another.
    """
    ttl = 5.0
    with ZooKeeperCluster(tmp_path, tick=500) as cluster:

        async def scenario() -> None:
            loop = asyncio.get_running_loop()
            followers = cluster.followers()
            store = ZooKeeperStore(f"{cluster.hosts}/app", tick=0.5)
            while True:
                told, sent = Heard(), loop.time()
                session = await store.open_session(ttl, told)
                port = session.link._client._at[1]  # type: ignore[attr-defined]
                member = next((each for each in followers if each.port == port), None)
                if member is not None:
                    break
            token = await take(session, claim := entry())
            deadline = sent + ttl * (1 - MARGIN)
            member.freeze()
            while Fact.SESSION_RESTORED not in told.facts:
                assert loop.time() < deadline
                try:
                    await session.renew()
                except StoreUnavailable:
                    await asyncio.sleep(0.1)
            reply = await session.renew()
            assert reply.since is not None
            assert loop.time() < deadline < reply.since + ttl * (1 - MARGIN)
            assert token == (await session.acquire(claim)).token
            member.thaw()
            await store.aclose()

        run(scenario)


@pytest.mark.timeout(150)
def test_isolated_follower_never_lets_two_believe(tmp_path: Path) -> None:
    """
    Three servers, the leader's client at a follower that is cut off from the others right after it acknowledged a
    renewal, while it goes on answering reads: the belief ends before anybody else can lead, and by the rule's margin.
    """
    rounds, ttl, tick = 4, 3.0, 0.5
    margins: list[float] = []
    naive: list[float] = []
    with ZooKeeperCluster(tmp_path, links=True, tick=int(tick * 1000)) as cluster:

        async def one() -> None:
            loop = asyncio.get_running_loop()
            follower = cluster.followers()[0]
            others = ",".join(each.host for each in cluster.members if each is not follower)
            store = ZooKeeperStore(f"{follower.host}/app", tick=tick)
            rival_store = ZooKeeperStore(f"{others}/app", tick=tick)
            told, turn = Heard(), asyncio.Event()
            begun = loop.time()
            session = await store.open_session(ttl, told)
            rival = await rival_store.open_session(10.0, lambda event: turn.set() if event.fact is Fact.TURN else None)
            await take(session, entry())
            claim = entry(node="bob")
            assert Outcome.REFUSED is (await rival.acquire(claim)).outcome
            deadline = begun + ttl * (1 - MARGIN)
            sent = begun
            for _ in range(6):
                await asyncio.sleep(max(0.0, sent + ttl / 6 - loop.time()))
                sent = loop.time()
                reply = await session.renew()
                assert reply.since is not None
                deadline = max(deadline, reply.since + ttl * (1 - MARGIN))
            cluster.isolate(follower)

            async def renewing() -> None:
                nonlocal deadline
                while loop.time() < deadline:
                    try:
                        at = loop.time()
                        reply = await session.renew()
                        if reply.outcome is Outcome.DONE and loop.time() < deadline:
                            since = at if reply.since is None else reply.since
                            deadline = max(deadline, since + ttl * (1 - MARGIN))
                    except LeadershipError:
                        pass
                    await asyncio.sleep(0.1)

            renewals = asyncio.create_task(renewing())
            while True:
                turn.clear()
                if (await rival.acquire(claim)).outcome is Outcome.DONE:
                    break
                await turn.wait()
            elected = loop.time()
            margins.append(elected - deadline)
            naive.append(elected - (sent + ttl))
            await renewals
            cluster.join(follower)
            await asyncio.gather(store.aclose(), rival_store.aclose())

        for _ in range(rounds):
            run(one)
            while not cluster.whole():
                time.sleep(0.1)
    print("seconds between the end of belief and the next leader:", [round(each, 3) for each in margins])
    print("had the lease counted from the last renewal's sending:", [round(each, 3) for each in naive])
    assert min(margins) > 0


def test_a_leader_that_hears_nothing_is_replaced(zookeeper: ZooKeeper) -> None:
    """
    A leader whose requests arrive and whose answers are lost gives its session up, and another leads while that lasts.

    Each attempt to connect again, in order to end the session, told the server that the session lives: the entry of one
    who believed nothing any more kept everybody out for as long as the answers were lost.
    """
    url = f"/{uuid.uuid4().hex}?tick={TICK / 1000}"
    with (
        Proxy(zookeeper.port) as proxy,
        Candidate(f"zookeeper://{proxy.host}{url}", "job", node="ann", ttl=TTL) as ann,
    ):
        assert ann.wait_elected(10.0) is not None
        with Candidate(f"zookeeper://{zookeeper.host}{url}", "job", node="bob", ttl=TTL) as bob:
            assert bob.wait_leader(10.0) is not None
            proxy.cut(requests=False, replies=True)
            assert bob.wait_elected(4 * TTL) is not None
            assert not ann.is_leader
            proxy.heal()
        assert ann.wait_elected(10 * TTL) is not None  # with a new session

"""
What becomes of a ZooKeeper session and its entries when somebody meddles: operators, lost answers, other servers.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from servers import ZooKeeper
from zookeeper_stage import LEASE, Heard, entry, eventually, holder, run, take

from leadership.backends import _zookeeper_wire as wire
from leadership.backends._zookeeper_session import ZooKeeperSession
from leadership.backends.zookeeper import ZooKeeperStore
from leadership.errors import ConfigError, StoreUnavailable
from leadership.store import Entry, Fact, Outcome, WatchEvent


@pytest.fixture
def address(zookeeper: ZooKeeper) -> str:
    """
    A chroot of the test's own.
    """
    return f"{zookeeper.host}/sessions/{uuid.uuid4().hex}"


@contextlib.asynccontextmanager
async def opened(address: str, **options: object) -> AsyncIterator[ZooKeeperStore]:
    store = ZooKeeperStore(address, **options)  # type: ignore[arg-type]
    try:
        yield store
    finally:
        await store.aclose()


async def session_of(store: ZooKeeperStore, told: Heard | None = None, ttl: float = LEASE) -> ZooKeeperSession:
    session = await store.open_session(ttl, told or Heard())
    assert isinstance(session, ZooKeeperSession)
    return session


def nodes(zookeeper: ZooKeeper, store: ZooKeeperStore) -> list[str]:
    return [key.removeprefix(f"{store.base}/") for key in zookeeper.keys(store.base) if key != store.base]


@pytest.mark.parametrize(("ttl", "nearest"), [(0.5, "1 is the least"), (30.0, "10 is the most")])
def test_time_out_that_is_negotiated_away_is_refused(address: str, ttl: float, nearest: str) -> None:
    """
    A server that grants another time-out is found out when the session is opened; the error names what it grants, and
    the session is given back.
    """

    async def scenario() -> None:
        async with opened(address) as store:
            with pytest.raises(ConfigError, match=nearest):
                await store.open_session(ttl, Heard())
            links = store._links
            await eventually(lambda: _is(not links), "the connection ends")

    run(scenario)


async def _is(value: bool) -> bool:
    return value


def test_ttl_below_two_ticks_is_refused_without_asking(address: str) -> None:
    """
    Where the tick is known, so is the least TTL.
    """
    with pytest.raises(ConfigError, match="at least 4"):
        ZooKeeperStore(address, tick=2.0).timing(3.0)


def test_kazoo_is_what_this_store_takes_it_for(address: str) -> None:
    """
    The names that are not public, and what they mean: the negotiated time-out is two thirds of what `_connect` returns,
    an answer's zxid is noted before the answer is given, one thread a connection does it all.
    """

    async def scenario() -> None:
        threads = threading.active_count()
        async with opened(address) as store:
            session = await session_of(store, ttl=2.0)
            client = session.link._client._client
            for name in ("_call", "_connection", "_session_id", "_stopped"):
                assert hasattr(client, name), name
            for name in ("_invoke", "_connection_routine", "_socket", "_write_sock", "_send_ping"):
                assert hasattr(client._connection, name), name
            assert (2000, client._session_id) == (session.link.negotiated, session.link.owner)
            token = await take(session, entry(metadata={"by": "a transaction"}))
            leads = await holder(store)
            assert leads is not None
            assert token == leads.token
            assert threads + 1 == threading.active_count()
        async with asyncio.timeout(5.0):  # its last act is to say that it ends
            while threading.active_count() > threads:
                await asyncio.sleep(0.01)

    run(scenario)


def test_renewal_is_committed_by_the_servers(address: str) -> None:
    """
    Each renewal has a place of its own in the servers' log, and leaves no node; it makes the chroot where there is
    none.
    """

    async def scenario() -> None:
        async with opened(address) as store:
            session = await session_of(store)
            client = session.link._client._client
            seen = []
            for _ in range(4):
                assert Outcome.DONE is (await session.renew()).outcome
                seen.append(client.last_zxid)
            assert sorted(set(seen)) == seen

    run(scenario)


def test_renewal_counts_from_what_it_proves(address: str) -> None:
    """
    `Reply.since` is the sending of an earlier request, half a tick and more before the renewal's own.
    """

    async def scenario() -> None:
        async with opened(address, tick=0.5) as store:
            loop = asyncio.get_running_loop()
            begun = loop.time()
            session = await session_of(store)
            proven: list[float] = []
            for _ in range(6):
                sent = loop.time()
                reply = await session.renew()
                assert reply.since is not None
                assert begun <= reply.since
                assert reply.since <= sent - 0.3 or not proven or reply.since == proven[0]
                proven.append(reply.since)
                await asyncio.sleep(0.2)
            assert proven[-1] > proven[0]

    run(scenario)


def test_few_requests(zookeeper: ZooKeeper, address: str) -> None:
    """
    An acquire is two requests and a release one, once the election's path is there; those who wait need one or two
    more, and whose turn has come none at all.
    """

    async def scenario() -> None:
        async with opened(address) as store, opened(address) as other:
            told = Heard()
            session, rival = await session_of(store), await session_of(other, told)
            await session.release(first := entry())
            await take(session, first)
            await session.release(first)
            before = zookeeper.requests()
            again = entry()
            await take(session, again)
            assert 2 == zookeeper.requests() - before
            claim = entry(node="bob")
            assert Outcome.REFUSED is (await rival.acquire(claim)).outcome
            before = zookeeper.requests()
            await session.release(again)
            assert 1 == zookeeper.requests() - before
            await told.until(Fact.TURN)
            await take(rival, claim)
            assert 1 == zookeeper.requests() - before

    run(scenario)


def test_thousand_elections_are_read_in_three_requests(zookeeper: ZooKeeper, address: str) -> None:
    """
    A sync and two reads of many nodes, when who leads was known; two more when it was not.
    """

    async def scenario() -> None:
        async with opened(address) as store:
            session = await session_of(store, ttl=10.0)
            claims = [entry(f"job{number}") for number in range(1000)]
            for first in range(0, 1000, 100):  # a busy machine answers a thousand at once too late for some
                await asyncio.gather(*(take(session, claim) for claim in claims[first : first + 100]))
            before = zookeeper.requests()
            found = await store.read([claim.election for claim in claims])
            assert 1000 == sum(leads is not None for leads in found.values())
            assert zookeeper.requests() - before <= 6

    run(scenario)


def test_session_closed_by_an_operator_is_lost(zookeeper: ZooKeeper, address: str) -> None:
    """
    `SESSION_LOST` is told before the end of its entry, which is by time's deed; then nothing of it can be used.
    """

    async def scenario() -> None:
        async with opened(address) as store:
            told, watched = Heard(), Heard()
            order: list[Fact] = []

            def notify(event: WatchEvent) -> None:
                told(event)
                order.append(event.fact)

            session = await store.open_session(LEASE, notify)
            assert isinstance(session, ZooKeeperSession)
            store.watch("job", lambda event: order.append(event.fact))
            store.watch("job", watched)
            token = await take(session, entry())
            await watched.until(Fact.LEADER_OBSERVED, token=token)
            client = session.link._client._client
            await asyncio.to_thread(zookeeper.end_session, client._session_id, client._session_passwd)
            await told.until(Fact.SESSION_LOST)
            await watched.until(Fact.LEASE_EXPIRED, token=token)
            assert order.index(Fact.SESSION_LOST) < order.index(Fact.LEASE_EXPIRED)
            assert Fact.KEY_DELETED not in order
            assert Outcome.REFUSED is (await session.renew()).outcome
            later = await take(await session_of(store), entry())
            assert later > token
            await watched.until(Fact.LEADER_OBSERVED, token=later)

    run(scenario)


def test_node_deleted_by_an_operator(zookeeper: ZooKeeper, address: str) -> None:
    """
    `KEY_DELETED`, while the session lives and can lead again, with a greater token.
    """

    async def scenario() -> None:
        async with opened(address) as store:
            told, watched = Heard(), Heard()
            session = await session_of(store, told)
            store.watch("job", watched)
            token = await take(session, entry())
            await watched.until(Fact.LEADER_OBSERVED, token=token)
            (name,) = [key for key in nodes(zookeeper, store) if "__lock__" in key]
            await asyncio.to_thread(zookeeper.delete, f"{store.base}/{name}")
            await watched.until(Fact.KEY_DELETED, token=token)
            assert Fact.SESSION_LOST not in told.facts
            assert await take(session, entry()) > token

    run(scenario)


def test_node_overwritten_by_an_operator(zookeeper: ZooKeeper, address: str) -> None:
    """
    The new data is another holder with a greater token, and a session that is nobody's; the entry is still released by
    its owner.
    """

    async def scenario() -> None:
        async with opened(address) as store:
            watched, claim = Heard(), entry()
            session = await session_of(store)
            store.watch("job", watched)
            token = await take(session, claim)
            await watched.until(Fact.LEADER_OBSERVED, token=token)
            (name,) = [key for key in nodes(zookeeper, store) if "__lock__" in key]
            await asyncio.to_thread(zookeeper.put, f"{store.base}/{name}", "mallory")
            await eventually(lambda: _is(watched.events[-1].holder is not None), "told")
            await eventually(lambda: _is((watched.events[-1].holder or claim).node == "mallory"), "the new holder")
            leads = watched.events[-1].holder
            assert leads is not None
            assert leads.token > token
            assert leads.session != session.id
            assert leads == await holder(store)
            await session.release(claim)
            assert await holder(store) is None
            assert await take(session, entry()) > leads.token

    run(scenario)


def test_waiting_node_deleted_by_an_operator_is_made_again(zookeeper: ZooKeeper, address: str) -> None:
    """
    Who waits is told that it is worth asking, and asks for a new place in the queue.
    """

    async def scenario() -> None:
        async with opened(address) as store, opened(address) as other:
            told, first, claim = Heard(), entry(), entry(node="bob")
            session, rival = await session_of(store), await session_of(other, told)
            await take(session, first)
            await rival.acquire(claim)
            (name,) = [key for key in nodes(zookeeper, store) if claim.key in key]
            await asyncio.to_thread(zookeeper.delete, f"{store.base}/{name}")
            await told.until(Fact.TURN)
            assert Outcome.REFUSED is (await rival.acquire(claim)).outcome
            assert 1 == sum(claim.key in key for key in nodes(zookeeper, store))
            await session.release(first)
            await eventually(lambda: _is(told.facts.count(Fact.TURN) > 1), "the turn")
            await take(rival, claim)

    run(scenario)


def test_turn_comes_to_the_next_only(zookeeper: ZooKeeper, address: str) -> None:
    """
    Of two who wait, the next is told when the leader goes, and the one behind is not; when the one in front of it
    withdraws it is told to ask, and finds another leading.
    """

    async def scenario() -> None:
        async with opened(address) as store:
            told = [Heard() for _ in range(4)]
            sessions = [await session_of(store, each, ttl=10.0) for each in told]
            claims = [entry(node=f"node-{number}") for number in range(4)]
            await take(sessions[0], claims[0])
            for session, claim in zip(sessions[1:], claims[1:], strict=True):
                assert Outcome.REFUSED is (await session.acquire(claim)).outcome
            await sessions[0].release(claims[0])
            await told[1].until(Fact.TURN)
            await take(sessions[1], claims[1])
            assert [] == [*told[2].facts, *told[3].facts]
            await sessions[2].release(claims[2])
            await told[3].until(Fact.TURN)
            assert Outcome.REFUSED is (await sessions[3].acquire(claims[3])).outcome
            leads = await holder(store)
            assert leads is not None
            assert "node-1" == leads.node

    run(scenario)


def test_absent_leader_is_watched(address: str) -> None:
    """
    Who follows an election that nobody leads is told of the first leader, of a path that is not there yet, and of the
    next one, of a path that is.
    """

    async def scenario() -> None:
        async with opened(address) as store, opened(address) as follower:
            watched, session = Heard(), await session_of(store, ttl=10.0)
            follower.watch("job", watched)
            await watched.until(Fact.VACANT_OBSERVED)
            for _ in range(2):
                await asyncio.sleep(0.3)  # the look that has found nobody has left its watch
                token = await take(session, claim := entry())
                await watched.until(Fact.LEADER_OBSERVED, token=token)
                await session.release(claim)
                await watched.until(Fact.KEY_DELETED, token=token)

    run(scenario)


def test_parent_removed_and_made_again(zookeeper: ZooKeeper, address: str) -> None:
    """
    The numbers restart, the tokens rise, and a watch that was there before tells of both lives.
    """

    async def scenario() -> None:
        async with opened(address) as store:
            watched, tokens, numbers = Heard(), [], []
            store.watch("job", watched)
            session = await session_of(store)
            for _ in range(3):
                claim = entry(metadata={"a": 1})
                tokens.append(await take(session, claim))
                numbers += [key[-10:] for key in nodes(zookeeper, store) if "__lock__" in key]
                await watched.until(Fact.LEADER_OBSERVED, token=tokens[-1])
                await session.release(claim)
                await asyncio.to_thread(zookeeper.delete_all, f"{store.base}/job")
                await asyncio.to_thread(zookeeper.delete_all, f"{store.base}/job.leadership")
            assert ["0000000000"] * 3 == numbers
            assert sorted(set(tokens)) == tokens

    run(scenario)


def test_request_that_was_given_up_is_never_carried_out(own_zookeeper: ZooKeeper) -> None:
    """
    What waits in kazoo's queue while the server is away goes out as a look at the root when it is back.
    """

    async def scenario() -> None:
        async with opened(f"{own_zookeeper.host}/app") as store:
            told = Heard()
            session = await session_of(store, told)
            await take(session, entry())
            client = session.link._client
            own_zookeeper.kill()
            await told.until(Fact.SESSION_SUSPENDED)
            late = wire.create("/late", b"", store.acl, wire.PERSISTENT)
            client.send(late, lambda *_: None)
            assert late.give_up()
            kept = wire.create("/kept", b"", store.acl, wire.PERSISTENT)
            client.send(kept, lambda *_: None)
            with pytest.raises(StoreUnavailable):
                await session.acquire(entry("other"))
            await asyncio.to_thread(own_zookeeper.start)
            await told.until(Fact.SESSION_RESTORED)
            await eventually(
                lambda: asyncio.to_thread(lambda: own_zookeeper.get("/kept") is not None), "the other request"
            )
            found = own_zookeeper.keys()
            assert "/late" not in found
            assert not [key for key in found if "/other/" in key]

    run(scenario)


def test_lost_answer_of_an_acquire_is_settled_by_its_key(zookeeper: ZooKeeper, address: str) -> None:
    """
    An entry whose creation was not confirmed is found by the attempt's key: taken over by the same attempt, removed
    before a later one or by its release.
    """

    async def scenario() -> None:
        async with opened(address) as store:
            session = await session_of(store)
            await session.release(first := entry())
            for settle in ("same", "later", "release"):
                claim, later = entry(), entry()
                await _lose_the_answer(session, claim)
                assert 1 == sum(claim.key in key for key in nodes(zookeeper, store))
                if settle == "same":
                    token = await take(session, claim)
                    leads = await holder(store)
                    assert leads is not None
                    assert token == leads.token
                elif settle == "later":
                    await take(session, later)
                    assert not [key for key in nodes(zookeeper, store) if claim.key in key]
                await session.release(claim)
                await session.release(later)
                assert not [key for key in nodes(zookeeper, store) if "__lock__" in key]
            await session.release(first)

    run(scenario)


async def _lose_the_answer(session: ZooKeeperSession, claim: Entry) -> None:
    """
    Cancel an acquire when its requests have gone out and none is answered.
    """
    client = session.link._client
    send, sent = client.send, []

    def sending(request: Any, done: Any) -> None:
        sent.append(request)
        send(request, done)

    client.send = sending  # type: ignore[method-assign]
    task = asyncio.create_task(session.acquire(claim))
    while not sent or sent[-2].sent_at is None:
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    client.send = send  # type: ignore[method-assign]
    await session.renew()  # whatever was sent before it has been carried out


def test_metadata_and_requests_leave_with_their_term(zookeeper: ZooKeeper, address: str) -> None:
    """
    Metadata is written where there is any, in the entry's transaction, and leaves with it; a request to resign stays
    until another term has ended unasked, so that who follows learns why. In the end the election and its side are left.
    """

    async def scenario() -> None:
        async with opened(address) as store, opened(address) as operator:
            watched, plain = Heard(), entry("plain")
            session = await session_of(store)
            store.watch("job", watched)
            await take(session, plain)
            token = await take(session, claim := entry(metadata={"address": "a:1"}))
            assert [f"job.leadership/{claim.key}"] == [key for key in nodes(zookeeper, store) if ".leadership/" in key]
            await watched.until(Fact.LEADER_OBSERVED, token=token)
            for reason in (None, "enough", None, "more than enough"):
                assert Outcome.DONE is (await operator.request_resign("job", token, reason)).outcome
            operator.watch("job", late := Heard())
            assert "enough" == (await late.until(Fact.RESIGN_REQUESTED, token=token)).reason, "the first words"
            await watched.until(Fact.RESIGN_REQUESTED, token=token)
            await session.release(claim)
            assert ["job", "job.leadership", "job.leadership/resign", "plain"] == nodes(zookeeper, store)[:4]
            token = await take(session, claim := entry())
            await watched.until(Fact.LEADER_OBSERVED, token=token)
            await session.release(claim)
            await session.release(plain)
            assert ["job", "job.leadership", "plain"] == nodes(zookeeper, store)

    run(scenario)


def test_watch_never_goes_back(address: str) -> None:
    """
    Terms that end while a look at them is under way are not told again after their end, neither to their own store,
    nor to a follower, nor where a candidate waits.
    """

    async def scenario() -> None:
        async with opened(address) as store, opened(address) as pure, opened(address) as queued:
            told = [Heard(), Heard(), Heard()]
            session, rival = await session_of(store), await session_of(queued)
            for each, heard in zip((store, pure, queued), told, strict=True):
                each.watch("job", heard)
            tokens: list[int] = []
            for number in range(60):
                tokens.append(await take(session, claim := entry()))
                waits = entry(node="bob")
                if number % 3 == 0:
                    await rival.acquire(waits)
                await asyncio.sleep(number % 12 / 1000)
                await session.release(claim)
                if number % 3 == 0:
                    await rival.release(waits)
            last = await take(session, entry())
            for heard in told:
                await heard.until(Fact.LEADER_OBSERVED, token=last)
                moments = [
                    (event.token or 0, True) if event.holder is None else (event.holder.token, False)
                    for event in heard.events
                    if event.fact is not Fact.VACANT_OBSERVED
                ]
                assert sorted(moments) == moments
                assert len(set(moments)) == len(moments)

    run(scenario)

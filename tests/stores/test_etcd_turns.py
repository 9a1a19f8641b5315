"""
Who goes first when a leader of etcd has gone: the successor, before those who are only told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from etcd_scenes import opened
from scenes import SOON, Told, entry, on_a_loop, refused, taken
from servers import Etcd

from leadership.backends import _etcd_view
from leadership.store import Fact, Outcome, WatchEvent


def at_turn(then: Callable[[], None]) -> Callable[[WatchEvent], None]:
    """
    A session's notify that calls `then` at the very moment of its turn.
    """

    def notify(event: WatchEvent) -> None:
        if event.fact is Fact.TURN:
            then()

    return notify


@on_a_loop
async def test_the_successor_goes_before_those_who_are_told(etcd: Etcd) -> None:
    """
    Ten candidates of a process were told that the leader had gone, and who leads, before the one whose turn it was: of
    a hand-over among fifty in five processes that was a fifth.
    """
    async with opened(etcd) as store, opened(etcd, store.prefix.strip("/")) as other:
        told, before = Told(), list[list[Fact]]()
        leader = await other.open_session(10.0, Told())
        waits = await store.open_session(10.0, at_turn(lambda: before.append(told.facts)))
        claim, next_claim = entry(), entry(node="bob")
        token = await taken(leader, claim)
        store.watch("job", told)
        await told.until(Fact.LEADER_OBSERVED)
        await refused(waits, next_claim)
        await leader.release(claim)
        async with asyncio.timeout(SOON):
            while not before:
                await asyncio.sleep(0.001)
        reply = await waits.acquire(next_claim)
        assert Outcome.DONE is reply.outcome
        assert [[Fact.LEADER_OBSERVED]] == before
        assert token == (await told.until(Fact.KEY_DELETED)).token
        assert [Fact.LEADER_OBSERVED, Fact.KEY_DELETED, Fact.LEADER_OBSERVED] == told.facts
        assert reply.token == told[-1].holder.token  # type: ignore[union-attr]


@on_a_loop
async def test_what_gives_way_does_not_hide_a_lost_session(etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The successor's lease ends at the moment of its turn, while the facts of the term before give way to it: its own
    end is told as the lease's, after them.
    """
    monkeypatch.setattr(_etcd_view, "BREATH", 1.0)
    async with opened(etcd) as store, opened(etcd, store.prefix.strip("/")) as other:
        told, revoking = Told(), list[asyncio.Future[object]]()
        leader = await other.open_session(10.0, Told())
        lapses = await store.open_session(10.0, at_turn(lambda: revoking.append(asyncio.ensure_future(revoke()))))
        behind = await store.open_session(10.0, Told())

        async def revoke() -> object:
            request = other.client.rpc.LeaseRevokeRequest(ID=int(lapses.id, 16))
            loop = asyncio.get_running_loop()
            return await other.call("LeaseRevoke", request, "a lease", loop.time() + 5.0)

        claim = entry()
        first = await taken(leader, claim)
        store.watch("job", told)
        await told.until(Fact.LEADER_OBSERVED)
        await refused(lapses, entry(node="bob"))
        await refused(behind, entry(node="eve"))
        await leader.release(claim)
        expired = await told.until(Fact.LEASE_EXPIRED)
        assert revoking
        gone = [event for event in told if event.fact in (Fact.KEY_DELETED, Fact.LEASE_EXPIRED)]
        assert [(Fact.KEY_DELETED, first), (Fact.LEASE_EXPIRED, expired.token)] == [
            (event.fact, event.token) for event in gone
        ]
        assert first < (expired.token or 0)


@on_a_loop
async def test_a_store_that_ends_tells_nothing_more(etcd: Etcd) -> None:
    """
    What gives way to a turn is not told when the store has ended meanwhile.
    """
    async with opened(etcd) as store, opened(etcd, store.prefix.strip("/")) as other:
        told, stopping = Told(), list[asyncio.Future[None]]()
        leader = await other.open_session(10.0, Told())
        stop = at_turn(lambda: stopping.append(asyncio.ensure_future(store.watches.stop(5.0))))
        waits = await store.open_session(10.0, stop)
        claim = entry()
        await taken(leader, claim)
        store.watch("job", told)
        await told.until(Fact.LEADER_OBSERVED)
        await refused(waits, entry(node="bob"))
        await leader.release(claim)
        async with asyncio.timeout(SOON):
            while not stopping:
                await asyncio.sleep(0.001)
        await stopping[0]
        await asyncio.sleep(0.05)
        assert [Fact.LEADER_OBSERVED] == told.facts

"""
The asyncio faces, in real time on a store in memory: the same words, awaited, on the user's own loop.
"""

from __future__ import annotations

import asyncio
import signal

import pytest
from loops import SOON, TTL, elected, first, on_a_loop, soon

from leadership import (
    AsyncCandidate,
    AsyncFollower,
    ConfigError,
    DemotionCause,
    NotLeader,
    Term,
    connect,
)


@on_a_loop
async def test_is_elected_and_stops() -> None:
    """
    `async with` stands inside and has stopped behind; in between every word says that it leads.
    """
    async with elected() as (candidate, term):
        assert ("leader", "a") == (candidate.state, candidate.node)
        assert (True, False) == (candidate.is_leader, candidate.is_stale)
        leader = candidate.leader
        assert leader is not None
        assert (term.token, True) == (leader.token, leader.is_self)
        assert ("jobs", "a", 1) == (term.election, term.node, term.token)
        assert 0 < term.remaining() <= TTL
        assert "<AsyncCandidate 'jobs' node='a' leader>" == repr(candidate)
        assert candidate.term is not None
        assert term.token == candidate.term.token
        term.check()

    assert candidate.term is None
    assert ("idle", "stopped") == (candidate.state, term.cause)
    with pytest.raises(NotLeader, match="it was stopped"):
        term.check()
    assert ["campaigning", "leader", "resigning", "idle"] == [record.dest for record in candidate.history]


@on_a_loop
async def test_wait_elected_and_wait_leader_give_up() -> None:
    """
    Both return None when the time is up.
    """
    with connect("memory://") as store:
        async with elected(store), AsyncCandidate(store, "jobs", "b", ttl=TTL) as other:
            assert await other.wait_elected(0.05) is None
            leader = await other.wait_leader(SOON)
            assert leader is not None
            assert ("a", False) == (leader.node, leader.is_self)
        async with AsyncFollower(store, "nobody") as follower:
            assert await follower.wait_leader(0.05) is None


@on_a_loop
async def test_resign_and_stand_again() -> None:
    """
    resign() returns True when the entry is released; rejoin=False leaves.
    """
    async with elected(cool_down=0.05) as (candidate, term):
        assert await candidate.resign("pause")
        assert (DemotionCause.RESIGNED, "pause", "it resigned") == (term.cause, term.reason, term.detail)
        again = await candidate.wait_elected(SOON)
        assert again is not None
        assert again.token > term.token
        assert await candidate.resign(rejoin=False)
        assert "idle" == candidate.state
        assert await candidate.wait_elected() is None


@on_a_loop
async def test_term_wait() -> None:
    """
    wait() returns False when the time is up, True at once when the term ends, and True when it has ended.
    """
    async with elected(cool_down=30.0) as (candidate, term):
        assert not await term.wait(0.05)
        assert not await term.wait(0.0)
        waiting = asyncio.create_task(term.wait())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await candidate.resign()
        assert await asyncio.wait_for(waiting, SOON)
        assert await term.wait()
    assert [] == term._term._listeners


@on_a_loop
async def test_elections() -> None:
    """
    False, the present, each change; it ends at the stop.
    """
    async with elected(cool_down=1.0) as (candidate, _):
        elections = candidate.elections()
        assert [False, True] == await first(elections, 2)
        await candidate.resign()
        assert [False, True] == await first(elections, 2)
    assert [False] == [value async for value in elections]


@on_a_loop
async def test_leaders() -> None:
    """
    The present leader, each change, None for nobody; it ends at the stop, and early when it is left.
    """
    with connect("memory://") as store:
        async with AsyncFollower(store, "jobs") as follower:
            leaders = follower.leaders()
            assert [None] == await first(leaders, 1)
            async with elected(store, metadata={"at": "here"}):
                (leader,) = await first(leaders, 1)
                assert leader is not None
                assert ("a", {"at": "here"}) == (leader.node, dict(leader.metadata))
                async for one in follower.leaders():
                    assert leader == one
                    break
            assert [None] == await first(leaders, 1)
        assert [] == [leader async for leader in leaders]
    assert "idle" == follower.state


@on_a_loop
async def test_start_and_stop_are_idempotent() -> None:
    """
    Stop before the start, two starts, two stops, and a start after the stop.
    """
    candidate = AsyncCandidate("memory://", "jobs", "a", ttl=TTL)
    assert await candidate.stop()
    for token in (1, 2):
        await candidate.start()
        await candidate.start()
        assert await candidate.wait_elected(SOON) is not None
        assert await candidate.stop()
        assert await candidate.stop()
        assert token == sum(record.dest == "leader" for record in candidate.history)


@on_a_loop
async def test_a_stop_right_after_the_start() -> None:
    """
    stop() answers for the start before it: when it has returned True the candidate is idle and stays so.
    """
    for _ in range(50):
        candidate = AsyncCandidate("memory://", "jobs", "a", ttl=TTL, log=False)
        await candidate.start()
        assert await candidate.stop()
        seen = candidate.history
        await asyncio.sleep(0.002)
        assert ("idle", seen) == (candidate.state, candidate.history)


@on_a_loop
async def test_run_is_ended_by_a_signal() -> None:
    """
    SIGTERM ends run() normally, the term has the signal as reason, and the loop's handlers are as before.
    """
    candidate = AsyncCandidate("memory://", "jobs", "a", ttl=TTL)
    terms: list[Term] = []

    @candidate.on_elected
    def lead(term: Term) -> None:
        terms.append(term)
        signal.raise_signal(signal.SIGTERM)

    await asyncio.wait_for(candidate.run(), SOON)

    assert [("stopped", "SIGTERM")] == [(term.cause, term.reason) for term in terms]
    assert signal.SIG_DFL is signal.getsignal(signal.SIGTERM)


@on_a_loop
async def test_run_that_is_cancelled_stops_first() -> None:
    """
    Cancelling run() leaves no leader behind: it has resigned before CancelledError goes on.
    """
    with connect("memory://") as store:
        candidate = AsyncCandidate(store, "jobs", "a", ttl=TTL)
        task = asyncio.create_task(candidate.run())
        await soon(lambda: candidate.is_leader)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert "idle" == candidate.state
        async with AsyncFollower(store, "jobs") as follower:
            assert [None] == await first(follower.leaders(), 1)


@on_a_loop
async def test_cancelling_what_waits_leaves_nothing() -> None:
    """
    A wait that is cancelled is forgotten by the candidate.
    """
    async with elected() as (candidate, term):
        tasks = [asyncio.create_task(term.wait()) for _ in range(10)]
        elections = candidate.elections()
        await first(elections, 2)
        reading = asyncio.create_task(asyncio.wait_for(anext(elections), 60.0))
        await asyncio.sleep(0.05)
        for task in (*tasks, reading):
            task.cancel()
        await asyncio.gather(*tasks, reading, return_exceptions=True)
        assert ([], ()) == (term._term._listeners, candidate._face._changed._listeners)


@on_a_loop
async def test_a_closed_store_starts_nothing() -> None:
    """
    start() after `async with store:` raises ConfigError.
    """
    async with connect("memory://") as store:
        candidate = AsyncCandidate(store, "jobs", "a", ttl=TTL)
        await candidate.start()
        assert await candidate.wait_elected(SOON) is not None
    assert "idle" == candidate.state
    with pytest.raises(ConfigError, match="was closed"):
        await candidate.start()

"""
Callbacks of the asyncio faces: coroutines on the loop, functions in threads, and neither in the way of a renewal.
"""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial

from loops import SOON, TTL, elected, on_a_loop, soon

from leadership import (
    AsyncCandidate,
    AsyncTerm,
    Candidate,
    DemotionCause,
    Leader,
    Term,
    connect,
)


@on_a_loop
async def test_coroutine_callbacks_run_on_the_loop() -> None:
    """
    Coroutine functions run on the loop of start() and take an AsyncTerm; plain ones in a thread, with a Term.
    """
    here = threading.get_ident()
    seen: list[tuple[str, type, bool]] = []
    candidate = AsyncCandidate("memory://", "jobs", "a", ttl=TTL)

    @candidate.on_elected
    async def lead(term: AsyncTerm) -> None:
        seen.append(("elected", type(term), threading.get_ident() == here))

    @candidate.on_elected
    def lead_in_a_thread(term: Term) -> None:
        seen.append(("elected", type(term), threading.get_ident() == here))

    @candidate.on_demoted
    async def stand_down(term: AsyncTerm, cause: DemotionCause) -> None:
        seen.append((cause.value, type(term), threading.get_ident() == here))

    @candidate.on_demoted
    def stand_down_in_a_thread(term: Term, cause: DemotionCause) -> None:
        seen.append((cause.value, type(term), threading.get_ident() == here))

    @candidate.on_leader_changed
    async def changed(leader: Leader | None) -> None:
        if leader is not None:
            seen.append((leader.node, Leader, threading.get_ident() == here))

    async with candidate:
        await soon(lambda: len(seen) == 3)

    assert {
        ("elected", AsyncTerm, True),
        ("elected", Term, False),
        ("a", Leader, True),
        ("stopped", AsyncTerm, True),
        ("stopped", Term, False),
    } == set(seen)
    assert 5 == len(seen)


@on_a_loop
async def test_whatever_is_a_coroutine_function_runs_on_the_loop() -> None:
    """
    Methods, partials and objects that are called like coroutine functions are awaited as well.
    """
    here = threading.get_ident()
    seen: list[tuple[str, bool, type]] = []

    class Job:
        async def method(self, term: AsyncTerm) -> None:
            seen.append(("method", threading.get_ident() == here, type(term)))

        async def __call__(self, term: AsyncTerm) -> None:
            seen.append(("object", threading.get_ident() == here, type(term)))

    async def given(what: str, term: AsyncTerm) -> None:
        seen.append((what, threading.get_ident() == here, type(term)))

    candidate = AsyncCandidate("memory://", "jobs", "a", ttl=TTL)
    for job in (Job().method, Job(), partial(given, "partial")):
        candidate.on_elected(job)
    async with candidate:
        await soon(lambda: len(seen) == 3)

    assert {(what, True, AsyncTerm) for what in ("method", "object", "partial")} == set(seen)


@on_a_loop
async def test_a_coroutine_is_cancelled_at_the_end_of_its_term() -> None:
    """
    The task of a coroutine on_elected is cancelled when the term ends: that is no failure, and is waited for.
    """
    told: list[str] = []
    errors: list[BaseException] = []
    with connect("memory://") as store:
        candidate = AsyncCandidate(store, "jobs", "a", ttl=TTL, grace=5.0, cool_down=30.0)
        candidate.on_error(errors.append)

        @candidate.on_elected
        async def lead(_term: AsyncTerm) -> None:
            told.append("begin")
            try:
                await asyncio.sleep(60.0)
            finally:
                await asyncio.sleep(0.2)
                told.append("end")

        async with candidate, AsyncCandidate(store, "jobs", "b", ttl=TTL) as other:
            other.on_elected(lambda _term: told.append("other"))
            await soon(lambda: told)
            assert await candidate.resign()
            await soon(lambda: other.is_leader)
            await soon(lambda: len(told) == 3)

    assert (["begin", "end", "other"], []) == (told, errors)
    assert "resigned" == candidate.history[2].cause


@on_a_loop
async def test_a_coroutine_that_raises_resigns() -> None:
    """
    What a coroutine on_elected raises is told and ends the term, by the same policy.
    """
    errors: list[BaseException] = []
    candidate = AsyncCandidate("memory://", "jobs", "a", ttl=TTL, on_callback_error="stop")
    candidate.on_error(errors.append)

    @candidate.on_elected
    async def lead(_term: AsyncTerm) -> None:
        await asyncio.sleep(0.01)
        raise KeyError("x")  # noqa: EM101 - short

    await asyncio.wait_for(candidate.run(), SOON)
    await soon(lambda: errors)

    assert ("callback_failed", [KeyError]) == (candidate.history[2].cause, [type(error) for error in errors])


@on_a_loop
async def test_stop_and_resign_from_inside_only_ask() -> None:
    """
    From a coroutine callback resign() and stop() return False at once, and are carried out.
    """
    answers: list[bool] = []
    candidate = AsyncCandidate("memory://", "jobs", "a", ttl=TTL, cool_down=0.05)

    @candidate.on_elected
    async def lead(term: AsyncTerm) -> None:
        answers.append(await (candidate.resign("once") if term.token == 1 else candidate.stop()))

    await asyncio.wait_for(candidate.run(), SOON)

    assert [False, False] == answers
    assert ["resigned", "stopped"] == [record.cause for record in candidate.history if record.source == "leader"]


@on_a_loop
async def test_a_blocked_loop_costs_no_renewal() -> None:
    """
    The loop stands still for two TTLs: the same term, and its renewals went on.
    """
    async with elected() as (candidate, term):
        time.sleep(2 * TTL)  # noqa: ASYNC251 - to block the loop is the point
        assert term.is_current
        assert candidate.term is not None
        assert term.token == candidate.term.token
        await candidate.stop()
        assert candidate.history[2].renewals >= 3


def test_callbacks_whose_loop_is_closed() -> None:
    """
    A candidate that outlives its loop loses the callbacks that ran there, says so, and can be stopped by another loop.
    """
    with connect("memory://") as store:
        candidate = AsyncCandidate(store, "jobs", "a", ttl=TTL, grace=0.2, cool_down=0.05)

        @candidate.on_demoted
        async def stand_down(_term: AsyncTerm, _cause: DemotionCause) -> None: ...

        async def begin() -> None:
            await candidate.start()
            assert await candidate.wait_elected(SOON) is not None

        errors: list[BaseException] = []
        candidate.on_error(errors.append)
        asyncio.run(begin())
        asyncio.run(asyncio.wait_for(candidate.stop(), SOON))
        asyncio.run(soon(lambda: errors))

        assert ("idle", ["Event loop is closed"]) == (candidate.state, [str(error) for error in errors])
        with Candidate(store, "jobs", "b", ttl=TTL) as other:
            assert other.wait_elected(SOON) is not None

"""
Signals under run(), with several of them in one process, and beside handlers of the program's own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator

import pytest
from loops import SOON, TTL, on_a_loop, soon

from leadership import AsyncCandidate, AsyncFollower, Candidate, Store, Term, connect


@pytest.fixture(autouse=True)
def handlers_are_as_before() -> Iterator[None]:
    """
    Whatever a test does, it leaves the handlers as they were, and no descriptor that signals are written to.
    """
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert before == [signal.getsignal(number) for number in numbers]
    assert -1 == signal.set_wakeup_fd(-1)


def leading(store: Store, *names: str) -> tuple[list[AsyncCandidate], list[Term]]:
    """
    A candidate for each election, and the terms that they are going to have.
    """
    candidates = [AsyncCandidate(store, name, "a", ttl=TTL, log=False) for name in names]
    terms: list[Term] = []
    for candidate in candidates:

        @candidate.on_elected
        def lead(term: Term) -> None:
            terms.append(term)

    return candidates, terms


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@on_a_loop
async def test_one_signal_stops_all_that_run() -> None:
    """
    Two run on one loop, with a follower: one SIGTERM stops them all, with its name as reason.
    """
    with connect("memory://") as store:
        candidates, terms = leading(store, "jobs", "mail")
        runs = asyncio.gather(*(candidate.run() for candidate in candidates), AsyncFollower(store, "jobs").run())
        await soon(lambda: len(terms) == 2)
        send(signal.SIGTERM)
        await asyncio.wait_for(runs, SOON)
        assert ["SIGTERM", "SIGTERM"] == [term.reason for term in terms]


@pytest.mark.parametrize("first", [0, 1])
def test_the_end_of_one_run_leaves_the_signals_to_the_others(first: int) -> None:
    """
    Whichever of two comes to its end, SIGTERM still stops the other, from whatever thread it is raised.
    """

    @on_a_loop
    async def run() -> None:
        with connect("memory://") as store:
            candidates, terms = leading(store, "jobs", "mail")
            runs = [asyncio.create_task(candidate.run()) for candidate in candidates]
            await soon(lambda: len(terms) == 2)
            await candidates[first].stop()
            await runs[first]
            thread = threading.Thread(target=signal.raise_signal, args=(signal.SIGTERM,))
            thread.start()
            await asyncio.wait_for(runs[1 - first], SOON)
            assert {None, "SIGTERM"} == {term.reason for term in terms}
            thread.join()

    run()


@on_a_loop
async def test_each_takes_the_signals_that_it_is_given() -> None:
    """
    A signal stops those that were given it, and these give all of theirs back: the rest runs on, and hears the next.
    """
    with connect("memory://") as store:
        candidates, terms = leading(store, "jobs", "mail")
        both = asyncio.create_task(candidates[0].run(signals=(signal.SIGTERM, signal.SIGUSR1)))
        one = asyncio.create_task(candidates[1].run(signals=(signal.SIGUSR1,)))
        await soon(lambda: len(terms) == 2)
        send(signal.SIGTERM)
        await asyncio.wait_for(both, SOON)
        assert (False, signal.SIG_DFL) == (one.done(), signal.getsignal(signal.SIGTERM))
        send(signal.SIGUSR1)
        await asyncio.wait_for(one, SOON)
        assert {"SIGTERM", "SIGUSR1"} == {term.reason for term in terms}


@on_a_loop
async def test_a_second_signal_acts_as_if_unhandled() -> None:
    """
    While two stop, the handler of before is back.
    """
    heard: list[int] = []
    let_go = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda number, _frame: heard.append(number))
    with connect("memory://") as store:
        candidates, terms = leading(store, "jobs", "mail")
        for candidate in candidates:
            candidate.on_demoted(lambda _term, _cause: let_go.wait(SOON))
        runs = asyncio.gather(*(candidate.run() for candidate in candidates))
        await soon(lambda: len(terms) == 2)
        send(signal.SIGTERM)
        await soon(lambda: all(term.reason for term in terms))
        assert ([], False) == (heard, runs.done())
        send(signal.SIGTERM)
        await soon(lambda: heard)
        let_go.set()
        await asyncio.wait_for(runs, SOON)
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("by_signal", [True, False])
def test_a_handler_of_the_loop_outlives_run(by_signal: bool) -> None:
    """
    What the program has given the loop by add_signal_handler is called after run() as before, and for the signal that
    ends run() too.
    """

    @on_a_loop
    async def run() -> None:
        heard: list[int] = []
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, heard.append, 1)
        with connect("memory://") as store:
            (candidate,), terms = leading(store, "jobs")
            task = asyncio.create_task(candidate.run())
            await soon(lambda: terms)
            if by_signal:
                send(signal.SIGTERM)
            else:
                await candidate.stop()
            await asyncio.wait_for(task, SOON)
        assert by_signal == len(heard)
        send(signal.SIGTERM)
        await soon(lambda: len(heard) == 1 + by_signal)
        assert loop.remove_signal_handler(signal.SIGTERM)

    run()


@on_a_loop
async def test_a_handler_that_comes_meanwhile_stays() -> None:
    """
    One that the program gives the loop while run() is under way is not taken away by its end.
    """
    heard: list[int] = []
    loop = asyncio.get_running_loop()
    with connect("memory://") as store:
        (candidate,), terms = leading(store, "jobs")
        task = asyncio.create_task(candidate.run())
        await soon(lambda: terms)
        loop.add_signal_handler(signal.SIGTERM, heard.append, 1)
        await candidate.stop()
        await asyncio.wait_for(task, SOON)
    send(signal.SIGTERM)
    await soon(lambda: heard)
    assert loop.remove_signal_handler(signal.SIGTERM)


@on_a_loop
async def test_a_run_that_blocks_the_loop_of_another() -> None:
    """
    A Candidate's run() on the main thread, within the loop on which another one runs: one signal stops both.
    """
    with connect("memory://") as store:
        candidates, terms = leading(store, "jobs")
        task = asyncio.create_task(candidates[0].run())
        await soon(lambda: terms)
        blocking = Candidate(store, "mail", "a", ttl=TTL, log=False)

        @blocking.on_elected
        def lead(term: Term) -> None:
            terms.append(term)
            send(signal.SIGTERM)

        blocking.run()
        await asyncio.wait_for(task, SOON)
        assert ["SIGTERM", "SIGTERM"] == [term.reason for term in terms]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # since 3.12 a fork beside threads warns
@on_a_loop
async def test_a_forked_child_is_ended_by_a_signal() -> None:
    """
    A child that is forked under run() has the handlers of before: SIGTERM ends it.
    """
    with connect("memory://") as store:
        (candidate,), terms = leading(store, "jobs")
        task = asyncio.create_task(candidate.run())
        await soon(lambda: terms)
        status: list[int] = []

        def fork() -> None:
            pid = os.fork()
            if pid == 0:
                signal.raise_signal(signal.SIGTERM)
                os._exit(0)
            status.append(os.waitpid(pid, 0)[1])

        await asyncio.to_thread(fork)
        assert (-signal.SIGTERM, False) == (os.waitstatus_to_exitcode(status[0]), task.done())
        send(signal.SIGTERM)
        await asyncio.wait_for(task, SOON)


@pytest.mark.parametrize("ended", [False, True])
def test_a_handler_that_comes_meanwhile_is_called_once_for_each_signal(ended: bool) -> None:
    """
    The program takes the signal while a run() is under way, as uvicorn does: it has it, and the run stops at it as
    well. What was left in the loop once called that handler without an end.
    """
    calls: list[int] = []
    given = signal.getsignal(signal.SIGTERM)

    @on_a_loop
    async def live() -> None:
        with connect("memory://") as store:
            (candidate,), terms = leading(store, "jobs")
            run = asyncio.create_task(candidate.run())
            await soon(lambda: len(terms) == 1)
            signal.signal(signal.SIGTERM, lambda number, _frame: calls.append(number))
            try:
                if ended:
                    await candidate.stop()
                else:
                    send(signal.SIGTERM)
                await asyncio.wait_for(run, SOON)
                before = len(calls)
                send(signal.SIGTERM)
                await soon(lambda: len(calls) > before)
                for _ in range(20):
                    await asyncio.sleep(0)
            finally:
                signal.signal(signal.SIGTERM, given)

    live()
    assert [signal.SIGTERM] * (1 if ended else 2) == calls


@on_a_loop
async def test_a_loops_handler_that_comes_meanwhile_takes_the_signal() -> None:
    """
    What the program gives its loop while a run() is under way is called, nothing stops, and it is left there.
    """
    calls: list[int] = []
    loop = asyncio.get_running_loop()
    with connect("memory://") as store:
        (candidate,), terms = leading(store, "jobs")
        run = asyncio.create_task(candidate.run())
        await soon(lambda: len(terms) == 1)
        loop.add_signal_handler(signal.SIGTERM, calls.append, 1)
        try:
            send(signal.SIGTERM)
            await soon(lambda: len(calls) == 1)
            assert candidate.is_leader
            await candidate.stop()
            await asyncio.wait_for(run, SOON)
            send(signal.SIGTERM)
            await soon(lambda: len(calls) == 2)
        finally:
            loop.remove_signal_handler(signal.SIGTERM)

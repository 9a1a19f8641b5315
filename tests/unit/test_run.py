"""
run(): blocks until the end, and has the signals meanwhile.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from witness import path, witness

from leadership import AsyncCandidate, Candidate, ConfigError, Follower, Term, Transition
from leadership.testing import Simulation

STOPPED = ["idle", "campaigning", "leader", "resigning", "idle"]


def on_leading(candidate: Candidate, then: Callable[[], object]) -> None:
    """
    Do something on the main thread, as a signal would, when the candidate leads.
    """

    @candidate.on_transition
    def seen(transition: Transition) -> None:
        if transition.dest == "leader":
            then()


def test_run_returns_after_a_stop(sim: Simulation) -> None:
    """
    run() blocks until the candidate that a callback has stopped is idle.
    """
    candidate = Candidate(sim.store, "jobs", node="a")
    candidate.on_elected(lambda term: (term.wait(7.0), candidate.stop()))
    candidate.run()

    assert 7.0 <= sim.now <= 7.1
    assert STOPPED == path(candidate)


def test_run_returns_after_a_resignation_without_rejoin(sim: Simulation) -> None:
    """
    resign(rejoin=False) ends run() as stop() does, and the reason is the term's.
    """
    candidate = Candidate(sim.store, "jobs", node="a")
    terms: list[Term] = []

    @candidate.on_elected
    def lead(term: Term) -> None:
        terms.append(term)
        candidate.resign("enough", rejoin=False)

    candidate.run()

    assert [("stopped", "enough")] == [(term.cause, term.reason) for term in terms]


def test_run_does_not_return_after_a_resignation_with_rejoin(sim: Simulation) -> None:
    """
    resign() stands again: run() goes on through three terms, until the stop.
    """
    candidate = Candidate(sim.store, "jobs", node="a", cool_down=0.5)
    told = witness(candidate)
    candidate.on_elected(lambda term: candidate.resign() if term.token < 3 else candidate.stop())
    candidate.run()

    assert ["demoted 1 resigned", "demoted 2 resigned", "demoted 3 stopped"] == told[1::2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_run(sim: Simulation, number: signal.Signals) -> None:
    """
    SIGINT and SIGTERM stop as stop() does: released, demoted with the signal as reason, run() returns normally.
    """
    candidate = Candidate(sim.store, "jobs", node="a")
    terms: list[Term] = []
    candidate.on_elected(terms.append)
    on_leading(candidate, lambda: sim._world.loop.call_later(1.0, signal.raise_signal, number))
    before = signal.getsignal(number)
    candidate.run()

    assert [("stopped", number.name)] == [(term.cause, term.reason) for term in terms]
    assert (None, before) == (sim.holder("jobs"), signal.getsignal(number))


def test_a_second_signal_acts_as_if_unhandled(sim: Simulation) -> None:
    """
    After the first signal the handlers of before are back: a second one is theirs, while the stop still waits.
    """
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: heard.append(number))
    try:
        candidate = Candidate(sim.store, "jobs", node="a", grace=5.0)
        candidate.on_demoted(lambda _term, _cause: sim.sleep(2.0))

        def raise_two() -> None:
            signal.raise_signal(signal.SIGTERM)
            assert [] == heard
            sim._world.loop.call_later(1.0, signal.raise_signal, signal.SIGTERM)

        on_leading(candidate, raise_two)
        candidate.run()
    finally:
        signal.signal(signal.SIGTERM, before)

    assert [signal.SIGTERM] == heard
    assert "idle" == candidate.state


def test_run_takes_the_signals_that_it_is_given(sim: Simulation) -> None:
    """
    signals=() leaves all handlers alone; signals=(SIGUSR1,) takes that one only.
    """
    untouched = signal.getsignal(signal.SIGTERM)
    for signals in ((), (signal.SIGUSR1,)):
        candidate = Candidate(sim.store, "jobs", node="a")
        inside: list[object] = []
        on_leading(candidate, lambda: inside.extend(map(signal.getsignal, (signal.SIGTERM, signal.SIGUSR1))))  # noqa: B023
        candidate.on_elected(lambda _term: candidate.stop())  # noqa: B023 - called within this round
        candidate.run(signals=signals)
        assert untouched is inside[0]
        assert (signal.SIG_DFL is inside[1]) == (signals == ())
        assert signal.SIG_DFL is signal.getsignal(signal.SIGUSR1)


@pytest.mark.parametrize(
    ("signals", "said"),
    [
        ((9,), "9 is not"),
        ((signal.SIGTERM, signal.SIGSTOP), "SIGSTOP"),
        (["TERM"], "'TERM' is not"),
        ("TERM", "not 'TERM'"),
        (None, "not None"),
        (signal.SIGTERM, "SIGTERM"),
        ([0], "0 is not"),
        ([True], "True is not"),
        ([signal.SIG_DFL], "SIG_DFL"),
    ],
)
@pytest.mark.parametrize("on_main", [True, False])
def test_run_refuses_what_is_no_signal(sim: Simulation, signals: Any, said: str, on_main: bool) -> None:
    """
    What nobody can handle is a ConfigError that names it, of both faces and on any thread; nothing has started.
    """
    candidate, beside = Candidate(sim.store, "jobs", node="a"), AsyncCandidate("memory://", "jobs")
    before = signal.getsignal(signal.SIGTERM)

    def run() -> None:
        with pytest.raises(ConfigError, match=said):
            candidate.run(signals=signals)
        with pytest.raises(ConfigError, match=said):
            asyncio.run(beside.run(signals=signals))

    if on_main:
        run()
    else:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(run).result()
    assert ([], ()) == (path(candidate), beside.history)
    assert before is signal.getsignal(signal.SIGTERM)


def test_a_signal_may_be_a_number_and_given_twice(sim: Simulation) -> None:
    """
    15 is SIGTERM, and twice is once.
    """
    candidate = Candidate(sim.store, "jobs", node="a")
    terms: list[Term] = []
    candidate.on_elected(terms.append)
    on_leading(candidate, lambda: sim._world.loop.call_later(1.0, signal.raise_signal, signal.SIGTERM))
    candidate.run(signals=iter([15, signal.SIGTERM]))  # type: ignore[arg-type]

    assert ["SIGTERM"] == [term.reason for term in terms]


def test_start_leaves_signals_alone(sim: Simulation) -> None:
    """
    A context manager and start() install no handler.
    """
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Candidate(sim.store, "jobs", node="a") as candidate, Follower(sim.store, "jobs"):
        candidate.wait_elected()
        assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_run_off_the_main_thread_installs_no_handler(sim: Simulation) -> None:
    """
    In a thread run() works, and the handlers are those of before.
    """
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    inside: list[object] = []
    candidate = Candidate(sim.store, "jobs", node="a")
    on_leading(candidate, lambda: inside.extend(map(signal.getsignal, (signal.SIGINT, signal.SIGTERM))))
    candidate.on_elected(lambda _term: candidate.stop())
    thread = threading.Thread(target=candidate.run)
    thread.start()
    thread.join()

    assert before == inside
    assert STOPPED == path(candidate)

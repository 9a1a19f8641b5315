"""
A term: current until its deadline or its end, and then for ever over.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from leadership import Candidate, DemotionCause, NotLeader, Term
from leadership.testing import Simulation, make_term


class Clock:
    """
    Time that a test sets.
    """

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Wakeup:
    """
    Waiting lets the test's time pass.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.waits: list[float] = []

    def set(self) -> None: ...

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None, "a term never waits beyond its deadline"
        self.waits.append(timeout)
        self.clock.now += timeout
        return False


def a_term(clock: Clock, lasts: float = 3.0) -> Term:
    return Term("jobs", "a", 7, clock.now + lasts, clock=clock, wakeup=Wakeup(clock))


def test_tells_whose_it_is() -> None:
    """
    A term names its election, node and token, and when it began, in UTC.
    """
    before = datetime.now(UTC)
    term = make_term(token=7, election="jobs", node="a")

    assert ("jobs", "a", 7) == (term.election, term.node, term.token)
    assert before <= term.elected_at <= datetime.now(UTC)
    assert "<Term 'jobs' node='a' token=7 current>" == repr(term)


def test_is_over_at_its_deadline_by_itself() -> None:
    """
    At the deadline the term is not current, though nobody has processed its end: the cause is not known yet.
    """
    clock = Clock()
    term = a_term(clock, lasts=3.0)
    clock.now += 2.9
    assert term.is_current
    assert term.remaining() == pytest.approx(0.1)
    clock.now = term.deadline

    assert (False, 0.0) == (term.is_current, term.remaining())
    assert (None, "", None) == (term.cause, term.detail, term.reason)
    assert "over (deadline)" in repr(term)


def test_check_passes_while_current() -> None:
    """
    check() says nothing while the term is current.
    """
    make_term(lasts=60.0).check()


def test_check_raises_at_the_deadline() -> None:
    """
    check() raises NotLeader from the deadline on, and names election, node and token.
    """
    clock = Clock()
    term = a_term(clock)
    clock.now = term.deadline

    with pytest.raises(NotLeader, match="'a' in 'jobs' with token 7 is over: its lease reached the local deadline"):
        term.check()


def test_wait_returns_false_when_the_time_is_up() -> None:
    """
    wait(1) of a term of 3 seconds returns False after one second.
    """
    clock = Clock()
    assert not a_term(clock).wait(1.0)
    assert 101.0 == clock.now


def test_wait_without_limit_ends_at_the_deadline() -> None:
    """
    wait() returns True at the deadline, even when nobody processes it.
    """
    clock = Clock()
    assert a_term(clock).wait()
    assert 103.0 == clock.now


@pytest.mark.parametrize("timeout", [0.0, -1.0])
def test_wait_zero_only_looks(timeout: float) -> None:
    """
    A wait of no time, or less, answers at once.
    """
    clock = Clock()
    term = a_term(clock)
    assert not term.wait(timeout)
    clock.now = term.deadline
    assert term.wait(timeout)
    assert 103.0 == clock.now


def test_wait_follows_a_renewal() -> None:
    """
    A renewal during the wait moves the deadline that is waited for.
    """
    clock = Clock()
    term = a_term(clock)

    class Renewing(Wakeup):
        def wait(self, timeout: float | None = None) -> bool:
            if len(self.waits) == 0:
                term._extend(106.0)
            return super().wait(timeout)

    term._wakeup = Renewing(clock)
    assert term.wait()
    assert 106.0 == clock.now


def test_the_end_has_cause_detail_and_reason(sim: Simulation) -> None:
    """
    A term that was resigned says so, in a word and in words, with the operator's reason.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0)
    candidate.start()
    term = candidate.wait_elected()
    assert term is not None
    candidate.resign("new release")

    assert (DemotionCause.RESIGNED, "it resigned", "new release") == (term.cause, term.detail, term.reason)
    assert (False, 0.0) == (term.is_current, term.remaining())
    assert "over (resigned)" in repr(term)
    with pytest.raises(NotLeader, match="it resigned"):
        term.check()


def test_the_detail_carries_the_error(sim: Simulation) -> None:
    """
    Where an error ended the term, its text is in the detail.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0)
    candidate.start()
    term = candidate.wait_elected()
    assert term is not None
    sim.fault("partition", node="a")
    sim.advance(3.0)

    assert DemotionCause.LEASE_EXPIRED == term.cause
    assert (
        "its lease reached the local deadline: no renewal was acknowledged within 2.7 s;"
        " the last one: renew session: no answer within 0.75 s"
    ) == term.detail


def test_wait_wakes_at_once_when_the_term_ends(sim: Simulation) -> None:
    """
    A callback in wait() goes on in the very moment in which the term ends, not at its deadline.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=30.0)
    woke: list[float] = []

    @candidate.on_elected
    def lead(term: Term) -> None:
        assert term.wait()
        woke.append(sim.now)

    candidate.start()
    candidate.wait_elected()
    sim.advance(5.0)
    assert [] == woke
    now = sim.now
    candidate.resign(timeout=0)
    sim.advance(0.001)

    assert [0.0] == [pytest.approx(at - now, abs=0.001) for at in woke]


def test_wait_counts_by_the_clock_of_its_own_process(sim: Simulation) -> None:
    """
    In a process whose clock runs 5 % fast, wait(21) takes 20 seconds of the store's.
    """
    sim.fault("clock", node="a", rate=1.05)
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0)
    took: list[float] = []

    @candidate.on_elected
    def lead(term: Term) -> None:
        began = sim.now
        assert not term.wait(21.0)
        took.append(sim.now - began)

    candidate.start()
    sim.advance(30.0)

    assert [pytest.approx(20.0)] == took


def test_make_term_needs_no_engine() -> None:
    """
    make_term() is current for the time that was asked for, and no thread is started.
    """
    term = make_term(token=3, lasts=60.0)
    assert (3, True) == (term.token, term.is_current)
    assert 59.0 < term.remaining() <= 60.0
    assert not make_term(lasts=0.0).is_current

"""
Callbacks: in order, exactly once, told the present when they come late, and unable to hurt the election.
"""

from __future__ import annotations

import logging

import pytest
from witness import witness, witness_leaders

from leadership import Candidate, DemotionCause, Term
from leadership.testing import Simulation


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message.split()[0] for record in caplog.records if record.levelno >= logging.WARNING]


def test_elected_and_demoted_alternate(sim: Simulation) -> None:
    """
    Through twenty sessions that are lost and resignations, each on_elected has exactly one on_demoted, with its term.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0, cool_down=0.0)
    told = witness(candidate)
    candidate.start()
    for number in range(20):
        assert candidate.wait_elected(timeout=30.0) is not None
        if number % 2:
            candidate.resign()
        else:
            sim.fault("expire", election="jobs")
            sim.run_until(lambda: not candidate.is_leader)
    candidate.stop()
    sim.advance(10.0)

    terms = [f"{word} {token}" for token in range(1, 21) for word in ("elected", "demoted")]
    assert terms == [" ".join(line.split()[:2]) for line in told]


def test_one_that_never_led_is_never_demoted(sim: Simulation) -> None:
    """
    A candidate that only waits, fails and stops calls neither.
    """
    leader, other = (Candidate(sim.store, "jobs", node=node, ttl=3.0) for node in ("a", "b"))
    leader.start()
    leader.wait_elected()
    told = witness(other)
    other.start()
    sim.advance(5.0)
    sim.fault("partition", node="b")
    sim.advance(20.0)
    other.stop()
    sim.advance(20.0)

    assert [] == told


def test_each_function_is_called(sim: Simulation) -> None:
    """
    Any number of functions, the same one twice too: each is called, with the same term.
    """
    candidate = Candidate(sim.store, "jobs", node="a")
    terms: list[Term] = []
    for _ in range(2):
        assert terms.append == candidate.on_elected(terms.append)
    candidate.on_elected(lambda term: terms.append(term))  # noqa: PLW0108 - another function
    candidate.start()
    term = candidate.wait_elected()
    sim.advance(0.1)

    assert [term] * 3 == terms


def test_a_late_on_elected_is_told_at_once(sim: Simulation) -> None:
    """
    A function that comes while the candidate leads is called for the present term; one that comes later is not.
    """
    candidate = Candidate(sim.store, "jobs", node="a")
    candidate.start()
    candidate.wait_elected()
    sim.advance(10.0)
    late = witness(candidate)
    sim.advance(0.01)
    assert ["elected 1"] == late
    candidate.stop()
    later = witness(candidate)
    sim.advance(10.0)

    assert (["elected 1", "demoted 1 stopped"], []) == (late, later)


def test_a_late_on_elected_is_not_told_of_a_term_that_is_over(sim: Simulation) -> None:
    """
    The process stood still beyond the deadline: what was given meanwhile is called for the next term, not for this.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0)
    candidate.start()
    sim.run_until(lambda: candidate.is_leader)
    sim.fault("stall", node="a")
    sim.advance(1.0)
    late: list[int] = []
    candidate.on_elected(lambda term: late.append(term.token))
    sim.advance(5.0)
    sim.heal()
    sim.advance(10.0)

    assert [2] == late


def test_a_late_on_demoted_is_told_of_the_next(sim: Simulation) -> None:
    """
    A function given during a term is told of its end; one given afterwards is told nothing of the past.
    """
    candidate = Candidate(sim.store, "jobs", node="a", cool_down=600.0)
    candidate.start()
    candidate.wait_elected()
    during: list[DemotionCause] = []
    after: list[DemotionCause] = []
    candidate.on_demoted(lambda _term, cause: during.append(cause))
    candidate.resign()
    candidate.on_demoted(lambda _term, cause: after.append(cause))
    sim.advance(10.0)

    assert ([DemotionCause.RESIGNED], []) == (during, after)


def test_a_late_on_leader_changed_is_told_at_once(sim: Simulation) -> None:
    """
    Who leads is told to a function that comes late; vacancy too, once it is known.
    """
    candidate = Candidate(sim.store, "jobs", node="a", cool_down=600.0)
    early = witness_leaders(candidate)
    candidate.start()
    candidate.wait_elected()
    sim.advance(1.0)
    late = witness_leaders(candidate)
    sim.advance(0.01)
    assert ["a=self"] == late
    candidate.resign()
    sim.advance(1.0)
    later = witness_leaders(candidate)
    sim.advance(0.01)

    assert "a=self" in early
    assert ["a=self", "nobody"] == late
    assert ["nobody"] == later


def test_on_leader_changed_follows_every_leader(sim: Simulation) -> None:
    """
    It is called once for each change of who leads, in order, and says when that is the candidate itself.
    """
    first, second = (Candidate(sim.store, "jobs", node=node, cool_down=5.0) for node in ("a", "b"))
    first.start()
    first.wait_elected()
    second.start()
    told = witness_leaders(second)
    sim.advance(1.0)
    first.resign()
    sim.advance(1.0)
    second.resign()
    assert first.wait_elected(10.0) is not None
    sim.advance(1.0)

    assert ["a", "nobody", "b=self", "nobody", "a"] == told


def test_on_leader_changed_tells_of_ignorance(sim: Simulation) -> None:
    """
    A watch that breaks makes the view stale, and that is a change; when the truth is read again that is one too.
    """
    leader, candidate = (Candidate(sim.store, "jobs", node=node, ttl=3.0) for node in ("a", "b"))
    leader.start()
    leader.wait_elected()
    candidate.start()
    sim.advance(1.0)
    told = witness_leaders(candidate)
    sim.fault("partition", node="b")
    sim.advance(8.0)
    assert ["a", "a stale"] == told
    assert candidate.is_stale
    sim.heal()
    sim.advance(8.0)

    assert ["a", "a stale", "a"] == told
    assert not candidate.is_stale


def test_a_callback_that_returns_keeps_the_term(sim: Simulation) -> None:
    """
    on_elected may return at once: the candidate leads on, renewal after renewal.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0)
    candidate.on_elected(lambda _term: None)
    candidate.start()
    term = candidate.wait_elected()
    sim.advance(600.0)

    assert term is candidate.term
    assert () == candidate.status().running_callbacks


def test_a_callback_may_last_as_long_as_the_term(sim: Simulation) -> None:
    """
    A callback that works for 200 TTLs costs no renewal, and is named in the status while it runs.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0)

    @candidate.on_elected
    def work(_term: Term) -> None:
        sim.sleep(600.0)

    candidate.start()
    term = candidate.wait_elected()
    sim.advance(599.0)
    (name,) = candidate.status().running_callbacks
    assert "on_elected:" in name
    assert "work" in name
    assert term is candidate.term
    sim.advance(2.0)

    assert () == candidate.status().running_callbacks
    assert term is candidate.term


def test_on_demoted_does_not_wait_for_on_elected(sim: Simulation) -> None:
    """
    on_demoted runs at once at the term's end, though on_elected is still returning; the term is over before both.
    """
    candidate = Candidate(sim.store, "jobs", node="a", grace=10.0)
    seen: list[tuple[str, float, bool]] = []

    @candidate.on_elected
    def lead(term: Term) -> None:
        term.wait()
        sim.sleep(3.0)
        seen.append(("on_elected", sim.now, term.is_current))

    @candidate.on_demoted
    def stand_down(term: Term, _cause: DemotionCause) -> None:
        seen.append(("on_demoted", sim.now, term.is_current))

    candidate.start()
    candidate.wait_elected()
    now = sim.now
    candidate.stop()

    assert ["on_demoted", "on_elected"] == [name for name, _, _ in seen]
    assert [0.0, 3.0] == [pytest.approx(at - now, abs=0.01) for _, at, _ in seen]
    assert [False, False] == [current for _, _, current in seen]

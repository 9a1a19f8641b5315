"""
The deadline of a session: what it counts from, what moves it, and what must not.

No test but these saw the faults of which they tell when they were planted (docs/mutants.md).
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from leadership import Candidate
from leadership.store import Outcome, Reply
from leadership.testing import Simulation
from leadership.testing._store import SimulatedSession

TTL = 3.0
BELIEF = 2.7
"""Of the TTL, what the margin leaves."""


def leader(sim: Simulation) -> Candidate:
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    candidate.start()
    assert sim.run_until(lambda: candidate.is_leader)
    return candidate


def test_a_grant_counts_from_its_sending(sim: Simulation) -> None:
    """
    Where grant and acquire take 0.6 s each, a term begins with that much less of its lease.
    """
    sim.fault("delay", node="a", least=0.3, most=0.3)
    begun = sim.now
    candidate = leader(sim)
    assert candidate.term is not None

    assert 1.2 == pytest.approx(sim.now - begun, abs=0.01)
    assert BELIEF - 1.2 == pytest.approx(candidate.term.remaining(), abs=0.01)


def test_a_renewal_counts_from_what_the_store_says_that_it_proves(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A store whose acknowledgement proves less of the lease than its sending says so, and is heeded.
    """
    candidate = leader(sim)
    driver, asked = candidate._driver, SimulatedSession.renew
    assert driver is not None

    async def renew(session: SimulatedSession) -> Reply:
        sent = driver.engine.now()
        return replace(await asked(session), since=sent - 0.5)

    monkeypatch.setattr(SimulatedSession, "renew", renew)
    term = candidate.term
    assert term is not None
    first = term.deadline
    assert sim.run_until(lambda: term.deadline > first)

    assert BELIEF - 0.5 == pytest.approx(term.remaining(), abs=0.01)


def test_an_acknowledgement_that_was_overtaken_moves_nothing_back(sim: Simulation) -> None:
    """
    The reply to a renewal comes after that to the next one: the deadline stays where the next one has put it.
    """
    candidate = leader(sim)
    term = candidate.term
    assert term is not None
    first = term.deadline
    sim.fault("delay", node="a", least=0.7, most=0.7)
    sim.advance(1.8)  # a renewal is under way, its answer too
    sim.heal("delay", node="a")
    deadlines: list[float] = []

    def look() -> bool:
        deadlines.append(term.deadline)
        return False

    sim.run_until(look, timeout=0.8)

    assert candidate.is_leader
    assert deadlines[-1] > first + 1.5
    assert sorted(deadlines) == deadlines


def test_the_answer_to_another_session_ends_none(sim: Simulation) -> None:
    """
    The old session's renewal is refused when the next one leads already: that concerns nobody.
    """
    candidate = leader(sim)
    sim.fault("delay", node="a", least=0.7, most=0.7)
    sim.advance(1.02)  # a renewal is on its way
    sim.heal("delay", node="a")
    sim.fault("expire", election="jobs")
    assert sim.run_until(lambda: not candidate.is_leader, timeout=0.1)
    assert sim.run_until(lambda: candidate.is_leader, timeout=0.5), "before the renewal has arrived"
    sim.advance(10.0)

    ends = [str(record.cause) for record in candidate.history if record.source == "leader"]
    assert ["session_lost"] == ends
    assert candidate.is_leader


def test_a_session_that_was_granted_too_late_is_not_used(sim: Simulation) -> None:
    """
    A process that stood still while its session was granted finds that over, says so, and asks for another.
    """
    told: list[str] = []
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    candidate.on_error(lambda error: told.append(str(error)))
    candidate.start()
    sim.advance(0.0)
    sim.fault("stall", node="a", seconds=TTL)
    assert sim.run_until(lambda: candidate.is_leader, timeout=2 * TTL)

    assert ["a session of 3 s was granted later than it lasts"] == told


def test_a_refused_renewal_ends_the_term_at_once(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The store knows of no such session, and no watch has told of it: the leader does not wait for its deadline.
    """
    candidate = leader(sim)

    async def renew(_session: SimulatedSession) -> Reply:
        return Reply(Outcome.REFUSED)

    monkeypatch.setattr(SimulatedSession, "renew", renew)
    begun = sim.now
    assert sim.run_until(lambda: not candidate.is_leader)

    assert 1.0 == pytest.approx(sim.now - begun, abs=0.1), "at the first renewal"
    (end,) = (record for record in candidate.history if record.source == "leader")
    assert "session_lost" == str(end.cause)


def test_an_old_session_is_ended_before_a_new_one_is_asked_for(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A store may keep a session longer than it has promised, as Consul does: who comes back is not kept out by itself.
    """
    grant = sim._network.server.grant
    monkeypatch.setattr(sim._network.server, "grant", lambda name, ttl, notify: grant(name, 10 * ttl, notify))
    candidate = leader(sim)
    sim.fault("partition", node="a")
    assert sim.run_until(lambda: not candidate.is_leader)
    sim.heal()

    assert sim.run_until(lambda: candidate.is_leader, timeout=TTL)

"""
To resign: step down and stand again later, or withdraw, or leave; with a reason, and from anywhere.
"""

from __future__ import annotations

import pytest
from witness import path, witness

from leadership import Candidate, DemotionCause, Follower, Term
from leadership.testing import Simulation


def leading(sim: Simulation, node: str = "a", **settings: float) -> tuple[Candidate, Term]:
    candidate = Candidate(sim.store, "jobs", node=node, **settings)  # type: ignore[arg-type]  # seconds only
    candidate.start()
    term = candidate.wait_elected()
    assert term is not None
    return candidate, term


def test_a_leader_that_resigns_is_replaced(sim: Simulation) -> None:
    """
    resign() returns True when the entry is released; who waited is elected in milliseconds, with a greater token.
    """
    candidate, term = leading(sim)
    other = Candidate(sim.store, "jobs", node="b")
    other.start()
    sim.advance(1.0)
    assert candidate.resign("tired")
    next_term = other.wait_elected(timeout=0.1)
    assert next_term is not None

    assert (DemotionCause.RESIGNED, "tired") == (term.cause, term.reason)
    assert next_term.token > term.token
    assert ["leader", "resigning", "backoff"] == path(candidate)[-3:]


def test_it_stands_again_after_the_cool_down(sim: Simulation) -> None:
    """
    Alone, it is elected again, but not before its cool-down of one second is over.
    """
    candidate, term = leading(sim)
    candidate.resign()
    resigned = sim.now
    again = candidate.wait_elected(timeout=5.0)
    assert again is not None

    assert 1.0 <= sim.now - resigned < 1.1
    assert again.token > term.token


@pytest.mark.parametrize("cool_down", [0.0, 0.25, 20.0])
def test_the_cool_down_is_the_candidates_own(sim: Simulation, cool_down: float) -> None:
    """
    The candidate's cool_down= says how long it stays out, unless resign() says otherwise.
    """
    candidate, _ = leading(sim, cool_down=cool_down)
    candidate.resign()
    resigned = sim.now
    assert candidate.wait_elected(timeout=60.0) is not None
    assert cool_down <= sim.now - resigned < cool_down + 0.1

    candidate.resign(cool_down=5.0)
    resigned = sim.now
    assert candidate.wait_elected(timeout=60.0) is not None
    assert 5.0 <= sim.now - resigned < 5.1


def test_a_long_cool_down_is_an_abstention(sim: Simulation) -> None:
    """
    For an hour it does not stand, though nobody leads in between; and it follows all the time.
    """
    candidate, _ = leading(sim)
    candidate.resign(cool_down=3600.0)
    sim.advance(600.0)
    assert ("backoff", None, None, False) == (
        candidate.state,
        sim.holder("jobs"),
        candidate.leader,
        candidate.is_stale,
    )
    other, term = leading(sim, "b")
    sim.advance(0.1)
    leader = candidate.leader
    assert leader is not None
    assert ("b", term.token, False) == (leader.node, leader.token, leader.is_self)
    other.stop()
    sim.advance(1.0)
    assert candidate.leader is None
    assert 2900.0 < (candidate.status().next_retry or 0.0) < 3000.0

    assert candidate.wait_elected(timeout=3600.0) is not None
    assert 3600.0 <= sim.now < 3601.0


def test_resign_without_rejoin_is_a_stop_with_a_reason(sim: Simulation) -> None:
    """
    resign(rejoin=False) leaves the contest, and the reason reaches term and record.
    """
    candidate, term = leading(sim)
    assert candidate.resign("moving out", rejoin=False)
    sim.advance(60.0)

    assert ("idle", None) == (candidate.state, sim.holder("jobs"))
    assert (DemotionCause.STOPPED, "moving out") == (term.cause, term.reason)
    assert [("stop", "moving out")] == [(r.trigger, r.reason) for r in candidate.history if r.source == "leader"]


def test_one_that_never_started_has_nothing_to_resign(sim: Simulation) -> None:
    """
    resign() before start() is settled at once, with or without rejoin; it starts nothing.
    """
    candidate = Candidate(sim.store, "jobs", node="a")
    assert candidate.resign()
    assert candidate.resign(rejoin=False)
    sim.advance(10.0)

    assert ("idle", ()) == (candidate.state, candidate.history)


def test_one_that_has_stopped_stays_out(sim: Simulation) -> None:
    """
    resign() after stop() is settled at once and does not stand again.
    """
    candidate, _ = leading(sim)
    candidate.stop()
    assert candidate.resign()
    sim.advance(10.0)

    assert "idle" == candidate.state


def test_one_that_waits_withdraws(sim: Simulation) -> None:
    """
    resign() while campaigning withdraws: when the leader goes, it is not the successor until its cool-down is over.
    """
    leader, _ = leading(sim, "leader")
    candidate = Candidate(sim.store, "jobs", node="a")
    told = witness(candidate)
    candidate.start()
    sim.advance(1.0)
    assert candidate.resign(cool_down=10.0)
    assert "backoff" == candidate.state
    leader.stop()
    sim.advance(9.9)
    assert (None, []) == (sim.holder("jobs"), told)
    sim.advance(0.2)

    assert ["elected 2"] == told


def test_one_in_backoff_stores_the_cool_down(sim: Simulation) -> None:
    """
    resign() in backoff makes the wait longer, never shorter.
    """
    candidate, _ = leading(sim)
    candidate.resign(cool_down=10.0)
    assert candidate.resign(cool_down=30.0)
    status = candidate.status()
    assert status.next_retry is not None
    assert 29.0 < status.next_retry <= 30.0
    assert candidate.resign(cool_down=1.0)
    status = candidate.status()
    assert status.next_retry is not None
    assert 29.0 < status.next_retry <= 30.0

    assert candidate.wait_elected(timeout=60.0) is not None
    assert 30.0 <= sim.now < 30.2


def test_one_that_cleans_up_stores_the_cool_down(sim: Simulation) -> None:
    """
    resign() during the clean-up after a lost session is remembered for the backoff behind it.
    """
    candidate, _ = leading(sim, grace=5.0)
    candidate.on_demoted(lambda _term, _cause: sim.sleep(1.0))
    sim.fault("expire", election="jobs")
    assert sim.run_until(lambda: candidate.state == "error", timeout=1.0)
    assert candidate.resign(cool_down=30.0)
    settled = sim.now
    assert "backoff" == candidate.state

    assert candidate.wait_elected(timeout=60.0) is not None
    assert 30.0 <= sim.now - settled < 30.1


def test_it_returns_when_the_callbacks_are_back(sim: Simulation) -> None:
    """
    resign() waits for the callbacks of the term: they take two seconds, and so does it.
    """
    candidate, _ = leading(sim, grace=5.0)
    candidate.on_demoted(lambda _term, _cause: sim.sleep(2.0))
    began = sim.now
    assert candidate.resign()

    assert 2.0 <= sim.now - began < 2.1
    assert sim.holder("jobs") is None


def test_it_returns_false_when_the_time_is_up(sim: Simulation) -> None:
    """
    resign(timeout=0.5) returns after half a second, and the resignation goes on.
    """
    candidate, term = leading(sim, grace=5.0)
    candidate.on_demoted(lambda _term, _cause: sim.sleep(2.0))
    began = sim.now
    assert not candidate.resign(timeout=0.5)
    assert 0.5 == pytest.approx(sim.now - began)
    assert ("a", False) == (sim.holder("jobs"), term.is_current)
    sim.advance(1.6)

    assert sim.holder("jobs") is None


def test_from_inside_a_callback_it_only_asks(sim: Simulation) -> None:
    """
    resign() in on_elected returns False at once, and the term ends.
    """
    candidate = Candidate(sim.store, "jobs", node="a")
    told = witness(candidate)
    answers: list[tuple[bool, float]] = []

    @candidate.on_elected
    def lead(term: Term) -> None:
        if term.token == 1:
            began = sim.now
            answers.append((candidate.resign("from inside"), sim.now - began))
            assert term.wait()

    candidate.start()
    sim.advance(0.5)

    assert ([(False, 0.0)], "backoff") == (answers, candidate.state)
    assert ["elected 1", "demoted 1 resigned"] == told


def test_two_who_resign_at_once_are_both_answered(sim: Simulation) -> None:
    """
    A second resign() during the first waits for the same release.
    """
    candidate, _ = leading(sim, grace=5.0, cool_down=100.0)
    candidate.on_demoted(lambda _term, _cause: sim.sleep(1.0))
    assert not candidate.resign(timeout=0.1)
    assert candidate.resign()

    assert (None, 1) == (sim.holder("jobs"), path(candidate).count("resigning"))


def test_a_stop_overtakes_a_resignation(sim: Simulation) -> None:
    """
    stop() during a resignation ends in idle, and demotes nobody twice.
    """
    candidate, _ = leading(sim, grace=5.0)
    told = witness(candidate)
    candidate.on_demoted(lambda _term, _cause: sim.sleep(1.0))
    assert not candidate.resign(timeout=0.1)
    assert candidate.stop()
    sim.advance(60.0)

    assert ("idle", ["elected 1", "demoted 1 resigned"]) == (candidate.state, told)


def test_it_keeps_its_time_when_the_store_hangs(sim: Simulation) -> None:
    """
    With a dead store resign() returns within grace and TTL; belief has ended at once.
    """
    candidate, term = leading(sim, ttl=3.0, grace=1.0)
    sim.fault("hang")
    began = sim.now
    candidate.resign()

    assert sim.now - began <= 4.0
    assert (False, DemotionCause.RESIGNED) == (term.is_current, term.cause)


def test_an_operator_asks_the_leader_of_a_term(sim: Simulation) -> None:
    """
    A request at the store that names the term's token is carried out by its leader, and by nobody else.
    """
    _candidate, term = leading(sim)
    other = Candidate(sim.store, "jobs", node="b")
    other.start()
    sim.advance(1.0)
    loop = sim._world.loop
    loop.create_task(sim.store.request_resign("jobs", term.token, "maintenance"))
    assert other.wait_elected(timeout=0.2) is not None

    assert (DemotionCause.RESIGNED, "maintenance") == (term.cause, term.reason)
    assert ["idle", "campaigning", "leader"] == path(other)


def test_an_operators_request_for_an_earlier_term_is_refused(sim: Simulation) -> None:
    """
    A request that names a term that is over ends no other term.
    """
    candidate, first = leading(sim, cool_down=0.0)
    candidate.resign()
    term = candidate.wait_elected()
    assert term is not None
    sim._world.loop.create_task(sim.store.request_resign("jobs", first.token, None))
    sim.advance(60.0)

    assert term.is_current


def test_everybody_is_told(sim: Simulation) -> None:
    """
    The record of a resignation carries the reason, and a follower sees the office vacant and taken again.
    """
    follower = Follower(sim.store, "jobs")
    follower.start()
    candidate, _ = leading(sim)
    sim.advance(0.1)
    candidate.resign("told")
    sim.advance(2.0)

    assert [("leader", "resigned", "told")] == [(r.source, r.cause, r.reason) for r in candidate.history if r.reason]
    assert ["following", "vacant", "following"] == path(follower)[-3:]

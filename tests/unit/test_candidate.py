"""
A candidate's life: started, stopped, started again, from anywhere and in any state.
"""

from __future__ import annotations

import os
import socket

import pytest
from witness import path, witness

from leadership import Candidate, Term
from leadership.testing import Simulation

ELECTED = ["idle", "campaigning", "leader"]
STOPPED = ["resigning", "idle"]


def test_is_nothing_before_its_start(sim: Simulation) -> None:
    """
    A candidate that was not started knows nothing, leads nothing, and says so.
    """
    candidate = Candidate(sim.store, "jobs")

    assert ("idle", False, None, None, True) == (
        candidate.state,
        candidate.is_leader,
        candidate.term,
        candidate.leader,
        candidate.is_stale,
    )
    assert (None, ()) == (candidate.node, candidate.history)
    assert "<Candidate 'jobs' node=None idle>" == repr(candidate)


def test_the_node_is_host_and_pid_by_default(sim: Simulation) -> None:
    """
    Without a name the node is host:pid of the process that starts it.
    """
    candidate = Candidate(sim.store, "jobs")
    candidate.start()
    term = candidate.wait_elected()
    assert term is not None

    assert f"{socket.gethostname()}:{os.getpid()}" == candidate.node == term.node


def test_start_does_not_wait_for_the_store(sim: Simulation) -> None:
    """
    start() returns before anything has happened, with a store that is down as with any other.
    """
    sim.fault("down")
    candidate = Candidate(sim.store, "jobs", node="a")
    candidate.start()

    assert (0.0, False) == (sim.now, candidate.is_leader)


def test_a_lone_candidate_is_elected(sim: Simulation) -> None:
    """
    Nobody else stands: it leads in milliseconds, and knows it by every one of its words.
    """
    candidate = Candidate(sim.store, "jobs", node="a")
    candidate.start()
    term = candidate.wait_elected(timeout=0.1)
    assert term is not None
    leader = candidate.leader
    assert leader is not None

    assert ELECTED == path(candidate)
    assert (True, False, "leader") == (candidate.is_leader, candidate.is_stale, candidate.state)
    assert term is candidate.term
    assert ("a", term.token, True) == (leader.node, leader.token, leader.is_self)


def test_start_is_idempotent(sim: Simulation) -> None:
    """
    A second start changes nothing, at once or later: there is one campaign and one term.
    """
    candidate = Candidate(sim.store, "jobs", node="a")
    candidate.start()
    candidate.start()
    term = candidate.wait_elected()
    candidate.start()
    sim.advance(60.0)

    assert ELECTED == path(candidate)
    assert term is candidate.term


def test_stop_is_idempotent(sim: Simulation) -> None:
    """
    Stop before the first start, twice after it, and of what has stopped: True each time, and nothing moves.
    """
    candidate = Candidate(sim.store, "jobs", node="a")
    told = witness(candidate)
    assert candidate.stop()
    candidate.start()
    candidate.wait_elected()
    assert candidate.stop()
    assert candidate.stop()
    sim.advance(60.0)

    assert [*ELECTED, *STOPPED] == path(candidate)
    assert ["elected 1", "demoted 1 stopped"] == told
    assert sim.holder("jobs") is None


def test_stop_releases_before_it_returns(sim: Simulation) -> None:
    """
    When stop() has returned True the entry is gone: the next leader is elected within milliseconds.
    """
    first, second = (Candidate(sim.store, "jobs", node=node) for node in ("a", "b"))
    first.start()
    first.wait_elected()
    second.start()
    sim.advance(1.0)
    assert first.stop()
    assert sim.holder("jobs") in (None, "b")

    assert second.wait_elected(timeout=0.1) is not None


def test_a_stop_right_after_the_start_is_settled_when_it_returns(sim: Simulation) -> None:
    """
    stop() answers for the start before it too: when it has returned True, nothing moves any more.
    """
    candidate = Candidate(sim.store, "jobs", node="a")
    candidate.start()
    assert candidate.stop()
    seen = path(candidate)
    sim.advance(60.0)

    assert seen == path(candidate)
    assert (None, "idle") == (sim.holder("jobs"), candidate.state)


def test_start_after_stop_stands_again(sim: Simulation) -> None:
    """
    A stopped candidate that is started is elected again, with a greater token.
    """
    candidate = Candidate(sim.store, "jobs", node="a")
    told = witness(candidate)
    for _ in range(3):
        candidate.start()
        assert candidate.wait_elected(timeout=1.0) is not None
        assert candidate.stop()

    assert [*ELECTED, *STOPPED, *(ELECTED[1:] + STOPPED) * 2] == path(candidate)
    assert [line.format(token) for token in (1, 2, 3) for line in ("elected {}", "demoted {} stopped")] == told


def test_a_start_while_stopping_is_remembered(sim: Simulation) -> None:
    """
    start() during a clean-up stands again when that is over, by itself.
    """
    candidate = Candidate(sim.store, "jobs", node="a", grace=5.0)
    told = witness(candidate)

    @candidate.on_elected
    def lead(term: Term) -> None:
        term.wait()
        sim.sleep(2.0)

    candidate.start()
    candidate.wait_elected()
    assert not candidate.stop(timeout=0.5)
    assert "resigning" == candidate.state
    candidate.start()
    sim.advance(1.0)
    assert "resigning" == candidate.state

    assert sim.run_until(lambda: told == ["elected 1", "demoted 1 stopped", "elected 2"], timeout=1.0)


def test_a_stop_after_a_remembered_start_counts(sim: Simulation) -> None:
    """
    stop, start, stop, all during one clean-up: the last word holds.
    """
    candidate = Candidate(sim.store, "jobs", node="a", grace=5.0)
    candidate.on_demoted(lambda _term, _cause: sim.sleep(2.0))
    candidate.start()
    candidate.wait_elected()
    assert not candidate.stop(timeout=0.1)
    candidate.start()
    assert not candidate.stop(timeout=0.1)
    assert candidate.stop()
    sim.advance(60.0)

    assert [*ELECTED, *STOPPED] == path(candidate)


def contended(sim: Simulation, candidate: Candidate) -> None:
    other = Candidate(sim.store, "jobs", node="other")
    other.start()
    other.wait_elected()
    candidate.start()
    sim.run_until(lambda: candidate.state == "campaigning" and candidate.leader is not None)


def backing_off(sim: Simulation, candidate: Candidate) -> None:
    sim.fault("down")
    candidate.start()
    sim.run_until(lambda: candidate.state == "backoff")


def cleaning_up(sim: Simulation, candidate: Candidate) -> None:
    candidate.on_demoted(lambda _term, _cause: sim.sleep(1.0))
    candidate.start()
    candidate.wait_elected()
    sim.fault("expire", election="jobs")
    sim.run_until(lambda: candidate.state == "error")


def leading(sim: Simulation, candidate: Candidate) -> None:
    candidate.start()
    candidate.wait_elected()
    sim.advance(0.0)


def resigning(sim: Simulation, candidate: Candidate) -> None:
    candidate.on_demoted(lambda _term, _cause: sim.sleep(1.0))
    leading(sim, candidate)
    candidate.resign(timeout=0.1)


def hanging(sim: Simulation, candidate: Candidate) -> None:
    sim.fault("hang")
    candidate.start()
    sim.advance(0.1)


IN_STATE = {
    "campaigning": contended,
    "backoff": backing_off,
    "error": cleaning_up,
    "leader": leading,
    "resigning": resigning,
    "campaigning, no answer": hanging,
}


@pytest.mark.parametrize("state", IN_STATE)
def test_stop_is_prompt_in_every_state(sim: Simulation, state: str) -> None:
    """
    stop() returns True within the second that the callbacks take, or the time-out of one call; then it is idle.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0, grace=5.0)
    IN_STATE[state](sim, candidate)
    assert state.partition(",")[0] == candidate.state
    began = sim.now
    assert candidate.stop()

    assert sim.now - began <= 1.5
    assert ("idle", False) == (candidate.state, candidate.is_leader)


@pytest.mark.parametrize("state", IN_STATE)
def test_start_is_idempotent_in_every_state(sim: Simulation, state: str) -> None:
    """
    start() of one that stands already is no new start, and asks for nothing impossible.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0, grace=5.0)
    IN_STATE[state](sim, candidate)
    candidate.start()
    sim.advance(10.0)

    assert 1 == path(candidate).count("idle")
    assert [] == [record for record in candidate.history if record.disposition == "illegal"]


@pytest.mark.parametrize("fault", ["hang", "down"])
@pytest.mark.parametrize("timeout", [0.0, 0.3, None])
def test_stop_keeps_its_time_when_the_store_does_not_answer(sim: Simulation, fault: str, timeout: float | None) -> None:
    """
    A leader whose store is dead stops within the time given, or within grace and TTL; its belief ends at once.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0, grace=1.0)
    candidate.start()
    candidate.wait_elected()
    sim.fault(fault)
    began = sim.now
    settled = candidate.stop(timeout)

    assert sim.now - began <= (4.0 if timeout is None else timeout)
    sim.advance(0.0)
    assert not candidate.is_leader
    assert settled == (candidate.state == "idle")
    assert settled or timeout is not None


def test_stop_from_inside_a_callback_only_asks(sim: Simulation) -> None:
    """
    stop() in on_elected returns False at once, and the candidate stops when the callback has returned.
    """
    candidate = Candidate(sim.store, "jobs", node="a")
    answers: list[tuple[bool, float]] = []

    @candidate.on_elected
    def lead(_term: Term) -> None:
        began = sim.now
        answers.append((candidate.stop(), sim.now - began))

    candidate.start()
    assert sim.run_until(lambda: path(candidate)[-2:] == STOPPED, timeout=1.0)
    assert [(False, 0.0)] == answers


@pytest.mark.parametrize("name", ["on_demoted", "on_leader_changed"])
def test_stop_from_inside_any_callback_only_asks(sim: Simulation, name: str) -> None:
    """
    The same holds in on_demoted and on_leader_changed.
    """
    candidate = Candidate(sim.store, "jobs", node="a", cool_down=30.0)
    answers: list[bool] = []
    getattr(candidate, name)(lambda *_told: answers.append(candidate.stop()))
    candidate.start()
    candidate.wait_elected()
    candidate.resign(timeout=0.0)

    assert sim.run_until(lambda: candidate.state == "idle", timeout=1.0)
    assert {False} == set(answers)


def test_stop_from_a_callback_of_another_candidate_waits(sim: Simulation) -> None:
    """
    Only one's own callbacks are inside: another candidate's stop is waited for, and succeeds.
    """
    first, second = (Candidate(sim.store, election, node="a") for election in ("jobs", "mail"))
    answers: list[bool] = []
    second.start()
    second.wait_elected()
    first.on_elected(lambda _term: answers.append(second.stop()))
    first.start()
    sim.advance(1.0)

    assert ([True], "idle", "leader") == (answers, second.state, first.state)


def test_a_context_starts_and_stops(sim: Simulation) -> None:
    """
    `with candidate:` stands inside, and has stopped behind, after an exception too.
    """
    candidate = Candidate(sim.store, "jobs", node="a")

    def fail() -> None:
        with candidate as same:
            assert candidate is same
            assert candidate.wait_elected(1.0) is not None
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert ("idle", None) == (candidate.state, sim.holder("jobs"))

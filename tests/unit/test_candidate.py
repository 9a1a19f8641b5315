"""
A candidate's life: started, stopped, started again, from anywhere and in any state.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable

import pytest
from witness import path, witness

from leadership import Candidate, Follower, Term, Transition
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
    assert ["elected 1", "demoted 1 stopped", "elected 2", "demoted 2 stopped", "elected 3", "demoted 3 stopped"] == told


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
def test_stop_keeps_its_time_when_the_store_does_not_answer(
    sim: Simulation, fault: str, timeout: float | None
) -> None:
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
    with pytest.raises(KeyError), candidate as same:
        assert candidate is same
        assert candidate.wait_elected(1.0) is not None
        raise KeyError

    assert ("idle", None) == (candidate.state, sim.holder("jobs"))


# -- run ----------------------------------------------------------------------------------------------------------


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
    assert [*ELECTED, *STOPPED] == path(candidate)


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

    assert ["elected 1", "demoted 1 resigned", "elected 2", "demoted 2 resigned", "elected 3", "demoted 3 stopped"] == told


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
    assert [*ELECTED, *STOPPED] == path(candidate)


# -- names --------------------------------------------------------------------------------------------------------


def test_two_candidates_of_one_name_are_kept_apart(sim: Simulation, caplog: pytest.LogCaptureFixture) -> None:
    """
    Two candidates of one process, election and node are allowed: one leads, the other waits, and a warning says so.
    """
    first, second = (Candidate(sim.store, "jobs", node="a") for _ in range(2))
    with caplog.at_level(logging.WARNING, "leadership"):
        first.start()
        first.wait_elected()
        assert [] == caplog.records
        second.start()
        sim.advance(60.0)
    assert (True, False) == (first.is_leader, second.is_leader)
    assert (True, False) == tuple(face.leader is not None and face.leader.is_self for face in (first, second))
    assert ["leadership.node_name_shared"] == [record.message.split()[0] for record in caplog.records]
    assert first.history[0].incarnation != second.history[0].incarnation
    first.stop()

    assert second.wait_elected(0.1) is not None


def test_several_candidates_of_one_process_elect_one(sim: Simulation) -> None:
    """
    Ten candidates of one process stand in one election: each leads in its turn, never two at a time.
    """
    candidates = [Candidate(sim.store, "jobs", node="a") for _ in range(10)]
    for candidate in candidates:
        candidate.start()
    terms: list[int] = []
    for _ in candidates:
        assert sim.run_until(lambda: any(candidate.is_leader for candidate in candidates), timeout=1.0)
        (leader,) = (candidate for candidate in candidates if candidate.is_leader)
        assert leader.term is not None
        terms.append(leader.term.token)
        assert leader.stop()

    assert list(range(1, 11)) == terms


def test_one_process_leads_many_elections(sim: Simulation) -> None:
    """
    A hundred elections in one process share one session, and the end of one term touches no other.
    """
    candidates = [Candidate(sim.store, f"jobs/{number}", node="a") for number in range(100)]
    for candidate in candidates:
        candidate.start()
    assert sim.run_until(lambda: all(candidate.is_leader for candidate in candidates), timeout=1.0)
    candidates[0].resign(cool_down=600.0)
    candidates[1].stop()
    sim.advance(60.0)

    assert 1 == len(sim._network.server.leases)
    assert [False, False, *[True] * 98] == [candidate.is_leader for candidate in candidates]


def test_an_election_may_be_named_like_the_parent_of_another(sim: Simulation) -> None:
    """
    'a' and 'a/b' are two elections.
    """
    parent, child = (Candidate(sim.store, election, node="n") for election in ("a", "a/b"))
    parent.start()
    child.start()
    assert sim.run_until(lambda: parent.is_leader and child.is_leader, timeout=1.0)
    parent.stop()

    assert child.is_leader

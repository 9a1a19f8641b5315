"""
Callbacks: in order, exactly once, told the present when they come late, and unable to hurt the election.
"""

from __future__ import annotations

import logging
from typing import Any

import pytest
from witness import path, witness, witness_leaders

from leadership import Candidate, DemotionCause, LeadershipError, NotLeader, Term
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

    assert [("on_demoted", pytest.approx(now, abs=0.01), False), ("on_elected", pytest.approx(now + 3.0), False)] == seen


# -- the release waits --------------------------------------------------------------------------------------------


def test_the_successor_waits_for_the_callbacks(sim: Simulation) -> None:
    """
    A leader resigns, its on_elected takes two seconds to end: the next term begins after that, not before.
    """
    first, second = (Candidate(sim.store, "jobs", node=node, grace=5.0) for node in ("a", "b"))
    ended: list[float] = []
    began: list[float] = []

    @first.on_elected
    def lead(term: Term) -> None:
        term.wait()
        sim.sleep(2.0)
        ended.append(sim.now)

    second.on_elected(lambda _term: began.append(sim.now))
    first.start()
    first.wait_elected()
    second.start()
    sim.advance(1.0)
    first.resign()
    sim.advance(1.0)

    assert ended[0] < began[0] < ended[0] + 0.1


@pytest.mark.parametrize("grace", [0.0, 1.0, 4.0])
def test_grace_bounds_the_wait(sim: Simulation, grace: float) -> None:
    """
    A callback that does not end in time costs grace seconds: then the entry is released all the same.
    """
    first, second = (Candidate(sim.store, "jobs", node=node, ttl=15.0, grace=grace) for node in ("a", "b"))
    first.on_elected(lambda _term: sim.sleep(1e6))
    first.start()
    first.wait_elected()
    second.start()
    sim.advance(1.0)
    resigned = sim.now
    assert first.resign()
    assert second.wait_elected(1.0) is not None

    assert grace <= sim.now - resigned < grace + 0.1


def test_without_grace_the_wait_ends_at_the_deadline(sim: Simulation) -> None:
    """
    By default callbacks have until the local deadline, and no longer: then another may lead.
    """
    first, second = (Candidate(sim.store, "jobs", node=node, ttl=3.0) for node in ("a", "b"))
    first.on_elected(lambda _term: sim.sleep(1e6))
    first.start()
    term = first.wait_elected()
    assert term is not None
    second.start()
    sim.advance(10.0)
    left = term.remaining()
    resigned = sim.now
    assert first.resign()
    assert second.wait_elected(1.0) is not None

    assert left <= sim.now - resigned < left + 0.1


def test_a_grace_beyond_the_lease_is_no_longer_lease(sim: Simulation) -> None:
    """
    While callbacks run out a long grace the session is renewed, so that the successor waits for them.
    """
    first, second = (Candidate(sim.store, "jobs", node=node, ttl=3.0, grace=30.0) for node in ("a", "b"))
    ended: list[float] = []

    @first.on_elected
    def lead(term: Term) -> None:
        term.wait()
        sim.sleep(20.0)
        ended.append(sim.now)

    first.start()
    first.wait_elected()
    second.start()
    sim.advance(1.0)
    first.resign(timeout=0.0)
    assert second.wait_elected(60.0) is not None

    assert ended[0] <= sim.now < ended[0] + 0.1


@pytest.mark.parametrize("kind", ["on_elected", "on_demoted"])
def test_one_whose_callbacks_never_return_does_not_stand_again(
    sim: Simulation, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """
    It releases after the grace, warns, names the callback in its status, waits; and stands again when it is back.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0, grace=1.0)
    stuck = True

    def never_back(term: Term, *_cause: object) -> None:
        while stuck and term.token == 1:
            sim.sleep(1.0)

    getattr(candidate, kind)(never_back)
    candidate.start()
    candidate.wait_elected()
    with caplog.at_level(logging.WARNING, "leadership"):
        candidate.resign()
        sim.advance(600.0)
    status = candidate.status()

    assert ("backoff", None, False) == (status.state, sim.holder("jobs"), candidate.is_leader)
    assert ["leadership.callbacks_still_running"] == events(caplog)
    assert [f"{kind}:{never_back.__qualname__}"] == list(status.running_callbacks)
    assert "never_back" in caplog.records[-1].message
    stuck = False
    assert candidate.wait_elected(timeout=2.0) is not None


def test_others_lead_meanwhile(sim: Simulation) -> None:
    """
    A candidate whose callback never returns holds nobody up.
    """
    stuck, other = (Candidate(sim.store, "jobs", node=node, ttl=3.0) for node in ("a", "b"))
    stuck.on_elected(lambda _term: sim.sleep(1e9))
    stuck.start()
    stuck.wait_elected()
    other.start()
    sim.fault("expire", election="jobs")
    assert other.wait_elected(timeout=5.0) is not None
    sim.advance(600.0)

    assert (True, "backoff") == (other.is_leader, stuck.state)


def test_stop_returns_though_a_callback_does_not(sim: Simulation) -> None:
    """
    stop() is settled after the grace, and a start after it waits for the callback.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0, grace=1.0)
    stuck = True

    @candidate.on_elected
    def lead(term: Term) -> None:
        while stuck and term.token == 1:
            sim.sleep(1.0)

    candidate.start()
    candidate.wait_elected()
    began = sim.now
    assert candidate.stop()
    assert 1.0 <= sim.now - began < 1.1
    candidate.start()
    sim.advance(60.0)
    assert "backoff" == candidate.state
    stuck = False

    assert candidate.wait_elected(timeout=2.0) is not None


# -- what they raise ----------------------------------------------------------------------------------------------


def failing(sim: Simulation, policy: str, **settings: Any) -> tuple[Candidate, list[str], list[BaseException]]:
    """
    A candidate whose first on_elected raises after a second.
    """
    candidate = Candidate(sim.store, "jobs", node="a", on_callback_error=policy, **settings)
    told = witness(candidate)
    errors: list[BaseException] = []
    candidate.on_error(errors.append)

    @candidate.on_elected
    def lead(term: Term) -> None:
        if term.token == 1:
            sim.sleep(1.0)
            msg = "no such table"
            raise OSError(msg)

    candidate.start()
    candidate.wait_elected()
    return candidate, told, errors


def test_raising_resigns_and_stands_again(sim: Simulation, caplog: pytest.LogCaptureFixture) -> None:
    """
    By default a raising on_elected gives up leadership, logged with its traceback, and campaigns again after a backoff.
    """
    candidate, told, errors = failing(sim, "resign")
    with caplog.at_level(logging.ERROR, "leadership"):
        sim.advance(60.0)

    assert ["elected 1", "demoted 1 callback_failed", "elected 2"] == told
    assert ["no such table"] == [str(error) for error in errors]
    (record,) = caplog.records
    assert "leadership.callback_failed" in record.message
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], OSError)
    assert ["leader", "resigning", "backoff", "campaigning", "leader"] == path(candidate)[2:]


def test_the_term_tells_what_was_raised(sim: Simulation) -> None:
    """
    The cause is callback_failed, and the detail has the error's text.
    """
    candidate = Candidate(sim.store, "jobs", node="a")
    terms: list[Term] = []

    @candidate.on_elected
    def lead(term: Term) -> None:
        terms.append(term)
        if term.token == 1:
            raise OSError("no such table")

    candidate.start()
    sim.advance(1.0)

    assert [(DemotionCause.CALLBACK_FAILED, "a callback failed: no such table")] == [
        (term.cause, term.detail) for term in terms
    ]


def test_raising_again_and_again_waits_longer(sim: Simulation) -> None:
    """
    A callback that fails in each term is not called in a hot loop, nor given up.
    """
    candidate = Candidate(sim.store, "jobs", node="a", cool_down=0.0, ttl=15.0)
    at: list[float] = []

    @candidate.on_elected
    def lead(_term: Term) -> None:
        at.append(sim.now)
        raise OSError

    candidate.start()
    sim.advance(600.0)

    assert 600 / 15.0 <= len(at) <= 600 / 3.0
    assert at[-1] - at[-2] > 3.0


def test_raising_may_be_kept(sim: Simulation) -> None:
    """
    on_callback_error="keep": said, and led on.
    """
    candidate, told, errors = failing(sim, "keep")
    term = candidate.term
    sim.advance(60.0)

    assert (["elected 1"], 1) == (told, len(errors))
    assert term is not None
    assert term is candidate.term


def test_raising_may_stop(sim: Simulation) -> None:
    """
    on_callback_error="stop": demoted with callback_failed, then idle; run() returns.
    """
    candidate, told, _errors = failing(sim, "stop")
    candidate.run()
    sim.advance(60.0)

    assert ["elected 1", "demoted 1 callback_failed"] == told
    assert ("idle", None) == (candidate.state, sim.holder("jobs"))


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_any_exception_is_caught(sim: Simulation, error: BaseException) -> None:
    """
    sys.exit() in a callback ends the term, not the process.
    """
    candidate = Candidate(sim.store, "jobs", node="a", on_callback_error="stop")
    told = witness(candidate)

    @candidate.on_elected
    def lead(_term: Term) -> None:
        raise error

    candidate.start()
    sim.advance(1.0)

    assert ["elected 1", "demoted 1 callback_failed"] == told


def test_not_leader_after_the_end_is_a_normal_return(sim: Simulation, caplog: pytest.LogCaptureFixture) -> None:
    """
    A loop of check() and work ends by NotLeader when the term does: no error, no longer backoff, no failure told.
    """
    candidate = Candidate(sim.store, "jobs", node="a")
    errors: list[BaseException] = []
    candidate.on_error(errors.append)
    ended: list[float] = []

    @candidate.on_elected
    def lead(term: Term) -> None:
        try:
            while True:
                term.check()
                sim.sleep(0.5)
        except NotLeader:
            ended.append(sim.now)
            raise

    candidate.start()
    candidate.wait_elected()
    sim.advance(10.0)
    with caplog.at_level(logging.WARNING, "leadership"):
        candidate.resign(cool_down=600.0)
        sim.advance(10.0)

    assert (1, [], []) == (len(ended), errors, caplog.records)
    assert ("resigned", None) == (candidate.history[2].cause, candidate.status().last_error)


def test_not_leader_during_the_term_is_a_failure(sim: Simulation) -> None:
    """
    NotLeader raised while the term is current is an error like others.
    """
    candidate = Candidate(sim.store, "jobs", node="a", on_callback_error="stop")
    told = witness(candidate)

    @candidate.on_elected
    def lead(_term: Term) -> None:
        raise NotLeader("of another election")

    candidate.start()
    sim.advance(1.0)

    assert ["elected 1", "demoted 1 callback_failed"] == told


def test_raising_after_the_end_changes_nothing(sim: Simulation, caplog: pytest.LogCaptureFixture) -> None:
    """
    What on_elected raises when its term is over is logged and told; the term keeps its cause, the next is not touched.
    """
    candidate = Candidate(sim.store, "jobs", node="a", grace=0.0, on_callback_error="stop")
    told = witness(candidate)
    errors: list[BaseException] = []
    candidate.on_error(errors.append)

    @candidate.on_elected
    def lead(term: Term) -> None:
        if term.token == 1:
            term.wait()
            sim.sleep(5.0)
            raise OSError

    candidate.start()
    candidate.wait_elected()
    with caplog.at_level(logging.ERROR, "leadership"):
        candidate.resign(cool_down=0.0)
        sim.advance(60.0)

    assert ["elected 1", "demoted 1 resigned", "elected 2"] == told
    assert (1, ["leadership.callback_failed"]) == (len(errors), events(caplog))


@pytest.mark.parametrize("name", ["on_demoted", "on_leader_changed"])
def test_other_callbacks_may_raise(sim: Simulation, caplog: pytest.LogCaptureFixture, name: str) -> None:
    """
    What on_demoted and on_leader_changed raise is logged and told, and decides nothing; the others are called.
    """
    candidate = Candidate(sim.store, "jobs", node="a", cool_down=0.0)

    def fails(*_told: object) -> None:
        raise OSError("full")

    getattr(candidate, name)(fails)
    told = witness(candidate)
    errors: list[BaseException] = []
    candidate.on_error(errors.append)
    candidate.start()
    with caplog.at_level(logging.ERROR, "leadership"):
        candidate.wait_elected()
        candidate.resign()
        sim.advance(10.0)

    assert ["elected 1", "demoted 1 resigned", "elected 2"] == told
    assert {"leadership.callback_failed"} == set(events(caplog))
    assert {"full"} == {str(error) for error in errors}


def test_on_error_hears_the_stores_errors(sim: Simulation) -> None:
    """
    Each failed attempt is told, as a typed error.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0)
    errors: list[LeadershipError] = []
    candidate.on_error(errors.append)
    sim.fault("down")
    candidate.start()
    sim.advance(10.0)

    assert len(errors) > 2
    assert {"StoreUnavailable"} == {type(error).__name__ for error in errors}


def test_lanes_keep_the_order(sim: Simulation) -> None:
    """
    A slow on_leader_changed delays later ones, and drops and reorders none.
    """
    candidate = Candidate(sim.store, "jobs", node="a", cool_down=0.1, grace=60.0)
    tokens: list[int] = []

    @candidate.on_leader_changed
    def changed(leader: Any) -> None:
        sim.sleep(2.0)
        tokens.append(0 if leader is None else leader.token)

    candidate.start()
    for _ in range(5):
        candidate.wait_elected()
        candidate.resign()
    candidate.stop()
    sim.advance(60.0)

    led = [token for token in tokens if token]
    assert [1, 2, 3, 4, 5] == led[:5]
    assert sorted(led) == led

"""
What callbacks raise: said, told, and decided by policy; never the end of the engine.
"""

from __future__ import annotations

import logging
from functools import cache, partial
from typing import Any

import pytest
from witness import path, witness

from leadership import Candidate, DemotionCause, LeadershipError, NotLeader, Term
from leadership.testing import Simulation
from leadership.testing._virtual import VirtualEngine


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message.split()[0] for record in caplog.records if record.levelno >= logging.WARNING]


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
            msg = "no such table"
            raise OSError(msg)

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


@pytest.mark.parametrize("raised", [NotLeader, OSError])
def test_a_term_that_ends_by_the_clock_ends_as_lease_expired(
    sim: Simulation, raised: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A callback may see by the clock that its term is over before the engine's timer has fired, which comes up to a
    millisecond late on a real loop. The candidate was demoted with `callback_failed` then and, with "stop", left the
    contest after one outage of the store.
    """
    on_time = VirtualEngine.call_at
    monkeypatch.setattr(VirtualEngine, "call_at", lambda engine, when, *rest: on_time(engine, when + 0.001, *rest))
    candidate = Candidate(sim.store, "jobs", node="a", on_callback_error="stop")
    told = witness(candidate)
    errors: list[BaseException] = []
    candidate.on_error(errors.append)
    states: list[str] = []

    @candidate.on_elected
    def lead(term: Term) -> None:
        if term.token == 1:
            term.wait()
            states.append(candidate.state)
            raise raised

    candidate.start()
    candidate.wait_elected()
    sim.advance(1.0)
    sim.fault("partition", node="a")
    sim.advance(30.0)
    sim.heal()
    sim.advance(30.0)

    assert ["leader"] == states, "the callback was not the first to see the end"
    assert ["elected 1", "demoted 1 lease_expired", "elected 2"] == told
    assert [raised is OSError] == [any(isinstance(error, raised) for error in errors)]


def test_not_leader_during_the_term_is_a_failure(sim: Simulation) -> None:
    """
    NotLeader raised while the term is current is an error like others.
    """
    candidate = Candidate(sim.store, "jobs", node="a", on_callback_error="stop")
    told = witness(candidate)

    @candidate.on_elected
    def lead(_term: Term) -> None:
        msg = "of another election"
        raise NotLeader(msg)

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


def test_a_coroutine_that_nobody_awaits_is_an_error(sim: Simulation) -> None:
    """
    A plain function that returns a coroutine would do nothing in silence: it fails, and says what to give instead.
    """
    candidate = Candidate(sim.store, "jobs", node="a", on_callback_error="stop")
    told = witness(candidate)
    errors: list[BaseException] = []
    candidate.on_error(errors.append)

    async def job(_term: Term, _more: int) -> None: ...

    candidate.on_elected(lambda term: job(term, 1))
    candidate.start()
    sim.advance(1.0)

    assert ["elected 1", "demoted 1 callback_failed"] == told
    assert ["ConfigError"] == [type(error).__name__ for error in errors]
    assert "give the coroutine function itself" in str(errors[0])


@pytest.mark.parametrize("name", ["on_demoted", "on_leader_changed"])
def test_other_callbacks_may_raise(sim: Simulation, caplog: pytest.LogCaptureFixture, name: str) -> None:
    """
    What on_demoted and on_leader_changed raise is logged and told, and decides nothing; the others are called.
    """
    candidate = Candidate(sim.store, "jobs", node="a", cool_down=0.0)

    def fails(*_told: object) -> None:
        msg = "full"
        raise OSError(msg)

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


class Wordless(Exception):
    """
    An error of the user's, with an `str()` that a number slipped into.
    """

    def __str__(self) -> str:
        return 5  # type: ignore[return-value]  # noqa: PLE0307 - that is the point


def test_error_without_words_ends_the_term_like_another(sim: Simulation) -> None:
    """
    on_elected raises an error whose str() raises: the term ends, and somebody else is elected. What ends a term once
    tripped over it, after the state had changed: nobody was told, and the entry was renewed for as long as the process
    lived.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0, cool_down=60.0)
    other = Candidate(sim.store, "jobs", node="b", ttl=3.0)
    told = witness(candidate)

    @candidate.on_elected
    def lead(_term: Term) -> None:
        sim.sleep(1.0)
        raise Wordless

    candidate.start()
    candidate.wait_elected()
    other.start()

    assert other.wait_elected(3.0)
    assert ["elected 1", "demoted 1 callback_failed"] == told
    assert "Wordless: a Wordless, whose str() raises TypeError" in [record.error for record in candidate.history]
    assert candidate.stop()


def test_names_of_callbacks_run_no_code_and_show_no_arguments(sim: Simulation) -> None:
    """
    A partial is named by its function, an object by its type. Their repr() was asked for on the engine's thread, where
    a slow one cost other elections their leases, and what partials were given was shown by `/status`.
    """

    class Speaking:
        def __repr__(self) -> str:
            raise AssertionError

        def __call__(self, term: Term) -> None:
            term.wait()

        work = __call__

    def lead(_password: str, term: Term) -> None:
        term.wait()

    @cache
    def work(term: Term) -> None:
        term.wait()

    candidate = Candidate(sim.store, "jobs", node="a")
    for function in (partial(lead, "secret"), Speaking(), Speaking().work, partial(Speaking().work), work):
        candidate.on_elected(function)
    candidate.start()
    candidate.wait_elected()

    names = [name.rpartition("<locals>.")[2] for name in candidate.status().running_callbacks]
    assert ["lead", "Speaking", "Speaking.__call__", "Speaking.__call__", "work"] == names


def test_callback_without_words_for_itself_is_called(sim: Simulation, caplog: pytest.LogCaptureFixture) -> None:
    """
    An object whose repr() raises is called like any other, and logged by its type when it fails.
    """

    class Wordless:
        called = 0

        def __call__(self, *_told: object) -> None:
            self.called += 1
            raise OSError

        def __repr__(self) -> str:
            raise SystemExit

    elected, demoted = Wordless(), Wordless()
    candidate = Candidate(sim.store, "jobs", node="a", on_callback_error="stop")
    candidate.on_elected(elected)
    candidate.on_demoted(demoted)
    candidate.start()
    sim.advance(5.0)

    assert (1, 1) == (elected.called, demoted.called)
    assert "callback=on_elected:test_callback_without_words_for_itself_is_called.<locals>.Wordless\n" in caplog.text
    assert "leadership.engine_fault" not in events(caplog)

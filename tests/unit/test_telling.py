"""
Observers: told every transition, in order and without a gap; isolated from the election and from each other.
"""

from __future__ import annotations

import logging

import pytest

from leadership import Candidate, Follower, Transition
from leadership.testing import Simulation


def a_life(sim: Simulation, candidate: Candidate) -> None:
    """
    Elected, resigned, elected, cut off, elected, stopped.
    """
    candidate.start()
    candidate.wait_elected()
    candidate.resign()
    candidate.wait_elected()
    sim.fault("partition", node="a", seconds=5.0)
    sim.run_until(lambda: not candidate.is_leader)
    candidate.wait_elected()
    candidate.stop()
    sim.advance(1.0)


@pytest.fixture
def candidate(sim: Simulation) -> Candidate:
    return Candidate(sim.store, "jobs", node="a", ttl=3.0)


def test_an_observer_is_told_everything(sim: Simulation) -> None:
    """
    One given at construction, one by subscribe, one by on_transition: all see what the history has, without a gap.
    """
    told: list[list[Transition]] = [[], [], []]
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0, observers=[told[0].append])
    candidate.subscribe(told[1].append)
    assert told[2].append == candidate.on_transition(told[2].append)
    a_life(sim, candidate)

    assert [list(candidate.history)] * 3 == told
    assert list(range(1, len(told[0]) + 1)) == [record.seq for record in told[0]]


def test_a_follower_tells_its_own(sim: Simulation, candidate: Candidate) -> None:
    """
    A follower's records have its machine's name and the observed tokens.
    """
    told: list[Transition] = []
    follower = Follower(sim.store, "jobs", observers=[told.append])
    follower.start()
    a_life(sim, candidate)

    assert list(follower.history) == told
    assert {"follower"} == {record.machine for record in told}
    assert [1, 2, 3] == sorted({record.token for record in told if record.dest == "following" and record.token})


def test_unsubscribed_is_told_no_more(sim: Simulation, candidate: Candidate) -> None:
    """
    subscribe() returns how to end it; that may be called twice, and ends one of two that are the same.
    """
    told: list[Transition] = []
    first, second = candidate.subscribe(told.append), candidate.subscribe(told.append)
    candidate.start()
    candidate.wait_elected()
    assert 4 == len(told)
    first()
    candidate.resign()
    assert 4 + 2 == len(told)
    second()
    second()
    candidate.wait_elected()

    assert 4 + 2 == len(told)


def test_a_late_observer_is_told_what_follows(sim: Simulation, candidate: Candidate) -> None:
    """
    An observer that comes late sees from its coming on, by seq.
    """
    candidate.start()
    candidate.wait_elected()
    told: list[int] = []
    candidate.on_transition(lambda record: told.append(record.seq))
    candidate.stop()
    sim.advance(1.0)

    assert [3, 4] == told


def test_a_raising_observer_hurts_nobody(
    sim: Simulation, candidate: Candidate, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It is reported with its traceback each time; the election, the other observers and on_error do not notice.
    """
    told: list[Transition] = []
    errors: list[BaseException] = []

    def fails(_record: Transition) -> None:
        raise KeyError

    candidate.subscribe(fails)
    candidate.subscribe(told.append)
    candidate.on_error(errors.append)
    with caplog.at_level(logging.ERROR, "leadership"):
        candidate.start()
        candidate.wait_elected()
        sim.advance(60.0)

    assert (True, 2, []) == (candidate.is_leader, len(told), errors)
    assert ["leadership.observer_failed"] * 2 == [record.message.split()[0] for record in caplog.records]
    assert all(record.exc_info and isinstance(record.exc_info[1], KeyError) for record in caplog.records)


def test_a_raising_on_error_hurts_nobody(sim: Simulation, candidate: Candidate) -> None:
    """
    on_error that raises is an observer that raises.
    """
    candidate.on_error(lambda _error: 1 / 0)
    sim.fault("down")
    candidate.start()
    sim.advance(10.0)
    sim.heal()

    assert candidate.wait_elected(timeout=10.0) is not None


def test_an_observer_may_ask_the_candidate(sim: Simulation, candidate: Candidate) -> None:
    """
    At the time of a record of an election the candidate leads; of its end, not any more.
    """
    seen: list[tuple[str, bool]] = []
    candidate.on_transition(lambda record: seen.append((record.dest, candidate.is_leader)))
    candidate.start()
    candidate.wait_elected()
    candidate.stop()
    sim.advance(1.0)

    assert ("resigning", False) in seen
    assert ("idle", False) in seen


def test_transitions_are_logged(sim: Simulation, caplog: pytest.LogCaptureFixture) -> None:
    """
    One event a transition: INFO, and WARNING to error; nothing with log=False.
    """
    with caplog.at_level(logging.INFO, "leadership"):
        candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0)
        a_life(sim, candidate)
        logged = [record for record in caplog.records if record.message.startswith("leadership.transition ")]
        assert len(candidate.history) == len(logged)
        for record, line in zip(candidate.history, logged, strict=True):
            assert (logging.WARNING if record.dest == "error" else logging.INFO) == line.levelno
            assert f"election=jobs node=a machine=candidate source={record.source} dest={record.dest}" in line.message
        caplog.clear()
        silent = Candidate(sim.store, "mail", node="a", log=False)
        silent.start()
        silent.wait_elected()

    assert [] == caplog.records


def test_a_raising_log_handler_hurts_nobody(sim: Simulation, candidate: Candidate) -> None:
    """
    A handler of the host that raises costs no renewal and no transition.
    """

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError(record.msg)

    logger = logging.getLogger("leadership")
    handler, level = Broken(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        a_life(sim, candidate)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)

    assert 3 == sum(record.dest == "leader" for record in candidate.history)

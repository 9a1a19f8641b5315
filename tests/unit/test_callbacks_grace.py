"""
What happens while callbacks have not returned: the release waits for them, for as long as the grace lasts.
"""

from __future__ import annotations

import logging

import pytest

from leadership import Candidate, Term
from leadership.testing import Simulation


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message.split()[0] for record in caplog.records if record.levelno >= logging.WARNING]


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

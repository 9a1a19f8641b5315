"""
What a candidate says of itself: status, history, diagram, timing; all of it frozen, and JSON.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from datetime import datetime, timedelta

import pytest

from leadership import Backoff, Candidate, ConfigError, Follower, Timing, connect
from leadership.testing import Simulation

KEYS = {
    "election",
    "node",
    "state",
    "since",
    "why",
    "is_leader",
    "token",
    "lease_remaining",
    "leader",
    "is_stale",
    "last_error",
    "attempts",
    "next_retry",
    "renewal_overdue",
    "running_callbacks",
    "timing",
}


def said(candidate: Candidate) -> dict[str, object]:
    """
    The status, through JSON.
    """
    out = json.loads(json.dumps(candidate.status().as_dict()))
    assert isinstance(out, dict)
    assert KEYS == set(out)
    return out


def test_before_the_start(sim: Simulation) -> None:
    """
    A candidate that was not started has a status too.
    """
    status = said(Candidate(sim.store, "jobs"))

    assert {
        "election": "jobs",
        "node": None,
        "state": "idle",
        "since": None,
        "is_leader": False,
        "token": None,
        "lease_remaining": None,
        "leader": None,
        "is_stale": True,
        "attempts": 0,
        "running_callbacks": [],
    }.items() <= status.items()


def test_while_leading(sim: Simulation) -> None:
    """
    A leader's status has its token, its lease and the trigger that made it leader.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0)
    candidate.start()
    candidate.wait_elected()
    sim.advance(0.5)
    status = said(candidate)

    assert {
        "state": "leader",
        "why": "acquired",
        "is_leader": True,
        "token": 1,
        "leader": "a",
        "is_stale": False,
        "last_error": None,
        "attempts": 1,
        "next_retry": None,
        "renewal_overdue": False,
    }.items() <= status.items()
    lease = candidate.status().lease_remaining
    assert lease is not None
    assert 1.7 < lease <= 2.7
    assert datetime.fromisoformat(str(status["since"])).utcoffset() == timedelta(0)


def test_while_waiting_and_in_backoff(sim: Simulation) -> None:
    """
    One that waits names the leader; one in backoff has the error and the seconds until its next campaign.
    """
    leader, candidate = (Candidate(sim.store, "jobs", node=node, ttl=3.0) for node in ("a", "b"))
    leader.start()
    leader.wait_elected()
    candidate.start()
    sim.advance(1.0)
    assert {"state": "campaigning", "leader": "a", "is_leader": False, "token": None}.items() <= said(candidate).items()
    sim.fault("down")
    sim.fault("expire", election="jobs")
    assert sim.run_until(lambda: candidate.state == "backoff", timeout=30.0)
    status = candidate.status()

    assert "StoreUnavailable: the simulated store refuses connections" == status.last_error
    assert status.next_retry is not None
    assert 0.0 < status.next_retry <= 1.5
    assert status.attempts >= 1


def test_a_status_does_not_change(sim: Simulation) -> None:
    """
    A status is one moment: frozen, and the same whatever happens later.
    """
    candidate = Candidate(sim.store, "jobs", node="a")
    candidate.start()
    candidate.wait_elected()
    status = candidate.status()
    candidate.stop()

    assert (True, "leader") == (status.is_leader, status.state)
    with pytest.raises(dataclasses.FrozenInstanceError):
        status.is_leader = False  # type: ignore[misc]  # frozen is the point


def test_belief_is_said_as_it_is_at_the_call(sim: Simulation) -> None:
    """
    A leader of which nobody has processed the deadline says leader as state, and that it does not lead.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0)
    candidate.start()
    candidate.wait_elected()
    sim.fault("stall", node="a")
    sim.advance(3.0)

    assert {"state": "leader", "is_leader": False, "token": None, "lease_remaining": None}.items() <= said(
        candidate
    ).items()


# -- timing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["memory://", "sqlite:///timing.db"])
def test_timing_is_said_before_the_start(url: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What a TTL means is known without a start, and its figures follow from each other.
    """
    monkeypatch.chdir(str(tmp_path))
    with connect(url) as store:
        timing = Candidate(store, "jobs", ttl=9.0).timing
    assert isinstance(timing, Timing)
    assert 9.0 == timing.ttl == timing.effective_ttl
    assert 3.0 == timing.renew_interval
    assert 8.1 == pytest.approx(timing.steps_down_after)
    assert timing.renew_interval < timing.steps_down_after < timing.crash_takeover
    assert timing.resign_takeover < 1.0
    assert timing.as_dict() == json.loads(json.dumps(timing.as_dict()))


# -- history ------------------------------------------------------------------------------------------------------


def test_history_is_what_happened(sim: Simulation) -> None:
    """
    The records of one life: numbered without a gap, each where the last one ended, in order of time, and JSON.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0, cool_down=0.5)
    candidate.start()
    candidate.wait_elected()
    sim.advance(10.0)
    candidate.resign("pause")
    candidate.wait_elected()
    sim.fault("partition", node="a")
    sim.advance(10.0)
    sim.heal()
    candidate.wait_elected()
    candidate.stop()
    records = candidate.history

    assert list(range(1, len(records) + 1)) == [record.seq for record in records]
    for before, after in itertools.pairwise(records):
        assert before.dest == after.source
        assert before.monotonic <= after.monotonic
        assert after.duration == pytest.approx(after.monotonic - before.monotonic)
    resigned = next(record for record in records if record.trigger == "resign")
    assert ("leader", "resigned", "pause", 1) == (resigned.source, resigned.cause, resigned.reason, resigned.token)
    assert 10 <= resigned.renewals <= 11
    assert 10.0 <= resigned.duration <= 10.1
    for record in records:
        assert record.as_dict() == json.loads(json.dumps(record.as_dict()))
        assert (1, 1) == (len({r.incarnation for r in records}), len({r.boot for r in records}))


def test_history_keeps_256(sim: Simulation) -> None:
    """
    The last 256 transitions are kept; the numbers tell how many there were.
    """
    candidate = Candidate(sim.store, "jobs", node="a", cool_down=0.0)
    candidate.start()
    for _ in range(100):
        candidate.wait_elected()
        candidate.resign()
    records = candidate.history

    assert 256 == len(records)
    assert records[-1].seq == records[0].seq + 255 == 400


def test_history_outlives_the_stop(sim: Simulation) -> None:
    """
    A candidate that was stopped and started again has both lives in its history, numbered on.
    """
    candidate = Candidate(sim.store, "jobs", node="a")
    for _ in range(2):
        candidate.start()
        candidate.wait_elected()
        candidate.stop()

    assert list(range(1, 9)) == [record.seq for record in candidate.history]


# -- diagram ------------------------------------------------------------------------------------------------------


def test_the_diagram_is_that_of_the_present(sim: Simulation) -> None:
    """
    The present state is marked, and each edge is counted as often as it was taken.
    """
    candidate = Candidate(sim.store, "jobs", node="a", cool_down=0.0)
    before = candidate.diagram()
    candidate.start()
    for _ in range(3):
        candidate.wait_elected()
        candidate.resign()
    candidate.wait_elected()
    after = candidate.diagram()
    assert isinstance(before, str)
    assert isinstance(after, str)

    assert "stateDiagram-v2" in before
    assert before != after
    assert any("acquired" in line and "4" in line for line in after.splitlines())
    candidate.stop()
    assert candidate.diagram() != after


@pytest.mark.parametrize("kind", [Candidate, Follower])
@pytest.mark.parametrize(("format", "word"), [("mermaid", "stateDiagram-v2"), ("dot", "digraph")])
def test_both_machines_can_be_drawn(sim: Simulation, kind: type[Candidate | Follower], format: str, word: str) -> None:
    """
    Mermaid and DOT need nothing that is installed, and no start.
    """
    text = kind(sim.store, "jobs").diagram(format)
    assert isinstance(text, str)
    assert word in text


def test_an_unknown_format_is_refused(sim: Simulation) -> None:
    """
    A format that does not exist is refused with those that do.
    """
    with pytest.raises(ConfigError, match="gif"):
        Candidate(sim.store, "jobs").diagram("gif")


def test_settings_are_copied() -> None:
    """
    A Backoff is frozen: what a candidate was given cannot change behind its back.
    """
    with pytest.raises(dataclasses.FrozenInstanceError):
        Backoff().initial = 3.0  # type: ignore[misc]  # frozen is the point

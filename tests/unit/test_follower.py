"""
A follower: what it knows, and that it says when it does not know.
"""

from __future__ import annotations

import json

import pytest
from witness import path, witness_leaders

from leadership import Candidate, Follower
from leadership.testing import Simulation

FOLLOWERS = ""
"""The simulated process of followers that stand on `sim.store` itself."""


@pytest.fixture
def leader(sim: Simulation) -> Candidate:
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0, metadata={"at": "10.0.0.1:80"})
    candidate.start()
    candidate.wait_elected()
    return candidate


@pytest.fixture
def follower(sim: Simulation) -> Follower:
    return Follower(sim.store, "jobs")


def node(follower: Follower) -> str | None:
    return None if follower.leader is None else follower.leader.node


def test_knows_nothing_before_its_start(follower: Follower) -> None:
    """
    Not started: idle, stale, no leader.
    """
    assert ("idle", True, None, ()) == (follower.state, follower.is_stale, follower.leader, follower.history)
    assert "<Follower 'jobs' idle>" == repr(follower)


def test_is_stale_until_the_first_read(sim: Simulation, follower: Follower, leader: Candidate) -> None:
    """
    Started, but without an answer, it is syncing and says that it does not know.
    """
    sim.fault("partition", node=FOLLOWERS)
    follower.start()
    sim.advance(1.0)
    assert ("syncing", True, None) == (follower.state, follower.is_stale, node(follower))
    sim.heal()
    sim.advance(0.1)

    assert ("following", False, "a") == (follower.state, follower.is_stale, node(follower))
    assert leader.is_leader


def test_follows_the_leader(sim: Simulation, follower: Follower, leader: Candidate) -> None:
    """
    It knows the leader's node, token and metadata; it is never the leader itself.
    """
    follower.start()
    seen = follower.wait_leader(1.0)
    assert seen is not None

    assert ("a", 1, {"at": "10.0.0.1:80"}, False) == (seen.node, seen.token, dict(seen.metadata), seen.is_self)
    with pytest.raises(TypeError):
        seen.metadata["at"] = "elsewhere"  # type: ignore[index]  # read-only is the point
    assert ["idle", "syncing", "following"] == path(follower)
    leader.stop()
    sim.advance(0.1)
    assert ("vacant", False, None) == (follower.state, follower.is_stale, node(follower))


def test_metadata_is_empty_when_absent(sim: Simulation, follower: Follower) -> None:
    """
    A leader that publishes nothing has {}.
    """
    Candidate(sim.store, "jobs", node="a").start()
    follower.start()
    seen = follower.wait_leader(1.0)

    assert seen is not None
    assert {} == dict(seen.metadata)


def test_everything_may_be_published(sim: Simulation, follower: Follower) -> None:
    """
    Nested JSON of 4 KiB arrives as it was given, and the candidate's own mapping is copied.
    """
    metadata = {"hosts": [{"name": "ü", "port": 80, "weight": 0.5, "up": True, "zone": None}], "pad": "x" * 4000}
    given = dict(metadata)
    candidate = Candidate(sim.store, "jobs", node="a", metadata=given)
    given["pad"] = "changed"
    candidate.start()
    follower.start()
    seen = follower.wait_leader(1.0)

    assert seen is not None
    assert metadata == dict(seen.metadata)


def test_a_vacant_election(sim: Simulation, follower: Follower) -> None:
    """
    Nobody leads is knowledge, and an event for those who ask to be told.
    """
    told = witness_leaders(follower)
    follower.start()
    sim.advance(1.0)

    assert ("vacant", False, None) == (follower.state, follower.is_stale, follower.leader)
    assert ["nobody"] == told


def test_is_told_each_change(sim: Simulation, follower: Follower, leader: Candidate) -> None:
    """
    Each leader and each vacancy is told once, in order.
    """
    told = witness_leaders(follower)
    follower.start()
    sim.advance(1.0)
    leader.resign(cool_down=1.0)
    sim.advance(2.0)
    leader.stop()
    sim.advance(60.0)

    assert ["a", "nobody", "a", "nobody"] == told


def test_a_new_term_of_the_same_node_is_a_change(sim: Simulation, follower: Follower, leader: Candidate) -> None:
    """
    A leader that was deposed and elected again between two looks is another leader: its token says so.
    """
    follower.start()
    sim.advance(1.0)
    tokens: list[int] = []
    follower.on_leader_changed(lambda leader: tokens.append(leader.token if leader else 0))
    sim.fault("partition", node=FOLLOWERS)
    sim.advance(0.1)
    leader.resign(cool_down=0.0)
    leader.wait_elected()
    sim.heal()
    sim.advance(1.0)

    assert (1, 2) == (tokens[0], tokens[-1])
    assert sorted(tokens) == tokens


def test_start_and_stop_are_idempotent(sim: Simulation, follower: Follower, leader: Candidate) -> None:
    """
    Stop before the start, start twice, stop twice: settled each time, and nothing is told after the stop.
    """
    assert follower.stop()
    follower.start()
    follower.start()
    assert follower.wait_leader() is not None
    follower.start()
    told = witness_leaders(follower)
    sim.advance(0.1)
    assert follower.stop()
    assert follower.stop()
    leader.stop()
    sim.advance(60.0)

    assert ["idle", "syncing", "following", "idle"] == path(follower)
    assert (["a"], True, None) == (told, follower.is_stale, follower.leader)


def test_start_after_stop_follows_again(sim: Simulation, follower: Follower, leader: Candidate) -> None:
    """
    A follower may be started again, and knows the present leader.
    """
    for _ in range(3):
        follower.start()
        assert follower.wait_leader(1.0) is not None
        assert follower.stop()

    assert 3 == path(follower).count("following")
    assert leader.is_leader


def test_a_stop_right_after_the_start_is_settled_when_it_returns(sim: Simulation, follower: Follower) -> None:
    """
    When stop() has returned True nothing moves any more.
    """
    follower.start()
    assert follower.stop()
    seen = path(follower)
    sim.advance(60.0)

    assert seen == path(follower)


def test_a_start_right_after_a_stop_counts(sim: Simulation, follower: Follower, leader: Candidate) -> None:
    """
    stop(timeout=0) and start(): the last word holds.
    """
    follower.start()
    follower.wait_leader()
    follower.stop(timeout=0.0)
    follower.start()
    sim.advance(1.0)

    assert "following" == follower.state
    assert leader.is_leader


@pytest.mark.parametrize("fault", [None, "hang", "down"])
def test_stop_is_prompt(sim: Simulation, follower: Follower, fault: str | None) -> None:
    """
    A follower holds nothing: it stops at once, whether the store answers or not.
    """
    follower.start()
    sim.advance(1.0)
    if fault is not None:
        sim.fault(fault)
        sim.advance(20.0)
    began = sim.now
    assert follower.stop()

    assert sim.now - began < 0.01


def test_a_context_and_a_callback(sim: Simulation, leader: Candidate) -> None:
    """
    `with follower:` follows inside; a callback that stops it only asks, and run() returns.
    """
    with Follower(sim.store, "jobs") as follower:
        assert follower.wait_leader(1.0) is not None
    assert "idle" == follower.state
    answers: list[bool] = []
    follower.on_leader_changed(lambda _leader: answers.append(follower.stop()))
    follower.run()

    assert [False] == answers
    assert leader.is_leader


def test_a_raising_callback_changes_nothing(sim: Simulation, follower: Follower, leader: Candidate) -> None:
    """
    What on_leader_changed raises is told to on_error; the follower follows on, and the other callbacks are called.
    """
    errors: list[BaseException] = []
    follower.on_error(errors.append)
    follower.on_leader_changed(lambda _leader: 1 / 0)
    told = witness_leaders(follower)
    follower.start()
    sim.advance(1.0)
    leader.stop()
    sim.advance(1.0)

    assert (["a", "nobody"], "vacant") == (told, follower.state)
    assert [ZeroDivisionError] * 2 == [type(error) for error in errors]


def test_status(sim: Simulation, follower: Follower, leader: Candidate) -> None:
    """
    The status of a follower is one frozen moment, and JSON.
    """
    assert {"state": "idle", "leader": None, "is_stale": True}.items() <= follower.status().as_dict().items()
    follower.start()
    sim.advance(1.0)
    status = follower.status()
    with pytest.raises(AttributeError):
        status.leader = "b"  # type: ignore[misc]  # frozen is the point

    assert {
        "election": "jobs",
        "state": "following",
        "since": "2000-01-01T00:00:00.006731+00:00",
        "why": "leader_observed",
        "leader": "a",
        "token": 1,
        "is_stale": False,
        "reason": None,
        "last_error": None,
    } == {**json.loads(json.dumps(status.as_dict())), "since": "2000-01-01T00:00:00.006731+00:00"}
    assert str(status.since).startswith("2000-01-01T00:00:0")
    assert leader.is_leader


def test_many_followers_share_what_they_cost(sim: Simulation, leader: Candidate) -> None:
    """
    A hundred followers of a process each know the leader, and each stops alone.
    """
    followers = [Follower(sim.store, "jobs") for _ in range(100)]
    for follower in followers:
        follower.start()
    assert sim.run_until(lambda: all(node(follower) == "a" for follower in followers), timeout=1.0)
    followers[0].stop()
    leader.stop()

    assert sim.run_until(lambda: all(follower.state == "vacant" for follower in followers[1:]), timeout=1.0)


def test_virtual_seconds_are_the_only_ones(sim: Simulation, follower: Follower) -> None:
    """
    A day of following a vacant election is a matter of some hundred reads.
    """
    follower.start()
    sim.advance(86_400.0)

    assert (86_400.0, "vacant") == (sim.now, follower.state)

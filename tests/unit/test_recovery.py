"""
Never stuck: whatever fails, a leader comes back by itself; and never two at a time.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from witness import path, witness

from leadership import Candidate, ConfigError
from leadership._runtime.candidate_effects import EFFECTS
from leadership.fsm import CandidateEffect
from leadership.testing import Simulation

TTL = 3.0

FAULTS: dict[str, Callable[[Simulation], object]] = {
    "hang": lambda sim: sim.fault("hang"),
    "down": lambda sim: sim.fault("down"),
    "wipe": lambda sim: sim.fault("wipe"),
    "expire": lambda sim: sim.fault("expire", election="jobs"),
    "delete": lambda sim: sim.fault("delete", election="jobs"),
    "partition of the leader": lambda sim: sim.fault("partition", node="a"),
    "partition of the other": lambda sim: sim.fault("partition", node="b"),
    "partition of both": lambda sim: [sim.fault("partition", node=node) for node in ("a", "b")],  # type: ignore[func-returns-value]
    "requests lost": lambda sim: sim.fault("lose_requests", node="a"),
    "replies lost": lambda sim: sim.fault("lose_replies", node="a"),
    "replies of the other lost": lambda sim: sim.fault("lose_replies", node="b"),
    "half of all lost": lambda sim: sim.fault("loss", node="a", part=0.5),
    "slow": lambda sim: sim.fault("delay", node="a", least=0.5, most=2.0),
    "stall": lambda sim: sim.fault("stall", node="a"),
    "stall of the other": lambda sim: sim.fault("stall", node="b"),
    "fast clock": lambda sim: sim.fault("clock", node="a", rate=1.09),
    "slow clock": lambda sim: sim.fault("clock", node="a", rate=0.92),
}


def two(sim: Simulation) -> list[Candidate]:
    candidates = [Candidate(sim.store, "jobs", node=node, ttl=TTL) for node in ("a", "b")]
    for candidate in candidates:
        candidate.start()
        sim.advance(0.1)
    assert candidates[0].is_leader
    return candidates


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("seconds", [0.5, TTL, 60.0])
def test_every_fault_heals_to_a_leader(sim: Simulation, fault: str, seconds: float) -> None:
    """
    After any fault, however long, one of the two leads again within three TTLs; no two have led at a time, no
    impossible event was met, and each election was followed by one demotion.
    """
    candidates = two(sim)
    told = [witness(candidate) for candidate in candidates]
    sim.advance(0.1)
    FAULTS[fault](sim)
    believers = [sum(candidate.is_leader for candidate in candidates)]
    end = sim.now + seconds
    while sim.now < end:
        sim.advance(0.05)
        believers.append(sum(candidate.is_leader for candidate in candidates))
    sim.heal()
    healed = sim.now
    assert sim.run_until(lambda: any(candidate.is_leader for candidate in candidates), timeout=3 * TTL), healed
    sim.advance(60.0)

    assert max(believers) <= 1
    assert 1 == sum(candidate.is_leader for candidate in candidates)
    for candidate, lines in zip(candidates, told, strict=True):
        assert [] == [record for record in candidate.history if record.disposition == "illegal"]
        words = [line.split()[0] for line in lines]
        assert words == (["elected", "demoted"] * len(words))[: len(words)]


def test_a_crash_is_replaced_within_the_promised_time(sim: Simulation) -> None:
    """
    A process that is gone for good is replaced within `timing.crash_takeover`.
    """
    first, second = two(sim)
    sim.advance(10.0)
    sim.fault("crash", node="a")
    crashed = sim.now
    assert second.wait_elected(timeout=60.0) is not None

    assert sim.now - crashed <= second.timing.crash_takeover
    assert not first.is_leader


def test_a_stolen_election_is_waited_for(sim: Simulation) -> None:
    """
    While an operator's entry holds the election nobody leads; when it is removed somebody does at once.
    """
    candidates = two(sim)
    sim.fault("steal", election="jobs")
    sim.advance(600.0)
    assert [False, False] == [candidate.is_leader for candidate in candidates]
    assert ["operator"] * 2 == [candidate.leader.node if candidate.leader else None for candidate in candidates]
    sim.release("jobs")

    assert sim.run_until(lambda: any(candidate.is_leader for candidate in candidates), timeout=1.0)


def test_a_store_that_is_down_is_not_hammered(sim: Simulation) -> None:
    """
    An hour without a store: campaigns go on, spaced by half a TTL, and the first one after its return is elected.
    """
    sim.fault("down")
    candidate = Candidate(sim.store, "jobs", node="a", ttl=15.0)
    candidate.start()
    sim.advance(3600.0)
    attempts = candidate.status().attempts
    assert 3600 / 7.5 <= attempts <= 3600 / 3.75 + 10
    sim.heal()

    assert candidate.wait_elected(timeout=8.0) is not None


def test_backoffs_of_a_crowd_are_spread(sim: Simulation) -> None:
    """
    Twenty candidates that failed at one moment do not come back at one moment.
    """
    candidates = [Candidate(sim.store, "jobs", node=f"n{number}", ttl=15.0) for number in range(20)]
    for candidate in candidates:
        candidate.start()
    sim.advance(1.0)
    sim.fault("down")
    sim.advance(120.0)
    moments = sorted(record.at.timestamp() for c in candidates for record in c.history if record.dest == "campaigning")

    assert len({round(moment, 1) for moment in moments[-20:]}) > 10


def test_a_fault_is_checked(sim: Simulation) -> None:
    """
    A fault that does not exist, lacks its node or election, or gets a wrong detail is refused with those that exist.
    """
    with pytest.raises(ConfigError, match="there is no fault 'earthquake'; there are partition"):
        sim.fault("earthquake")
    with pytest.raises(ConfigError, match="needs node="):
        sim.fault("partition")
    with pytest.raises(ConfigError, match="needs election="):
        sim.fault("delete")
    with pytest.raises(ConfigError, match="does not take colour"):
        sim.fault("partition", node="a", colour="red")
    with pytest.raises(ConfigError, match="advance must be a number of seconds, at least 0"):
        sim.advance(-1.0)


def test_the_same_seed_is_the_same_run() -> None:
    """
    Two runs of one seed agree to the last record; another seed is another run.
    """

    def run(seed: int) -> list[tuple[object, ...]]:
        with Simulation(seed) as sim:
            candidates = two(sim)
            sim.fault("loss", node="a", part=0.3)
            sim.advance(120.0)
            return [
                (record.seq, record.monotonic, record.node, record.trigger, record.incarnation)
                for candidate in candidates
                for record in candidate.history
            ]

    assert run(7) == run(7)
    assert run(7) != run(8)


def test_a_simulation_that_can_go_no_further_says_so() -> None:
    """
    To wait for ever for what cannot come is an error, not a hang.
    """
    with Simulation() as sim:
        candidate = Candidate(sim.store, "jobs", node="a")
        with pytest.raises(RuntimeError, match="nothing is left that could happen"):
            candidate.wait_elected()
        assert [] == path(candidate)


def test_a_bug_in_one_effect_leaves_nobody_stuck(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    An effect that raises is logged, and the rest of its row is carried out: the candidate cleans up and leads again.
    """

    def raises(_driver: object, _event: object) -> None:
        msg = "a bug"
        raise RuntimeError(msg)

    first, second = two(sim)
    monkeypatch.setitem(EFFECTS, CandidateEffect.ON_DEMOTED, raises)
    second.stop()
    sim.fault("expire", election="jobs")
    assert sim.run_until(lambda: not first.is_leader)

    assert sim.run_until(lambda: first.is_leader, timeout=3 * TTL)
    assert "leadership.engine_fault" in caplog.text


def test_an_earlier_entry_of_the_session_is_not_this_terms(sim: Simulation) -> None:
    """
    A read shows an entry of the leader's session with an earlier token, as a store has it that was restored from an
    older copy: the term's own is gone. It went on for as long as the session was renewed.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL, cool_down=0.0)
    told = witness(candidate)
    candidate.start()
    candidate.wait_elected()
    copy = sim._network.server.elections["jobs"].holder
    candidate.resign()
    assert candidate.wait_elected() is not None
    sim.advance(0.1)
    assert ["elected 1", "demoted 1 resigned", "elected 2"] == told
    sim._network.server.elections["jobs"].holder = copy  # no watch tells of it
    assert sim.run_until(lambda: not candidate.is_leader, timeout=TTL + 0.1)
    assert candidate.wait_elected(timeout=TTL) is not None
    sim.advance(0.1)

    assert ["demoted 2 deleted", "elected 3"] == told[3:]

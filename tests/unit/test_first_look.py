"""
A candidate's first look at who leads: it gives way to the asking for the election, and nothing is missed for that.

An uncontended start was traced. A fifth of it was the follower inside the candidate, whose first read and watch went
out with the acquire, through the same threads and connections, though nobody waits for them.
"""

from __future__ import annotations

import pytest

from leadership import Candidate, health
from leadership.store import Entry, Notify, Reply, Watch
from leadership.testing import Simulation
from leadership.testing._store import SimulatedSession, SimulatedStore

TTL = 10.0
BREATH = 0.003
"""Seconds by which it gives way."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """
    What the store is asked about "jobs", in order.
    """
    told: list[str] = []
    acquire, watch, read = SimulatedSession.acquire, SimulatedStore.watch, SimulatedStore.read

    async def acquired(session: SimulatedSession, entry: Entry) -> Reply:
        told.extend(["acquire"] * (entry.election == "jobs"))
        return await acquire(session, entry)

    def watched(store: SimulatedStore, election: str, notify: Notify) -> Watch:
        told.extend(["watch"] * (election == "jobs"))
        return watch(store, election, notify)

    async def seen(store: SimulatedStore, elections: tuple[str, ...]) -> object:
        told.extend(["read"] * ("jobs" in elections))
        return await read(store, elections)

    monkeypatch.setattr(SimulatedSession, "acquire", acquired)
    monkeypatch.setattr(SimulatedStore, "watch", watched)
    monkeypatch.setattr(SimulatedStore, "read", seen)
    return told


def warm(sim: Simulation, *, least: float, most: float) -> Candidate:
    """
    One in a process that leads another election already, and whose calls take so long each way.
    """
    other = Candidate(sim.store, "other", node="a", ttl=TTL)
    other.start()
    assert sim.run_until(lambda: other.is_leader)
    sim.advance(0.1)
    sim.fault("delay", node="a", least=least, most=most)
    return Candidate(sim.store, "jobs", node="a", ttl=TTL)


def test_nothing_goes_out_beside_the_asking(sim: Simulation, asked: list[str]) -> None:
    """
    It leads before it has looked who does, and knows that it does; then it watches, and reads the truth.
    """
    candidate = warm(sim, least=BREATH / 4, most=BREATH / 4)
    candidate.start()
    assert sim.run_until(lambda: candidate.is_leader, timeout=BREATH * 0.9)

    assert ["acquire"] == asked
    assert candidate.leader is not None
    assert candidate.leader.is_self
    assert not candidate.is_stale
    assert health._is_fresh(candidate), (
        "a grant is as good as a read: /status said of a new leader that its view is stale"
    )

    sim.advance(0.1)

    assert ["acquire", "watch", "read"] == asked


def test_a_slow_answer_holds_up_no_look(sim: Simulation, asked: list[str]) -> None:
    """
    The look waits for no answer, only for that moment: a store that does not answer an acquire may answer a read.
    """
    candidate = warm(sim, least=1.0, most=1.0)
    candidate.start()
    sim.advance(2 * BREATH)

    assert ["acquire", "watch", "read"] == asked


def test_one_that_stops_meanwhile_does_not_look(sim: Simulation, asked: list[str]) -> None:
    """
    A stop within that moment ends it: nothing is watched or read afterwards.
    """
    candidate = warm(sim, least=0.0, most=0.0)
    candidate.start()
    sim.advance(BREATH / 3)
    candidate.stop()
    sim.advance(1.0)

    assert ["acquire"] == asked


@pytest.mark.parametrize("after", [0.011, 0.014, 0.017, 0.02, 0.023, 0.026, 0.03])
def test_an_entry_that_is_removed_before_the_watch_begins_is_missed(after: float) -> None:
    """
    An operator removes the entry between its grant and the beginning of the watch. The watch begins with a vacancy,
    which says nothing to a leader: it may be older than the grant. The first read may be older, too, or overtaken by
    the grant and dropped: the leader believed until the next one, up to a TTL later. Now a vacancy that contradicts a
    grant is looked into, and so is a first grant that comes after the watch has begun.
    """
    believing: list[int] = []
    for seed in range(40):
        with Simulation(seed=seed) as sim:
            candidate = warm(sim, least=0.01, most=0.02)
            candidate.start()
            sim.advance(after)
            removed = sim._network.server.read("jobs")
            sim.fault("delete", election="jobs")
            sim.advance(0.2)
            term = candidate.term
            if removed is not None and term is not None and term.token == removed.token:
                believing.append(seed)

    assert [] == believing

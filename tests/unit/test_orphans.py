"""
Entries of which nobody knows: acquires whose answer was lost, came late, or came to nothing.

The candidate shares its session with a leader of another election, which keeps that session, and so whatever stands
with it, alive. No test but these saw the faults of which they tell when they were planted (docs/mutants.md).
"""

from __future__ import annotations

import asyncio

import pytest

from leadership import Candidate
from leadership.errors import StoreUnavailable
from leadership.store import Entry, Reply
from leadership.testing import Simulation
from leadership.testing._store import SimulatedSession

TTL = 3.0


class Held:
    """
    Holds up the first acquire of an election, on its way there or back.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, there: float = 0.0, back: float = 0.0) -> None:
        self.entries: list[Entry] = []
        asked = SimulatedSession.acquire

        async def acquire(session: SimulatedSession, entry: Entry) -> Reply:
            if entry.election != "jobs":
                return await asked(session, entry)
            first = not self.entries
            self.entries.append(entry)
            await asyncio.sleep(there if first else 0.0)
            reply = await asked(session, entry)
            await asyncio.sleep(back if first else 0.0)
            return reply

        monkeypatch.setattr(SimulatedSession, "acquire", acquire)


@pytest.fixture
def other(sim: Simulation) -> Candidate:
    """
    A leader of the same process, whose session the candidates of "jobs" share.
    """
    candidate = Candidate(sim.store, "other", node="a", ttl=TTL)
    candidate.start()
    assert sim.run_until(lambda: candidate.is_leader)
    return candidate


def test_each_attempt_has_an_entry_of_its_own(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Its name is no other attempt's, of the same candidate or of another with the same node: stores tell them by it.
    """
    held = Held(monkeypatch)
    candidates = [Candidate(sim.store, "jobs", node="a", ttl=TTL, cool_down=0.0) for _ in range(2)]
    for candidate in candidates:
        candidate.start()
    for _ in range(5):
        sim.run_until(lambda: any(candidate.is_leader for candidate in candidates))
        for candidate in candidates:
            sim.spawn(candidate.resign)
        sim.advance(1.0)

    keys = {entry.number: entry.key for entry in held.entries}
    assert len(keys) >= 5
    assert len(set(keys.values())) == len(keys)


def test_a_grant_that_comes_late_ends_no_later_term(
    sim: Simulation, other: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The first attempt's grant arrives when the second one leads already: it is let go, and the term goes on.
    """
    held = Held(monkeypatch, back=1.5)
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    candidate.start()
    assert sim.run_until(lambda: candidate.is_leader, timeout=1.4)
    sim.advance(10.0)

    assert 2 == len(held.entries)
    assert [] == [record for record in candidate.history if record.source == "leader"]
    assert candidate.is_leader
    assert other.is_leader


@pytest.mark.parametrize(
    ("late", "back"), [(1.2, 0.0), (1.2, 1e6), (1.5 * TTL, 0.0)], ids=["within a TTL", "and unanswered", "after it"]
)
def test_an_acquire_that_arrives_late_leaves_nothing(
    sim: Simulation, other: Candidate, monkeypatch: pytest.MonkeyPatch, late: float, back: float
) -> None:
    """
    It was given up, its release was confirmed, and its candidate has stopped, before it reaches the store: what it
    leaves there is removed soon, whether or not an answer comes that tells of it.
    """
    Held(monkeypatch, there=late, back=back)
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    candidate.start()
    sim.advance(0.8)
    candidate.stop()
    sim.advance(late - 0.8 - 0.1)
    assert sim.holder("jobs") is None
    sim.advance(0.1 + TTL / 3 + 0.1)  # until the next renewal at the latest

    assert sim.holder("jobs") is None
    assert other.is_leader


def test_a_release_that_is_never_confirmed_costs_the_session(
    sim: Simulation, other: Candidate, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    After a whole TTL the session is given up, and with it the entry that nothing else would remove; its leaders stand
    again with another.
    """
    Held(monkeypatch, back=60.0)

    async def release(_session: SimulatedSession, _entry: Entry) -> Reply:
        msg = "not now"
        raise StoreUnavailable(msg)

    monkeypatch.setattr(SimulatedSession, "release", release)
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    candidate.start()
    sim.advance(0.1)
    sim.spawn(candidate.stop)
    sim.advance(1.5 * TTL)
    assert sim.holder("jobs") == "a"
    sim.advance(2 * TTL)

    assert sim.holder("jobs") is None
    assert "leadership.session_replaced" in caplog.text
    assert other.is_leader


def test_a_release_that_failed_once_is_repeated(
    sim: Simulation, other: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    One lost packet at the end of a term does not leave its entry standing for as long as the shared session lives.
    """
    released, asked = SimulatedSession.release, list[Entry]()

    async def release(session: SimulatedSession, entry: Entry) -> Reply:
        asked.append(entry)
        if len(asked) == 1:
            msg = "not now"
            raise StoreUnavailable(msg)
        return await released(session, entry)

    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    candidate.start()
    assert sim.run_until(lambda: candidate.is_leader)
    monkeypatch.setattr(SimulatedSession, "release", release)

    assert candidate.stop()
    assert sim.holder("jobs") is None
    assert 2 == len(asked)
    assert other.is_leader

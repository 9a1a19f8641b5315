"""
Many: candidates of one process, of one name, in one election; elections of one process.
"""

from __future__ import annotations

import logging

import pytest

from leadership import Candidate
from leadership.errors import StoreUnavailable
from leadership.store import Entry, Notify, Reply, Session
from leadership.testing import Simulation
from leadership.testing._store import SimulatedStore


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


def test_one_of_a_process_asks_for_all(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Of ten who wait in one process, one asks when the leader goes, and its answer tells the others who leads now.
    """
    candidates = [Candidate(sim.store, "jobs", node="a") for _ in range(11)]
    for candidate in candidates:
        candidate.start()
    sim.advance(1.0)
    (leader,) = (candidate for candidate in candidates if candidate.is_leader)
    asked: list[str] = []
    acquire = sim._network.server.acquire

    def counted(session: str, entry: Entry) -> Reply:
        asked.append(session)
        return acquire(session, entry)

    monkeypatch.setattr(sim._network.server, "acquire", counted)
    assert leader.stop()
    sim.advance(1.0)

    assert 1 == sum(candidate.is_leader for candidate in candidates)
    assert 1 == len(asked)


def test_one_that_gets_no_session_holds_up_nobody(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The first of a process to ask is refused its session: the second asks at once, and not when the first has waited.
    """
    opened, failed = SimulatedStore.open_session, list[float]()

    async def open_session(store: SimulatedStore, ttl: float, notify: Notify) -> Session:
        if not failed:
            failed.append(sim.now)
            msg = "not now"
            raise StoreUnavailable(msg)
        return await opened(store, ttl, notify)

    monkeypatch.setattr(SimulatedStore, "open_session", open_session)
    first, second = (Candidate(sim.store, "jobs", node="a") for _ in range(2))
    first.start()
    second.start()
    assert sim.run_until(lambda: second.is_leader, timeout=0.1)
    assert [] != failed

"""
Sessions that are over for a candidate and live on at the store, when nobody is about to ask for another.

The store of these tests keeps a session for as long as nobody ends it, as one does whose sessions live by the use of
their connection.
"""

from __future__ import annotations

import pytest

from leadership import Backoff, Candidate, Term
from leadership.errors import StoreRefused
from leadership.store import Reply
from leadership.testing import Simulation
from leadership.testing._store import SimulatedSession

TTL = 3.0


@pytest.fixture(autouse=True)
def keeps_sessions(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A lease does not lapse.
    """
    grant = sim._network.server.grant
    monkeypatch.setattr(sim._network.server, "grant", lambda name, ttl, notify: grant(name, 1e6 * ttl, notify))


@pytest.fixture
def asked(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """
    When a session was asked to end.
    """
    moments: list[float] = []
    end = SimulatedSession.end

    async def ends(session: SimulatedSession) -> Reply:
        moments.append(sim.now)
        return await end(session)

    monkeypatch.setattr(SimulatedSession, "end", ends)
    return moments


def sessions(sim: Simulation) -> int:
    """
    How many there are at the store.
    """
    return len(sim._network.server.leases)


def partitioned(sim: Simulation, candidate: Candidate) -> None:
    """
    Its lease runs out, and the store does not answer.
    """
    candidate.start()
    assert sim.run_until(lambda: candidate.is_leader)
    sim.fault("partition", node="a")
    assert sim.run_until(lambda: not candidate.is_leader)


def cut_off(sim: Simulation, candidate: Candidate) -> None:
    """
    Its lease runs out, and the store answers again just then.
    """
    partitioned(sim, candidate)
    sim.heal()


def test_one_that_stops_when_its_lease_runs_out_leaves_nothing(sim: Simulation) -> None:
    """
    Nobody asks for a session after it: its own is ended all the same, and another leads.
    """
    candidate, other = (Candidate(sim.store, "jobs", node=node, ttl=TTL) for node in ("a", "b"))
    candidate.on_demoted(lambda _term, _cause: candidate.stop())
    cut_off(sim, candidate)
    other.start()

    assert sim.run_until(lambda: other.is_leader, timeout=0.1)
    assert "idle" == candidate.state
    assert 1 == sessions(sim)


def test_it_is_asked_to_end_until_it_has_answered(sim: Simulation, asked: list[float]) -> None:
    """
    The store is away for long: whoever stops does not wait for it, and nothing is asked any more once it has answered.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    partitioned(sim, candidate)
    assert candidate.stop()
    sim.advance(60.0)
    assert 1 == sessions(sim)
    assert 30 < len(asked) < 100
    sim.heal()
    sim.advance(TTL)
    assert 0 == sessions(sim)
    asked.clear()
    sim.advance(60.0)

    assert [] == asked


def test_one_that_gives_up_leaves_nothing(sim: Simulation) -> None:
    """
    Its retries are used up when its lease has run out.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL, backoff=Backoff(retries=0))
    cut_off(sim, candidate)
    sim.advance(0.1)

    assert "idle" == candidate.state
    assert 0 == sessions(sim)


def test_callbacks_that_do_not_return_keep_nobody_out(sim: Simulation) -> None:
    """
    A candidate whose work goes on after its lease does not stand again, and asks for no session: its old one is ended
    within a TTL.
    """
    candidate, other = (Candidate(sim.store, "jobs", node=node, ttl=TTL) for node in ("a", "b"))

    @candidate.on_elected
    def work(_term: Term) -> None:
        sim.sleep(600.0)

    cut_off(sim, candidate)
    other.start()

    assert sim.run_until(lambda: other.is_leader, timeout=TTL + 0.1)
    assert "backoff" == candidate.state


def test_a_long_pause_keeps_nobody_out(sim: Simulation) -> None:
    """
    The same for one that waits for an hour before it stands again.
    """
    patient = Backoff(initial=3600.0, maximum=3600.0)
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL, backoff=patient)
    other = Candidate(sim.store, "jobs", node="b", ttl=TTL)
    cut_off(sim, candidate)
    other.start()

    assert sim.run_until(lambda: other.is_leader, timeout=TTL + 0.1)


def test_who_stands_again_asks_once(sim: Simulation, asked: list[float]) -> None:
    """
    The next campaign ends the old session, and nothing else does.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    cut_off(sim, candidate)
    assert sim.run_until(lambda: candidate.is_leader, timeout=TTL)
    sim.advance(60.0)

    assert 1 == len(asked)
    assert 1 == sessions(sim)


def test_a_session_that_is_granted_after_the_stop_is_ended(sim: Simulation) -> None:
    """
    The answer comes when the call was given up and its candidate has gone.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    sim.fault("delay", node="a", least=1.0, most=1.0)
    candidate.start()
    sim.advance(0.9)
    assert candidate.stop()
    sim.heal()
    sim.advance(1.5)

    assert "idle" == candidate.state
    assert 0 == sessions(sim)


def test_the_end_of_a_session_that_nobody_needs_is_repeated(sim: Simulation) -> None:
    """
    After a resignation for good the session is ended at its next renewal, though the first attempt is lost.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    candidate.start()
    assert sim.run_until(lambda: candidate.is_leader)
    assert candidate.stop()
    sim.fault("partition", node="a", seconds=TTL)
    sim.advance(2 * TTL)

    assert 0 == sessions(sim)


def test_what_the_store_refuses_for_good_is_asked_once(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Trying again cannot help; the next start tries, before it asks for another session.
    """
    tried: list[str] = []

    async def end(session: SimulatedSession) -> Reply:
        tried.append(session.id)
        msg = "the credentials were revoked"
        raise StoreRefused(msg)

    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    candidate.on_demoted(lambda _term, _cause: candidate.stop())
    with monkeypatch.context() as patch:
        patch.setattr(SimulatedSession, "end", end)
        cut_off(sim, candidate)
        sim.advance(60.0)
    assert 1 == len(tried)
    candidate.start()
    assert sim.run_until(lambda: candidate.is_leader, timeout=0.1)

    assert 1 == sessions(sim)


def test_a_store_that_is_closed_is_asked_no_more(sim: Simulation, asked: list[float]) -> None:
    """
    A store ends its sessions itself when it closes.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    partitioned(sim, candidate)
    assert candidate.stop()
    engine = sim._stores.engines["a"]
    (keeper,) = engine.keepers
    sim._world.loop.run_until_complete(engine.close_store(keeper.store))
    asked.clear()
    sim.advance(60.0)

    assert [] == asked

"""
Waiting and iterating: wait_elected, wait_leader, elections, leaders.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from leadership import Candidate, Follower, Leader, StoreRefused, Term
from leadership.testing import Simulation


@pytest.fixture
def candidate(sim: Simulation) -> Candidate:
    return Candidate(sim.store, "jobs", node="a", ttl=3.0, cool_down=1.0)


@pytest.fixture
def rival(sim: Simulation) -> Candidate:
    rival = Candidate(sim.store, "jobs", node="rival", ttl=3.0)
    rival.start()
    rival.wait_elected()
    return rival


@pytest.mark.parametrize("timeout", [0.0, 2.5])
def test_wait_elected_returns_none_when_the_time_is_up(
    sim: Simulation, candidate: Candidate, rival: Candidate, timeout: float
) -> None:
    """
    Another leads: None after exactly the time given.
    """
    candidate.start()
    sim.advance(1.0)
    began = sim.now
    assert candidate.wait_elected(timeout) is None

    assert timeout == pytest.approx(sim.now - began)
    assert rival.is_leader


def test_wait_elected_returns_the_term(candidate: Candidate) -> None:
    """
    It returns the present term, at once when it leads already.
    """
    candidate.start()
    term = candidate.wait_elected()
    assert isinstance(term, Term)
    assert term is candidate.wait_elected(timeout=0.0)


def test_wait_elected_returns_none_after_a_stop(sim: Simulation, candidate: Candidate, rival: Candidate) -> None:
    """
    One that waits without limit is released by the stop of another thread.
    """
    candidate.start()
    sim.advance(1.0)

    @rival.on_elected
    def stop_it(_term: Term) -> None:
        sim.sleep(4.0)
        candidate.stop()

    assert candidate.wait_elected() is None
    assert 5.0 <= sim.now < 5.1
    assert rival.is_leader


def test_wait_elected_of_one_that_has_stopped(candidate: Candidate) -> None:
    """
    After the stop there is nothing to wait for: None at once.
    """
    candidate.start()
    candidate.wait_elected()
    candidate.stop()
    assert candidate.wait_elected() is None
    assert candidate.wait_leader() is None


def test_wait_elected_in_a_callback(sim: Simulation, candidate: Candidate, rival: Candidate) -> None:
    """
    A callback may wait for another candidate's election.
    """
    terms: list[Term | None] = []
    rival.on_demoted(lambda _term, _cause: terms.append(candidate.wait_elected(10.0)))
    candidate.start()
    sim.advance(1.0)
    rival.resign(timeout=0.0)
    sim.advance(11.0)

    assert [candidate.term] == terms


@pytest.mark.parametrize("kind", [Candidate, Follower])
def test_wait_leader_returns_who_leads(sim: Simulation, rival: Candidate, kind: type[Candidate | Follower]) -> None:
    """
    Candidates and followers can wait until somebody is known to lead.
    """
    face = kind(sim.store, "jobs")
    face.start()
    leader = face.wait_leader(timeout=1.0)

    assert leader is not None
    assert ("rival", False) == (leader.node, leader.is_self)
    assert rival.term is not None
    assert rival.term.token == leader.token


def test_wait_leader_returns_none_when_the_time_is_up(sim: Simulation) -> None:
    """
    Nobody stands: None after the time given.
    """
    follower = Follower(sim.store, "jobs")
    follower.start()
    assert follower.wait_leader(timeout=7.0) is None
    assert sim.now == pytest.approx(7.0)


def test_wait_leader_does_not_take_a_stale_view(sim: Simulation, rival: Candidate) -> None:
    """
    Who led when contact broke is not who leads: wait_leader waits for the truth.
    """
    follower = Follower(sim.store, "jobs")
    follower.start()
    follower.wait_leader()
    sim.fault("partition", node="")
    sim.advance(30.0)
    assert (True, "rival") == (follower.is_stale, follower.leader and follower.leader.node)
    assert follower.wait_leader(timeout=5.0) is None
    rival.resign(cool_down=0.0)
    rival.wait_elected()
    sim.heal()

    leader = follower.wait_leader(timeout=30.0)
    assert leader is not None
    assert 2 == leader.token


# -- elections ----------------------------------------------------------------------------------------------------


def test_elections_begins_with_false(candidate: Candidate) -> None:
    """
    The first value is always False, as by the seed's channel; then the present.
    """
    candidate.start()
    candidate.wait_elected()
    elections = candidate.elections()

    assert [False, True] == [next(elections), next(elections)]


def test_elections_tells_each_change(sim: Simulation, candidate: Candidate) -> None:
    """
    A reader that keeps up sees every election and every loss.
    """
    candidate.start()
    elections = candidate.elections()
    seen = [next(elections), next(elections)]
    for _ in range(3):
        candidate.resign()
        seen += [next(elections), next(elections)]

    assert [False, True, False, True, False, True, False, True] == seen
    assert 3.0 <= sim.now < 3.5


def test_elections_coalesces_for_a_slow_reader(candidate: Candidate) -> None:
    """
    What happened between two looks is not told: the reader sees the present, and no value twice in a row.
    """
    candidate.start()
    elections = candidate.elections()
    assert [False, True] == [next(elections), next(elections)]
    for _ in range(3):
        candidate.resign()
        candidate.wait_elected()
    candidate.resign()

    assert not next(elections)


def test_elections_ends_at_the_stop(sim: Simulation, candidate: Candidate) -> None:
    """
    The last value is False, and then the iteration ends: in a thread of its own, at the stop.
    """
    seen: list[bool] = []

    def read(term: Term) -> None:
        if term.token == 1:
            seen.extend(candidate.elections())

    candidate.on_elected(read)
    candidate.start()
    candidate.wait_elected()
    sim.advance(1.0)
    candidate.stop(timeout=0.0)
    sim.advance(5.0)

    assert [False, True, False] == seen


def test_elections_of_one_that_has_stopped(candidate: Candidate) -> None:
    """
    After the stop it is False and no more.
    """
    candidate.start()
    candidate.wait_elected()
    candidate.stop()
    assert [False] == list(candidate.elections())


def test_every_call_has_its_own_queue(candidate: Candidate) -> None:
    """
    Two iterations do not take each other's values.
    """
    candidate.start()
    first, second = candidate.elections(), candidate.elections()
    assert [False, True] == [next(first), next(first)]
    candidate.resign()
    assert not next(first)
    candidate.wait_elected()

    assert [False, True] == [next(second), next(second)]
    assert next(first)


def test_elections_raises_what_ended_it(sim: Simulation, candidate: Candidate) -> None:
    """
    A fatal refusal reaches the reader of the iteration, after the last False.
    """
    candidate.start()
    elections = candidate.elections()
    assert [False, True] == [next(elections), next(elections)]
    sim.fault("refuse", node="a")
    assert not next(elections)
    with pytest.raises(StoreRefused, match="refuses these credentials"):
        next(elections)


def test_elections_shows_the_deadline(sim: Simulation, candidate: Candidate) -> None:
    """
    Belief that ends by its deadline alone is a change like others.
    """
    candidate.start()
    elections = candidate.elections()
    assert [False, True] == [next(elections), next(elections)]
    sim.fault("partition", node="a")
    assert not next(elections)

    assert 2.6 <= sim.now <= 3.7


# -- leaders ------------------------------------------------------------------------------------------------------


def names(leaders: Iterator[Leader | None], number: int) -> list[str | None]:
    return [None if leader is None else leader.node for _, leader in zip(range(number), leaders, strict=False)]


def test_leaders_begins_with_the_truth(sim: Simulation, rival: Candidate) -> None:
    """
    The first value is who leads, once that is known; then each change, None for nobody.
    """
    follower = Follower(sim.store, "jobs")
    follower.start()
    leaders = follower.leaders()
    assert ["rival"] == names(leaders, 1)
    rival.stop()
    assert [None] == names(leaders, 1)
    rival.start()

    assert ["rival"] == names(leaders, 1)


def test_leaders_of_a_vacant_election(sim: Simulation) -> None:
    """
    Nobody leads is a value.
    """
    follower = Follower(sim.store, "jobs")
    follower.start()

    assert [None] == names(follower.leaders(), 1)


def test_leaders_ends_at_the_stop(sim: Simulation, rival: Candidate) -> None:
    """
    The iteration ends when the follower has stopped; one that begins afterwards has nothing to say.
    """
    follower = Follower(sim.store, "jobs")
    seen: list[str | None] = []

    @follower.on_leader_changed
    def read(_leader: Leader | None) -> None:
        if not seen:
            seen.extend(None if leader is None else leader.node for leader in follower.leaders())

    follower.start()
    sim.advance(1.0)
    assert rival.is_leader
    follower.stop(timeout=0.0)
    sim.advance(1.0)

    assert "rival" == seen[0]
    assert [] == list(follower.leaders())


def test_leaders_raises_what_ended_it(sim: Simulation) -> None:
    """
    A fatal refusal reaches the reader, be it before the first value or after it.
    """
    sim.fault("refuse", node="")
    follower = Follower(sim.store, "jobs")
    follower.start()
    with pytest.raises(StoreRefused):
        next(follower.leaders())


def test_waiting_before_the_start(candidate: Candidate) -> None:
    """
    A thread may wait for a candidate that another starts later.
    """
    terms: list[Term | None] = []
    thread = threading.Thread(target=lambda: terms.append(candidate.wait_elected(timeout=10.0)))
    candidate.start()
    thread.start()
    thread.join()

    assert [candidate.term] == terms

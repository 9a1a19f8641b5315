"""
The story of an acquire that arrived after its attempt was over.

The two-node model finds it ("the session is kept after an unanswered acquire"): a candidate gives an acquire up and
stands again with the same session. The new attempt is elected. Then the first acquire arrives: a store that removes the
session's other entry, whichever is the later, takes the new attempt's away, nobody wants the entry that stands there
now, it is released, and another is elected while the first still believes. Here the production engine lives it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from leadership import Backoff, Candidate, CandidateState
from leadership.testing import Simulation

SEEDS = 40


def until(sim: Simulation, predicate: Callable[[], bool], timeout: float = 60.0) -> None:
    """
    Go on until it holds; it is no finding of this test when it never does.
    """
    if not sim.run_until(predicate, timeout):
        pytest.fail("the story does not begin as it should")


def overlaps(seed: int) -> bool:
    """
    One life in which nothing but delay goes wrong: whether both lead at a time.
    """
    with Simulation(seed=seed) as sim:
        backoff = Backoff(initial=0.1, maximum=0.1)
        first = Candidate(sim.store, "orders", "first", ttl=8.0, cool_down=0.1, backoff=backoff, log=False)
        second = Candidate(sim.store, "orders", "second", ttl=8.0, log=False)
        first.start()
        until(sim, lambda: first.is_leader)
        first.resign(timeout=0)
        until(sim, lambda: first.state is CandidateState.BACKOFF)
        sim.fault("delay", node="first", least=2.6, most=2.6)  # longer than a call may take: a quarter of the TTL
        until(sim, lambda: first.state is CandidateState.CAMPAIGNING)
        asked = sim.now
        sim.advance(0.002)
        sim.heal("delay", node="first")
        until(sim, lambda: first.is_leader, asked + 2.5 - sim.now)
        second.start()
        sim.advance(asked + 2.58 - sim.now)
        sim.fault("delay", node="first", least=0.001, most=1.5)  # what it is told of the removal may come late, too
        for _ in range(300):
            sim.advance(0.01)
            if first.is_leader and second.is_leader:
                return True
    return False


def test_a_late_acquire_does_not_unseat_its_own_successor() -> None:
    """
    A delayed acquire of an earlier attempt changes nothing for the term that the same session holds by now.
    """
    assert [] == [seed for seed in range(SEEDS) if overlaps(seed)]

"""
The clock of a simulation.
"""

from __future__ import annotations

from leadership import Candidate
from leadership.testing import Simulation
from leadership.testing._virtual import VirtualEngine, World


def test_no_timer_is_early_by_its_own_clock() -> None:
    """
    What was seen: by rounding, a timer of a process whose clock is fast or slow was called just before its moment; it
    asked for that moment again, which was now, and the simulation never ended.
    """
    world = World(seed=1)
    world.booted = 3.0  # the smaller it is, the more of its rounding shows
    engine = VirtualEngine(world, "ann")
    early: list[float] = []

    def due(when: float) -> None:
        if engine.now() < when:
            early.append(when)

    for number in range(60):
        engine.set_rate(0.95 + number / 2000)
        start = engine.now()
        for part in range(1, 30):
            engine.call_at(start + part / 7, due, start + part / 7)
        world.advance(5.0 / engine.rate)
    world.close()

    assert [] == early


def test_a_wait_ends_though_its_timer_was_a_little_early() -> None:
    """
    What was seen: something happened so shortly before the end of a wait that asyncio called the timer of that, too.
    Nothing was left then, the clock showed a little less than the end, and the simulation said it would wait for ever.
    """
    world = World(seed=1)
    for early in (5e-10, 1e-12, 0.0):
        world.loop.call_at(world.loop.time() + 3.0 - early, lambda: None)
        assert not world.run_until(lambda: False, 3.0)
    world.close()


def test_a_process_begins_anew_after_a_crash() -> None:
    """
    A candidate of the same node is another process after `restart`: it waits for the lease of the one that is gone.
    """
    with Simulation(seed=1) as sim:
        first = Candidate(sim.store, "jobs", node="ann", ttl=3.0, log=False)
        first.start()
        assert sim.run_until(lambda: first.is_leader)
        token = first.term.token if first.term else 0
        sim.fault("crash", node="ann")
        sim.restart("ann")
        second = Candidate(sim.store, "jobs", node="ann", ttl=3.0, log=False)
        second.start()
        began = sim.now
        assert sim.run_until(lambda: second.is_leader, 10.0)
        assert sim.now - began > 2.0
        assert second.term is not None
        assert second.term.token > token
        assert second.history[0].incarnation != first.history[0].incarnation


def test_a_process_that_is_killed_while_it_stands_still_does_not_wake_up() -> None:
    """
    What was seen: a stalled process was killed, and carried out what had been asked of it when the stall was healed.
    """
    with Simulation(seed=1) as sim:
        candidate = Candidate(sim.store, "jobs", node="ann", ttl=3.0, log=False)
        candidate.start()
        assert sim.run_until(lambda: candidate.is_leader)
        sim.fault("stall", node="ann")
        sim.spawn(candidate.stop)
        sim.advance(0.1)
        sim.fault("crash", node="ann")
        seen = len(candidate.history)
        sim.heal()
        sim.advance(1.0)
        assert len(candidate.history) == seen

"""
Stores that keep those who wait in a queue: only the next asks when a term ends, and a lost word costs time only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from conformance.queue_store import QueueServer

from leadership import Candidate, StoreUnavailable
from leadership.store import Entry, Fact, Holder, Notify, Reply, WatchEvent
from leadership.testing import Simulation
from leadership.testing._store import SimulatedStore


class Server(QueueServer):
    """
    Counts who asks, and may lose the word that it is somebody's turn.
    """

    def __init__(self, *, tells: bool = True) -> None:
        super().__init__()
        self.asked = 0
        self._tells = tells

    def grant(self, session: str, ttl: float, notify: Notify) -> None:
        def passed_on(event: WatchEvent) -> None:
            if self._tells or event.fact is not Fact.TURN:
                notify(event)

        super().grant(session, ttl, passed_on)

    def acquire(self, session: str, entry: Entry) -> Reply:
        self.asked += 1
        return super().acquire(session, entry)


def crowd(sim: Simulation, monkeypatch: pytest.MonkeyPatch, server: Server, size: int) -> list[Candidate]:
    monkeypatch.setattr(SimulatedStore, "guarantees", replace(SimulatedStore.guarantees, queues=True))
    sim._network.server = server
    candidates = [Candidate(sim.store, "jobs", node=f"n{number}", ttl=6.0) for number in range(size)]
    for candidate in candidates:
        candidate.start()
    assert sim.run_until(lambda: any(candidate.is_leader for candidate in candidates), 5.0)
    sim.advance(1.0)
    return candidates


def test_only_the_next_in_a_queue_asks(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A leader resigns while nineteen wait: the one whose turn it is asks, once; the others stand where they stood.
    """
    server = Server()
    candidates = crowd(sim, monkeypatch, server, 20)
    (leader,) = (candidate for candidate in candidates if candidate.is_leader)
    before = server.asked
    sim.spawn(leader.stop)
    assert sim.run_until(lambda: any(candidate.is_leader for candidate in candidates if candidate is not leader), 5.0)
    sim.advance(1.0)

    assert 1 == server.asked - before


def test_a_lost_turn_costs_time_only(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A candidate that is first in the queue, and was not told, finds out by the reads of its follower.
    """
    candidates = crowd(sim, monkeypatch, Server(tells=False), 3)
    (leader,) = (candidate for candidate in candidates if candidate.is_leader)
    sim.spawn(leader.stop)

    assert sim.run_until(lambda: any(candidate.is_leader for candidate in candidates if candidate is not leader), 18.0)


def test_a_lost_turn_costs_time_only_where_nothing_can_be_read(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It asks again by itself. Seen when all mutants were run in one piece: where reads are answered they bring it to ask,
    so that no test missed its timer.
    """
    candidates = crowd(sim, monkeypatch, Server(tells=False), 3)
    (leader,) = (candidate for candidate in candidates if candidate.is_leader)

    async def read(_store: SimulatedStore, _elections: Sequence[str]) -> Mapping[str, Holder | None]:
        msg = "it may not be read"
        raise StoreUnavailable(msg)

    monkeypatch.setattr(SimulatedStore, "read", read)
    sim.spawn(leader.stop)

    assert sim.run_until(lambda: any(candidate.is_leader for candidate in candidates if candidate is not leader), 30.0)


class Hasty(Server):
    """
    An operator removes the first entry so early that the watch tells before the reply to the acquire comes.
    """

    def acquire(self, session: str, entry: Entry) -> Reply:
        reply = super().acquire(session, entry)
        if self.asked == 1:
            self.vacate(entry.election, Fact.KEY_DELETED)
        return reply


def test_a_grant_whose_end_is_known_already_is_no_term(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The entry was removed between the store's answer and its arrival: nobody is told that he leads, and soon one does.

    It was taken for a term, and lasted until the truth was read again, while another could lead.
    """
    monkeypatch.setattr(SimulatedStore, "guarantees", replace(SimulatedStore.guarantees, queues=True))
    sim._network.server = Hasty()
    candidate = Candidate(sim.store, "jobs", node="a", ttl=6.0)
    tokens: list[int] = []
    candidate.on_elected(lambda term: tokens.append(term.token))
    sim.fault("delay", node="a", least=0.01, most=0.01)
    candidate.start()
    assert sim.run_until(lambda: bool(tokens), 5.0)

    assert [2] == tokens
    assert "was removed before its grant" in str(candidate.status().last_error)

"""
What etcd and ZooKeeper make of sessions and entries: stores in which those who wait have entries, too.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from leadership.store import Entry, Fact, Holder, Outcome, Reply, WatchEvent
from seeds.servers import Server, metadata


@dataclass(slots=True)
class Place:
    """
    One entry in a queue.
    """

    session: str
    entry: Entry
    token: int
    taken: bool = False
    """Somebody has put another value over it: it leads nothing, and no session's end removes it."""


class Queue(Server):
    """
    Who waits has an entry in the store: the oldest leads, each is told when the one in front of it is gone.
    """

    queues = True
    each_is_told: ClassVar = False
    """Whoever waits is told when the one in front is gone, though others still stand before both."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__(draw)
        self._queues: dict[str, list[Place]] = {}
        self._taken: dict[str, int] = {}
        """The token of the last entry that somebody has put over another."""

    def queue(self, name: str) -> list[Place]:
        """
        Those who stand, the leader first.
        """
        return self._queues.setdefault(name, [])

    def acquire(self, session: str, entry: Entry) -> Reply:
        """
        Join the queue, or say where one stands in it.
        """
        name = entry.election
        election, queue = self._election(name), self.queue(name)
        if session not in self.leases:
            return Reply(Outcome.REFUSED, holder=election.holder)
        mine = next((place for place in queue if place.session == session), None)
        if mine is not None and (mine.taken or mine.entry.key != entry.key):
            if mine.entry.number > entry.number:
                return Reply(Outcome.REFUSED, holder=election.holder)  # held up on its way
            self._leave(mine)
            mine = None
        if mine is not None and queue[0] is mine and mine.token < self._taken.get(name, 0):
            self._leave(mine)  # tokens rise over a holder that somebody has put over an entry: go behind it
            mine = None
        if mine is None:
            mine = Place(session, entry, self.write())
            queue.append(mine)
            self._promote(name)
        if queue[0] is mine and mine.token >= self._taken.get(name, 0):
            return Reply(Outcome.DONE, token=mine.token, token_reset=mine.token <= entry.above)
        return Reply(Outcome.REFUSED, holder=None if queue[0] is mine else election.holder)

    def release(self, session: str, entry: Entry) -> Reply:
        """
        Leave the queue, from whatever place.
        """
        for place in tuple(self.queue(entry.election)):
            if place.session == session and place.entry.key == entry.key:
                self._leave(place)
        return Reply(Outcome.DONE)

    def end(self, session: str, fact: Fact = Fact.KEY_DELETED):  # type: ignore[no-untyped-def]  # noqa: ANN201
        """
        End a session, and its entries wherever they stand.
        """
        lease = self.leases.get(session)
        for name, queue in self._queues.items():
            for place in [place for place in queue if place.session == session and not place.taken]:
                self._leave(place, fact)
            self._tell_turn(name)
        super().end(session, fact)
        return lease

    def vacate(self, name: str, fact: Fact) -> None:
        """
        Remove the first of a queue; the next one leads.
        """
        queue = self.queue(name)
        del queue[:1]
        super().vacate(name, fact)
        self.write()
        self._promote(name)
        self._tell_turn(name)

    def overwrite(self, name: str, node: str) -> None:
        """
        Put a value over the first entry: it leads nothing any more, and stands until somebody removes it.
        """
        super().overwrite(name, node)
        queue, token = self.queue(name), self._election(name).token
        self._taken[name] = token
        if queue:
            queue[0].token, queue[0].taken = token, True
        else:
            queue.append(Place(f"{node}#0", Entry(name, node, ""), token, taken=True))

    def wipe(self) -> None:
        """
        All data is lost, the counter too.
        """
        super().wipe()
        self._queues.clear()
        self._taken.clear()

    def _leave(self, place: Place, fact: Fact = Fact.KEY_DELETED) -> None:
        name = place.entry.election
        queue = self.queue(name)
        if queue[0] is place:
            self.vacate(name, fact)
        else:
            position = queue.index(place)
            queue.remove(place)
            self.write()
            if self.each_is_told and position < len(queue):
                self._tell_place(queue[position])

    def _tell_turn(self, name: str) -> None:
        queue = self.queue(name)
        if queue:
            self._tell_place(queue[0])

    def _tell_place(self, place: Place) -> None:
        lease = self.leases.get(place.session)
        if lease is not None:
            asyncio.get_running_loop().call_soon(lease.notify, WatchEvent(Fact.TURN, key=place.entry.key))

    def remind(self, session: str) -> None:
        """
        After a time without contact: tell once more whose turn it is.
        """
        for queue in self._queues.values():
            if queue and queue[0].session == session and not queue[0].taken:
                self._tell_place(queue[0])

    def _promote(self, name: str) -> None:
        election, queue = self._election(name), self.queue(name)
        if election.holder is None and queue:
            first = queue[0]
            election.token = first.token
            election.holder = Holder(first.entry.node, first.token, first.session, metadata(first.entry))
            election.key = first.entry.key
            self.announce(name)


class Etcd(Queue):
    """
    Leases are looked at twice a second.
    """

    def lapse(self, ttl: float) -> float:
        """
        Up to one look later.
        """
        return ttl + self.draw.choice((0.0, 0.001, 0.25, 0.5))


class ZooKeeper(Queue):
    """
    A session's news reaches the servers' leader with its server's answers to pings, and no write hurries it.
    """

    each_is_told = True
    tick = 0.5

    def __init__(self, draw: random.Random) -> None:
        super().__init__(draw)
        self._phase: dict[str, float] = {}
        self.hears: Callable[[str], bool] = lambda _session: True
        """Whether the server that a session is connected to is heard by the others."""

    def lapse(self, ttl: float) -> float:
        """
        Up to a tick later.
        """
        return ttl + self.draw.choice((0.0, 0.001, 0.5, 1.0)) * self.tick

    def renew(self, session: str) -> Reply:
        """
        A write that is committed: the session's server has heard of it, and the leader has not yet.
        """
        if session not in self.leases:
            return Reply(Outcome.REFUSED)
        self.touch(session)
        return Reply(Outcome.DONE)

    def touch(self, session: str) -> None:
        """
        The session's server has heard of it.
        """
        half, loop = self.tick / 2, asyncio.get_running_loop()
        phase = self._phase.setdefault(session, self.draw.uniform(0.0, half))
        ping = ((self.now - phase) // half + 1) * half + phase
        loop.call_at(ping, self._learn, session)

    def _learn(self, session: str) -> None:
        if session in self.leases and self.hears(session):
            self.extend(session)

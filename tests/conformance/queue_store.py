"""
A store in memory that keeps refused entries in a queue, as etcd and ZooKeeper do: the contract allows both kinds.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass

from leadership.backends.memory import MemoryServer
from leadership.store import Entry, Fact, Holder, Outcome, Reply, WatchEvent


@dataclass(frozen=True)
class Place:
    """
    One entry in a queue; its token is given when it joins, so one who waits has a higher one than the leader.
    """

    session: str
    entry: Entry
    token: int
    reset: bool


class QueueServer(MemoryServer):
    """
    The first in the queue leads, whether it has asked again or not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.queues: dict[str, list[Place]] = defaultdict(list)

    def acquire(self, session: str, entry: Entry) -> Reply:
        """
        Join the queue, or say where one stands in it.
        """
        election, queue = self._election(entry.election), self.queues[entry.election]
        if session not in self.leases:
            return Reply(Outcome.REFUSED, holder=election.holder)
        mine = self._place(session, entry.election)
        if mine is not None and mine.entry.key != entry.key:
            if mine.entry.number > entry.number:
                return Reply(Outcome.REFUSED, holder=election.holder)  # held up on its way
            self.leave(mine)
            mine = None
        if mine is None:
            reset = entry.above > election.token
            election.token = max(election.token, entry.above) + 1
            mine = Place(session, entry, election.token, reset)
            queue.append(mine)
            self._promote(entry.election)
        if queue[0] is mine:
            return Reply(Outcome.DONE, token=mine.token, token_reset=mine.reset)
        return Reply(Outcome.REFUSED, holder=election.holder)

    def release(self, session: str, entry: Entry) -> Reply:
        """
        Leave the queue, from whatever place.
        """
        mine = self._place(session, entry.election)
        if mine is not None and mine.entry.key == entry.key:
            self.leave(mine)
        return Reply(Outcome.DONE)

    def leave(self, place: Place) -> None:
        """
        Take an entry out of its queue.
        """
        queue = self.queues[place.entry.election]
        if queue[0] is place:
            self.vacate(place.entry.election, Fact.KEY_DELETED)
        else:
            queue.remove(place)

    def end(self, session: str, fact: Fact = Fact.KEY_DELETED):  # type: ignore[no-untyped-def]  # noqa: ANN201
        """
        End a lease, and its entries wherever they stand.
        """
        for queue in self.queues.values():
            queue[1:] = [place for place in queue[1:] if place.session != session]
        return super().end(session, fact)

    def vacate(self, name: str, fact: Fact) -> None:
        """
        Remove the first of a queue; the next one leads.
        """
        super().vacate(name, fact)
        queue = self.queues[name]
        del queue[:1]
        if queue:
            turn = WatchEvent(Fact.TURN, key=queue[0].entry.key)
            asyncio.get_running_loop().call_soon(self.leases[queue[0].session].notify, turn)
        self._promote(name)

    def _place(self, session: str, name: str) -> Place | None:
        return next((place for place in self.queues[name] if place.session == session), None)

    def _promote(self, name: str) -> None:
        election, queue = self._election(name), self.queues[name]
        if election.holder is None and queue:
            first = queue[0]
            metadata = json.loads(json.dumps(dict(first.entry.metadata or {})))
            election.holder = Holder(first.entry.node, first.token, first.session, metadata)
            election.key = first.entry.key
            self._tell(election, WatchEvent(Fact.LEADER_OBSERVED, holder=election.holder))

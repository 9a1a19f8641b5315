"""
Stores with one fault each in what they make of several attempts of one session.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace

from conformance.queue_store import QueueServer

from leadership.backends.memory import MemoryServer, MemorySession
from leadership.store import Entry, Fact, Outcome, Reply


class LastToComeLeads(MemoryServer):
    """
    Of one session's attempts, the one whose acquire comes last is taken for the latest.
    """

    def __init__(self) -> None:
        super().__init__()
        self.arrivals = itertools.count(1)

    def acquire(self, session: str, entry: Entry) -> Reply:
        return super().acquire(session, replace(entry, number=next(self.arrivals)))


class AnswersForTheLater(MemoryServer):
    """
    A late acquire is done with the token of the later attempt.
    """

    def acquire(self, session: str, entry: Entry) -> Reply:
        reply, holder = super().acquire(session, entry), self.read(entry.election)
        if reply.outcome is Outcome.REFUSED and holder is not None and holder.session == session:
            return Reply(Outcome.DONE, token=holder.token)
        return reply


class RefusesTooLate(MemoryServer):
    """
    A late acquire is refused after it has removed the later attempt's entry.
    """

    def acquire(self, session: str, entry: Entry) -> Reply:
        reply, holder = super().acquire(session, entry), self.read(entry.election)
        if reply.outcome is Outcome.REFUSED and holder is not None and holder.session == session:
            self.vacate(entry.election, Fact.KEY_DELETED)
        return reply


class BeginsAnotherTerm(MemoryServer):
    """
    A late acquire is refused, and the later attempt's entry is granted anew.
    """

    def acquire(self, session: str, entry: Entry) -> Reply:
        reply, holder = super().acquire(session, entry), self.read(entry.election)
        if reply.outcome is Outcome.REFUSED and holder is not None and holder.session == session:
            election = self._election(entry.election)
            election.token += 1
            election.holder = replace(holder, token=election.token)
        return reply


class LateOnesWait(QueueServer):
    """
    A late acquire is refused, and its entry waits behind the later attempt's.
    """

    def acquire(self, session: str, entry: Entry) -> Reply:
        reply, place = super().acquire(session, entry), self._place(session, entry.election)
        if place is not None and place.entry.number > entry.number:
            self._election(entry.election).token += 1
            late = replace(place, entry=entry, token=self._election(entry.election).token)
            self.queues[entry.election].append(late)
        return reply


class LateOnesTakeThePlace(QueueServer):
    """
    The first of a queue is not removed for a late acquire, but one that waits is.
    """

    def acquire(self, session: str, entry: Entry) -> Reply:
        place = self._place(session, entry.election)
        if place is not None and place.entry.number > entry.number and self.queues[entry.election][0] is not place:
            self.leave(place)
        return super().acquire(session, entry)


class LooksAndThenLeaps(MemorySession):
    """
    The numbers are compared, but between the look and the grant there is room for another acquire of the session.
    """

    async def acquire(self, entry: Entry) -> Reply:
        election = self._server.elections.get(entry.election)
        later = election is not None and election.holder is not None and election.number > entry.number
        await asyncio.sleep(0)
        if not later and election is not None:
            election.number = 0
        return await super().acquire(entry)


class ComparesSessions(MemoryServer):
    """
    No attempt is granted after one of a higher number, whoever's it was.
    """

    def acquire(self, session: str, entry: Entry) -> Reply:
        late = self._election(entry.election).number > entry.number
        return Reply(Outcome.REFUSED) if late else super().acquire(session, entry)


class ComparesElections(MemoryServer):
    """
    No attempt is granted beside one of a higher number of its session, whatever the election.
    """

    def acquire(self, session: str, entry: Entry) -> Reply:
        held = [one for one in self.elections.values() if one.holder is not None and one.holder.session == session]
        late = any(one.number > entry.number for one in held)
        return Reply(Outcome.REFUSED) if late else super().acquire(session, entry)

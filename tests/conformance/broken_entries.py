"""
Stores with one fault each in what they make of entries and names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from conformance.planted import PlantedStore
from conformance.queue_store import QueueServer

from leadership.backends.memory import MemoryServer, MemorySession
from leadership.store import Entry, Fact, Holder, Outcome, Reply, Timing


class BeginsAtZero(MemoryServer):
    """
    The first token is 0.
    """

    def acquire(self, session: str, entry: Entry) -> Reply:
        election = self._election(entry.election)
        election.token = election.token or -1
        return super().acquire(session, replace(entry, above=-1))


class GrantsAnew(MemoryServer):
    """
    An acquire with the entry that leads begins another term.
    """

    def acquire(self, session: str, entry: Entry) -> Reply:
        self.release(session, entry)
        return super().acquire(session, entry)


class TakesOver(MemoryServer):
    """
    Whoever asks last leads.
    """

    def acquire(self, session: str, entry: Entry) -> Reply:
        self.vacate(entry.election, Fact.KEY_DELETED)
        return super().acquire(session, entry)


class NamesTheAsker(MemoryServer):
    """
    A refusal names the one that was refused.
    """

    def acquire(self, session: str, entry: Entry) -> Reply:
        reply = super().acquire(session, entry)
        holder = None if reply.holder is None else replace(reply.holder, session=session)
        return replace(reply, holder=holder)


class KeepsReleased(MemoryServer):
    """
    A release is acknowledged, and nothing happens.
    """

    def release(self, session: str, entry: Entry) -> Reply:
        return Reply(Outcome.DONE)


class ForgetsTokens(MemoryServer):
    """
    The counter goes with the entry.
    """

    def vacate(self, name: str, fact: Fact) -> None:
        super().vacate(name, fact)
        self._election(name).token = 0


class ForgetsTokensOfSessions(MemoryServer):
    """
    The counter goes with the session that held the entry, though not with a release.
    """

    def end(self, session: str, fact: Fact = Fact.KEY_DELETED) -> Any:
        held = [one for one in self.elections.values() if one.holder is not None and one.holder.session == session]
        lease = super().end(session, fact)
        for election in held:
            election.token = 0
        return lease


class ReleasesAnyones(MemoryServer):
    """
    A release removes whatever entry stands.
    """

    def release(self, session: str, entry: Entry) -> Reply:
        self.vacate(entry.election, Fact.KEY_DELETED)
        return Reply(Outcome.DONE)


class ReleasesByKey(MemoryServer):
    """
    A release compares the key, and not the session.
    """

    def release(self, session: str, entry: Entry) -> Reply:
        if self._election(entry.election).key == entry.key:
            self.vacate(entry.election, Fact.KEY_DELETED)
        return Reply(Outcome.DONE)


class ReleasesBySession(MemoryServer):
    """
    A release compares the session, and not the key.
    """

    def release(self, session: str, entry: Entry) -> Reply:
        return super().release(session, replace(entry, key=self._election(entry.election).key))


class RefusesAbsent(MemoryServer):
    """
    A release of what is absent is refused.
    """

    def release(self, session: str, entry: Entry) -> Reply:
        present = self._election(entry.election).key == entry.key
        return super().release(session, entry) if present else Reply(Outcome.REFUSED)


class Adopts(MemoryServer):
    """
    An earlier entry of the session serves for the next attempt.
    """

    def acquire(self, session: str, entry: Entry) -> Reply:
        election = self._election(entry.election)
        if election.holder is not None and election.holder.session == session:
            election.key = entry.key
        return super().acquire(session, entry)


class IgnoresAbove(MemoryServer):
    """
    What the process has seen counts for nothing.
    """

    def acquire(self, session: str, entry: Entry) -> Reply:
        return super().acquire(session, replace(entry, above=0))


class CriesWolf(MemoryServer):
    """
    Every grant says that the store has lost its data.
    """

    def acquire(self, session: str, entry: Entry) -> Reply:
        reply = super().acquire(session, entry)
        return replace(reply, token_reset=reply.outcome is Outcome.DONE)


class TwoWinners(MemorySession):
    """
    Between the look and the grant there is room for another's.
    """

    async def acquire(self, entry: Entry) -> Reply:
        holder = self._server.read(entry.election)
        await asyncio.sleep(0)
        if holder is None:
            self._server.vacate(entry.election, Fact.KEY_DELETED)
        return await super().acquire(entry)


class RefusesForGood(MemoryServer):
    """
    Who was refused once is refused always.
    """

    def acquire(self, session: str, entry: Entry) -> Reply:
        refused: set[str] = self.__dict__.setdefault("refused", set())
        reply = Reply(Outcome.REFUSED) if entry.key in refused else super().acquire(session, entry)
        if reply.outcome is Outcome.REFUSED:
            refused.add(entry.key)
        return reply


class WrongTurn(QueueServer):
    """
    A session is told the turn of an entry that is not its own.
    """

    def vacate(self, name: str, fact: Fact) -> None:
        queue = self.queues[name]
        queue[1:] = [replace(place, entry=replace(place.entry, key="another")) for place in queue[1:]]
        super().vacate(name, fact)


class KeepsWithdrawn(QueueServer):
    """
    Who waits and withdraws stays in the queue.
    """

    def release(self, session: str, entry: Entry) -> Reply:
        first = self.queues[entry.election][:1]
        return super().release(session, entry) if first and first[0].session == session else Reply(Outcome.DONE)


class KeepsReplaced(QueueServer):
    """
    Who waits and asks with another key stands in the queue with both.
    """

    def _place(self, session: str, name: str) -> Any:
        places = [place for place in self.queues[name] if place.session == session]
        return places[-1] if places else None

    def acquire(self, session: str, entry: Entry) -> Reply:
        mine = self._place(session, entry.election)
        waits = mine is not None and mine.entry.key != entry.key and self.queues[entry.election][0] is not mine
        if waits:
            self._election(entry.election).token += 1
            queue = self.queues[entry.election]
            queue.append(replace(mine, entry=entry, token=self._election(entry.election).token))
        return super().acquire(session, entry)


class OneEntryEach(MemoryServer):
    """
    A session has room for one entry.
    """

    def acquire(self, session: str, entry: Entry) -> Reply:
        for name, election in self.elections.items():
            if name != entry.election and election.holder is not None and election.holder.session == session:
                self.vacate(name, Fact.KEY_DELETED)
        return super().acquire(session, entry)


class LosesMetadata(MemoryServer):
    """
    Nobody sees what the leader publishes.
    """

    def acquire(self, session: str, entry: Entry) -> Reply:
        return super().acquire(session, replace(entry, metadata=None))


class FlattensMetadata(MemoryServer):
    """
    Values are kept as text.
    """

    def acquire(self, session: str, entry: Entry) -> Reply:
        metadata = {name: str(value) for name, value in (entry.metadata or {}).items()}
        return super().acquire(session, replace(entry, metadata=metadata))


class _Renames(MemoryServer):
    """
    Keeps elections under other names than those it is asked for.
    """

    def rename(self, name: str) -> str:
        raise NotImplementedError

    def _election(self, name: str) -> Any:
        return super()._election(self.rename(name))


class FoldsCase(_Renames):
    """
    Upper and lower case are one.
    """

    def rename(self, name: str) -> str:
        return name.casefold()


class CutsNames(_Renames):
    """
    A column of 64 characters.
    """

    def rename(self, name: str) -> str:
        return name[:64]


class DecodesNames(_Renames):
    """
    A path that is decoded once too often.
    """

    def rename(self, name: str) -> str:
        return unquote(name)


class AcceptsAnyName(PlantedStore):
    """
    No name is refused.
    """

    def check_election(self, election: str) -> None:
        pass


class ReadsWhatItKnows(PlantedStore):
    """
    A read leaves out the elections that nobody leads.
    """

    async def read(self, elections: Sequence[str]) -> Mapping[str, Holder | None]:
        found = await super().read(elections)
        return {name: holder for name, holder in found.items() if holder is not None}


class RenewsTooSeldom(PlantedStore):
    """
    One lost renewal costs the lease.
    """

    def timing(self, ttl: float) -> Timing:
        return replace(super().timing(ttl), renew_interval=ttl / 2)


class BelievesTooLong(PlantedStore):
    """
    No margin for clocks.
    """

    def timing(self, ttl: float) -> Timing:
        return replace(super().timing(ttl), steps_down_after=ttl)


class ClampsTtl(PlantedStore):
    """
    A TTL out of bounds is replaced in silence.
    """

    def timing(self, ttl: float) -> Timing:
        number: object = ttl
        return super().timing(min(max(ttl, 0.05), 3600.0) if isinstance(number, int | float) else 15.0)


class RefusesWithoutValue(PlantedStore):
    """
    An error that does not say what was wrong.
    """

    def timing(self, ttl: float) -> Timing:
        try:
            return super().timing(ttl)
        except ValueError as error:
            msg = "the TTL is bad"
            raise type(error)(msg) from None


class ReachesTheStars(PlantedStore):
    """
    Guarantees that nobody understands.
    """

    guarantees = replace(PlantedStore.guarantees, scope="galaxy")

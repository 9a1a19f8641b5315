"""
Stores with one fault each in what they make of sessions and calls.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from conformance.planted import PlantedStore

from leadership.backends.memory import MemoryServer, MemorySession
from leadership.errors import StoreRefused
from leadership.store import Entry, Fact, Holder, Notify, Outcome, Reply, Session, WatchEvent


class SharesIds(PlantedStore):
    """
    Each store object counts its sessions from 1.
    """

    async def open_session(self, ttl: float, notify: Notify) -> Session:
        session = await super().open_session(ttl, notify)
        session.id = str(next(self.__dict__.setdefault("numbers", itertools.count(1))))
        self.server.grant(session.id, ttl, notify)
        return session


class GrantsLess(PlantedStore):
    """
    A TTL is shortened in silence.
    """

    async def open_session(self, ttl: float, notify: Notify) -> Session:
        return await super().open_session(ttl / 2, notify)


class EndKeepsEntries(MemoryServer):
    """
    The end of a session is acknowledged, and what it held stays.
    """

    def end(self, session: str, fact: Fact = Fact.KEY_DELETED) -> Any:
        if fact is Fact.LEASE_EXPIRED:
            return super().end(session, fact)
        lease = self.leases.pop(session, None)
        if lease is not None and lease.timer is not None:
            lease.timer.cancel()
        return lease


class EndsTheNeighbours(MemoryServer):
    """
    The end of a session ends every one.
    """

    def end(self, session: str, fact: Fact = Fact.KEY_DELETED) -> Any:
        for each in tuple(self.leases):
            super().end(each, fact)


class EndsOnce(MemorySession):
    """
    Ending a session that has ended is an error that ends the campaign.
    """

    async def end(self) -> Reply:
        if self.id not in self._server.leases:
            return Reply(Outcome.REFUSED, error=StoreRefused("no such session"))
        return await super().end()


class RenewRevives(MemoryServer):
    """
    Renewing a session that has ended begins it again.
    """

    def renew(self, session: str) -> Reply:
        if session not in self.leases:
            self.grant(session, 10.0, lambda _event: None)
        return super().renew(session)


class AcquiresWhenDead(MemoryServer):
    """
    An acquire does not ask whether the session lives.
    """

    def acquire(self, session: str, entry: Entry) -> Reply:
        if session in self.leases:
            return super().acquire(session, entry)
        self.grant(session, 10.0, lambda _event: None)
        reply = super().acquire(session, entry)
        lease = self.leases.pop(session)
        if lease.timer is not None:
            lease.timer.cancel()
        return reply


class EndsEarly(MemoryServer):
    """
    A lease lasts half of its TTL.
    """

    def grant(self, session: str, ttl: float, notify: Notify) -> None:
        super().grant(session, ttl * 0.5, notify)


class NeverEnds(MemoryServer):
    """
    Nobody looks at the leases.
    """

    def _due(self, session: str, lease: Any) -> None:
        pass


class SilentLapse(MemoryServer):
    """
    A lease that has lapsed is noticed when somebody asks.
    """

    def expire(self, session: str) -> None:
        for election in self.elections.values():
            if election.holder is not None and election.holder.session == session:
                election.holder = None
        super().expire(session)


class AlarmsEarly(MemoryServer):
    """
    SESSION_LOST comes when half the lease is over.
    """

    def grant(self, session: str, ttl: float, notify: Notify) -> None:
        super().grant(session, ttl, notify)
        asyncio.get_running_loop().call_later(ttl / 2, notify, WatchEvent(Fact.SESSION_LOST))


class RenewsNothing(MemoryServer):
    """
    A renewal is acknowledged, and the lease is not extended.
    """

    def renew(self, session: str) -> Reply:
        return Reply(Outcome.DONE if session in self.leases else Outcome.REFUSED)


class RenewsForALongTime(MemoryServer):
    """
    A renewal is good for five TTLs.
    """

    def renew(self, session: str) -> Reply:
        reply = super().renew(session)
        if session in self.leases:
            self.leases[session].deadline += 4 * self.leases[session].ttl
        return reply


class CountsFromTheFuture(MemoryServer):
    """
    A renewal says that the lease counts from a moment to come.
    """

    def renew(self, session: str) -> Reply:
        return replace(super().renew(session), since=asyncio.get_running_loop().time() + 5.0)


class CloseLeavesSessions(PlantedStore):
    """
    `aclose` leaves its sessions to time.
    """

    async def aclose(self) -> None:
        self._sessions.clear()
        await super().aclose()


class ClosesOnce(PlantedStore):
    """
    Closing what is closed raises.
    """

    async def aclose(self) -> None:
        if self.__dict__.setdefault("ended", False):
            msg = "closed twice"
            raise RuntimeError(msg)
        self.__dict__["ended"] = True
        await super().aclose()


class OpenForEver(PlantedStore):
    """
    `aclose` ends the sessions, and the store goes on answering.
    """

    async def aclose(self) -> None:
        for session in self._sessions:
            self.server.end(session.id)


class RefusesTheSecond(PlantedStore):
    """
    A store that meets another which is just beginning takes the place for somebody else's.
    """

    async def open_session(self, ttl: float, notify: Notify) -> Session:
        if self.server.__dict__.get("beginning", False):
            msg = "the data of another program"
            raise StoreRefused(msg)
        self.server.__dict__["beginning"] = True
        await asyncio.sleep(0)
        self.server.__dict__["beginning"] = False
        return await super().open_session(ttl, notify)


class LockedByCancel(PlantedStore):
    """
    A call that is cancelled keeps the connection's lock.
    """

    async def read(self, elections: Sequence[str]) -> Mapping[str, Holder | None]:
        lock: asyncio.Lock = self.__dict__.setdefault("lock", asyncio.Lock())
        await lock.acquire()
        await asyncio.sleep(0)
        lock.release()
        return await super().read(elections)

    async def open_session(self, ttl: float, notify: Notify) -> Session:
        await self.read([])
        return await super().open_session(ttl, notify)


class HangsWhenCancelled(PlantedStore):
    """
    A call that is cancelled goes on.
    """

    async def read(self, elections: Sequence[str]) -> Mapping[str, Holder | None]:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            await asyncio.sleep(3600)
        return await super().read(elections)


class Hangs(PlantedStore):
    """
    A read never answers.
    """

    async def read(self, elections: Sequence[str]) -> Mapping[str, Holder | None]:
        await asyncio.sleep(3600)
        return await super().read(elections)


class RaisesOnTheLoop(MemoryServer):
    """
    Something that the store leaves to the loop raises.
    """

    def release(self, session: str, entry: Entry) -> Reply:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        return super().release(session, entry)

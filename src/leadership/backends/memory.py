"""
`memory://`: an election within one process, the reference for the contract, and the double for tests.

How this store gives the contract's words: everything happens on the engine's loop, so every call is atomic and
linearizable; a lease is a timer; the token is a counter per election that is never reset while the data lives.
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from leadership.backends._usable import check_usable
from leadership.checks import check_ttl
from leadership.store import (
    MARGIN,
    Entry,
    Fact,
    Guarantees,
    Holder,
    Notify,
    Outcome,
    Reply,
    Session,
    Store,
    Timing,
    Watch,
    WatchEvent,
)

LEAST_TTL: Final = 0.05
MOST_TTL: Final = 86_400.0


@dataclass(slots=True)
class _Election:
    token: int = 0
    holder: Holder | None = None
    key: str = ""
    number: int = 0
    request: tuple[int, str | None] = (0, None)
    """The term that was asked to resign last, and why."""
    watchers: list[Notify] = field(default_factory=list[Notify])


@dataclass(slots=True)
class _Lease:
    ttl: float
    deadline: float
    notify: Notify
    timer: asyncio.TimerHandle | None = None


class MemoryServer:
    """
    The data and its rules: what a server would be. Used on one event loop only.
    """

    def __init__(self) -> None:
        self.elections: dict[str, _Election] = {}
        self.leases: dict[str, _Lease] = {}

    def _election(self, name: str) -> _Election:
        return self.elections.setdefault(name, _Election())

    def _tell(self, election: _Election, event: WatchEvent) -> None:
        loop = asyncio.get_running_loop()
        for notify in tuple(election.watchers):
            loop.call_soon(self._pass_on, election, notify, event)

    @staticmethod
    def _pass_on(election: _Election, notify: Notify, event: WatchEvent) -> None:
        if notify in election.watchers:
            notify(event)

    def grant(self, session: str, ttl: float, notify: Notify) -> None:
        """
        Begin a lease.
        """
        lease = _Lease(ttl, asyncio.get_running_loop().time() + ttl, notify)
        self.leases[session] = lease
        self._arm(session, lease)

    def _arm(self, session: str, lease: _Lease) -> None:
        lease.timer = asyncio.get_running_loop().call_at(lease.deadline, self._due, session, lease)

    def _due(self, session: str, lease: _Lease) -> None:
        if self.leases.get(session) is not lease:
            return
        if asyncio.get_running_loop().time() < lease.deadline:
            self._arm(session, lease)
        else:
            self.expire(session)

    def expire(self, session: str) -> None:
        """
        End a lease as time does, and its entries with it.
        """
        lease = self.end(session, Fact.LEASE_EXPIRED)
        if lease is not None:
            asyncio.get_running_loop().call_soon(lease.notify, WatchEvent(Fact.SESSION_LOST))

    def end(self, session: str, fact: Fact = Fact.KEY_DELETED) -> _Lease | None:
        """
        End a lease and its entries.
        """
        lease = self.leases.pop(session, None)
        if lease is not None and lease.timer is not None:
            lease.timer.cancel()
        for name, election in self.elections.items():
            if election.holder is not None and election.holder.session == session:
                self.vacate(name, fact)
        return lease

    def renew(self, session: str) -> Reply:
        """
        Another TTL for a lease that lives.
        """
        lease = self.leases.get(session)
        if lease is None:
            return Reply(Outcome.REFUSED)
        lease.deadline = asyncio.get_running_loop().time() + lease.ttl
        return Reply(Outcome.DONE)

    def acquire(self, session: str, entry: Entry) -> Reply:
        """
        Take an election that nobody holds.
        """
        election = self._election(entry.election)
        if session not in self.leases:
            return Reply(Outcome.REFUSED, holder=election.holder)
        if election.holder is not None and election.holder.session == session:
            if election.key == entry.key:
                return Reply(Outcome.DONE, token=election.holder.token)
            if election.number > entry.number:
                return Reply(Outcome.REFUSED, holder=election.holder)  # held up on its way
            self.vacate(entry.election, Fact.KEY_DELETED)  # an earlier attempt's: never adopted
        if election.holder is not None:
            return Reply(Outcome.REFUSED, holder=election.holder)
        reset = entry.above > election.token
        election.token = max(election.token, entry.above) + 1
        # Through JSON, as every other store keeps it.
        metadata = json.loads(json.dumps(dict(entry.metadata or {})))
        election.holder = Holder(entry.node, election.token, session, metadata)
        election.key, election.number = entry.key, entry.number
        self.announce(entry.election)
        return Reply(Outcome.DONE, token=election.token, token_reset=reset)

    def announce(self, name: str) -> None:
        """
        Tell who holds an election now.
        """
        election = self._election(name)
        self._tell(election, WatchEvent(Fact.LEADER_OBSERVED, holder=election.holder))

    def release(self, session: str, entry: Entry) -> Reply:
        """
        Remove one's own entry.
        """
        election = self._election(entry.election)
        if election.holder is not None and election.holder.session == session and election.key == entry.key:
            self.vacate(entry.election, Fact.KEY_DELETED)
        return Reply(Outcome.DONE)

    def vacate(self, name: str, fact: Fact) -> None:
        """
        Remove an election's entry, whoever's it is.
        """
        election = self._election(name)
        holder, election.holder, election.key = election.holder, None, ""
        if holder is not None:
            asked, reason = election.request
            self._tell(election, WatchEvent(fact, token=holder.token, reason=reason if asked == holder.token else None))

    def overwrite(self, name: str, node: str) -> None:
        """
        Put an entry in the place of whoever's stands there, as an operator can.
        """
        election = self._election(name)
        election.token += 1
        election.holder, election.key = Holder(node, election.token, f"{node}#0"), ""
        self.announce(name)

    def read(self, name: str) -> Holder | None:
        """
        Who holds an election.
        """
        return self._election(name).holder

    def watch(self, name: str, notify: Notify) -> Callable[[], None]:
        """
        Tell what happens from now on, the present first. Returns how to end it.
        """
        election = self._election(name)
        election.watchers.append(notify)
        first = (
            WatchEvent(Fact.VACANT_OBSERVED)
            if election.holder is None
            else WatchEvent(Fact.LEADER_OBSERVED, holder=election.holder)
        )
        loop = asyncio.get_running_loop()
        loop.call_soon(self._pass_on, election, notify, first)
        token, reason = election.request
        if election.holder is not None and election.holder.token == token:
            stands = WatchEvent(Fact.RESIGN_REQUESTED, token=token, reason=reason)
            loop.call_soon(self._pass_on, election, notify, stands)

        def close() -> None:
            if notify in election.watchers:
                election.watchers.remove(notify)

        return close

    def request_resign(self, name: str, token: int, reason: str | None) -> Reply:
        """
        Pass an operator's request on to the leader. The first words for a term stand, whoever asks again.
        """
        election = self._election(name)
        if election.holder is None or election.holder.token != token:
            return Reply(Outcome.REFUSED, holder=election.holder)
        asked, words = election.request
        if asked != token or words is None:
            election.request = (token, reason)
        self._tell(election, WatchEvent(Fact.RESIGN_REQUESTED, token=token, reason=election.request[1]))
        return Reply(Outcome.DONE)


class MemoryWatch(Watch):
    """
    A watch on a server in memory.
    """

    def __init__(self, close: Callable[[], None]) -> None:
        self._close = close

    def close(self) -> None:
        """
        End it.
        """
        self._close()


class MemorySession(Session):
    """
    A lease on a server in memory.
    """

    def __init__(self, server: MemoryServer, ttl: float, notify: Notify) -> None:
        self._server = server
        self.id = uuid.uuid4().hex
        self.ttl = ttl
        server.grant(self.id, ttl, notify)

    async def renew(self) -> Reply:
        """
        Another TTL.
        """
        return self._server.renew(self.id)

    async def acquire(self, entry: Entry) -> Reply:
        """
        Claim an election.
        """
        return self._server.acquire(self.id, entry)

    async def release(self, entry: Entry) -> Reply:
        """
        Remove the entry.
        """
        return self._server.release(self.id, entry)

    async def end(self) -> Reply:
        """
        Give the session up.
        """
        self._server.end(self.id)
        return Reply(Outcome.DONE)


_shared: dict[str, MemoryServer] = {}
os.register_at_fork(after_in_child=_shared.clear)  # a copy of the parent's leases, which nobody would end


class MemoryStore(Store):
    """
    `memory://` (private to its `connect`) and `memory://name` (shared by the process).
    """

    guarantees = Guarantees(scope="process", tokens_survive_restart=False, attests_death=False)

    def __init__(self, address: str = "") -> None:
        super().__init__(address)
        self.url = f"memory://{address}"
        self.server = _shared.setdefault(address, MemoryServer()) if address else MemoryServer()
        self._sessions: list[MemorySession] = []
        self._pid = os.getpid()
        self._ended = False

    @classmethod
    def from_address(cls, address: str, **options: Any) -> Store:
        """
        The store of `memory://` + name.
        """
        return cls(unquote(address), **options)

    def timing(self, ttl: float) -> Timing:
        """
        A lease is a timer of the same process.
        """
        return memory_timing(check_ttl(ttl, least=LEAST_TTL, most=MOST_TTL, store=self.url))

    async def open_session(self, ttl: float, notify: Notify) -> Session:
        """
        Begin a lease.
        """
        self._check_usable()
        session = MemorySession(self.server, ttl, notify)
        self._sessions = [known for known in self._sessions if known.id in self.server.leases]
        self._sessions.append(session)
        return session

    async def read(self, elections: Sequence[str]) -> Mapping[str, Holder | None]:
        """
        Who leads each.
        """
        self._check_usable()
        return {election: self.server.read(election) for election in elections}

    def watch(self, election: str, notify: Notify) -> Watch:
        """
        Tell what happens from now on.
        """
        self._check_usable()
        return MemoryWatch(self.server.watch(election, notify))

    async def request_resign(self, election: str, token: int, reason: str | None) -> Reply:
        """
        Pass an operator's request on to the leader.
        """
        self._check_usable()
        return self.server.request_resign(election, token, reason)

    async def aclose(self) -> None:
        """
        End this store's sessions.
        """
        for session in self._sessions:
            self.server.end(session.id)
        self._sessions.clear()
        self._ended = True

    def _check_usable(self) -> None:
        check_usable(self.url, self._pid, ended=self._ended)


def memory_timing(ttl: float) -> Timing:
    """
    What a TTL means where the server is a timer.
    """
    return Timing(
        ttl=ttl,
        effective_ttl=ttl,
        renew_interval=ttl / 3,
        steps_down_after=ttl * (1 - MARGIN),
        crash_takeover=ttl + 0.3,
        death_takeover=ttl + 0.3,
        resign_takeover=0.05,
        clock_drift=MARGIN,
    )

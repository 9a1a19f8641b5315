"""
`sqlite:///path`: elections among the processes of one machine, in a file. Nothing to install, nothing to run.

How this store gives what the contract asks for:

* compare: every change is one transaction (`BEGIN IMMEDIATE`) that reads what it changes;
* lease: one row a session, with a deadline on the clock that all processes of a boot share (`_sqlite_entries`);
* death: the kernel attests it by a lock that dies with its holder, and the successor need not wait (Linux,
  `_sqlite_liveness`); a holder that hangs is waited for until its deadline;
* watch: whoever changes an election wakes those who watch it (`_sqlite_wake`, `_sqlite_watch`);
* token: one counter for all elections, on the disk before it is granted.

What it does not give: more than one machine; an election while some process is stopped inside a write transaction
(a typed error says so, until that process goes on or dies); protection from whoever may write the file.
Beside the database SQLite keeps its log (`-wal`, `-shm`), and this store a folder (`-leadership`).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from leadership._clock import now
from leadership.backends import _sqlite_entries as entries
from leadership.backends._sqlite_database import Database
from leadership.backends._sqlite_liveness import LivenessLock
from leadership.backends._sqlite_path import check_path
from leadership.backends._sqlite_view import View, read
from leadership.backends._sqlite_wake import can_wake
from leadership.backends._sqlite_watch import POLL, SqliteWatch, Watcher
from leadership.backends._sqlite_worker import Worker
from leadership.backends._usable import check_usable
from leadership.checks import check_ttl
from leadership.errors import ConfigError, StoreRefused, StoreUnavailable
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
    WatchEvent,
)

LEAST_TTL, MOST_TTL = 0.5, 86_400.0
"""Seconds."""
READ_PATIENCE = 1.0
CLOSE_PATIENCE = 1.0
"""Seconds to wait for another process's transaction."""


class SqliteSession(Session):
    """
    One row with a deadline, and one lock that dies with this process. On the engine's loop.
    """

    def __init__(self, store: SqliteStore, lock: LivenessLock, ttl: float, notify: Notify) -> None:
        self.id = lock.session
        self.ttl = ttl
        self.lock = lock
        self._store = store
        self._notify = notify

    def _until(self) -> float:
        """
        The caller gives up after a quarter of the TTL; a typed error comes before that.
        """
        return now() + self.ttl / 5

    async def renew(self) -> Reply:
        """
        Ask for another TTL. Refused: the session has ended, and will not come back.
        """
        return await self._store.renew(self, self._until())

    async def acquire(self, entry: Entry) -> Reply:
        """
        Claim an election, without waiting.
        """
        until = self._until()
        reply = await self._store.change(lambda database: entries.acquire(database, self.id, entry, until))
        if reply.error is not None:  # refused not by another, but because the session is over
            self._notify(WatchEvent(Fact.SESSION_LOST, error=reply.error))
        return reply

    async def release(self, entry: Entry) -> Reply:
        """
        Remove the entry, if this session still has it.
        """
        until = self._until()
        return await self._store.change(lambda database: entries.release(database, self.id, entry, until))

    async def end(self) -> Reply:
        """
        Give the session up, and with it all its entries. If that cannot be written, the lock says it all the same.
        """
        return await self._store.end((self,), self._until())

    def liveness_fds(self) -> tuple[int, ...]:
        """
        The descriptor of the lock that others take for this session's life.
        """
        return (self.lock.fd,) if self.lock.fd >= 0 else ()


class SqliteStore(Store):
    """
    A database file. Made in any thread; its coroutines run on the engine's loop.

    Args:
        path: The file; it is made when it is not there, its folder is not.

    Raises:
        ConfigError: The path cannot be used.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = check_path(path)
        self.url = f"sqlite:///{quote(self.path)}"
        self.guarantees = Guarantees(
            scope="machine", tokens_survive_restart=True, attests_death=sys.platform == "linux"
        )
        folder = f"{self.path}-leadership"
        self._wakes = can_wake(folder)
        self._pid = os.getpid()
        self._sessions: set[SqliteSession] = set()
        self._worker = Worker(self.path, folder)
        self._watcher = Watcher(self._worker)
        self._ended = False

    @classmethod
    def from_address(cls, address: str, **options: Any) -> Store:
        """
        The store of `sqlite://` + address: after a third slash stands the path, relative or absolute.

        Raises:
            ConfigError: There is no third slash, or the path cannot be used.
        """
        if not address.startswith("/"):
            address = unquote(address)
            msg = (
                f"sqlite://{address} names a host, and a file has none: write sqlite:///{address or 'leadership.db'}"
                " for a path relative to the working directory, sqlite:////absolute/path for an absolute one"
            )
            raise ConfigError(msg)
        return cls(unquote(address[1:]), **options)

    @property
    def operations(self) -> int:
        """
        Transactions and reads so far, polls included.
        """
        return self._worker.operations

    def timing(self, ttl: float) -> Timing:
        """
        What this TTL (seconds) means here. No I/O.

        Raises:
            ConfigError: It is out of bounds; the message names the nearest that is kept.
        """
        ttl = check_ttl(ttl, least=LEAST_TTL, most=MOST_TTL, store="sqlite")
        # Elsewhere no boot has a name: a deadline cannot be compared, and a whole TTL without a renewal is waited for.
        lapse = ttl + 0.3 + (0.0 if self.guarantees.attests_death else POLL)
        return Timing(
            ttl=ttl,
            effective_ttl=ttl,
            renew_interval=ttl / 3,
            steps_down_after=ttl * (1 - MARGIN),
            crash_takeover=lapse,
            # 5 to 15 ms on an idle machine, 140 ms at worst on one with more work than cores: that can be kept.
            death_takeover=0.25 if self.guarantees.attests_death else lapse,
            resign_takeover=0.25 + (0.0 if self._wakes else POLL),
            clock_drift=MARGIN,
        )

    async def open_session(self, ttl: float, notify: Notify) -> Session:
        """
        Grant a session of `ttl` seconds.

        Raises:
            StoreUnavailable: It cannot be had now.
            StoreRefused: It will not be had.
            ConfigError: The TTL is out of bounds, or this is not the store's process.
        """
        self._check_usable()
        ttl = check_ttl(ttl, least=LEAST_TTL, most=MOST_TTL, store="sqlite")
        until = now() + ttl / 5
        lock = await self._worker.call(lambda database: entries.open_session(database, ttl, until))
        if self._ended:  # meanwhile; whoever comes next removes its row
            lock.close()
            self._check_usable()
        session = SqliteSession(self, lock, ttl, notify)
        self._sessions.add(session)
        return session

    async def read(self, elections: Sequence[str]) -> Mapping[str, Holder | None]:
        """
        Who leads each, by the newest commit. A holder that is dead or whose deadline has passed leads nothing.

        Raises:
            StoreUnavailable: It cannot be had now.
            StoreRefused: It will not be had.
        """
        self._check_usable()
        until = now() + READ_PATIENCE
        view = await self._worker.call(lambda database: read(database, elections, until), self._watcher.apply)
        return {name: seen.holder for name, seen in view.items()}

    def watch(self, election: str, notify: Notify) -> SqliteWatch:
        """
        Tell what happens to an election from now on.

        Raises:
            ConfigError: This is not the store's process, or the store is closed.
        """
        self._check_usable()
        return self._watcher.watch(election, notify)

    async def request_resign(self, election: str, token: int, reason: str | None) -> Reply:
        """
        Ask the leader of a term to resign. Refused: that term is over, or nobody leads.
        """
        until = now() + READ_PATIENCE
        return await self.change(lambda database: entries.request_resign(database, election, token, reason, until))

    async def about(self) -> str:
        """
        The library that keeps the file.
        """
        return f"SQLite {sqlite3.sqlite_version}"

    async def aclose(self) -> None:
        """
        End the sessions, the watches and the thread. Idempotent.
        """
        if self._ended or os.getpid() != self._pid:
            return
        self._ended = True
        self._watcher.stop()
        if self._sessions:
            # What cannot be written is said by the locks, which close all the same.
            with contextlib.suppress(StoreUnavailable, StoreRefused):
                await self.end(tuple(self._sessions), now() + CLOSE_PATIENCE)
        await self._worker.stop(CLOSE_PATIENCE)

    # -- for sessions -------------------------------------------------------------------------------------------

    async def change(self, job: Callable[[Database], tuple[Reply, View]]) -> Reply:
        """
        The reply of a job that also tells what it made of the elections it touched.
        """
        self._check_usable()
        reply, _view = await self._worker.call(job, lambda done: self._watcher.apply(done[1]))
        return reply

    async def renew(self, session: SqliteSession, until: float) -> Reply:
        """
        Another TTL for a session.
        """
        self._check_usable()

        def renewed(done: tuple[Reply, float]) -> None:
            if done[0].outcome is Outcome.DONE:
                self._watcher.renewed(session.id, done[1])

        reply, _deadline = await self._worker.call(
            lambda database: entries.renew(database, session.id, session.ttl, until), renewed
        )
        return reply

    async def end(self, sessions: Sequence[SqliteSession], until: float) -> Reply:
        """
        End sessions of this store.
        """
        names = [session.id for session in sessions]
        try:
            reply, _view = await self._worker.call(
                lambda database: entries.end_sessions(database, names, until),
                lambda done: self._watcher.apply(done[1]),
            )
        finally:
            for session in sessions:
                session.lock.close()
        self._sessions.difference_update(sessions)
        return reply

    def _check_usable(self) -> None:
        check_usable(self.url, self._pid, ended=self._ended)

"""
Watches of elections: one reading of the database for all of them, and facts from what has changed since the last.

Nothing here polls at a rate that latency would depend on. A change by another process rings the store's bell, the
death of a holder's process makes a pidfd readable, a lapse by time has its timer. Beside that the database is asked
once a second whether anything has changed at all, so that an operator's edit is seen too.

Everything here is on the event loop; what touches a file is a job of the worker's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from leadership._clock import now
from leadership.backends import _sqlite_entries as entries
from leadership.backends import _sqlite_view
from leadership.backends._sqlite_database import Database
from leadership.backends._sqlite_view import Seen, Tenure, View
from leadership.backends._sqlite_wake import Bell
from leadership.backends._sqlite_worker import Worker
from leadership.errors import LeadershipError, StoreUnavailable
from leadership.store import Fact, Notify, Watch, WatchEvent

T = TypeVar("T")

POLL = 1.0
"""Seconds."""
PATIENCE = 0.25
"""Seconds that a look waits for another process that is in the way; readers rarely meet one."""
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.1
"""Seconds between looks at the lock of a process that is dead, while another that inherited it lives."""


def facts(old: Seen | None, new: Seen) -> list[WatchEvent]:
    """
    What has happened to an election between two looks; `old` is None at the first.
    """
    before = None if old is None else old.holder
    after = new.holder
    events: list[WatchEvent] = []
    if before is not None and (after is None or (after.token, after.session) != (before.token, before.session)):
        fact = Fact.LEASE_EXPIRED if new.lapsed == before.token else Fact.KEY_DELETED
        requests = (new.request, None if old is None else old.request)
        asked = next((request for request in requests if request is not None and request[0] == before.token), None)
        events.append(WatchEvent(fact, token=before.token, reason=None if asked is None else asked[1]))
    if after is not None and after != before:
        events.append(WatchEvent(Fact.LEADER_OBSERVED, holder=after))
    if old is None and after is None:
        events.append(WatchEvent(Fact.VACANT_OBSERVED))
    in_force = after is not None and new.request is not None and new.request[0] == after.token
    if in_force and new.request is not None and (old is None or new.request != old.request):
        token, reason = new.request
        events.append(WatchEvent(Fact.RESIGN_REQUESTED, token=token, reason=reason))
    return events


class SqliteWatch(Watch):
    """
    One listener to one election.
    """

    def __init__(self, watcher: Watcher, election: str, notify: Notify) -> None:
        self.election = election
        self.begun = False
        self._watcher = watcher
        self._notify: Notify | None = notify

    def tell(self, events: Iterable[WatchEvent]) -> None:
        """
        Pass facts on, unless it is closed meanwhile.
        """
        self.begun = True
        for event in events:
            if self._notify is not None:
                self._notify(event)

    def close(self) -> None:
        """
        End it. Idempotent.
        """
        if self._notify is not None:
            self._notify = None
            self._watcher.drop(self)


class Vigil:
    """
    Over one session that holds elections which are watched: looks again at the moment when it may be over.
    """

    def __init__(self, watcher: Watcher, tenure: Tenure, election: str) -> None:
        self.elections = {election}
        self.tenure = tenure
        self._watcher = watcher
        self._loop = asyncio.get_running_loop()
        self._pidfd = -1
        self._probing: asyncio.TimerHandle | None = None
        self._pause = FIRST_PAUSE
        self._due: asyncio.TimerHandle | None = None
        self.renewed(tenure)
        self._watch_process()

    @property
    def is_blind(self) -> bool:
        """
        The holder's death could be attested, but nothing tells when to look.
        """
        return self.tenure.lock is not None and self._pidfd < 0 and self._probing is None

    def renewed(self, tenure: Tenure) -> None:
        """
        The session lasts longer.
        """
        self.tenure = tenure
        if self._due is None:
            self._due = self._loop.call_later(max(0.0, tenure.until - now()) + 0.001, self._check)

    def _check(self) -> None:
        self._due = None
        if not self.look_if_over():
            self.renewed(self.tenure)

    def look_if_over(self) -> bool:
        """
        Look if its time has passed. A timer alone would be late by as long as the machine was suspended.
        """
        over = now() >= self.tenure.until
        if over:
            self._watcher.look(self.elections)
        return over

    def _watch_process(self) -> None:
        if self.tenure.pid is None or sys.platform != "linux":
            return
        try:
            self._pidfd = os.pidfd_open(self.tenure.pid)
        except ProcessLookupError:
            self._probe()
        except OSError:
            return  # no descriptor is to be had, or an old kernel: the poll looks
        else:
            self._loop.add_reader(self._pidfd, self._process_ended)

    def _process_ended(self) -> None:
        self._close_pidfd()
        self._probe()

    def _probe(self) -> None:
        """
        Look whether the lock is free; a process that inherited it, a guard say, may live for a while yet.
        """
        self._probing = self._loop.call_later(self._pause, self._probe)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        elections = tuple(self.elections)
        self._watcher.submit(
            lambda database: _sqlite_view.probe(database, self.tenure, elections, now() + PATIENCE), self._watcher.apply
        )

    def close(self) -> None:
        """
        End it.
        """
        for timer in (self._due, self._probing):
            if timer is not None:
                timer.cancel()
        self._close_pidfd()

    def _close_pidfd(self) -> None:
        fd, self._pidfd = self._pidfd, -1
        if fd >= 0:
            self._loop.remove_reader(fd)
            os.close(fd)


class Watcher:
    """
    All watches of one store.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._watches: dict[str, list[SqliteWatch]] = {}
        self._known: dict[str, Seen] = {}
        self._vigils: dict[str, Vigil] = {}
        self._unseen: set[str] = set()
        self._looking = False
        self._round = 0
        """Counts the times that watching has begun: what an earlier one asked for concerns nobody."""
        self._bell: Bell | None = None
        self._poll: asyncio.TimerHandle | None = None

    def watch(self, election: str, notify: Notify) -> SqliteWatch:
        """
        Add a watch; its first fact follows.
        """
        watch = SqliteWatch(self, election, notify)
        if not self._watches:
            self._start()
        self._watches.setdefault(election, []).append(watch)
        if election in self._known:
            asyncio.get_running_loop().call_soon(self._begin, watch)
        else:
            self.look((election,))
        return watch

    def _begin(self, watch: SqliteWatch) -> None:
        seen = self._known.get(watch.election)
        if not watch.begun and seen is not None:
            watch.tell(facts(None, seen))

    def drop(self, watch: SqliteWatch) -> None:
        """
        Forget a watch; with the last one goes everything that serves them.
        """
        remaining = self._watches.get(watch.election, [])
        if watch in remaining:
            remaining.remove(watch)
        if not remaining and self._watches.pop(watch.election, None) is not None:
            self._note(watch.election, self._known.pop(watch.election, None), None)
            if not self._watches:
                self.stop()

    def look(self, elections: Iterable[str]) -> None:
        """
        Read elections again; those asked for at a time share one reading.
        """
        self._unseen.update(elections)
        if not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_soon(self._look, self._round)

    def _look(self, number: int) -> None:
        if number != self._round:
            return
        elections = [name for name in self._unseen if name in self._watches]
        self._unseen.clear()
        self._looking = bool(elections)
        if elections:
            self.submit(lambda database: _sqlite_view.read(database, elections, now() + PATIENCE), self._looked)

    def _looked(self, view: View) -> None:
        self.apply(view)
        self._look(self._round)

    def apply(self, view: View) -> None:
        """
        Tell what has changed, in the order in which the database had it.
        """
        for name, new in view.items():
            watches = self._watches.get(name)
            if not watches:
                continue
            old = self._known.get(name)
            self._known[name] = new
            self._note(name, old, new)
            events = facts(old, new)
            for watch in tuple(watches):
                watch.tell(events if watch.begun else facts(None, new))

    def renewed(self, session: str, until: float) -> None:
        """
        A session of this very store lasts longer.
        """
        vigil = self._vigils.get(session)
        if vigil is not None:
            vigil.renewed(Tenure(session, until, None, None))

    def _note(self, election: str, old: Seen | None, new: Seen | None) -> None:
        before = None if old is None else old.tenure
        after = None if new is None else new.tenure
        if before is not None and (after is None or after.session != before.session):
            vigil = self._vigils[before.session]
            vigil.elections.discard(election)
            if not vigil.elections:
                del self._vigils[before.session]
                vigil.close()
        if after is not None:
            known = self._vigils.get(after.session)
            if known is None:
                self._vigils[after.session] = Vigil(self, after, election)
            else:
                known.elections.add(election)
                known.renewed(after)

    # -- what wakes ---------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._round += 1
        self.submit(entries.open_bell, self._bell_opened)
        self._poll = asyncio.get_running_loop().call_later(POLL, self._poll_now)

    def _bell_opened(self, bell: Bell | None) -> None:
        self._bell = bell
        if bell is not None:
            asyncio.get_running_loop().add_reader(bell.fileno(), self._rung)

    def _rung(self) -> None:
        assert self._bell is not None  # noqa: S101 - it is what was heard
        heard = self._bell.heard()
        elections = self._watches.keys() if "" in heard else heard & self._watches.keys()
        if elections:
            self.look(elections)

    def _poll_now(self) -> None:
        for vigil in self._vigils.values():
            vigil.look_if_over()
        elections = tuple(self._watches)
        blind = [vigil.tenure for vigil in self._vigils.values() if vigil.is_blind]
        self.submit(lambda database: _sqlite_view.poll(database, elections, blind, now() + PATIENCE), self._polled)

    def _polled(self, view: View) -> None:
        self._poll = asyncio.get_running_loop().call_later(POLL, self._poll_now)
        self.apply(view)

    def submit(self, job: Callable[[Database], T], done: Callable[[T], None]) -> None:
        """
        Have a job done for the watches; an error closes them all.
        """
        number = self._round

        def deliver(result: T | None, error: BaseException | None) -> None:
            if number != self._round:
                self._too_late(result)
            elif error is not None:
                self._fail(error)
            else:
                done(result)  # type: ignore[arg-type]  # a job without an error has a result

        try:
            self._worker.submit(job, deliver)
        except StoreUnavailable as error:
            asyncio.get_running_loop().call_soon(partial(deliver, None, error))

    def _too_late(self, result: object) -> None:
        if isinstance(result, Bell):
            self._remove(result)

    def _fail(self, error: BaseException) -> None:
        if not isinstance(error, LeadershipError):
            unforeseen = StoreUnavailable(f"the watch failed: {type(error).__name__}: {error}")
            unforeseen.__cause__ = error
            error = unforeseen
        watches = [watch for several in self._watches.values() for watch in several]
        self.stop()
        for watch in watches:
            watch.tell((WatchEvent(Fact.WATCH_CLOSED, error=error),))
            watch.close()

    def stop(self) -> None:
        """
        Forget all watches, and end what serves them. Idempotent.
        """
        self._round += 1
        self._watches.clear()
        self._known.clear()
        self._unseen.clear()
        self._looking = False
        for vigil in self._vigils.values():
            vigil.close()
        self._vigils.clear()
        if self._poll is not None:
            self._poll.cancel()
            self._poll = None
        bell, self._bell = self._bell, None
        if bell is not None:
            asyncio.get_running_loop().remove_reader(bell.fileno())
            self._remove(bell)

    def _remove(self, bell: Bell) -> None:
        bell.close()
        if not self._watches:  # else its name is the next one's already
            with contextlib.suppress(StoreUnavailable):  # the worker is stopped, and has removed it
                self._worker.submit(entries.close_bell, lambda _result, _error: None)

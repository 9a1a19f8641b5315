"""
Who leads, as the watches of a store tell it. On the loop only.

All watches of a store share a few blocking queries (`_consul_query`), one where the URL has a path. What an election's
keys say is compared with what its watches were told last, and the difference is told as facts.

Law 1: a watch begins with a state that was asked for after it was opened.
Law 2: no state is told after a later one: each has the index of the snapshot or of the reply that it comes from.
Law 3: when an entry of a live session of this store is gone though nobody here gave it up, the session is asked for
first, so that the end of a session is told before the end of its terms.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from leadership._clock import now
from leadership.backends import _consul_entries as entries
from leadership.backends._consul_entries import View
from leadership.backends._consul_query import Crowd, Query, Snapshot, take
from leadership.backends._consul_roots import roots
from leadership.backends._consul_workers import Caller, Workers, ended
from leadership.errors import ConfigError, LeadershipError
from leadership.store import Fact, Holder, Notify, Watch, WatchEvent

MOST_QUERIES = 4
"""Where the URL has no path, and the elections' names allow it."""
TOO_MANY_QUERIES = 12


class Owner(Protocol):
    """
    A session of this store, as a watch needs to know it.
    """

    def holds(self, election: str) -> bool:
        """
        It leads, as far as it knows, and nobody has asked it to give that up.
        """
        ...

    async def confirm(self) -> None:
        """
        Ask whether it still lives, and tell its candidates if it does not.
        """
        ...

    def tell(self, event: WatchEvent) -> None:
        """
        Tell its candidates.
        """
        ...


class ConsulWatch(Watch):
    """
    One watch of one election.
    """

    def __init__(self, watcher: Watcher, election: str, notify: Notify) -> None:
        self.election = election
        self.opened = now()
        self.begun = False
        """It was told the truth once."""
        self.closed = False
        self._watcher = watcher
        self._notify = notify

    def tell(self, event: WatchEvent) -> None:
        """
        Pass a fact on.
        """
        if not self.closed:
            self._notify(event)

    def close(self) -> None:
        """
        End it.
        """
        if not self.closed:
            self.closed = True
            self._watcher.closed(self)


class _Election:
    def __init__(self, name: str, key: str) -> None:
        self.name = name
        self.key = key
        self.watches: list[ConsulWatch] = []
        self.query: Query | None = None
        self.told: View | None = None
        self.seen: View | None = None
        self.signature: tuple[Any, ...] | None = None
        self.index = 0
        """Of the newest state that is known."""
        self.sent = 0.0
        """When the newest snapshot was asked for."""
        self.checking = False
        self.stalled: dict[str, Owner] = {}
        """Attempts that were refused by a holder which no watch has seen yet."""


class Watcher:
    """
    The watches of one store.
    """

    def __init__(
        self,
        workers: Workers,
        make_caller: Callable[[], Caller],
        crowd: Crowd,
        path: str,
        timeout: float,
        owner: Callable[[str], Owner | None],
    ) -> None:
        self._workers = workers
        self._timeout = timeout
        self._make_caller = make_caller
        self._crowd = crowd
        self._prefix = f"{path}/" if path else ""
        self._owner = owner
        self._elections: dict[str, _Election] = {}
        self._queries: list[Query] = []
        self._ending: list[Query] = []
        self._arranging = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    # -- asked by the store -------------------------------------------------------------------------------------

    def watch(self, name: str, key: str, notify: Notify) -> ConsulWatch:
        """
        Tell what happens to an election from now on.
        """
        election = self._elections.get(name)
        if election is None:
            election = self._elections[name] = _Election(name, key)
        watch = ConsulWatch(self, name, notify)
        election.watches.append(watch)
        if not self._arranging:
            self._arranging = True
            asyncio.get_running_loop().call_soon(self._arrange)
        return watch

    def closed(self, watch: ConsulWatch) -> None:
        """
        A watch has ended.
        """
        election = self._elections.get(watch.election)
        if election is None or watch not in election.watches:
            return
        election.watches.remove(watch)
        if not election.watches:
            del self._elections[watch.election]
            if not any(other.query is election.query for other in self._elections.values()):
                self._drop(election.query)

    def vacant_index(self, name: str) -> int | None:
        """
        None: it is not known to be vacant. Else the ModifyIndex of the key that was left behind there, or 0.
        """
        election = self._elections.get(name)
        if election is None or election.seen is None or election.seen.holder is not None or not election.seen.is_lock:
            return None
        return election.seen.index

    def has_old_request(self, name: str, token: int) -> bool:
        """
        A request stands there that was made to another term than the one with this token, as far as is known.
        """
        election = self._elections.get(name)
        request = None if election is None or election.seen is None else election.seen.request
        return request is not None and request.token != token

    def learned(self, name: str, holder: Holder) -> None:
        """
        A reply says who leads, perhaps before the query does.
        """
        election = self._elections.get(name)
        if election is not None and election.seen is not None and holder.token > election.index:
            election.seen = View(holder, holder.token, side=True, request=election.seen.request)
            election.index, election.signature = holder.token, None
            self._tell(election)

    def stall(self, name: str, attempt: str, owner: Owner) -> None:
        """
        An attempt was refused because another was quicker, who may be gone before a query shows it.
        """
        election = self._elections.get(name)
        if election is not None:
            election.stalled[attempt] = owner

    async def stop(self, timeout: float) -> None:
        """
        End all watches and queries.
        """
        self._stopped = True
        for election in self._elections.values():
            for watch in election.watches:
                watch.closed = True
        self._elections.clear()
        for query in tuple(self._queries):
            self._drop(query)
        for task in self._tasks:
            task.cancel()
        await ended([query.thread for query in self._ending if query.thread.ident is not None], timeout)

    # -- queries ------------------------------------------------------------------------------------------------

    def _arrange(self) -> None:
        """
        See to it that each election is covered by a query.
        """
        self._arranging = False
        if self._stopped:
            return
        new = [election for election in self._elections.values() if election.query is None]
        for election in new:
            election.query = next((each for each in self._queries if election.key.startswith(each.root)), None)
        uncovered = [election.key for election in new if election.query is None]
        if uncovered:
            present = [query.root for query in self._queries]
            self._cover(roots([*present, *uncovered], 1 if self._prefix else MOST_QUERIES, self._prefix))
        asked: set[Query] = set()
        for election in self._elections.values():
            waits = any(not watch.begun for watch in election.watches)
            if waits and election.query is not None and election.query not in asked:
                asked.add(election.query)
                self._refresh(election.query)

    def _cover(self, wanted: list[str]) -> None:
        """
        Have a query for each of these roots, and no other.
        """
        if len(wanted) > TOO_MANY_QUERIES:
            msg = (
                f"the elections' names begin in {len(wanted)} ways, which would take as many connections:"
                " give the URL a path, consul://host:8500/path, below which they all are"
            )
            self._close([election for election in self._elections.values() if election.query is None], ConfigError(msg))
            return
        for query in tuple(self._queries):
            if query.root not in wanted:
                self._drop(query)
        present = {query.root for query in self._queries}
        for root in wanted:
            if root not in present:
                key = next(each.key for each in self._elections.values() if each.key.startswith(root))
                query = Query(root, key, self._make_caller(), self._crowd, self._snapshot, self._broken)
                self._queries.append(query)
                query.refreshing = True  # it begins with a snapshot
                try:
                    query.thread.start()
                except RuntimeError as error:
                    asyncio.get_running_loop().call_soon(self._broken, query, ConfigError(f"no thread: {error}"))
        for election in self._elections.values():
            election.query = next((each for each in self._queries if election.key.startswith(each.root)), None)

    def _drop(self, query: Query | None) -> None:
        if query is not None and query in self._queries:
            self._queries.remove(query)
            self._ending = [each for each in self._ending if each.thread.is_alive()]
            self._ending.append(query)
            query.stop()

    def _broken(self, query: Query, error: LeadershipError) -> None:
        """
        A query has ended; so do its watches.
        """
        if query in self._queries:
            self._drop(query)
            self._close([each for each in self._elections.values() if each.query is query], error)

    def _close(self, elections: list[_Election], error: LeadershipError) -> None:
        for election in elections:
            if self._elections.get(election.name) is election:
                del self._elections[election.name]
        for election in elections:
            for watch in tuple(election.watches):
                watch.tell(WatchEvent(Fact.WATCH_CLOSED, error=error))
                watch.closed = True

    def _refresh(self, query: Query) -> None:
        """
        Ask for the present, for watches that have just been opened.
        """
        if query.refreshing:
            query.refresh_again = True
            return
        query.refreshing = True
        self._spawn(self._refreshed(query))

    async def _refreshed(self, query: Query) -> None:
        sent, timeout = now(), self._timeout
        try:
            snapshot = await self._workers.call(
                lambda caller: take(caller, query.root, until=sent + timeout), timeout + 0.1
            )
        except LeadershipError as error:
            query.refreshing = False
            for election in tuple(self._elections.values()):
                if election.query is query and not any(watch.begun for watch in election.watches):
                    self._close([election], error)
        else:
            self._snapshot(query, snapshot)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- states -------------------------------------------------------------------------------------------------

    def _snapshot(self, query: Query, snapshot: Snapshot) -> None:
        if query not in self._queries:
            return
        query.refreshing = False
        for election in tuple(self._elections.values()):
            if election.query is query:
                self._see(election, snapshot)
        if query.refresh_again:
            query.refresh_again = False
            self._refresh(query)

    def _see(self, election: _Election, snapshot: Snapshot) -> None:
        if snapshot.index < election.index and not snapshot.reset:
            return
        election.index, election.sent = snapshot.index, max(election.sent, snapshot.sent)
        signature = entries.signature(snapshot.pairs, election.key)
        if signature != election.signature or election.seen is None:
            election.signature = signature
            election.seen = entries.look(snapshot.pairs, election.key)
        self._tell(election)

    def _tell(self, election: _Election, *, confirmed: bool = False) -> None:
        """
        Tell what was not told yet.

        Args:
            confirmed: The session whose entry is gone was asked for.
        """
        seen = election.seen
        if seen is None or election.checking:
            return
        told, owner = election.told, None
        if told is not None and told.holder is not None and told.holder != seen.holder and not confirmed:
            owner = self._owner(told.holder.session)
        if owner is not None and owner.holds(election.name):
            election.checking = True
            self._spawn(self._confirm(election, owner))
            return
        election.told = seen
        begun = [watch for watch in election.watches if watch.begun]
        if told is not None:
            for event in changes(told, seen):
                for watch in begun:
                    watch.tell(event)
        for watch in tuple(election.watches):
            if not watch.begun and election.sent >= watch.opened:
                watch.begun = True
                for event in changes(View(), seen) or [WatchEvent(Fact.VACANT_OBSERVED)]:
                    watch.tell(event)
        stalled, election.stalled = election.stalled, {}
        if seen.holder is None:
            for attempt, waits in stalled.items():
                waits.tell(WatchEvent(Fact.TURN, key=attempt))

    async def _confirm(self, election: _Election, owner: Owner) -> None:
        try:
            await owner.confirm()
        finally:
            election.checking = False
        if self._elections.get(election.name) is election:
            self._tell(election, confirmed=True)


def changes(told: View, seen: View) -> list[WatchEvent]:
    """
    The facts that lead from one state to another.
    """
    facts: list[WatchEvent] = []
    if told.holder is not None and (seen.holder is None or seen.holder.token != told.holder.token):
        token = told.holder.token
        asked = {request.token: request.reason for request in (told.request, seen.request) if request is not None}
        # That another leads says as much; why the term before ended needs an event of its own.
        if seen.holder is None or asked.get(token) is not None:
            facts.append(WatchEvent(Fact.KEY_DELETED, token=token, reason=asked.get(token)))
    if seen.holder is not None and seen.holder != told.holder:
        facts.append(WatchEvent(Fact.LEADER_OBSERVED, holder=seen.holder, revision=seen.index))
    request = seen.request
    present = None if seen.holder is None else seen.holder.token
    if request is not None and request != told.request and request.token == present:
        facts.append(WatchEvent(Fact.RESIGN_REQUESTED, token=request.token, reason=request.reason))
    return facts

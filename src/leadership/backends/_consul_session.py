"""
A session of a store on Consul, with the entries that it holds. On the engine's loop.

Law: the changes of one election follow each other; none is begun while an earlier one, whose caller may have given up,
is under way. Each is bounded in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from leadership._clock import now
from leadership.backends import _consul_changes as changes
from leadership.backends import _consul_entries as entries
from leadership.backends import _consul_sessions as sessions
from leadership.backends._consul_workers import Caller
from leadership.errors import LeadershipError, StoreUnavailable
from leadership.store import Entry, Fact, Holder, Notify, Outcome, Reply, Session, WatchEvent

if TYPE_CHECKING:
    from leadership.backends.consul import ConsulStore

CHECK_PATIENCE: Final = 0.25
DELAY_POLL: Final = 0.5
"""Seconds between two attempts at a lock that Consul holds back; nothing tells when it may be had."""


class ConsulSession(Session):
    """
    A session at Consul. On the engine's loop.
    """

    def __init__(self, store: ConsulStore, granted: sessions.Granted, ttl: float, notify: Notify) -> None:
        self.id = granted.id
        self.ttl = ttl
        self.granted = granted
        self.lost = False
        self._store = store
        self._notify = notify
        self._held: dict[str, tuple[str, int]] = {}
        """Elections that it leads: by which attempt, and token."""
        self._newest: dict[str, int] = {}
        self._under_way: dict[str, asyncio.Task[Reply]] = {}
        """The last change of each election; the next one waits for it, so that none overtakes another."""
        self._confirming: asyncio.Task[None] | None = None
        self._delayed: set[asyncio.TimerHandle] = set()

    @property
    def _patience(self) -> float:
        """
        The caller gives up after a quarter of the TTL; a typed error comes before that. A long TTL must not hold up a
        short one, which may share its thread.
        """
        return min(self.ttl * 0.23, self._store.settings.timeout)

    async def renew(self) -> Reply:
        """
        Ask for another TTL. Refused: the session has ended, and will not come back.
        """
        self._store.check_usable()
        if self.lost:
            return Reply(Outcome.REFUSED)
        until = now() + self._patience
        reply = await self._store.renewals.call(
            lambda caller: sessions.renew(caller, self.granted, until=until), self._patience
        )
        if reply.outcome is Outcome.REFUSED:
            self._forget()
        return reply

    async def acquire(self, entry: Entry) -> Reply:
        """
        Claim an election, without waiting.
        """
        self._store.check_usable()
        self._newest[entry.election] = max(self._newest.get(entry.election, 0), entry.number)
        return await self._in_turn(entry.election, self._acquire(entry, now() + self._patience))

    async def _acquire(self, entry: Entry, until: float) -> Reply:
        store, name = self._store, entry.election
        if self.lost:
            return Reply(Outcome.REFUSED)
        left, newest = store.watcher.vacant_index(name), self._newest[name]
        acquired = await store.workers.call(
            lambda caller: changes.acquire(
                caller,
                store.key(name),
                self.id,
                entry,
                left=left or 0,
                trusted=left is not None,
                newest=newest,
                until=until,
            ),
            until - now(),
        )
        reply = acquired.reply
        if acquired.over:
            self._lose(reply.error)
        elif acquired.delayed:
            self._try_later(entry)
        elif reply.outcome is Outcome.DONE:
            token = reply.token or 0
            self._held[name] = entry.key, token
            store.crowd.won()
            store.watcher.learned(name, Holder(entry.node, token, self.id, entry.metadata or {}))
        elif reply.holder is not None:
            store.watcher.learned(name, reply.holder)
        else:
            store.crowd.lost()
            store.watcher.stall(name, entry.key, self)
        return reply

    async def release(self, entry: Entry) -> Reply:
        """
        Remove the entry, if this session still has it.
        """
        self._store.check_usable()
        return await self._in_turn(entry.election, self._release(entry, now() + self._patience))

    async def _release(self, entry: Entry, until: float) -> Reply:
        store, name = self._store, entry.election
        key, token = self._held.get(name, ("", 0))
        if key == entry.key:
            del self._held[name]
        newest = self._newest.get(name, 0)
        return await store.workers.call(
            lambda caller: changes.release(
                caller,
                store.key(name),
                self.id,
                entry,
                token=token if key == entry.key else 0,
                newest=newest,
                tidy=store.watcher.has_old_request(name, token),
                until=until,
            ),
            until - now(),
        )

    async def _in_turn(self, election: str, change: Coroutine[Any, Any, Reply]) -> Reply:
        """
        A change after the one before it, which goes on when its caller does not.
        """
        before = self._under_way.get(election)

        async def run() -> Reply:
            try:
                if before is not None:
                    await asyncio.wait({before})
                return await change
            finally:
                change.close()
                if self._under_way.get(election) is task:
                    del self._under_way[election]

        task = self._store.spawn(run())
        self._under_way[election] = task
        return await asyncio.shield(task)

    async def end(self) -> Reply:
        """
        Give the session up, and with it all its entries.
        """
        return await self.finish(self._patience)

    async def finish(self, patience: float) -> Reply:
        """
        End it within so many seconds.
        """
        until, store = now() + patience, self._store
        delay = store.lock_delay(self.ttl) > 0
        held = {store.key(name): token for name, (_key, token) in self._held.items()} if delay else {}
        self._forget()

        def job(caller: Caller) -> Reply:
            for key, token in held.items():  # the end of a session starts the lock-delay, a deletion does not
                with contextlib.suppress(entries.Conflict):
                    operations = entries.give_up(key, self.id, token, mine=True)
                    entries.transact(caller, operations, f"deleting the key {key!r} (key:write)", until=until)
            return sessions.end(caller, self.granted, until=until)

        reply = await store.workers.call(job, patience)
        store.sessions.pop(self.id, None)
        if not store.sessions:
            store.crowd.left()
        return reply

    # -- for the watcher ----------------------------------------------------------------------------------------

    def holds(self, election: str) -> bool:
        """
        It leads, as far as it knows, and nobody has asked it to give that up.
        """
        return not self.lost and election in self._held

    def tell(self, event: WatchEvent) -> None:
        """
        Tell its candidates.
        """
        if not self.lost:
            self._notify(event)

    async def confirm(self) -> None:
        """
        Ask whether it still lives, and tell its candidates if it does not. One question at a time.
        """
        if self._confirming is None or self._confirming.done():
            self._confirming = self._store.spawn(self._confirm())
        await asyncio.shield(self._confirming)

    async def _confirm(self) -> None:
        until = now() + CHECK_PATIENCE
        with contextlib.suppress(LeadershipError):
            ask: Callable[[Caller], bool] = partial(sessions.exists, session=self.id, until=until)
            if not await self._store.workers.call(ask, CHECK_PATIENCE):
                self._lose(StoreUnavailable(f"the session {self.id} has ended at the store"))

    def _lose(self, error: LeadershipError | None) -> None:
        if not self.lost:
            self._forget()
            self._notify(WatchEvent(Fact.SESSION_LOST, error=error))

    def _forget(self) -> None:
        self.lost = True
        self._held.clear()
        for timer in self._delayed:
            timer.cancel()
        self._delayed.clear()

    def _try_later(self, entry: Entry) -> None:
        """
        Consul holds a lock back for a while: ask again, the more of them the more rarely.
        """
        pause = max(DELAY_POLL, len(self._delayed) / 100) * random.uniform(0.8, 1.0)

        def due() -> None:
            self._delayed.discard(timer)
            self.tell(WatchEvent(Fact.TURN, key=entry.key))

        timer = asyncio.get_running_loop().call_later(pause, due)
        self._delayed.add(timer)

"""
A ZooKeeper session: one connection, one lease, and a place in each election that its candidates stand in.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from leadership.backends import _zookeeper_wire as wire
from leadership.backends._zookeeper_errors import SessionOver
from leadership.backends._zookeeper_folders import not_permitted
from leadership.backends._zookeeper_layout import session_id
from leadership.backends._zookeeper_link import Link
from leadership.backends._zookeeper_place import Place
from leadership.backends._zookeeper_wire import Fault, WireError
from leadership.errors import LeadershipError, StoreUnavailable
from leadership.store import Entry, Fact, Notify, Outcome, Reply, Session, WatchEvent

if TYPE_CHECKING:
    from leadership.backends.zookeeper import ZooKeeperStore

QUICK: Final = 0.25
"""Seconds in which a session is asked whether it lives."""


class ZooKeeperSession(Session):
    """
    One session. On the engine's loop.
    """

    def __init__(self, store: ZooKeeperStore, link: Link, ttl: float, notify: Notify) -> None:
        self.id = session_id(link.owner)
        self.ttl = ttl
        self.link = link
        self.ended = False
        """It is over, or was given up."""
        self._store = store
        self._notify = notify
        self._patience = min(ttl / 4 * 0.9, store.options.timeout)
        """The caller gives up after a quarter of the TTL; a typed error comes before that."""
        self._places: dict[str, Place] = {}
        link.on_down.append(self._went_down)
        link.on_up.append(self._came_up)
        link.on_over.append(self._is_over)

    # -- what happens by itself -------------------------------------------------------------------------------------

    def _went_down(self, error: LeadershipError) -> None:
        for place in self._places.values():
            place.went_down()
        if not self.ended:
            self._notify(WatchEvent(Fact.SESSION_SUSPENDED, error=error))

    def _came_up(self) -> None:
        if not self.ended:
            self._notify(WatchEvent(Fact.SESSION_RESTORED))

    def _is_over(self, error: LeadershipError) -> None:
        if not self.ended:
            self.ended = True
            self._store.session_ended(self)
            self._notify(WatchEvent(Fact.SESSION_LOST, error=error))

    def _is_turn(self, key: str) -> None:
        if not self.ended:
            self._notify(WatchEvent(Fact.TURN, key=key))

    # -- what its store asks ----------------------------------------------------------------------------------------

    def waits_in(self, path: str) -> bool:
        """
        Whether an entry of this session waits there.
        """
        place = self._places.get(path)
        return place is not None and place.waits

    def queue_seen(self, path: str, names: list[str]) -> None:
        """
        An election's queue was read.
        """
        place = self._places.get(path)
        if place is not None:
            place.seen(names)

    def made(self, path: str, name: str) -> bool:
        """
        Whether that node there is this session's.
        """
        place = self._places.get(path)
        return place is not None and place.made(name)

    async def lives(self) -> bool:
        """
        Whether the session lives, as far as a moment's asking can tell.
        """
        with contextlib.suppress(LeadershipError):
            return (await self._touch(QUICK)).outcome is Outcome.DONE
        return not await self.link.until(lambda: self.link.over is not None, QUICK)

    # -- the lease --------------------------------------------------------------------------------------------------

    async def renew(self) -> Reply:
        """
        Ask for another TTL. Refused: the session has ended, and will not come back.
        """
        if self.ended:
            return Reply(Outcome.REFUSED)
        self._store.check_usable()
        return await self._touch(self._patience)

    async def _touch(self, timeout: float) -> Reply:
        """
        A write that changes nothing, and is committed by a majority of the servers.
        """
        place = self._store.base or "/"
        request = wire.multi([wire.check(place)])
        try:
            (answer,) = await self.link.demand("renew", request, timeout=timeout)
            if isinstance(answer[0], WireError) and answer[0].fault is Fault.NO_NODE:
                self._store.folders.forget(place)
                before = self._store.folders.missing([place])
                request = wire.multi([wire.check(place)])
                *parents, answer = await self.link.ask("renew", *before, request, timeout=timeout)
                denied = not_permitted(parents)
                if denied is not None:
                    raise self.link.explain(denied, "renew")
        except SessionOver as error:
            return Reply(Outcome.REFUSED, error=error)
        checked = answer if isinstance(answer, WireError) else answer[0]
        if not isinstance(checked, WireError):
            if request.since is None:  # never seen; a lease must not count from the write itself
                msg = f"renew: nothing is known of the connection to {self._store.url}"
                raise StoreUnavailable(msg)
            return Reply(Outcome.DONE, since=request.since)
        if checked.fault is Fault.EXPIRED:
            return Reply(Outcome.REFUSED, error=SessionOver(f"the session at {self._store.url} has expired"))
        raise self.link.explain(checked, "renew")

    async def end(self) -> Reply:
        """
        Give the session up, and with it all its entries.
        """
        if not self.ended:
            self.ended = True
            self._store.session_ended(self)
        if not await self.link.end(self._patience):
            if self.link.silence > 2 * self.ttl:
                # Each attempt to connect may tell the server that the session lives, though no answer comes back.
                await self.link.stop()
            msg = f"end session: no answer from {self._store.url} yet"
            raise StoreUnavailable(msg)
        return Reply(Outcome.DONE)

    # -- entries ----------------------------------------------------------------------------------------------------

    async def acquire(self, entry: Entry) -> Reply:
        """
        Claim an election: stand in its queue.
        """
        self._store.check_election(entry.election)
        if self.ended:
            return Reply(Outcome.REFUSED)
        self._store.check_usable()
        try:
            return await self._place(entry.election).acquire(entry)
        except SessionOver as error:
            return Reply(Outcome.REFUSED, error=error)

    async def release(self, entry: Entry) -> Reply:
        """
        Remove the entry, if this session still has it.
        """
        if not self.ended:
            self._store.check_usable()
            with contextlib.suppress(SessionOver):
                await self._place(entry.election).release(entry)
        return Reply(Outcome.DONE)  # with a session that has ended it has gone, or goes

    def _place(self, election: str) -> Place:
        path, store = self._store.path(election), self._store
        place = self._places.get(path)
        if place is None:
            place = Place(path, self.link, store.folders, store.watcher, self._patience, self._is_turn)
            self._places[path] = place
        return place

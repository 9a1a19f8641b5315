"""
One election as its watches know it: who leads, as far as was told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from leadership.backends._zookeeper_layout import Head
from leadership.backends._zookeeper_wire import Trigger
from leadership.store import Fact, Notify, Watch, WatchEvent


@dataclass(eq=False, slots=True)
class ZooKeeperWatch(Watch):
    """
    One watch of one election.
    """

    notify: Notify
    seat: Seat
    left: Callable[[ZooKeeperWatch], None]
    begun: bool = False
    closed: bool = False

    def close(self) -> None:
        """
        End it.
        """
        self.closed = True
        self.left(self)

    def tell(self, event: WatchEvent) -> None:
        """
        Pass a fact on.
        """
        if not self.closed:
            self.notify(event)

    def begin(self) -> None:
        """
        Tell the truth first.
        """
        if not self.begun and self.seat.known:
            self.begun = True
            head = self.seat.head
            vacant = WatchEvent(Fact.VACANT_OBSERVED)
            self.tell(vacant if head is None else WatchEvent(Fact.LEADER_OBSERVED, holder=head.holder))
            request = self.seat.request()
            if request is not None:
                self.tell(request)


@dataclass(eq=False, slots=True)
class Seat:
    """
    One election, and who leads it as far as was told.
    """

    path: str
    watches: list[ZooKeeperWatch] = field(default_factory=list[ZooKeeperWatch])
    known: bool = False
    suspended: bool = False
    head: Head | None = None
    newest: int = 0
    """The token of the leader that was told last."""
    gone: Head | None = None
    """Led by a session of this store, and has gone; why, is being asked."""
    hint: str = ""
    """The name of the node that leads, known before any look."""
    released: str = ""
    """The name of the node that this store itself removes."""
    fired: dict[str, str] = field(default_factory=dict[str, str])
    """What was told of paths since the present look began."""
    asked: tuple[int, str | None] = (0, None)
    """The term that was asked to resign last, and why; it may be over."""
    asked_at: int = 0
    """When that was written; 0: nothing stands there."""
    news: bool = False
    """Something was written there that has yet to be read."""
    trigger: Trigger | None = None
    timer: asyncio.TimerHandle | None = None

    def request(self) -> WatchEvent | None:
        """
        That the term which leads was asked to resign, if it was.
        """
        token, reason = self.asked
        if self.asked_at == 0 or self.head is None or self.head.holder.token != token:
            return None
        return WatchEvent(Fact.RESIGN_REQUESTED, token=token, reason=reason)

    def tell(self, event: WatchEvent) -> None:
        """
        Pass a fact on to those who know what was before it.
        """
        for watch in tuple(self.watches):
            if watch.begun:
                watch.tell(event)

    def is_now(self, head: Head | None, fact: Fact) -> None:
        """
        Tell what a look has found, as the difference to what was told.
        """
        before, self.head = self.head, head
        if before is not None and (head is None or head.name != before.name):
            token, reason = self.asked
            self.tell(
                WatchEvent(fact, token=before.holder.token, reason=reason if token == before.holder.token else None)
            )
        if head is not None and (before is None or head.holder != before.holder):
            self.tell(WatchEvent(Fact.LEADER_OBSERVED, holder=head.holder))
            if head.holder.token < self.newest:
                # Behind a node that was written to. Who watches would take it for an old one, were it not to read.
                self.tell(WatchEvent(Fact.SESSION_RESTORED))
            self.newest = head.holder.token
            request = self.request()
            if request is not None and (before is None or head.holder.token != before.holder.token):
                self.tell(request)  # it was read before the leader was known whom it was meant for
        self.known = True
        for watch in tuple(self.watches):
            watch.begin()
        if self.suspended:
            self.suspended = False
            self.tell(WatchEvent(Fact.SESSION_RESTORED))

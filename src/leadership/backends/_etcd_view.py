"""
What is known of one election from the store's watch, and what it tells.

Facts are made revision by revision, so that what was written in one transaction is seen at once. The view keeps all who
stand, because the next leader is found among them without asking, and so is whose turn it is. Where one of this store
waits, a leader's end is told a moment later: the successor goes first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, Protocol

from leadership.backends import _etcd_keys as layout
from leadership.backends._etcd_keys import Claim, Keys
from leadership.errors import LeadershipError
from leadership.store import Fact, Holder, Notify, Watch, WatchEvent

if TYPE_CHECKING:
    from leadership.backends._etcd_watches import Watches

BREATH: Final = 0.003
"""Seconds by which the facts give way to a turn: the successor goes first."""


class Owner(Protocol):
    """
    One of this store's sessions, as a view knows it.
    """

    def left(self, election: str, token: int) -> bool:
        """
        Whether it has given that claim up itself.
        """
        ...

    async def is_gone(self) -> bool:
        """
        Whether the store says, quickly, that the session has ended; then its owner has been told.
        """
        ...


@dataclass(slots=True)
class Waiting:
    """
    A claim of one of this store's sessions that waits for its turn.
    """

    key: str
    """The entry's."""
    revision: int
    """A view that is older does not show the claim yet."""
    notify: Notify
    blocked: bool = False
    """Somebody else has put a key where the claim should stand."""


class EtcdWatch(Watch):
    """
    One who listens to a view.
    """

    def __init__(self, view: View, notify: Notify) -> None:
        self.view = view
        self.notify = notify
        self.told = False
        """It knows the truth as of the last fact."""
        self.closed = False

    def tell(self, event: WatchEvent) -> None:
        """
        Pass a fact on, unless it is closed.
        """
        if not self.closed:
            self.notify(event)

    def close(self) -> None:
        """
        End it; nothing is notified afterwards. Idempotent.
        """
        if not self.closed:
            self.closed = True
            self.view.leave(self)


@dataclass(slots=True, eq=False)
class View:
    """
    One election. On the loop only.
    """

    watches: Watches
    election: str
    keys: Keys
    watchers: list[EtcdWatch] = field(default_factory=list[EtcdWatch])
    waiting: dict[str, Waiting] = field(default_factory=dict[str, Waiting])
    """By the name of the claim's session."""
    live: bool = False
    """The truth was read, and the stream tells what happens since."""
    closed: bool = False
    number: int | None = None
    """The stream's name for it."""
    renewals: int = 0
    """How often it was begun again with a new token, in vain."""
    revision: int = 0
    holder: Holder | None = None
    _claims: dict[bytes, Claim] = field(default_factory=dict[bytes, Claim])
    _sides: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    _request: tuple[int, str | None] | None = None
    _held: list[WatchEvent] | None = None
    """Facts that wait until it is known whether a session has ended, or that give way to the successor."""
    _breath: asyncio.TimerHandle | None = None

    @property
    def unused(self) -> bool:
        """
        Nobody listens.
        """
        return not self.watchers and not self.waiting

    # -- who listens --------------------------------------------------------------------------------------------

    def join(self, notify: Notify) -> EtcdWatch:
        """
        One more who listens; the truth is told soon.
        """
        watch = EtcdWatch(self, notify)
        self.watchers.append(watch)
        if self.live:
            asyncio.get_running_loop().call_soon(self._greet)
        return watch

    def leave(self, watch: EtcdWatch) -> None:
        """
        One less.
        """
        if watch in self.watchers:  # it may hear of the view's end, and close, while the view is told of it
            self.watchers.remove(watch)
            self.watches.left(self)

    def wait(self, session: str, waiting: Waiting) -> None:
        """
        Tell when it is a claim's turn.
        """
        self.waiting[session] = waiting
        if self.live:
            asyncio.get_running_loop().call_soon(self._tell_turns)

    def wait_no_more(self, session: str, key: str | None = None) -> None:
        """
        The claim leads, or is given up. With a key, only the one of that entry.
        """
        waiting = self.waiting.get(session)
        if waiting is not None and key in (None, waiting.key):
            del self.waiting[session]
            self.watches.left(self)

    def outdates(self, session: str, token: int, revision: int) -> bool:
        """
        Whether a claim that stood at a revision does not any more, as those who listen have been told already.
        """
        claim = self._claims.get(session.encode())
        stands = claim is not None and claim.untouched and claim.created == token
        return self.revision > revision and not stands

    def _greet(self) -> None:
        """
        Tell the truth to those who have not heard it.
        """
        if self._held is not None or not self.live:
            return  # then they are greeted later
        holder = self.holder
        event = WatchEvent(Fact.VACANT_OBSERVED, revision=self.revision)
        if holder is not None:
            event = WatchEvent(Fact.LEADER_OBSERVED, holder=holder, revision=self.revision)
        for watch in tuple(self.watchers):
            if not watch.told:
                watch.told = True
                watch.tell(event)
                if self._is_request_in_force():
                    watch.tell(self._resign())

    # -- what happens -------------------------------------------------------------------------------------------

    def load(self, kvs: Iterable[Any], revision: int) -> None:
        """
        Take the whole truth of a revision.
        """
        self._claims.clear()
        self._sides.clear()
        self._request = None
        for kv in kvs:
            self._put(kv)
        self.revision, self.live = revision, True
        self._advance()
        if self._is_request_in_force():
            self._tell(self._resign())
        self._greet()

    def apply(self, events: Iterable[Any]) -> None:
        """
        Take what has happened, in order.
        """
        for revision, group in groupby(events, key=_revision):
            if revision <= self.revision:
                continue  # the truth that was read had it already
            self.revision = revision
            asked = self._request
            for event in group:
                if event.type == event.DELETE:
                    self._delete(event.kv.key)
                else:
                    self._put(event.kv)
            self._advance()
            if self._request != asked and self._is_request_in_force():
                self._tell(self._resign())

    def _put(self, kv: Any) -> None:
        claim = self.keys.claim(kv)
        if claim is not None:
            self._claims[claim.name] = claim
            return
        name = self.keys.side_of(kv.key)
        if name is not None:
            self._sides[name] = kv.value
        elif kv.key == self.keys.resign:
            self._request = layout.requested(kv.value)

    def _delete(self, key: bytes) -> None:
        name = self.keys.name_of(key)
        if name is not None:
            self._claims.pop(name, None)
            return
        name = self.keys.side_of(key)
        if name is not None:
            self._sides.pop(name, None)
        elif key == self.keys.resign:
            self._request = None

    def _is_request_in_force(self) -> bool:
        return self._request is not None and self.holder is not None and self._request[0] == self.holder.token

    def _resign(self) -> WatchEvent:
        token, reason = self._request or (0, None)
        return WatchEvent(Fact.RESIGN_REQUESTED, token=token, reason=reason, revision=self.revision)

    def _advance(self) -> None:
        """
        Tell what the present differs in from what was told last.
        """
        first = min(self._claims.values(), key=_created, default=None)
        old, new = self.holder, None
        if first is not None:
            new = layout.holder(first, self._sides.get(first.name))
            if layout.is_taken(new):
                self.watches.saw_taken(self.election, new.token)
        self.holder = new
        if old is not None and (new is None or _is_gone(old, new)):
            self._ask_owner(old)
            self._give_way()
            self._tell(WatchEvent(Fact.KEY_DELETED, token=old.token, revision=self.revision))
        if new is not None and new != old:
            self._tell(WatchEvent(Fact.LEADER_OBSERVED, holder=new, revision=self.revision))
        self._tell_turns()

    def _tell(self, event: WatchEvent) -> None:
        if self._held is not None:
            self._held.append(event)
            return
        for watch in tuple(self.watchers):
            if watch.told:
                watch.tell(event)

    def _tell_turns(self) -> None:
        """
        Tell those who wait and need not any more; each is told once, and waits again when it has asked in vain.
        """
        for session, waiting in tuple(self.waiting.items()):
            if self.revision < waiting.revision or not self.live or self.waiting.get(session) is not waiting:
                continue
            claim = self._claims.get(session.encode())
            own = self.holder is not None and self.holder.session == session
            if claim is not None and not own and (waiting.blocked or claim.untouched):
                continue
            del self.waiting[session]
            owner = self.watches.owner(session)
            if claim is None and owner is not None and not waiting.blocked:
                self.watches.spawn(self._turn_of_lost(owner, waiting))
            else:
                waiting.notify(WatchEvent(Fact.TURN, key=waiting.key, revision=self.revision))
        self.watches.left(self)

    @staticmethod
    async def _turn_of_lost(owner: Owner, waiting: Waiting) -> None:
        """
        A claim that waited has vanished: with its session, or by somebody's hand.
        """
        if not await owner.is_gone():
            waiting.notify(WatchEvent(Fact.TURN, key=waiting.key))

    # -- whose session has ended --------------------------------------------------------------------------------

    def _ask_owner(self, old: Holder) -> None:
        """
        Hold the facts back until it is known whether the session of the claim that is gone has ended, if it is ours.
        """
        owner = self.watches.owner(old.session)
        if owner is None or owner.left(self.election, old.token):
            return
        self._tell_held()
        if self._held is None:
            self._held = []
            self.watches.spawn(self._release_held(owner, old.token))

    async def _release_held(self, owner: Owner, token: int) -> None:
        gone = await owner.is_gone()
        held, self._held = self._held or [], None
        for event in held:
            if gone and event.fact is Fact.KEY_DELETED and event.token == token:
                event = WatchEvent(Fact.LEASE_EXPIRED, token=token, revision=event.revision)  # noqa: PLW2901
            self._tell(event)
        self._greet()

    # -- who goes first -----------------------------------------------------------------------------------------

    def _give_way(self) -> None:
        """
        Hold the facts back for a moment where somebody waits: the successor may be here, or on the same machine.
        """
        if self.waiting and self._held is None:
            self._held = []
            self._breath = asyncio.get_running_loop().call_later(BREATH, self._tell_held)

    def _tell_held(self) -> None:
        """
        Tell what has given way to the successor.
        """
        if self._breath is not None:
            self._breath.cancel()
            held, self._held, self._breath = self._held or [], None, None
            for event in held:
                self._tell(event)
            self._greet()

    def close(self, error: LeadershipError) -> None:
        """
        Nothing more is known: end all watches.
        """
        self.closed, self.live = True, False
        self._tell_held()
        held, self._held = self._held or [], None
        for event in held:
            self._tell(event)
        watchers, self.watchers = self.watchers, []
        for watch in watchers:
            watch.tell(WatchEvent(Fact.WATCH_CLOSED, error=error))
            watch.closed = True
        waiting, self.waiting = self.waiting, {}
        if not watchers:  # nobody else would ask again for them
            for each in waiting.values():
                each.notify(WatchEvent(Fact.TURN, key=each.key))


def _created(claim: Claim) -> int:
    return claim.created


def _revision(event: Any) -> int:
    return int(event.kv.mod_revision)


def _is_gone(old: Holder, new: Holder) -> bool:
    """
    Whether the claim of a holder is not there any more, now that another leads.
    """
    return old.session.partition("@")[0] != new.session.partition("@")[0]

"""
Who leads, as it happens: one watch on the node that leads, whatever number of candidates waits behind it.

A watch of ZooKeeper fires once and says that something has happened, not what. So each event is followed by a look,
which leaves the next watch: on the leader's node, or on its absent successor (the election's children, or the election
itself where it has none). What a look finds is told as the difference to what was told before.

Looks are batched. Where a candidate of this very store waits in the queue, a leader's end is told and looked into a
moment later: the successor goes first.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from leadership.backends import _zookeeper_wire as wire
from leadership.backends._zookeeper_client import trigger
from leadership.backends._zookeeper_layout import RESIGN, SIDE, Head, contenders, parse_request
from leadership.backends._zookeeper_link import Link
from leadership.backends._zookeeper_reads import head_from, head_requests, queue_from, read_all
from leadership.backends._zookeeper_seat import Seat, ZooKeeperWatch
from leadership.backends._zookeeper_wire import Fault, Request, WireError
from leadership.errors import ConfigError, LeadershipError, StoreRefused, StoreUnavailable
from leadership.store import Fact, Holder, Notify, WatchEvent

if TYPE_CHECKING:
    from leadership.backends.zookeeper import ZooKeeperStore

DELETED = "DELETED"
AT_A_TIME = 64
"""Requests sent together."""
COURTESY = (0.02, 0.08)
"""Seconds by which those who wait give way to the successor."""
BREATH = 0.003
"""Seconds by which a look gives way to the engine, which has a leader to tell."""
RETRY = 0.25
"""Seconds between attempts to find a connection."""


class Watcher:
    """
    All watches of a store, on one connection. On the engine's loop.
    """

    def __init__(self, store: ZooKeeperStore) -> None:
        self._store = store
        self._seats: dict[str, Seat] = {}
        self._due: dict[str, Seat] = {}
        self._task: asyncio.Task[None] | None = None
        self._link: Link | None = None
        self.taken: dict[str, int] = {}
        """The newest token of a holder whose node was written over, by the election's path."""
        self._newest = True
        """The next look must not see less than an earlier one has seen, on whatever connection."""
        self._stopped = False

    # -- asked ----------------------------------------------------------------------------------------------------

    def watch(self, path: str, notify: Notify) -> ZooKeeperWatch:
        """
        Tell what happens there, the present first.
        """
        seat = self._seats.get(path)
        loop = asyncio.get_running_loop()
        if seat is None:
            seat = self._seats[path] = Seat(path)
            seat.trigger = trigger(loop, lambda kind, where, seat=seat: self._fired(seat, kind, where))  # type: ignore[misc]
            self._look_soon(seat)
        watch = ZooKeeperWatch(notify, seat, self.left)
        seat.watches.append(watch)
        if seat.known and not seat.suspended:
            loop.call_soon(watch.begin)
        return watch

    def left(self, watch: ZooKeeperWatch) -> None:
        """
        A watch was closed.
        """
        seat = watch.seat
        if watch in seat.watches:
            seat.watches.remove(watch)
        if not seat.watches and self._seats.get(seat.path) is seat:
            del self._seats[seat.path]
            self._due.pop(seat.path, None)
            if seat.timer is not None:
                seat.timer.cancel()

    def known(self, path: str, name: str | None = None) -> Holder | None:
        """
        Who leads there, if that is known; if it is the node of that name.
        """
        seat = self._seats.get(path)
        head = None if seat is None or seat.suspended else seat.head
        return head.holder if head is not None and name in (None, head.name) else None

    def guesses(self, paths: Iterable[str]) -> dict[str, str]:
        """
        The names of the nodes that led when last seen.
        """
        seats = [seat for path in paths if (seat := self._seats.get(path)) is not None]
        return {seat.path: seat.head.name for seat in seats if seat.head is not None}

    def saw(self, path: str, head: Head) -> None:
        """
        A node was seen to lead.
        """
        if head.overwritten:
            self.taken[path] = max(self.taken.get(path, 0), head.holder.token)

    def leads(self, path: str, name: str) -> None:
        """
        A node of this store was granted an election.
        """
        seat = self._seats.get(path)
        if seat is not None and (seat.head is None or seat.head.name != name):
            seat.hint = name
            if seat.timer is not None:
                seat.timer.cancel()
            seat.timer = asyncio.get_running_loop().call_later(BREATH, self._look_soon, seat)

    def releasing(self, path: str, name: str | None) -> None:
        """
        A node of this store is about to be removed.
        """
        seat = self._seats.get(path)
        if seat is not None:
            seat.released = name or ""

    def has_old_request(self, path: str, token: int | None) -> bool:
        """
        Whether a request stands there that was made to another term than this one, which leads.
        """
        seat = self._seats.get(path)
        if seat is None or seat.head is None or seat.head.holder.token != token:
            return False
        return seat.asked_at != 0 and not seat.news and seat.asked[0] != token

    def stop(self) -> None:
        """
        Tell nothing more.
        """
        self._stopped = True
        self._detach()
        for seat in tuple(self._seats.values()):
            for watch in tuple(seat.watches):
                watch.closed = True
            if seat.timer is not None:
                seat.timer.cancel()
        self._seats.clear()
        if self._task is not None:
            self._task.cancel()

    # -- the connection -------------------------------------------------------------------------------------------

    def _attach(self, link: Link) -> None:
        if self._link is link:
            return
        self._detach()
        self._link = link
        link.on_down.append(self._went_down)
        link.on_up.append(self._look_at_all)
        link.on_over.append(self._is_over)
        self._look_at_all()

    def _detach(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            for listeners, own in (
                (link.on_down, self._went_down),
                (link.on_up, self._look_at_all),
                (link.on_over, self._is_over),
            ):
                with contextlib.suppress(ValueError):
                    listeners.remove(own)  # type: ignore[arg-type]  # each in its own list

    def move(self, link: Link) -> None:
        """
        A connection is about to end: use another.
        """
        if self._link is link:
            self._detach()
            self._look_at_all()

    def _went_down(self, error: LeadershipError) -> None:
        for seat in tuple(self._seats.values()):
            if not seat.suspended and seat.known:
                seat.suspended = True
                seat.tell(WatchEvent(Fact.SESSION_SUSPENDED, error=error))

    def _is_over(self, error: LeadershipError) -> None:
        self._detach()
        self._went_down(error)
        self._look_at_all()

    def _look_at_all(self) -> None:
        self._newest = True
        for seat in self._seats.values():
            self._look_soon(seat)

    # -- events ---------------------------------------------------------------------------------------------------

    def _fired(self, seat: Seat, kind: str, path: str) -> None:
        if self._seats.get(seat.path) is not seat:
            return
        seat.fired[path] = kind
        head = seat.head
        if path == _request_path(seat):
            self._request_written(seat, head)
        elif head is None or path != f"{seat.path}/{head.name}" or kind != DELETED:
            self._look_soon(seat)
        elif self._is_unexplained(seat, head):
            seat.gone = head
            self._look_soon(seat)
        elif self._store.waits_in(seat.path):
            if seat.timer is None:
                seat.timer = asyncio.get_running_loop().call_later(random.uniform(*COURTESY), self._is_gone, seat, head)
        else:
            self._is_gone(seat, head)

    def _request_written(self, seat: Seat, head: Head | None) -> None:
        """
        A term was asked to resign: its leader is told at once, those who wait give way to it.
        """
        seat.news = True
        if not self._store.waits_in(seat.path) or (head is not None and self._store.holds(seat.path, head.name)):
            self._look_soon(seat)
        elif seat.timer is None:
            seat.timer = asyncio.get_running_loop().call_later(random.uniform(*COURTESY), self._look_soon, seat)

    def _is_gone(self, seat: Seat, head: Head) -> None:
        if seat.head is head and not seat.news:  # else the look tells that it is gone, and why
            seat.is_now(None, self._why_gone(seat))
        self._look_soon(seat)

    def _is_unexplained(self, seat: Seat, head: Head) -> bool:
        """
        It was of a session of this store, which did not remove it: the session may have ended.
        """
        return self._store.session_of(head.owner) is not None and head.name != seat.released

    # -- looking --------------------------------------------------------------------------------------------------

    def _look_soon(self, seat: Seat) -> None:
        if self._stopped or self._seats.get(seat.path) is not seat:  # told of a look, who watched began anew
            return
        if seat.timer is not None:
            seat.timer.cancel()
            seat.timer = None
        self._due[seat.path] = seat
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        try:
            while self._due and not self._stopped:
                seats = list(self._due.values())
                self._due.clear()
                try:
                    await self._settle_gone(seats)
                    link = await self._store.reading_link()
                    self._attach(link)
                    if self._newest:  # all are due
                        seats = list(({seat.path: seat for seat in seats} | self._due).values())
                        self._due.clear()
                    newest, self._newest = self._newest, False
                    await self._look(link, seats, newest=newest)
                except (StoreRefused, ConfigError) as error:
                    self._refuse(seats, error)
                except StoreUnavailable as error:
                    self._went_down(error)
                    for seat in seats:
                        if self._seats.get(seat.path) is seat:
                            self._due[seat.path] = seat
                    self._newest = True
                    await asyncio.sleep(RETRY)
                except Exception as error:  # noqa: BLE001 - whatever it is, those who watch must not wait for ever
                    broken = StoreUnavailable(f"watch: {type(error).__name__}: {error}")
                    broken.__cause__ = error
                    self._refuse(seats, broken)
        finally:
            self._task = None

    def _refuse(self, seats: Iterable[Seat], error: LeadershipError) -> None:
        for seat in seats:
            for watch in tuple(seat.watches):
                watch.tell(WatchEvent(Fact.WATCH_CLOSED, error=error))
                watch.close()

    async def _settle_gone(self, seats: Iterable[Seat]) -> None:
        """
        Say of entries of this store's own sessions that have gone whether their session has.
        """
        lives: dict[int, bool] = {}
        for seat in seats:
            head, seat.gone = seat.gone, None
            if head is None:
                continue
            session = self._store.session_of(head.owner)
            if session is not None and head.owner not in lives:
                lives[head.owner] = await session.lives()
            alive = lives.get(head.owner, self._store.knows_no_end_of(head.owner))
            if seat.head is head:
                seat.is_now(None, Fact.KEY_DELETED if alive else Fact.LEASE_EXPIRED)

    async def _look(self, link: Link, seats: list[Seat], *, newest: bool) -> None:
        timeout = self._store.options.timeout
        for seat in seats:
            seat.fired.clear()
        unknown = [seat for seat in seats if not seat.hint]
        children = await read_all(link, [wire.children(seat.path) for seat in unknown], timeout, newest=newest)
        firsts = {seat.path: (seat.hint, True) for seat in seats if seat.hint}
        for seat, answer in zip(unknown, children, strict=True):
            queue, exists = queue_from(link, answer, "watch")
            firsts[seat.path] = next(iter(queue), ""), exists
            self._store.queue_seen(seat.path, queue)
        groups = [(seat, *firsts[seat.path], self._questions(seat, *firsts[seat.path])) for seat in seats]
        answers = await self._ask(link, [request for *_, requests in groups for request in requests])
        for seat, name, exists, requests in groups:
            found, answers = answers[: len(requests)], answers[len(requests) :]
            seat.hint = ""
            if self._seats.get(seat.path) is seat:
                await self._found(link, seat, name, exists, found)

    async def _ask(self, link: Link, requests: list[Request]) -> list[Any]:
        answers: list[Any] = []
        for begin in range(0, len(requests), AT_A_TIME):
            few = requests[begin : begin + AT_A_TIME]
            answers += await link.ask("watch", *few, timeout=self._store.options.timeout)
        return answers

    def _questions(self, seat: Seat, name: str, exists: bool) -> list[Request]:
        """
        What leaves the next watch.
        """
        if not name:
            return [wire.children(seat.path, seat.trigger) if exists else wire.exists(seat.path, seat.trigger)]
        return [*head_requests(seat.path, name, seat.trigger), wire.exists(_request_path(seat), seat.trigger)]

    async def _found(self, link: Link, seat: Seat, name: str, exists: bool, found: list[Any]) -> None:
        before = seat.head
        if before is not None and before.name != name and self._is_unexplained(seat, before):
            seat.gone = before
            self._look_soon(seat)
            return
        reads = seat.news
        if reads:
            await self._read_request(link, seat)
        if name:
            head, path = head_from(link, name, found[0], found[1]), f"{seat.path}/{name}"
            if head is None or seat.fired.get(path) == DELETED:  # what was read is over, and may have been told so
                self._look_soon(seat)
                return
            self.saw(seat.path, head)
            seat.is_now(head, self._why_gone(seat))
            if path in seat.fired:
                self._look_soon(seat)
            if reads:
                return  # what the look saw of the request is older than what was read of it since
            stat = found[2]
            if stat is None or isinstance(stat, WireError):
                seat.asked_at = 0
            elif stat.mzxid != seat.asked_at:
                await self._read_request(link, seat)
            return
        (answer,) = found
        if isinstance(answer, WireError) and answer.fault is not Fault.NO_NODE:
            raise link.explain(answer, "watch")
        # Children: somebody may have joined meanwhile. A stat: the path has appeared; an error: it has gone.
        if answer is not None and (not exists or isinstance(answer, WireError) or contenders(answer)):
            self._look_soon(seat)
        else:
            seat.is_now(None, self._why_gone(seat))

    def _why_gone(self, seat: Seat) -> Fact:
        head = seat.head
        return Fact.KEY_DELETED if head is None or self._store.knows_no_end_of(head.owner) else Fact.LEASE_EXPIRED

    async def _read_request(self, link: Link, seat: Seat) -> None:
        """
        Read what a term was asked for, and pass it on if that term is known to lead. Until then its end is not told.
        """
        path, seat.news = _request_path(seat), True
        seat.fired.pop(path, None)
        (answer,) = await link.ask("watch", wire.get(path), timeout=self._store.options.timeout)
        seat.news = path in seat.fired
        if isinstance(answer, WireError) or seat.asked_at == answer[1].mzxid:
            return
        seat.asked_at, seat.asked = answer[1].mzxid, parse_request(answer[0]) or (0, None)
        request = seat.request()
        if request is not None:
            seat.tell(request)


def _request_path(seat: Seat) -> str:
    return f"{seat.path}{SIDE}/{RESIGN}"

"""
One connection to ZooKeeper, and with it one session, as the engine's loop sees it.

Every question is bounded in time. A connection on which nothing was heard for as long as a question may take is cut,
and made anew. The session's end is a question that is answered, or told by the server when the connection is back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from leadership.backends import _zookeeper_wire as wire
from leadership.backends._zookeeper_client import Client
from leadership.backends._zookeeper_errors import Options, SessionOver, explain
from leadership.backends._zookeeper_proof import Proof
from leadership.backends._zookeeper_wire import Fault, Request, WireError
from leadership.errors import LeadershipError, StoreRefused, StoreUnavailable

WINDOW: Final = 128
"""Requests under way; kazoo's wake-up pipe would block the loop at some 270."""
MULTI_READ = True
"""Servers from 3.6 on read several nodes in one request; older ones are found out."""
HANG_UP: Final = 0.3
"""Seconds that a connection's end is waited for."""
MOMENT: Final = 1.0
"""Seconds that a session which nobody wants is given to end well."""


class Link:
    """
    A connection that comes back by itself until its session is over. On one loop.
    """

    def __init__(self, options: Options, milliseconds: int, *, pings: bool) -> None:
        """
        Args:
            milliseconds: The session's time-out to ask for.
            pings: Keep the session alive without renewals.
        """
        self.options = options
        self.negotiated = milliseconds
        self.multi_read = MULTI_READ
        self.connected = False
        self.ever_connected = False
        self.over: LeadershipError | None = None
        """Why the session has ended, once it has."""
        self.owner = 0
        """The session's number."""
        self.on_down: list[Callable[[LeadershipError], None]] = []
        self.on_up: list[Callable[[], None]] = []
        self.on_over: list[Callable[[LeadershipError], None]] = []
        self.on_end: Callable[[Link], None] | None = None
        """Called when the thread has ended."""
        self._trouble: LeadershipError = StoreUnavailable(f"no connection to {options.url} yet")
        self._proof: Proof | None = None
        self._loop = asyncio.get_running_loop()
        self._change = asyncio.Event()
        self._thread_over = asyncio.Event()
        self._closing = self._stopped = False
        self._under_way: dict[int, asyncio.Future[Any]] = {}
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._last_heard = 0.0
        self._refusals = 0
        """Servers that refused one after the other."""
        self._client = Client(options, milliseconds, self, pings=pings)

    # -- what the connection tells ----------------------------------------------------------------------------------

    def _changed(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    def went_up(self, sent: float, negotiated: int, owner: int) -> None:
        """
        Connected.
        """
        if self.over is not None:
            return
        self.negotiated, self.owner = negotiated, owner
        self.connected = self.ever_connected = True
        self._refusals = 0
        self._last_heard = self._loop.time()
        if self._proof is None:
            tick = self.options.tick
            self._proof = Proof(negotiated / 2000 if tick is None else tick)
        self._proof.connected(sent)
        if self._closing:
            self._send(wire.close())
        for listener in tuple(self.on_up):
            listener()
        self._changed()

    def went_down(self) -> None:
        """
        Connected no more.
        """
        if self.over is not None or not self.connected:
            return
        self.connected = False
        self._trouble = StoreUnavailable(f"the connection to {self.options.url} was lost")
        for listener in tuple(self.on_down):
            listener(self._trouble)
        self._changed()

    def failed(self, error: LeadershipError) -> None:
        """
        An attempt to connect came to nothing.
        """
        self._refusals = self._refusals + 1 if isinstance(error, StoreRefused) else 0
        if 0 < self._refusals < len(self.options.address.hosts):
            error = StoreUnavailable(*error.args)  # another server may think otherwise
        self._trouble = error
        self._changed()

    def lost(self, why: str) -> None:
        """
        The session is over.
        """
        if why == "refused":
            self._finish(StoreRefused(*self._trouble.args))
        elif why == "expired":
            self._finish(SessionOver(f"the session at {self.options.url} has expired"))
        else:
            self._finish(SessionOver(f"the session at {self.options.url} was ended"))

    def ended(self) -> None:
        """
        The thread has ended.
        """
        self._client.forget_thread()
        self._thread_over.set()
        if self.on_end is not None:
            self.on_end(self)
        self._finish(SessionOver(f"the connection to {self.options.url} was ended"))

    def _finish(self, error: LeadershipError) -> None:
        if self.over is not None:
            return
        wanted = not self._closing and not self._stopped
        self.over, self.connected = error, False
        for _count, future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()
        if wanted:
            for listener in tuple(self.on_over):
                listener(error)
        self._changed()

    def _answered(self, request: Request, answer: Any, heard: float) -> None:
        future = self._under_way.pop(id(request), None)
        if future is None:
            return  # kazoo may say twice that it could not be queued
        self._make_room()
        if not (isinstance(answer, WireError) and answer.fault is Fault.LOST):
            self._last_heard = heard
            if self._proof is not None and request.sent_at is not None:
                request.since = self._proof.since(request.sent_at)
                self._proof.answered(request.sent_at, heard)
        if not future.done():
            future.set_result(answer)

    @property
    def silence(self) -> float:
        """
        Seconds since something was heard of the server.
        """
        return self._loop.time() - self._last_heard

    # -- what is asked ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """
        Begin to connect.

        Raises:
            RuntimeError: No thread can be had.
        """
        self._client.start()

    async def until(self, true: Callable[[], bool], timeout: float) -> bool:
        """
        Wait for a state; whether it came.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not true():
                    await self._change.wait()
        return true()

    async def opened(self, timeout: float) -> None:
        """
        Wait for a connection.

        Raises:
            StoreUnavailable: There is none yet.
            StoreRefused: There will be none.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._connected("connect")
        except TimeoutError:
            raise _again(self._trouble) from None

    async def _connected(self, what: str) -> None:
        while not self.connected or self._closing or self._stopped:
            if self.over is not None:
                raise _again(self.over)
            if self._closing or self._stopped:
                msg = f"{what}: the session at {self.options.url} was given up"
                raise SessionOver(msg)
            if isinstance(self._trouble, StoreRefused):
                raise _again(self._trouble)
            await self._change.wait()

    async def ask(self, what: str, *requests: Request, timeout: float) -> list[Any]:
        """
        Send requests one after the other, and wait for all answers: results, or a `WireError` each.

        Raises:
            StoreUnavailable: There is no connection, or an answer did not come; `request.give_up()` then says whether
                that request was sent.
            StoreRefused: There will be no connection.
        """
        sent: list[tuple[Request, asyncio.Future[Any]]] = []
        begun = self._loop.time()
        try:
            async with asyncio.timeout(timeout):
                await self._room(len(requests))
                await self._connected(what)
                sent = [(request, self._send(request)) for request in requests]
                return [await future for _, future in sent]
        except TimeoutError:
            if not sent:
                raise _again(self._trouble) from None
            self.missed(begun)
            msg = f"{what}: {self.options.url} did not answer within {timeout:.3g} s"
            raise StoreUnavailable(msg) from None
        finally:
            for request, future in sent:
                if not future.done():
                    request.give_up()
            self._make_room()

    def missed(self, begun: float) -> None:
        """
        What was asked at that moment was not answered in time: cut a connection on which nothing was heard since.
        """
        if self.connected and self._last_heard < begun:
            self._client.cut()

    async def demand(self, what: str, *requests: Request, timeout: float) -> list[Any]:
        """
        As `ask`, where each request must succeed.

        Raises:
            StoreUnavailable: One of them failed, or was not answered.
            StoreRefused: One of them was not permitted.
        """
        results = await self.ask(what, *requests, timeout=timeout)
        for result in results:
            if isinstance(result, WireError):
                raise self.explain(result, what)
        return results

    def explain(self, error: WireError, what: str) -> LeadershipError:
        """
        A request's failure, for whoever made the call.
        """
        return explain(error, what, self.options.url)

    async def _room(self, count: int) -> None:
        while self._under_way and len(self._under_way) + count > WINDOW and self.over is None:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append((count, waiter))
            await waiter

    def _make_room(self) -> None:
        while self._waiting:
            count, waiter = self._waiting[0]
            if not waiter.done():
                if self._under_way and len(self._under_way) + count > WINDOW:
                    return
                waiter.set_result(None)
                self._waiting.popleft()
                return  # it makes room for the next one itself
            self._waiting.popleft()

    def _send(self, request: Request) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        self._under_way[id(request)] = future
        self._client.send(request, self._answered)
        return future

    # -- ending -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """
        End the session, now or when the connection is back; `over` is set when it has ended.
        """
        if not self._closing and self.over is None:
            self._closing = True
            if self.connected:
                self._send(wire.close())
            self._changed()

    async def end(self, timeout: float) -> bool:
        """
        End the session; whether it has ended within so many seconds.
        """
        self.close()
        return await self.until(lambda: self.over is not None, timeout)

    async def stop(self) -> None:
        """
        End the connection, whatever becomes of the session. Bounded.
        """
        self._abandon()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._thread_over.wait(), HANG_UP)

    def abandon_soon(self) -> None:
        """
        End the session if that can be done within a moment, and the connection.
        """
        self.close()
        self._loop.call_later(0.0 if isinstance(self._trouble, StoreRefused) else MOMENT, self._abandon)

    def _abandon(self) -> None:
        self._stopped = True
        self._client.stop()
        self._changed()


def _again(error: LeadershipError) -> LeadershipError:
    """
    An error to be raised once more, to somebody else.
    """
    return type(error)(*error.args)

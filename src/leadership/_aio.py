"""
What the asyncio faces have in common, and their term.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from leadership._face import Face
from leadership._runtime.jobs import is_inside
from leadership.checks import check_signals, check_timeout
from leadership.errors import ConfigError
from leadership.fsm.record import Transition
from leadership.fsm.row import DemotionCause
from leadership.term import Leader, Term

V = TypeVar("V")
F = TypeVar("F", bound=Callable[..., Any])
A = TypeVar("A", bound=Face[Any])


class AsyncTerm:
    """
    A `Term` whose `wait` is awaited; the rest is the term's own.
    """

    def __init__(self, term: Term) -> None:
        self._term = term

    @property
    def election(self) -> str:
        """
        The election's name.
        """
        return self._term.election

    @property
    def node(self) -> str:
        """
        The name under which the candidate stood.
        """
        return self._term.node

    @property
    def token(self) -> int:
        """
        The fencing token.
        """
        return self._term.token

    @property
    def elected_at(self) -> datetime:
        """
        When the term began, UTC.
        """
        return self._term.elected_at

    @property
    def deadline(self) -> float:
        """
        Until when the lease is sure, in seconds on the clock of deadlines.
        """
        return self._term.deadline

    @property
    def is_current(self) -> bool:
        """
        Whether the candidate leads at this very moment.
        """
        return self._term.is_current

    @property
    def cause(self) -> DemotionCause | None:
        """
        Why the term ended.
        """
        return self._term.cause

    @property
    def detail(self) -> str:
        """
        The cause in words.
        """
        return self._term.detail

    @property
    def reason(self) -> str | None:
        """
        The reason given for a resignation.
        """
        return self._term.reason

    def remaining(self) -> float:
        """
        Seconds until the local deadline; 0.0 when the term is over.
        """
        return self._term.remaining()

    def check(self) -> None:
        """
        Return if the term is current.

        Raises:
            NotLeader: The term is over.
        """
        self._term.check()

    async def wait(self, timeout: float | None = None) -> bool:
        """
        Sleep until the term ends (True) or `timeout` seconds have passed (False).
        """
        loop = asyncio.get_running_loop()
        over = asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(over.set)

        limit_given = check_timeout(timeout)
        give_up = None if limit_given is None else loop.time() + limit_given
        forget = self._term._when_over(wake)  # noqa: SLF001 - one library
        try:
            while self._term.is_current:
                # Never beyond the deadline: the end must be seen even when nobody processes it.
                limit = self._term.remaining()
                if give_up is not None:
                    left = give_up - loop.time()
                    if left <= 0:
                        return False
                    limit = min(limit, left)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), limit)
            return True
        finally:
            forget()

    def __repr__(self) -> str:
        return repr(self._term).replace("<Term", "<AsyncTerm", 1)


class AsyncFace(Generic[A]):
    """
    What both asyncio faces share. Its methods belong to one event loop; its callbacks run on the one of `start()`.
    """

    def __init__(self, face: A) -> None:
        if face._store.engine is not None:  # noqa: SLF001 - one library
            msg = f"{face._store.url} runs in virtual time: use Candidate and Follower there"  # noqa: SLF001 - as above
            raise ConfigError(msg)
        self._face = face

    @property
    def election(self) -> str:
        """
        The election's name.
        """
        return self._face.election

    @property
    def leader(self) -> Leader | None:
        """
        Who leads, as last seen; None for nobody, and for not known yet (ask `is_stale`).
        """
        return self._face.leader

    @property
    def is_stale(self) -> bool:
        """
        True while it is not known who leads.
        """
        return self._face.is_stale

    @property
    def history(self) -> tuple[Transition, ...]:
        """
        The last 256 transitions, oldest first.
        """
        return self._face.history

    def diagram(self, format: str = "mermaid") -> str | bytes:
        """
        Its machine, drawn; see `Candidate.diagram`.
        """
        return self._face.diagram(format)

    def on_leader_changed(self, fn: F) -> F:
        """
        Have `fn(leader or None)` called, or awaited on the loop, when the view changes. Returns `fn`.
        """
        return self._face.on_leader_changed(fn)

    def on_transition(self, fn: F) -> F:
        """
        Have a plain function told each transition, on the observers' thread. Returns `fn`.
        """
        return self._face.on_transition(fn)

    def on_error(self, fn: F) -> F:
        """
        Have a plain function told each error, on the observers' thread. Returns `fn`.
        """
        return self._face.on_error(fn)

    def subscribe(self, observer: Callable[[Transition], Any]) -> Callable[[], None]:
        """
        Have an observer told each transition, on the observers' thread. Returns how to end it.
        """
        return self._face.subscribe(observer)

    async def start(self) -> None:
        """
        Begin; returns at once. Coroutine callbacks run on the loop that runs now.

        Raises:
            ConfigError: The store was closed, or the process cannot run an election.
        """
        self._face._start(asyncio.get_running_loop())  # noqa: SLF001 - one library

    async def stop(self, timeout: float | None = None) -> bool:
        """
        Leave; whether it was settled within `timeout` seconds. From inside a callback it only asks, and returns False.
        """
        return await self._stop(timeout, None)

    async def _stop(self, timeout: float | None, reason: str | None) -> bool:
        timeout = check_timeout(timeout)
        face = self._face
        driver = face._driver  # noqa: SLF001 - one library
        if driver is None:
            return True
        settled = face._ask_to_stop(driver, reason)  # noqa: SLF001 - one library
        if is_inside(driver):
            return False
        return await self._wait(settled, driver.patience if timeout is None else timeout)

    async def run(self, *, signals: Iterable[signal.Signals] = (signal.SIGINT, signal.SIGTERM)) -> None:
        """
        Start, and wait until `stop()`, a signal, cancellation, or the end by a fatal error.

        A first signal stops all that run; a second one acts as if it were not handled. A handler that the program has
        given the loop is called at each. Off the main thread no handler is installed.

        Raises:
            ConfigError: What `signals` names cannot be handled; nothing has started.
            LeadershipError: What ended it for good.
        """
        face, loop = self._face, asyncio.get_running_loop()
        with face._stopping_on(check_signals(signals), loop) as came:  # noqa: SLF001 - one library
            driver = face._start(loop)  # noqa: SLF001 - one library
            if came:  # it may have been before there was anything to stop
                face._request_stop(driver, came[0])  # noqa: SLF001 - one library
            try:
                await self._wait(lambda: False, None)
            except asyncio.CancelledError:
                await asyncio.shield(self.stop())
                raise
        await self._wait(face._close_own(driver), driver.patience)  # noqa: SLF001 - one library
        face._raise_fatal()  # noqa: SLF001 - one library

    async def _wait(self, holds: Callable[[], bool], timeout: float | None) -> bool:
        """
        Wait until it holds, or the face has come to its end; whether one of them is so within `timeout` seconds.
        """
        timeout = check_timeout(timeout)
        loop = asyncio.get_running_loop()
        face = self._face
        changed = asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(changed.set)

        forget = face._changed.listen(wake)  # noqa: SLF001 - one library
        try:
            async with asyncio.timeout(timeout):
                while True:
                    changed.clear()
                    if holds() or face._over():  # noqa: SLF001 - one library
                        return True
                    await changed.wait()
        except TimeoutError:
            return False
        finally:
            forget()

    async def _changes(self, value: Callable[[], V], *first: V) -> AsyncIterator[V]:
        for one in first:
            yield one
        last: tuple[V, ...] = first[-1:]

        def differs() -> bool:
            return last != (value(),)

        while True:
            await self._wait(differs, None)
            now = value()
            if last != (now,):
                last = (now,)
                yield now
            elif self._face._over():  # noqa: SLF001 - one library
                self._face._raise_fatal()  # noqa: SLF001 - one library
                return

    async def wait_leader(self, timeout: float | None = None) -> Leader | None:
        """
        Wait until somebody is known to lead; None when `timeout` seconds have passed or it was stopped.

        Raises:
            LeadershipError: What ended it for good.
        """
        await self._wait(lambda: self.leader is not None and not self.is_stale, timeout)
        self._face._raise_fatal()  # noqa: SLF001 - one library
        return None if self.is_stale else self.leader

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def __repr__(self) -> str:
        return repr(self._face).replace("<_Loop", "<Async", 1)

"""
The engine: one thread per process, with one event loop, that owns every machine.

Law 1: nothing else fires a trigger; whoever has news posts it here.
Law 2: nothing here waits: store calls are coroutines with a time-out, user code runs in lanes, observers in the
dispatcher.
Law 3: the loop's clock is the clock of deadlines.

An asyncio loop is the base: its timers, its time-outs and its descriptors are well kept by others.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import random
import sys
import threading
import uuid
import weakref
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from leadership._runtime.changed import Changed
from leadership._runtime.dispatch import Dispatcher
from leadership._runtime.jobs import Job, Lane
from leadership._runtime.reader import Reader
from leadership._runtime.turnstile import Turnstile
from leadership.errors import ConfigError, LeadershipError, StoreRefused, StoreUnavailable
from leadership.observers.log import log_event
from leadership.store import Outcome, Reply, Store
from leadership.term import Wakeup

if TYPE_CHECKING:
    from leadership._runtime.driver import Driver
    from leadership._runtime.keeper import SessionKeeper

Call = Callable[[], Coroutine[Any, Any, Reply]]
OnReply = Callable[[Reply, bool], None]


class Timer(Protocol):
    """
    What `call_at` returns.
    """

    def cancel(self) -> None: ...


class Engine:
    """
    What drivers need: a clock, timers, an inbox, store calls with time-outs, lanes. Subclasses bring the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seed: random.Random | None = None) -> None:
        self.loop = loop
        self.pid = os.getpid()
        self.random = seed or random.SystemRandom()
        self.boot = self.new_id()
        self.clock: str | None = None
        """Names what `now()` is read from: engines with the same name can compare their moments. None: not known."""
        self.keepers: list[SessionKeeper] = []
        self.drivers: set[Driver[Any]] = set()
        """Those that run."""
        self.all_drivers: weakref.WeakSet[Driver[Any]] = weakref.WeakSet()
        self.turnstiles: weakref.WeakValueDictionary[tuple[int, str], Turnstile] = weakref.WeakValueDictionary()
        self.readers: dict[int, Reader] = {}
        self.dispatcher = Dispatcher()
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(1)
        self._calls: set[asyncio.Task[Reply]] = set()
        """Calls under way: the loop itself holds its tasks by weak references only."""

    def now(self) -> float:
        """
        Seconds on the clock of deadlines.
        """
        return self.loop.time()

    def utcnow(self) -> datetime:
        """
        The wall clock, for people.
        """
        return datetime.now(UTC)

    def new_id(self) -> str:
        """
        A random name of 32 hex digits.
        """
        return uuid.UUID(int=self.random.getrandbits(128), version=4).hex

    def next_number(self) -> int:
        """
        A number that rises from attempt to attempt of this process.
        """
        return next(self._numbers)

    def deliver(self, fn: Callable[..., None], *args: Any) -> None:
        """
        Carry out what a timer, a store or a post brought. A simulated engine may hold it back.
        """
        self.guard(fn, *args)

    def guard(self, fn: Callable[..., None], *args: Any) -> None:
        """
        Call `fn` here and now; what it raises is logged, and goes no further.
        """
        try:
            fn(*args)
        except Exception:  # noqa: BLE001 - a bug in one election must not end the others
            self.say(logging.ERROR, "leadership.engine_fault", exc_info=sys.exc_info(), during=repr(fn))

    def say(self, level: int, event: str, exc_info: Any = None, **keys: Any) -> None:
        """
        Log something, on the observers' thread: a handler of the host may be slow, or raise.
        """
        self.dispatcher.put(partial(log_event, level, event, exc_info=exc_info, **keys))

    def post(self, fn: Callable[..., None], *args: Any) -> None:
        """
        Have `fn` called on the engine's thread. Any thread may call it.
        """
        # A loop that has ended with its process has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.deliver, fn, *args)

    def call_soon(self, fn: Callable[..., None], *args: Any) -> None:
        """
        Call `fn` after what is under way. On the engine's thread only.
        """
        self.loop.call_soon(self.deliver, fn, *args)

    def call_at(self, when: float, fn: Callable[..., None], *args: Any) -> Timer:
        """
        Call `fn` at a moment of `now()`. On the engine's thread only.
        """
        return self.loop.call_at(when, self.deliver, fn, *args)

    def request(self, what: str, call: Call, timeout: float, done: OnReply) -> None:
        """
        Make one call of a store; `done(reply, late)` is called once within `timeout` seconds.

        A call without an answer by then is UNKNOWN. If it answers after all, `done` is called again with late=True.
        """
        task = self.loop.create_task(_outcome(what, call))
        self._calls.add(task)
        answered = expired = False

        def expire() -> None:
            nonlocal expired
            if not answered:
                expired = True
                error = StoreUnavailable(f"{what}: no answer within {timeout:.3g} s")
                done(Reply(Outcome.UNKNOWN, error=error), False)  # noqa: FBT003 - not late

        timer = self.call_at(self.now() + timeout, expire)

        def answer(reply: Reply) -> None:
            nonlocal answered
            answered = True
            timer.cancel()
            done(reply, expired)

        def ended(task: asyncio.Task[Reply]) -> None:
            self._calls.discard(task)
            if not task.cancelled():
                self.deliver(answer, task.result())

        task.add_done_callback(ended)

    def reader(self, store: Store) -> Reader:
        """
        The one that reads who leads, for all elections of a store at a time.
        """
        return self.readers.setdefault(id(store), Reader(self, store))

    def turnstile(self, driver: Driver[Any]) -> Turnstile:
        """
        The one through which all candidates of this process ask for an election.
        """
        return self.turnstiles.setdefault((id(driver.store), driver.election), Turnstile())

    def lane(self) -> Lane:
        """
        A new lane for one election's callbacks.
        """
        return Lane(self)

    def wakeup(self) -> Wakeup:
        """
        What `Term.wait` waits on.
        """
        return threading.Event()

    def run_user(self, job: Job, done: Callable[[Job, BaseException | None], None]) -> None:
        """
        Run the user's function off the engine's thread, and post `done` when it has ended.
        """
        raise NotImplementedError

    def wait(self, changed: Changed, predicate: Callable[[], bool], timeout: float | None) -> bool:
        """
        Block the caller, who is not on the engine's thread, until `predicate` holds or the time is up.
        """
        raise NotImplementedError

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """
        Run something to its end. On the engine's thread only.
        """
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close_store(self, store: Store) -> None:
        """
        End the sessions of a store whose candidates have been stopped, then the store.
        """
        for keeper in [keeper for keeper in self.keepers if keeper.store is store]:
            keeper.close()
            self.keepers.remove(keeper)
        self.readers.pop(id(store), None)
        await store.aclose()


async def _outcome(what: str, call: Call) -> Reply:
    """
    What a call came to: an exception is an unknown outcome, unless it says that trying again cannot help.
    """
    try:
        return await call()
    except (StoreRefused, ConfigError) as error:
        return Reply(Outcome.REFUSED, error=error)
    except LeadershipError as error:
        return Reply(Outcome.UNKNOWN, error=error)
    except Exception as error:  # noqa: BLE001 - whatever a client library raises
        unknown = StoreUnavailable(f"{what}: {type(error).__name__}: {error}")
        unknown.__cause__ = error
        return Reply(Outcome.UNKNOWN, error=unknown)

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

from leadership import _clock
from leadership._runtime.changed import Changed
from leadership._runtime.dispatch import Dispatcher
from leadership._runtime.exit import ExitJobs
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
        self.keepers: list[SessionKeeper] = []
        self.drivers: set[Driver[Any]] = set()
        self.turnstiles: weakref.WeakValueDictionary[tuple[int, str], Turnstile] = weakref.WeakValueDictionary()
        self.readers: dict[int, Reader] = {}
        self.dispatcher = Dispatcher()
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


class _Loop(asyncio.SelectorEventLoop):
    """
    A loop on the clock of deadlines.
    """

    def time(self) -> float:
        return _clock.now()


class ThreadEngine(Engine):
    """
    The engine of a process: a daemon thread.
    """

    def __init__(self) -> None:
        super().__init__(_Loop())
        self._exit_jobs: ExitJobs | None = None
        self._thread = threading.Thread(target=self._run, name="leadership-engine", daemon=True)
        self._thread.start()
        self.stores: weakref.WeakSet[Store] = weakref.WeakSet()

    def post(self, fn: Callable[..., None], *args: Any) -> None:
        """
        Have `fn` called on the engine's thread. In a forked child there is none, and the parent's must not be woken.
        """
        if os.getpid() == self.pid:
            super().post(fn, *args)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def run_user(self, job: Job, done: Callable[[Job, BaseException | None], None]) -> None:
        """
        Coroutines run on the user's loop, functions in a daemon thread of their own.
        """
        if job.loop is not None:
            job.schedule(lambda error: self.post(done, job, error))
            return

        def run() -> None:
            self.post(done, job, job.call())

        if self._exit_jobs is not None:
            self._exit_jobs.put(run)
            return
        try:
            threading.Thread(target=run, name=f"leadership {job.name}", daemon=True).start()
        except RuntimeError as error:  # no more threads to be had
            self.call_soon(done, job, error)

    def wait(self, changed: Changed, predicate: Callable[[], bool], timeout: float | None) -> bool:
        """
        Wait on the condition that drivers notify.
        """
        return changed.wait_for(predicate, timeout)

    def close_store_and_wait(self, store: Store) -> None:
        """
        `Store.close()`: stop what uses it, wait as long as their graces allow, end its sessions.
        """
        if os.getpid() != self.pid:
            return  # a forked child holds nothing
        asked = threading.Event()
        self.post(asked.set)
        asked.wait(1.0)  # a start that was asked for before is carried out, so that it can be stopped
        users = [driver for driver in tuple(self.drivers) if driver.store is store]
        for driver in users:
            driver.request_stop()
        for driver in users:
            driver.wait_idle(driver.patience)
        future = asyncio.run_coroutine_threadsafe(self.close_store(store), self.loop)
        try:
            future.result(timeout=5.0)
        except TimeoutError:
            log_event(logging.WARNING, "leadership.store_close_timeout", store=store.url)

    def finish(self) -> None:
        """
        At interpreter exit: leaders release at once, bounded by their graces. Needs no new thread.
        """
        if os.getpid() != self.pid or not self._thread.is_alive():
            return
        users = [driver for driver in tuple(self.drivers) if not driver.is_idle]
        self._exit_jobs = ExitJobs()
        for driver in users:
            driver.request_stop()
        self._exit_jobs.run_until(
            lambda: all(driver.is_idle for driver in users), max((driver.patience for driver in users), default=0.0)
        )
        for store in tuple(self.stores):
            store.closed = True
            future = asyncio.run_coroutine_threadsafe(self.close_store(store), self.loop)
            with contextlib.suppress(Exception):
                future.result(timeout=1.0)
        self.dispatcher.drain(1.0)


_engine: ThreadEngine | None = None
_lock = threading.Lock()


def engine_for(store: Store) -> Engine:
    """
    The engine that serves a store: the one it brings along, else the one of the process, started now if need be.

    Raises:
        ConfigError: This process or platform cannot run the engine.
    """
    if store.engine is not None:
        assert isinstance(store.engine, Engine)  # noqa: S101 - only a simulation sets it
        return store.engine
    check_platform()
    global _engine  # noqa: PLW0603 - one engine per process is the point
    with _lock:
        if _engine is None:
            _engine = ThreadEngine()
        engine = _engine
    if store.closer is None:
        store.closer = partial(engine.close_store_and_wait, store)
        engine.stores.add(store)
    return engine


def check_platform() -> None:
    """
    Refuse where the engine's thread would not be a real one.

    Raises:
        ConfigError: A process patched by gevent or eventlet.
    """
    gevent = sys.modules.get("gevent.monkey")
    eventlet = sys.modules.get("eventlet.patcher")
    if (gevent is not None and gevent.is_module_patched("threading")) or (
        eventlet is not None and eventlet.is_monkey_patched("thread")
    ):
        msg = (
            "threads are patched by gevent or eventlet: the engine needs a real thread to renew leases;"
            " run the election in a process that is not patched"
        )
        raise ConfigError(msg)


def _after_fork_in_child() -> None:
    """
    A child of a leader is not the leader: its candidates are idle, and the next start makes a new engine.
    """
    global _engine, _lock
    parent, _engine, _lock = _engine, None, threading.Lock()
    if parent is not None:
        for driver in tuple(parent.drivers):
            driver.forked()


def _at_exit() -> None:
    if _engine is not None:
        _engine.finish()


os.register_at_fork(after_in_child=_after_fork_in_child)
ExitJobs.register(_at_exit)

"""
The engine of a process: a daemon thread, what a fork and the end of the interpreter do to it, and who may have one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from leadership import _clock
from leadership._runtime.changed import Changed
from leadership._runtime.driver import Driver
from leadership._runtime.engine import Engine
from leadership._runtime.exit import ExitJobs
from leadership._runtime.jobs import Job, is_inside
from leadership.errors import ConfigError
from leadership.observers.log import log_event
from leadership.store import Store


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
        self.clock = _clock.identity()
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
        self.loop.set_exception_handler(self._unforeseen)
        self.loop.run_forever()

    def _unforeseen(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """
        What nobody caught, said on the observers' thread: asyncio would call the host's log handlers here. Any thread
        may come with it, whichever collects a task.
        """
        keys = {"exc_info": context.get("exception"), "during": context["message"]}
        self.post(partial(self.say, logging.ERROR, "leadership.engine_fault", **keys))

    def run_user(self, job: Job, done: Callable[[Job, BaseException | None], None]) -> None:
        """
        Coroutines run on the user's loop, functions in a daemon thread of their own.
        """
        if job.loop is not None:
            self._run_on_loop(job, job.loop, done)
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

    def _run_on_loop(
        self, job: Job, loop: asyncio.AbstractEventLoop, done: Callable[[Job, BaseException | None], None]
    ) -> None:
        over = False

        def end(error: BaseException | None) -> None:
            nonlocal over
            if not over:
                over = True
                done(job, error)

        def look() -> None:
            if over:
                return
            if loop.is_closed():  # and the task with it: nobody will tell
                end(RuntimeError(f"{job.name}: its event loop was closed before it had ended"))
            else:
                self.call_at(self.now() + 1.0, look)

        job.schedule(lambda error: self.post(end, error))
        self.call_at(self.now() + 1.0, look)

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
        if any(is_inside(driver) for driver in users):  # who calls is what would be waited for
            self.post(self._close_when_idle, store, users, self.now() + max(driver.patience for driver in users))
            return
        for driver in users:
            driver.wait_idle(driver.patience)
        future = asyncio.run_coroutine_threadsafe(self.close_store(store), self.loop)
        try:
            future.result(timeout=5.0)
        except TimeoutError:
            log_event(logging.WARNING, "leadership.store_close_timeout", store=store.url)

    def _close_when_idle(self, store: Store, users: list[Driver[Any]], until: float) -> None:
        if not all(driver.is_idle for driver in users) and self.now() < until:
            self.call_at(self.now() + 0.01, self._close_when_idle, store, users, until)
        else:
            self.spawn(self.close_store(store))

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
_lock = threading.RLock()  # a signal handler may come in between


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
            ExitJobs.register(_at_exit)
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
    parent, _engine, _lock = _engine, None, threading.RLock()
    if parent is not None:
        for driver in tuple(parent.all_drivers):
            driver.forked()


def _at_exit() -> None:
    if _engine is not None:
        _engine.finish()


os.register_at_fork(after_in_child=_after_fork_in_child)

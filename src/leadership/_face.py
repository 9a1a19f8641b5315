"""
What the faces have in common: the store that they own or borrow, subscriptions, waiting, iterating, running.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import weakref
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Generic, TypeVar

from leadership._runtime.changed import Changed
from leadership._runtime.driver import Driver, Subscriptions
from leadership._runtime.engine import Engine
from leadership._runtime.jobs import check_callback, is_inside
from leadership._runtime.process import engine_for
from leadership._runtime.renewals import listener
from leadership._signals import taken
from leadership.checks import check_signals, check_timeout
from leadership.connect import connect
from leadership.diagram import draw
from leadership.errors import ConfigError
from leadership.fsm.record import Transition
from leadership.observers.history import History
from leadership.store import Store
from leadership.term import Leader

D = TypeVar("D", bound=Driver[Any])
OnTransition = TypeVar("OnTransition", bound=Callable[[Transition], Any])
OnError = TypeVar("OnError", bound=Callable[[Any], Any])
OnLeaderChanged = TypeVar("OnLeaderChanged", bound=Callable[[Leader | None], Any])
V = TypeVar("V")


_faces: weakref.WeakSet[Face[Any]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """
    Locks may have been held by threads that do not exist here.
    """
    for face in tuple(_faces):
        face._starting, face._subscribing = threading.RLock(), threading.RLock()  # noqa: SLF001 - of this module


os.register_at_fork(after_in_child=_after_fork_in_child)


class Face(Generic[D]):
    """
    A candidate or a follower as its user holds it. Any thread may use it.
    """

    _kind: str
    _coroutines = False

    def __init__(
        self, store: Store | str, election: str, *, observers: Iterable[Callable[..., Any]], log: bool
    ) -> None:
        if isinstance(store, str):
            self._url: str | None = store
            store = connect(store)
            if store.guarantees.scope == "machine":
                self._url = store.url  # absolute: opened again after a chdir, it is the same file
        elif isinstance(store, Store):
            self._url = None
        else:
            msg = f"store must be a Store from connect() or a URL, not {store!r}"
            raise ConfigError(msg)
        store.check_election(election)
        self._store = store
        self._pid = os.getpid()
        self._election = election
        self._log = log
        if not isinstance(log, bool):
            msg = f"log must be True or False, not {log!r}"
            raise ConfigError(msg)
        if not isinstance(observers, Iterable):
            msg = f"observers must be a list of functions of (transition), not {observers!r}"
            raise ConfigError(msg)
        self._subscriptions = Subscriptions(tuple(listener(observer) for observer in observers))
        self._history = History()
        self._changed = Changed()
        self._starting = threading.RLock()  # a signal handler may come in between
        self._subscribing = threading.RLock()
        _faces.add(self)
        self._driver: D | None = None

    # -- life ---------------------------------------------------------------------------------------------------

    @property
    def election(self) -> str:
        """
        The election's name.
        """
        return self._election

    @abstractmethod
    def _make_driver(self, engine: Engine, store: Store, loop: asyncio.AbstractEventLoop | None) -> D: ...

    def _start(self, loop: asyncio.AbstractEventLoop | None = None) -> D:
        with self._starting:
            driver = self._driver
            if self._url is not None and (self._store.closed or self._pid != os.getpid()):
                self._store, self._pid = connect(self._url), os.getpid()
            elif self._store.closed:
                msg = f"{self._store.url} was closed: connect() again"
                raise ConfigError(msg)
            store = self._seen_store()
            engine = engine_for(store)
            if driver is None or driver.engine is not engine:
                made = self._make_driver(engine, store, loop)
                made.own.is_owned = self._url is not None
                if self._driver is driver:  # else a signal handler has come in between, and started one
                    self._driver = made
                driver = self._driver or made
            driver.user_loop = loop
            driver.request_start(store)
            if self._url is not None and store.closed:  # a signal handler has come in between, and stopped it
                driver.request_stop()
            return driver

    def _seen_store(self) -> Store:
        return self._store

    def start(self) -> None:
        """
        Begin; returns at once, without waiting for the store. Idempotent.

        Raises:
            ConfigError: The store was closed, or the process cannot run an election.
        """
        self._start()

    def stop(self, timeout: float | None = None) -> bool:
        """
        Leave; idempotent, prompt in every state.

        Args:
            timeout: Seconds to wait until it is settled; None for its grace and TTL, for a follower 5.

        Returns:
            True when it was settled in time. From inside a callback it only asks, and returns False.
        """
        return self._stop(timeout, None)

    def _stop(self, timeout: float | None, reason: str | None) -> bool:
        timeout = check_timeout(timeout)
        driver = self._driver
        if driver is None:
            return True
        settled = self._ask_to_stop(driver, reason)
        limit = driver.patience if timeout is None else timeout
        return not is_inside(driver) and driver.engine.wait(self._changed, settled, limit)

    def _ask_to_stop(self, driver: D, reason: str | None) -> Callable[[], bool]:
        """
        Ask, and return what says whether it is settled: another's start may follow at once.
        """
        with self._starting:
            store = self._store
            if self._url is not None:
                self._store.closed = True  # by the engine, when this life is over; a start from here on opens another
            self._request_stop(driver, reason, publish=reason is not None)
        return lambda: driver.is_over or driver.own.has_closed(store)

    def _request_stop(self, driver: D, reason: str | None, *, publish: bool = False) -> None:  # noqa: ARG002 - a candidate's
        driver.request_stop()

    def run(self, *, signals: Iterable[signal.Signals] = (signal.SIGINT, signal.SIGTERM)) -> None:
        """
        Start, and block until `stop()`, a signal, or the end by a fatal error.

        A first signal stops all that run; a second one acts as if it were not handled. Off the main thread no handler
        is installed.

        Raises:
            ConfigError: What `signals` names cannot be handled; nothing has started.
            LeadershipError: What ended it for good.
        """
        with self._stopping_on(check_signals(signals)) as came:
            driver = self._start()
            if came:  # it may have been before there was anything to stop
                self._request_stop(driver, came[0])
            driver.engine.wait(self._changed, lambda: driver.is_over, None)
        driver.engine.wait(self._changed, self._close_own(driver), driver.patience)
        self._raise_fatal()

    @contextlib.contextmanager
    def _stopping_on(
        self, signals: Iterable[signal.Signals], loop: asyncio.AbstractEventLoop | None = None
    ) -> Generator[list[str]]:
        came: list[str] = []

        def stop(name: str) -> None:
            came.append(name)
            if self._driver is not None:
                self._request_stop(self._driver, name)

        with taken(signals, stop, loop):
            yield came

    def _close_own(self, driver: D) -> Callable[[], bool]:
        """
        Have the store closed that is its own, unless somebody has started it again; what says whether that is settled.
        """
        with self._starting:
            if self._url is not None and driver.is_over:
                return self._ask_to_stop(driver, None)
        return lambda: True

    def _raise_fatal(self) -> None:
        driver = self._driver
        if driver is not None and driver.error is not None and driver.is_idle:
            raise driver.error

    # -- waiting ------------------------------------------------------------------------------------------------

    def _over(self) -> bool:
        """
        It has run, and came to its end.
        """
        driver = self._driver
        return driver is not None and driver.is_over

    def _wait(self, holds: Callable[[], bool], timeout: float | None) -> bool:
        timeout = check_timeout(timeout)
        engine = self._driver.engine if self._driver is not None else self._seen_store().engine
        if engine is None:
            return self._changed.wait_for(lambda: holds() or self._over(), timeout)
        assert isinstance(engine, Engine)  # noqa: S101 - only a simulation's store brings another
        return engine.wait(self._changed, lambda: holds() or self._over(), timeout)

    def _changes(self, value: Callable[[], V], *first: V) -> Iterator[V]:
        """
        Iterate the values given, then the present one, then each change, coalesced; ends when it has stopped.
        """
        yield from first
        last: tuple[V, ...] = first[-1:]

        def differs() -> bool:
            return last != (value(),)

        while True:
            self._wait(differs, None)
            now = value()
            if last != (now,):
                last = (now,)
                yield now
            elif self._over():
                self._raise_fatal()
                return

    def wait_leader(self, timeout: float | None = None) -> Leader | None:
        """
        Wait until somebody is known to lead.

        Args:
            timeout: Seconds; None for no limit.

        Returns:
            The leader; None when the time was up or it was stopped.

        Raises:
            LeadershipError: What ended it for good.
        """
        self._wait(lambda: self.leader is not None and not self.is_stale, timeout)
        self._raise_fatal()
        return None if self.is_stale else self.leader

    @property
    @abstractmethod
    def leader(self) -> Leader | None:
        """
        Who leads, as last seen; None for nobody, and for not known yet (ask `is_stale`).
        """

    @property
    @abstractmethod
    def is_stale(self) -> bool:
        """
        True while the truth is not known: before the first read, and after the watch broke until it was read again.
        """

    # -- telling ------------------------------------------------------------------------------------------------

    @property
    def history(self) -> tuple[Transition, ...]:
        """
        The last 256 transitions, oldest first.
        """
        return self._history.snapshot()

    def diagram(self, format: str = "mermaid") -> str | bytes:
        """
        Its machine, drawn: the present state marked, the edges counted.

        Args:
            format: `mermaid`, `dot`, or `svg` and `png`, which need Graphviz.

        Raises:
            ConfigError: An unknown format, or Graphviz is missing.
        """
        state = "idle" if self._driver is None else self._driver.ctx.state.value
        return draw(self._kind, format, current=state, counts=self._history.edges(self._kind))

    def on_transition(self, fn: OnTransition) -> OnTransition:
        """
        Have `fn(transition)` called after each transition, on the observers' thread. Returns `fn`.
        """
        self.subscribe(fn)
        return fn

    def on_error(self, fn: OnError) -> OnError:
        """
        Have `fn(error)` called for each error that a campaign or a callback met, on the observers' thread.

        Returns `fn`. One that is told late hears the error that ended it, if one did.
        """
        check_callback("on_error", fn, ("error",), coroutines=False)
        with self._subscribing:
            self._subscriptions.errors = (*self._subscriptions.errors, fn)
        driver = self._driver
        if driver is not None and driver.error is not None:
            driver.engine.post(driver.engine.dispatcher.put, fn, driver.error)
        return fn

    def on_leader_changed(self, fn: OnLeaderChanged) -> OnLeaderChanged:
        """
        Have `fn(leader or None)` called when the view changes, in order; at once if it is known already. Returns `fn`.
        """
        check_callback("on_leader_changed", fn, ("leader",), coroutines=self._coroutines)
        driver = self._driver

        def add() -> None:
            with self._subscribing:
                self._subscriptions.leader_changed = (*self._subscriptions.leader_changed, fn)
            if driver is not None and not self.is_stale:
                driver.queue_leader_changed(fn, self.leader)

        if driver is None or driver.engine.pid != os.getpid():
            add()
        else:
            driver.engine.post(add)
        return fn

    def subscribe(self, observer: Callable[[Transition], Any]) -> Callable[[], None]:
        """
        Have an observer told each transition. Returns how to end it.
        """
        told = listener(observer)
        with self._subscribing:
            self._subscriptions.observers = (*self._subscriptions.observers, told)
        if told.audit is not None and self._driver is not None:
            self._driver.describe(told.audit)

        def unsubscribe() -> None:
            with self._subscribing:
                left = [other for other in self._subscriptions.observers if other is not told]
                self._subscriptions.observers = tuple(left)

        return unsubscribe


def default_node() -> str:
    """
    `host:pid` of the process that calls.
    """
    return f"{socket.gethostname()}:{os.getpid()}"

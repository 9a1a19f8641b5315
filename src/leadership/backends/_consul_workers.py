"""
The threads of a store that talk to Consul, and the agent that they talk to.

Daemons of our own, because those of `concurrent.futures` are joined at interpreter exit whatever they wait for. Their
number does not depend on that of elections; they start with the first work.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from leadership._clock import now
from leadership.backends._address import Host
from leadership.backends._consul_http import Answer, Connection, Library, NotSentError, load
from leadership.backends._consul_options import Settings
from leadership.backends._loops import Pending
from leadership.errors import StoreUnavailable

T = TypeVar("T")

BACKLOG = 4
"""Jobs that wait for a thread before there is another one: connections are dear to an agent."""
IDLE = 5.0
"""Seconds after which a thread that is not the last one ends."""


class Hosts:
    """
    Which agent is asked. Any thread.
    """

    def __init__(self, hosts: tuple[Host, ...]) -> None:
        self._hosts = hosts
        self._at = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._hosts)

    @property
    def present(self) -> Host:
        """
        The one that is asked now.
        """
        return self._hosts[self._at]

    def failed(self, host: Host) -> None:
        """
        Ask the next one.
        """
        with self._lock:
            if host == self.present:
                self._at = (self._at + 1) % len(self._hosts)


class Caller:
    """
    One thread's connection to the present agent. Used by one thread; `abort` by any.
    """

    def __init__(self, settings: Settings, hosts: Hosts) -> None:
        self.settings = settings
        self._hosts = hosts
        self._library: Library | None = None
        self._connection: Connection | None = None
        self.aborted = False

    def call(
        self, method: str, path: str, body: Any = None, *, until: float, held: float = 0.0, **query: str | int
    ) -> Answer:
        """
        One request, answered before `until` (on the clock of deadlines); `held` seconds more where the agent waits.

        Raises:
            StoreUnavailable: There is no answer.
            StoreRefused: Trying again cannot help.
        """
        for attempt in range(len(self._hosts)):
            left = until - now()
            if self.aborted or left <= 0:
                break
            connection = self._connected()
            try:
                answer = connection.call(method, path, body, timeout=left, held=held, **query)
            except NotSentError:
                self._failed(connection)
                if attempt + 1 == len(self._hosts):
                    raise
            except StoreUnavailable:
                self._failed(connection)
                raise
            else:
                if answer.status >= 500 and "leader" in answer.text:
                    self._hosts.failed(connection.host)
                return answer
        msg = "the store is closed" if self.aborted else "no time was left to ask Consul"
        raise StoreUnavailable(msg)

    def _connected(self) -> Connection:
        host = self._hosts.present
        if self._connection is None or self._connection.host != host:
            self.close()
            if self._library is None:
                self._library = load()
            self._connection = Connection(self._library, self.settings, host)
        return self._connection

    def _failed(self, connection: Connection) -> None:
        self._hosts.failed(connection.host)
        self.close()

    def abort(self) -> None:
        """
        Let a request under way fail at once, and every later one. Any thread.
        """
        self.aborted = True
        connection = self._connection
        if connection is not None:
            connection.abort()

    def close(self) -> None:
        """
        Close the connection.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


@dataclass(frozen=True, slots=True)
class _Task:
    job: Callable[[Caller], Any]
    pending: Pending[Any]


class Workers:
    """
    A few threads that run jobs. Called on the loop.
    """

    def __init__(self, settings: Settings, hosts: Hosts, name: str, most: int) -> None:
        self._settings = settings
        self._hosts = hosts
        self._name = name
        self._most = most
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._running: dict[threading.Thread, Caller] = {}
        self._unfinished = 0
        self._lock = threading.Lock()
        self._stopped = False

    async def call(self, job: Callable[[Caller], T], timeout: float) -> T:
        """
        The result of a job, within so many seconds.

        Raises:
            StoreUnavailable: It did not come, or the workers have been stopped.
        """
        if self._stopped:
            msg = "the store is closed"
            raise StoreUnavailable(msg)
        pending: Pending[T] = Pending()
        with self._lock:
            if not self._running or self._unfinished >= BACKLOG * len(self._running) < BACKLOG * self._most:
                self._start()
            self._unfinished += 1
        self._tasks.put(_Task(job, pending))
        try:
            return await pending.wait(timeout)
        except TimeoutError:
            msg = f"{self._settings.url}: no answer within {timeout:.3g} s"
            raise StoreUnavailable(msg) from None

    def _start(self) -> None:
        caller = Caller(self._settings, self._hosts)
        thread = threading.Thread(target=self._run, args=(caller,), name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if self._running:
                return
            msg = f"the store {self._settings.url} cannot start its thread: {error}"
            raise StoreUnavailable(msg) from error
        self._running[thread] = caller

    def _run(self, caller: Caller) -> None:
        while (task := self._next()) is not None:
            try:
                task.pending.give(task.job(caller))
            except BaseException as error:  # noqa: BLE001 - it is the caller's, who waits for it
                task.pending.fail(error)
            with self._lock:
                self._unfinished -= 1
            del task  # an idle thread keeps nothing alive
        caller.close()

    def _next(self) -> _Task | None:
        """
        What to do next; None: nothing, for good. All but one of the threads end when they are idle.
        """
        while True:
            try:
                return self._tasks.get(timeout=IDLE)
            except Empty:
                with self._lock:
                    if len(self._running) > 1 and not self._unfinished:
                        del self._running[threading.current_thread()]
                        return None

    async def stop(self, timeout: float) -> None:
        """
        End the threads, cutting what is under way; wait for that so many seconds. Idempotent.
        """
        self._stopped = True
        with self._lock:
            running, self._running = self._running, {}
        for caller in running.values():
            caller.abort()
            self._tasks.put(None)
        await ended(list(running), timeout)


async def ended(threads: list[threading.Thread], timeout: float) -> None:
    """
    Wait for threads, so many seconds at most.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            while any(thread.is_alive() for thread in threads):  # noqa: ASYNC110 - one that has ended sets no event
                await asyncio.sleep(0.002)

"""
The one thread of a store that uses its database, and how coroutines hand it work.

A plain thread, because those of `concurrent.futures` are joined at interpreter exit whatever they wait for. It is a
daemon and starts with the first job. Jobs run in order, and so do their results: what a later result says is later.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from leadership.backends import _sqlite_entries as entries
from leadership.backends._sqlite_database import Database, explain_system
from leadership.errors import StoreUnavailable

T = TypeVar("T")

Deliver = Callable[[Any, BaseException | None], None]


@dataclass(frozen=True, slots=True)
class _Task:
    job: Callable[[Database], Any]
    deliver: Deliver
    loop: asyncio.AbstractEventLoop


class Worker:
    """
    Runs jobs on a `Database`. Called on one event loop.
    """

    def __init__(self, path: str, folder: str) -> None:
        self.operations = 0
        """Transactions and reads since the start."""
        self._path = path
        self._folder = folder
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        """Of the last job."""
        self._stopped = False

    def submit(self, job: Callable[[Database], T], deliver: Callable[[T | None, BaseException | None], None]) -> None:
        """
        Have a job run, and its result or error delivered on the loop.

        Raises:
            StoreUnavailable: The worker has been stopped, or no thread can be had.
        """
        if self._stopped:
            msg = f"the store of {self._path} is closed"
            raise StoreUnavailable(msg)
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="leadership-sqlite", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                msg = f"the store of {self._path} cannot start its thread: {error}"
                raise StoreUnavailable(msg) from error
            self._thread = thread
        self._loop = asyncio.get_running_loop()
        self._tasks.put(_Task(job, deliver, self._loop))

    async def call(self, job: Callable[[Database], T], before: Callable[[T], None] | None = None) -> T:
        """
        The result of a job; `before` takes it on the loop, in the order of the jobs, before the caller goes on.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def deliver(result: T | None, error: BaseException | None) -> None:
            if error is None and before is not None:
                before(result)  # type: ignore[arg-type]  # a job without an error has a result
            if future.done():
                return  # cancelled: nobody waits
            if error is None:
                future.set_result(result)  # type: ignore[arg-type]  # as above
            else:
                future.set_exception(error)

        self.submit(job, deliver)
        return await future

    async def stop(self, timeout: float) -> None:
        """
        End the thread after what it has to do, and the connection with it; wait for that so many seconds. Idempotent.
        """
        self._stopped = True
        thread, self._thread = self._thread, None
        if thread is None:
            return
        ended = asyncio.Event()
        self._tasks.put(_Task(_finish, lambda _result, _error: ended.set(), asyncio.get_running_loop()))
        self._tasks.put(None)
        try:
            await asyncio.wait_for(ended.wait(), timeout)
        except TimeoutError:
            return  # it hangs in the file system, and ends when that answers
        thread.join(timeout)

    def _run(self) -> None:
        database = Database(self._path, self._folder)
        while True:
            try:
                task = self._tasks.get(timeout=database.ringer.due())
            except Empty:
                self._ring(database)
                continue
            if task is None:
                return
            result: object = None
            error: BaseException | None = None
            try:
                with database.gate:
                    result = task.job(database)
            except OSError as failure:
                error = explain_system(failure, self._path)
                error.__cause__ = failure
            except BaseException as failure:  # noqa: BLE001 - it is the caller's, who waits for it
                error = failure
            self.operations = database.operations
            _hand_over(task, result, error)
            del task, result, error  # an idle thread keeps nothing alive
            self._ring(database)

    def _ring(self, database: Database) -> None:
        """
        Tell other stores what is due. They look within a second anyway: a failure is said, and the thread goes on.
        """
        try:
            with database.gate:
                entries.ring(database)
        except Exception as error:  # noqa: BLE001 - whatever it is, the jobs that follow must not wait for ever
            context = {"message": f"{self._path}: other stores could not be told to look", "exception": error}
            if self._loop is not None:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
                    self._loop.call_soon_threadsafe(self._loop.call_exception_handler, context)


def _finish(database: Database) -> None:
    try:
        entries.ring(database, everything=True)
    finally:
        entries.close_bell(database)
        database.discard()


def _hand_over(task: _Task, result: object, error: BaseException | None) -> None:
    try:
        task.loop.call_soon_threadsafe(task.deliver, result, error)
    except RuntimeError:
        return  # the loop is closed: nobody waits

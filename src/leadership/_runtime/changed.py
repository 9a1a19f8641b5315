"""
How threads and tasks wait for a machine to change.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Changed:
    """
    Notified by the engine after every change that somebody may wait for. Thread-safe.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._listeners: tuple[Callable[[], None], ...] = ()
        self._waiting = 0
        """Threads in `wait_for`. One that is not counted yet has yet to look at what has changed."""

    def notify(self) -> None:
        """
        Wake whoever waits.
        """
        if self._waiting:
            with self._condition:
                self._condition.notify_all()
        for listener in self._listeners:
            listener()

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None) -> bool:
        """
        Block until `predicate` holds, or `timeout` seconds have passed; whether it holds.
        """
        with self._condition:
            self._waiting += 1
            try:
                limit = None if timeout is None else min(timeout, threading.TIMEOUT_MAX)
                return self._condition.wait_for(predicate, limit)
            finally:
                self._waiting -= 1

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """
        Have `listener` called at each change, on the engine's thread; it must not block. Returns how to end it.
        """
        with self._condition:
            self._listeners = (*self._listeners, listener)

        def forget() -> None:
            with self._condition:
                self._listeners = tuple(known for known in self._listeners if known is not listener)

        return forget

    def forked(self) -> None:
        """
        In a forked child: another thread may have held the lock.
        """
        self._condition = threading.Condition()
        self._listeners = ()
        self._waiting = 0

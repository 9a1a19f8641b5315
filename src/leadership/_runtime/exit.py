"""
The end of the interpreter, when no new thread can be started.
"""

from __future__ import annotations

import atexit
import queue
from collections.abc import Callable

from leadership import _clock


class ExitJobs:
    """
    Callbacks that the exiting main thread runs itself.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def put(self, run: Callable[[], None]) -> None:
        """
        Have the main thread run it.
        """
        self._queue.put(run)

    def run_until(self, over: Callable[[], bool], limit: float) -> None:
        """
        Run what comes until `over()` holds or `limit` seconds have passed.
        """
        deadline = _clock.now() + limit
        while not over() and _clock.now() < deadline:
            try:
                run = self._queue.get(timeout=0.01)
            except queue.Empty:
                continue
            run()

    @staticmethod
    def register(finish: Callable[[], None]) -> None:
        """
        Call `finish` when the interpreter exits, before its modules are torn down, and before whatever else was to be
        called then until now: those who export traces, for one, are still to be told how the terms ended.
        """
        atexit.unregister(finish)
        atexit.register(finish)

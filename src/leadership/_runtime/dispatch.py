"""
The observer lane: one thread that hands records to observers, so that none of them can stall an election.

Law 1: bounded; what does not fit is dropped, counted, and visible by the gap in `seq`; an observer that has a method
`on_dropped` is told how much it has missed.
Law 2: an observer that raises hurts neither the engine nor its neighbours.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any

from leadership import _clock
from leadership._runtime.jobs import name_of
from leadership.observers.log import log_event

CAPACITY = 10_000
SLOW = 0.1
"""
Seconds after which an observer's call is warned about.
"""


class Dispatcher:
    """
    Calls observers in order, on a daemon thread that is started when it is first needed. Thread-safe.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._idle = threading.Event()
        self._idle.set()
        self.dropped = 0
        self._missed: dict[int, tuple[Callable[..., Any], int]] = {}
        """By `id`: how observers that want to know are told, and how many of their calls were dropped so far."""

    def put(self, observer: Callable[..., Any], *args: Any, on_dropped: Callable[..., Any] | None = None) -> None:
        """
        Have an observer called, or tell it by `on_dropped` that it was not; never blocks. On the engine's thread only.
        """
        if self._queue.qsize() >= CAPACITY:  # nobody else puts
            self._drop(on_dropped)
            return
        self._idle.clear()
        self._queue.put((observer, args))
        if self._thread is None:
            # At interpreter exit no thread can be started: what is left is said by nobody.
            with contextlib.suppress(RuntimeError):
                thread = threading.Thread(target=self._run, name="leadership-observers", daemon=True)
                thread.start()
                self._thread = thread

    def _drop(self, on_dropped: Callable[..., Any] | None) -> None:
        if on_dropped is not None:
            before = self._missed.get(id(on_dropped))
            self._missed[id(on_dropped)] = (on_dropped, 1 if before is None else before[1] + 1)
        self.dropped += 1  # after that, so that whoever sees it finds who has missed it

    def drain(self, timeout: float) -> None:
        """
        Wait until everything was handed over, or the time is up.
        """
        if self._thread is not None:
            self._idle.wait(timeout)

    def _run(self) -> None:
        reported = 0
        told: dict[int, int] = {}
        while True:
            observer, args = self._queue.get()
            if self.dropped > reported:
                log_event(logging.WARNING, "leadership.observations_dropped", dropped=self.dropped - reported)
                reported = self.dropped
                self._tell_missed(told)
            call(observer, args)
            if self._queue.empty():
                self._idle.set()

    def _tell_missed(self, told: dict[int, int]) -> None:
        while True:
            try:
                missed = tuple(self._missed.items())
            except RuntimeError:  # one was added meanwhile: look again
                continue
            break
        for key, (on_dropped, count) in missed:
            if count > told.get(key, 0):
                call(on_dropped, (count - told.get(key, 0),))
                told[key] = count


def call(observer: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """
    Call one observer; what it raises and how slow it was is reported, and goes no further.
    """
    began = _clock.now()
    try:
        observer(*args)
    except BaseException:  # noqa: BLE001 - an observer may raise anything, and SystemExit would end the lane for all
        log_event(logging.ERROR, "leadership.observer_failed", exc_info=sys.exc_info(), observer=name_of(observer))
    took = _clock.now() - began
    if took > SLOW:
        log_event(logging.WARNING, "leadership.observer_slow", observer=name_of(observer), seconds=round(took, 3))

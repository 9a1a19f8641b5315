"""
The signals that end `run()`, for as many of them as a process has under way.

Law: the first that wants a signal takes it, and the last that leaves gives it back; when it comes, all leave and are
told, so that the next acts as if it were not handled. On the main thread only, where handlers are called.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from functools import partial
from types import FrameType
from typing import Any

Stop = Callable[[str], None]

_stops: dict[int, list[Stop]] = {}
"""By signal: how those that wait for it are told its name."""
_give_back: dict[int, Callable[[], None]] = {}
"""By signal: how the handler that was there is put back."""


@contextlib.contextmanager
def taken(
    signals: Iterable[signal.Signals], stop: Stop, loop: asyncio.AbstractEventLoop | None = None
) -> Generator[None]:
    """
    Have `stop(name)` called when one of the signals comes, and give them all back then or at the end.

    Args:
        signals: Which. Off the main thread none is taken.
        stop: Called within the handler, hence between any two steps of the main thread.
        loop: The one that runs on this thread, if one does.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    sleeper = None if loop is None or _wakes_a_loop() else loop
    try:
        for number in signals:
            _take(number, stop, sleeper)
        yield
    finally:
        _leave(stop)


def _take(number: signal.Signals, stop: Stop, sleeper: asyncio.AbstractEventLoop | None) -> None:
    before = signal.getsignal(number)
    ours = before is _handle
    if not ours:
        _give_back[number] = partial(_put_back, number, before, sleeper)
    _stops.setdefault(number, []).append(stop)  # a signal that comes from here on is heard
    if not ours:
        if sleeper is not None:
            sleeper.add_signal_handler(number, _woken, number)
        # Over the loop's own: a handler that the program has given the loop stays there, and its table is not public.
        signal.signal(number, _handle)


def _wakes_a_loop() -> bool:
    """
    A loop has signal handlers, so that each signal wakes it, whichever thread the system gives it to.
    """
    fd = signal.set_wakeup_fd(-1)
    if fd != -1:
        signal.set_wakeup_fd(fd)
    return fd != -1


def _put_back(number: signal.Signals, before: Any, sleeper: asyncio.AbstractEventLoop | None) -> None:
    if signal.getsignal(number) is not _handle:
        return  # the program has put one there since
    if sleeper is not None:
        sleeper.remove_signal_handler(number)
    signal.signal(number, signal.SIG_DFL if before is None else before)  # None: it was not set from Python


def _leave(stop: Stop) -> None:
    for number, stops in tuple(_stops.items()):
        if stop in stops:
            stops.remove(stop)
            if not stops:
                _give_back[number]()


def _handle(number: int, _frame: FrameType | None) -> None:
    stops = tuple(_stops.get(number, ()))
    for stop in stops:
        _leave(stop)
    for stop in stops:
        stop(signal.Signals(number).name)
    if not stops:  # it came while the last one was leaving
        _give_back[number]()
        signal.raise_signal(number)


def _woken(number: int) -> None:
    """
    A loop has woken by a signal: mostly it was handled by then. Nothing, unless a handler of the program's came first.
    """
    if _stops.get(number):
        _handle(number, None)


def _after_fork_in_child() -> None:
    """
    Nothing runs in a forked child, and it ends at a signal as any process does.
    """
    for number, stops in _stops.items():
        stops.clear()
        _give_back[number]()


os.register_at_fork(after_in_child=_after_fork_in_child)

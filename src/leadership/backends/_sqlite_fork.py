"""
What a fork must not take along.

Law 1: no connection crosses a fork. SQLite keeps the locks of a file's connections in one table per process; a child
that inherits the table believes that it holds locks which it has not, and then works on a log that its parent or a
third process has deleted: two truths, two leaders (seen by experiment). So connections are closed before a fork, and
opened again by the next call; where one cannot be closed in time, its file cannot be opened in the child.
Law 2: a child closes the sockets and locks that it inherits: it is neither heard through them nor the holder.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Protocol

PATIENCE = 1.0
"""Seconds that a fork waits for jobs under way."""


class Closeable(Protocol):
    """
    Something with a descriptor.
    """

    def close(self) -> None:
        """
        Close it.
        """


class Connected(Closeable, Protocol):
    """
    Something with a connection, which is used with its gate locked.
    """

    gate: threading.Lock
    path: str

    @property
    def is_connected(self) -> bool:
        """
        It has a connection.
        """
        ...


class _Forking(threading.local):
    held: tuple[threading.Lock, ...] = ()


quiet = threading.Lock()
"""No fork comes while it is locked."""
_forking = _Forking()
_connected: dict[int, Connected] = {}
_close_in_child: dict[int, Closeable] = {}
_unusable: dict[str, Connected] = {}


def close_before_fork(thing: Connected) -> None:
    """
    Have its connection closed before each fork of this process.
    """
    with quiet:
        _connected[id(thing)] = thing


def close_in_child(thing: Closeable) -> None:
    """
    Have it closed in each forked child.
    """
    _close_in_child[id(thing)] = thing


def forget(thing: Closeable) -> None:
    """
    It is closed for good.
    """
    _connected.pop(id(thing), None)
    _close_in_child.pop(id(thing), None)


def is_unusable(path: str) -> bool:
    """
    The process was forked while the file was in use, and cannot open it.
    """
    return path in _unusable


def _before() -> None:
    patience = time.monotonic() + PATIENCE
    held: list[threading.Lock] = []
    if quiet.acquire(timeout=PATIENCE):
        held.append(quiet)
    for thing in tuple(_connected.values()):
        if thing.gate.acquire(timeout=max(0.0, patience - time.monotonic())):
            held.append(thing.gate)
            thing.close()
    _forking.held = tuple(held)


def _after_in_parent() -> None:
    for lock in _forking.held:
        lock.release()
    _forking.held = ()


def _after_in_child() -> None:
    global quiet  # noqa: PLW0603 - another thread may have held it, which does not exist here
    quiet = threading.Lock()
    _forking.held = ()
    for thing in tuple(_connected.values()):
        if thing.is_connected:
            _unusable[thing.path] = thing  # and never closed, which would be its parent's undoing
    _connected.clear()
    for other in tuple(_close_in_child.values()):
        other.close()
    _close_in_child.clear()


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)

"""
What the subcommands share: exit statuses, the way to say things, the way to a store.
"""

from __future__ import annotations

import contextlib
import json
import queue
import sys
import threading
from collections.abc import Generator, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leadership import Leader


class Exit(IntEnum):
    """
    Exit statuses of the command; `leadership run` also has those of CMD.
    """

    YES = 0
    NO = 1
    """Nobody leads, or the request was refused."""
    USAGE = 2
    UNKNOWN = 3
    """The answer did not come in time."""
    BROKEN = 70
    """An error that nobody foresaw, which is a bug of the library (EX_SOFTWARE)."""
    UNAVAILABLE = 69
    """The store did not answer, or cannot serve now (EX_UNAVAILABLE)."""
    NOT_ELECTED = 75
    """Try again later (EX_TEMPFAIL)."""
    REFUSED = 77
    """The store refuses: credentials, permission, foreign data (EX_NOPERM)."""


_lines: queue.Queue[str] | None = None
"""Where `say` puts its lines while nobody may wait for stderr."""


def say(message: str) -> None:
    """
    One line on stderr.
    """
    line = f"leadership: {' '.join(message.split())}\n"
    if _lines is None:
        _write(line)
        return
    with contextlib.suppress(queue.Full):  # a reader that has stalled has missed more than this already
        _lines.put_nowait(line)


def _write(line: str) -> None:
    # ValueError and AttributeError: stderr was closed, or there is none. Whoever listened has gone, and what has to be
    # done must be done all the same.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        # In one write, so that the lines of several threads and processes do not run into each other.
        sys.stderr.write(line)
        sys.stderr.flush()


@contextlib.contextmanager
def without_waiting_for_stderr() -> Generator[None]:
    """
    Within it `say` never waits: a terminal that is halted, or a log reader that hangs, must not stall a lease.
    """
    global _lines  # noqa: PLW0603 - one stderr a process
    lines: queue.Queue[str] = queue.Queue(1000)
    over = threading.Event()

    def write() -> None:
        while not over.is_set() or not lines.empty():
            with contextlib.suppress(queue.Empty):
                _write(lines.get(timeout=0.1))

    thread = threading.Thread(target=write, name="leadership-stderr", daemon=True)
    thread.start()
    _lines = lines
    try:
        yield
    finally:
        _lines = None
        over.set()
        thread.join(0.5)


def put(text: str) -> None:
    """
    One line, or several, on stdout, at once.
    """
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def put_json(value: Mapping[str, Any]) -> None:
    """
    One object on a line of stdout.
    """
    put(json.dumps(value, ensure_ascii=False))


def leader_dict(leader: Leader | None) -> dict[str, Any] | None:
    """
    A leader as JSON-able values.
    """
    if leader is None:
        return None
    return {"node": leader.node, "token": leader.token, "metadata": dict(leader.metadata)}

"""
The audit: every record as one line of JSON, in a file that other programs can read and judge.

What the lines are is written at the top of `_audit_lines.py`.
"""

from __future__ import annotations

import atexit
import errno
import logging
import os
import queue
import stat
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Final, Literal, Self, get_args

from leadership.errors import ConfigError
from leadership.fsm.record import Transition
from leadership.observers._audit_file import AuditFile
from leadership.observers._audit_lines import AuditLines, Subject, View, is_beginning
from leadership.observers.log import log_event

Durability = Literal["os", "group", "sync"]
Acknowledge = Callable[[BaseException | None], None]

LEAST_ROTATE_BYTES: Final = 4096
GROUP_SECONDS: Final = 0.1
_BATCH: Final = 64
_HEAD: Final = 4096

_Item = tuple[Transition | View | Subject, Acknowledge | None]


class AuditLog:
    """
    Writes each record that it is given as a line of JSON. Thread-safe; an observer, for any number of candidates.

    A thread of its own writes in order and drops nothing; it exists from the first record to `close`. Several processes
    may write one file, on a local file system: lines never mix. When a record cannot be written, that is counted
    (`failures`), said once in the log, and the election goes on, unless the term waits for it (`required`, or
    `durability="sync"`); as soon as writing succeeds again, a `gap` line says how many are missing. After a fork the
    child writes through a descriptor and a thread of its own.

    The file may be moved or removed at any time (by logrotate, say): the next record begins another of the same name.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "os",
        rotate_bytes: int | None = None,
        required: bool = False,
        chain: bool = False,
    ) -> None:
        """
        Args:
            path: The file; it is made by the first record and appended to, its folder must exist.
            durability: What a line survives. `os`: the end of the process (one write a record; synced at rotation and
                close). `group`: also loss of power, but for the last 100 ms. `sync`: also loss of power, and nobody is
                elected before the record of it is on the disk.
            rotate_bytes: A file that has reached this size is renamed to `path.1`, `path.2` and so on, and another is
                begun. None: never. Rotated files are never deleted: compress, move or delete them as you like.
            required: Nobody leads without an audit: a leader whose election cannot be written gives up.
            chain: Each line carries the hash of the one before, so that an edited or missing line shows. A cut tail
                does not: compare the last hash with a copy that is kept elsewhere.

        Raises:
            ConfigError: An argument cannot be used, or the file is there and is not an audit.
        """
        self.path: Final = _check_path(path)
        if durability not in get_args(Durability):
            msg = f"durability must be one of {', '.join(get_args(Durability))}, not {durability!r}"
            raise ConfigError(msg)
        _check_rotate_bytes(rotate_bytes)
        self.durability: Final = durability
        self.required: Final = required
        self.failures = 0
        """Counts the records that could not be written, or not be synced."""
        self._chain = chain
        self._file = AuditFile(self.path, rotate_bytes=rotate_bytes, chain=chain, durable=durability != "os")
        self._reset()
        _living.add(self)

    def _reset(self) -> None:
        self._lock = threading.RLock()
        """Guards `_thread` and `_stopping`, and that nothing is put between a thread's last look and its end."""
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopping = False
        # What follows belongs to the thread.
        self._lines = AuditLines(self._file, durability=self.durability, chain=self._chain)
        self._due: float | None = None
        self._broken = False

    # -- asked by any thread ------------------------------------------------------------------------------------

    @property
    def waits(self) -> bool:
        """
        A term begins only after the record of it was acknowledged without an error.
        """
        return self.required or self.durability == "sync"

    def submit(self, record: Transition, acknowledge: Acknowledge | None = None) -> None:
        """
        Have a record written; returns at once.

        Args:
            record: What to write, as it is: nothing is left out.
            acknowledge: Called on the audit's thread when the record was written, and synced if `durability` is `sync`;
                with None, or with what prevented it.
        """
        self._put((record, acknowledge))

    __call__ = submit

    def header(
        self,
        *,
        boot: str,
        clock: str | None,
        incarnation: str,
        election: str,
        node: str,
        timing: Mapping[str, float],
    ) -> None:
        """
        Say what a candidate was promised, before its first record after each start; returns at once.

        It is written before the candidate's first line in each file, and forgotten when a record says `idle`.

        Args:
            boot: Names the process, as its records do.
            clock: Names what the process's `monotonic` is read from; None where that is not known.
            incarnation: Names the candidate, as its records do.
            election: Its election.
            node: Its name.
            timing: What its TTL means, in seconds; empty for a follower.
        """
        fields = {"incarnation": incarnation, "election": election, "node": node, "timing": dict(timing)}
        self._put((Subject(boot, clock, fields), None))

    def leader(
        self,
        *,
        at: datetime,
        monotonic: float,
        boot: str,
        incarnation: str,
        election: str,
        node: str,
        leader: tuple[str, int] | None,
    ) -> None:
        """
        Say who leads, as a candidate or follower sees it, when that has changed and is known; returns at once.

        Args:
            at: Wall clock, UTC.
            monotonic: Seconds on the clock of deadlines.
            boot: Names the process, as its records do.
            incarnation: Names who saw it, as its records do.
            election: The election.
            node: The name of who saw it.
            leader: Node and token of who leads; None for nobody.
        """
        self._put((View(at, boot, incarnation, monotonic, election, node, leader), None))

    def close(self, timeout: float = 5.0) -> None:
        """
        Write what is waiting, sync and close the file, end the thread. Idempotent.

        A record that comes later is written all the same: it opens the file again. So the order in which candidates and
        audit are closed does not matter, and at the interpreter's exit nothing is lost.

        Args:
            timeout: Seconds after which a disk that does not answer is no longer waited for; a warning is logged.
        """
        with self._lock:
            thread = self._thread
            if thread is None:
                return
            self._stopping = True
            self._queue.put(None)
        if thread is threading.current_thread():
            return
        thread.join(timeout)
        if thread.is_alive():
            log_event(logging.WARNING, "leadership.audit_close_timeout", path=self.path, seconds=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<AuditLog {self.path} durability={self.durability} failures={self.failures}>"

    def _put(self, item: _Item) -> None:
        with self._lock:
            self._queue.put(item)
            if self._thread is None:
                self._start()

    def _start(self) -> None:
        thread = self._thread = threading.Thread(target=self._run, name="leadership-audit", daemon=True)
        if not _exiting:
            try:
                thread.start()
            except RuntimeError:  # the interpreter is exiting, or the system has no thread left: write it here
                pass
            else:
                return
        self._stopping = True
        self._run()

    def _forked(self) -> None:
        """
        In a forked child: what waits is the parent's to write, and the descriptor is its own.
        """
        self._file.forget()
        self._reset()

    # -- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            outcomes: list[tuple[Acknowledge | None, BaseException | None]] = []
            for entry, acknowledge in self._batch():
                if isinstance(entry, Subject):
                    self._lines.declare(entry)
                else:
                    outcomes.append((acknowledge, self._attempt(entry)))
            unsynced = self._sync_if_due(len(outcomes))
            for acknowledge, error in outcomes:
                if acknowledge is not None:
                    _tell(acknowledge, error or unsynced)
            if outcomes or unsynced:
                self._say(next((error for _, error in outcomes if error), unsynced))
            if self._stopping and self._queue.empty() and self._finish():
                return

    def _batch(self) -> list[_Item]:
        """
        Wait for something to write; empty when a sync is due before anything comes.
        """
        wait = None if self._due is None else max(0.0, self._due - time.monotonic())
        items: list[_Item | None] = []
        with suppress(queue.Empty):
            items.append(self._queue.get(timeout=wait))
            while len(items) < _BATCH:
                items.append(self._queue.get_nowait())
        return [item for item in items if item is not None]

    def _attempt(self, item: Transition | View) -> BaseException | None:
        try:
            self._lines.write(item)
        except Exception as error:  # noqa: BLE001 - whatever it was, the records that follow must not suffer
            self.failures += isinstance(item, Transition)  # views are no records, and a gap counts them apart
            return error
        return None

    def _sync_if_due(self, written: int) -> BaseException | None:
        if self.durability == "os":
            return None
        if written and self._due is None:
            self._due = time.monotonic() + (GROUP_SECONDS if self.durability == "group" else 0.0)
        if self._due is None or time.monotonic() < self._due:
            return None
        self._due = None
        try:
            self._file.sync()
        except OSError as error:
            self.failures += max(written, 1)
            return error
        return None

    def _finish(self) -> bool:
        """
        Close the file, and end the thread unless something has come meanwhile.
        """
        for step in (self._lines.finish, self._file.close):
            try:
                step()
            except Exception as error:  # noqa: BLE001 - the thread must end in order
                self._say(error)
        self._due = None
        with self._lock:
            if not self._queue.empty():
                return False
            self._thread, self._stopping = None, False
            return True

    def _say(self, error: BaseException | None) -> None:
        """
        Log that writing has failed, or succeeds again; once each time.
        """
        if error is not None and not self._broken:
            keys = {"path": self.path, "error": f"{type(error).__name__}: {error}", "required": self.required}
            unforeseen = None if isinstance(error, OSError) else error
            log_event(logging.ERROR, "leadership.audit_failed", exc_info=unforeseen, **keys)
        elif error is None and self._broken:
            log_event(logging.WARNING, "leadership.audit_resumed", path=self.path, failures=self.failures)
        self._broken = error is not None


def _tell(acknowledge: Acknowledge, error: BaseException | None) -> None:
    try:
        acknowledge(error)
    except BaseException:  # noqa: BLE001 - the caller's; the records that follow must not suffer
        log_event(logging.ERROR, "leadership.audit_acknowledge_failed", exc_info=sys.exc_info())


def _check_rotate_bytes(value: object) -> None:
    if value is None or (type(value) is int and value >= LEAST_ROTATE_BYTES):
        return
    msg = f"rotate_bytes must be None or a whole number from {LEAST_ROTATE_BYTES} upwards, not {value!r}"
    raise ConfigError(msg)


def _check_path(path: object) -> str:
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        msg = f"the audit's path must be text or a path, not {path!r}"
        raise ConfigError(msg)
    text: str = os.fspath(path)
    if not text or "\0" in text:
        msg = f"the audit's path {text!r} names no file"
        raise ConfigError(msg)
    real = os.path.realpath(text)
    folder = os.path.dirname(real)
    mode = stat.S_IFREG  # where there is nothing yet
    with suppress(OSError):
        mode = os.stat(real).st_mode  # looked at once: another process may rotate the file between two looks
    if stat.S_ISDIR(mode):
        msg = f"the audit's path {text!r} is a directory: name a file in it"
    elif not stat.S_ISREG(mode):
        msg = f"the audit's path {text!r} is not a regular file; for a stream, use the structured log"
    elif not os.path.isdir(folder):
        msg = f"the folder {folder!r} of the audit {text!r} does not exist: make it first"
    else:
        _check_file(text, real)
        return real
    raise ConfigError(msg)


def _check_file(text: str, real: str) -> None:
    """
    Refuse what cannot be written, and what begins otherwise than an audit: nothing is appended to another's file.
    """
    forbidden = f"the audit {text!r} cannot be written by this user: choose another path, or change its permissions"
    try:
        # Opened as its lines will be: a file may be one that can be appended to only.
        with open(os.open(real, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC), "rb") as file:
            head = file.read(_HEAD).lstrip()
    except FileNotFoundError:
        if not os.access(os.path.dirname(real), os.W_OK | os.X_OK):
            raise ConfigError(forbidden) from None
        return
    except OSError as error:
        msg = f"the audit {text!r} cannot be looked at: {error.strerror}: name another file"
        is_forbidden = isinstance(error, PermissionError) or error.errno == errno.EROFS
        raise ConfigError(forbidden if is_forbidden else msg) from error
    first = head.partition(b"\n")[0].strip()
    if not is_beginning(first):
        msg = f"{text!r} is not an audit: it begins with {first[:40]!r}; name another file, or move it away"
        raise ConfigError(msg)


_living: Final[weakref.WeakSet[AuditLog]] = weakref.WeakSet()
_exiting = False


def _close_all() -> None:
    """
    At the interpreter's exit. Registered when this module is imported, hence called after the engine has stopped.
    """
    global _exiting  # noqa: PLW0603 - an exit happens once
    _exiting = True
    for audit in list(_living):
        audit.close()


def _forked_all() -> None:
    for audit in list(_living):
        audit._forked()  # noqa: SLF001 - of this module


atexit.register(_close_all)
os.register_at_fork(after_in_child=_forked_all)

"""
An audit's file: opened, locked, chained, rotated.

Rule 1: a line is one `os.write` on a descriptor in append mode, so that lines of several processes never mix.
Rule 2: before a line is written, the file is looked at by its name. If it was moved or removed (by another process
that rotates it, by logrotate, by an operator), another one is begun: nothing is written into a file without a name.
Rule 3: what depends on the line before (the chain) or moves the file (rotation) is done under a lock on the file
itself. Nothing waits for it longer than `PATIENCE`: a process that was stopped with the lock must not stop the others.
Rule 4: a line is never appended to half a line. Half lines come from a full disk and from loss of power.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import stat
import time
from typing import Any, Final

from leadership.observers.log import log_event

PATIENCE: Final = 1.0
"""
Seconds to wait for the lock that another process holds.
"""

_TRIES: Final = 100

_datasync: Final = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


def siblings(path: str) -> list[tuple[int, str]]:
    """
    The rotated files of an audit, by number: `audit.jsonl.1`, `audit.jsonl.2.gz`.
    """
    folder, name = os.path.split(path)
    pattern = re.compile(re.escape(name) + r"\.([1-9][0-9]*)(\.gz)?", re.ASCII)
    found = ((pattern.fullmatch(entry), entry) for entry in os.listdir(folder or "."))
    return sorted((int(match[1]), os.path.join(folder, entry)) for match, entry in found if match)


class AuditFile:
    """
    Appends lines. Not thread-safe. Every method may raise OSError; the next call tries again from where it was.
    """

    def __init__(self, path: str, *, rotate_bytes: int | None, chain: bool, durable: bool) -> None:
        self.path: Final = path
        self.taken: int = 0
        """Counts the files that were begun or found; a change of it says that this is another file than before."""
        self.begins: dict[str, Any] = {}
        """What the first line of an empty file has to say: its number, and the file before it. Else empty."""
        self._chain = chain
        self._durable = durable
        self._rotate_bytes = rotate_bytes
        self._rotate_at = rotate_bytes
        self._locks = chain or rotate_bytes is not None
        self._patience = PATIENCE
        self._fd: int | None = None
        self._inode = (0, 0)
        self._end: int | None = None
        """The size after the last line that we know of; None: look at it anew."""
        self._torn = False
        self._hash: str | None = None

    def take(self) -> None:
        """
        Make the file ready for lines: open it, lock it, rotate it when it is full. Always followed by `give`.
        """
        for _ in range(_TRIES):
            fd = self._open() if self._fd is None else self._fd
            if self._locks:
                self._lock(fd)
            size = self._size()
            if size is None:
                self.close()
            elif self._rotate_at is None or size < self._rotate_at or not self._rotate(fd, size):
                break
        else:
            raise OSError(errno.ESTALE, "the file is another one at each look", self.path)
        if self._end is not None and size < self._end:  # somebody has cut it
            self.taken += 1
            self._end = None
        if self._end is None or (self._locks and size != self._end):
            self._look(fd, size)
        self._end = size

    def give(self) -> None:
        """
        Let others have the file.
        """
        if self._locks and self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def line(self, members: str) -> None:
        """
        Append one line: an object with these members, as JSON. Between `take` and `give` only.
        """
        assert self._fd is not None and self._end is not None  # noqa: S101, PT018 - `take` has seen to it
        if self._chain:
            members += ',"prev":null' if self._hash is None else f',"prev":"{self._hash}"'
        data = f"{{{members}}}".encode()
        whole = b"\n" + data + b"\n" if self._torn else data + b"\n"
        written = os.write(self._fd, whole)
        missing = len(whole) - written
        self._torn = missing > 0
        if missing > 1:  # a line without its newline is whole, and the next one brings it
            self._end = None
            raise OSError(errno.ENOSPC, "only a part of the line could be written", self.path)
        self._end += written
        self.begins = {}
        if self._chain:
            self._hash = hashlib.sha256(data).hexdigest()

    def sync(self) -> None:
        """
        Have the disk keep what was written.
        """
        if self._fd is not None:
            _datasync(self._fd)

    def close(self) -> None:
        """
        Have the disk keep what was written, and close the file. The next `take` opens it again.
        """
        fd, self._fd = self._fd, None
        if fd is not None:
            try:
                os.fsync(fd)
            finally:
                os.close(fd)  # gives up the lock, too

    def forget(self) -> None:
        """
        In a forked child: close the parent's descriptor. A lock that the parent holds stays the parent's.
        """
        fd, self._fd = self._fd, None
        if fd is not None:
            with contextlib.suppress(OSError):
                os.close(fd)

    def _open(self) -> int:
        fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "is not a regular file", self.path)
            if self._durable and status.st_size == 0:
                _sync_folder(self.path)
        except OSError:
            os.close(fd)
            raise
        self._fd, self._inode, self._end = fd, (status.st_dev, status.st_ino), None
        self.taken += 1
        return fd

    def _lock(self, fd: int) -> None:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    self._patience = 0.0  # wait once only: the next records must not queue up behind it
                    msg = f"another process has held the file's lock for over {PATIENCE:g} s"
                    raise OSError(errno.EWOULDBLOCK, msg, self.path) from None
                time.sleep(0.001)
            else:
                self._patience = PATIENCE
                return

    def _size(self) -> int | None:
        """
        The file's size; None if it is no longer the one that has the name.
        """
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return None
        return status.st_size if (status.st_dev, status.st_ino) == self._inode else None

    def _look(self, fd: int, size: int) -> None:
        """
        Learn what a new line follows.
        """
        if size == 0:
            self._torn = False
            self.begins, self._hash = self._beginning()
            return
        self._torn = os.pread(fd, 1, size - 1) != b"\n"
        self.begins = {}
        if self._chain:
            self._hash = hashlib.sha256(_last_line(fd, size)).hexdigest()

    def _beginning(self) -> tuple[dict[str, Any], str | None]:
        before = siblings(self.path)
        if not before:
            return {"file": 1, "previous": None}, None
        number, path = before[-1]
        digest = None
        # One that is compressed, or was taken from us, is named without its hash: `null` in the file says so.
        with contextlib.suppress(OSError):
            if not path.endswith(".gz"):
                with open(path, "rb") as file:
                    digest = hashlib.sha256(_last_line(file.fileno(), os.fstat(file.fileno()).st_size)).hexdigest()
        return {"file": number + 1, "previous": {"name": os.path.basename(path), "sha256": digest}}, digest

    def _rotate(self, fd: int, size: int) -> bool:
        """
        Give the full file a number. Where that cannot be, say so and let it grow by as much again.
        """
        assert self._rotate_bytes is not None  # noqa: S101 - the caller has looked
        try:
            # The file's own number goes on where rotated files were moved to an archive.
            number = max([_own_number(fd), *(number + 1 for number, _ in siblings(self.path))])
            os.rename(self.path, f"{self.path}.{number}")
        except OSError as error:
            self._rotate_at = size + self._rotate_bytes
            log_event(logging.ERROR, "leadership.audit_rotation_failed", path=self.path, error=str(error))
            return False
        self._rotate_at = self._rotate_bytes
        self.close()
        return True


def _last_line(fd: int, size: int) -> bytes:
    """
    The last line that is not blank, torn or not, without its newline.
    """
    wanted = 4096
    while True:
        start = max(0, size - wanted)
        first, *lines = os.pread(fd, size - start, start).split(b"\n")
        last = next((line for line in reversed(lines) if line.strip()), None)
        if last is not None or start == 0:
            return first if last is None else last
        wanted *= 8


def _own_number(fd: int) -> int:
    try:
        number: Any = json.loads(os.pread(fd, 65536, 0).partition(b"\n")[0])["file"]
    except (ValueError, LookupError, TypeError):  # no header of ours
        return 1
    return number if isinstance(number, int) and number > 0 else 1


def _sync_folder(path: str) -> None:
    """
    Have the disk keep the file's name.
    """
    fd = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

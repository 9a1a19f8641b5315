"""
What the kernel knows: where a process is, and whether the holder of a session still lives.

Law 1: a death is proved in one way only: a shared `flock` is granted on the very file (device and inode as recorded)
on which the holder took an exclusive one, in the same boot. The kernel drops the holder's lock when the last process
that has it open is dead, so a process that inherited it (a guard, say) keeps the holder alive in the eyes of others.
Law 2: the lock is never given back by an unlock, which would take it from every process that shares it, only by
closing. A forked child closes it: it is not the holder.
Law 3: a missing or replaced file proves nothing; the TTL does.

It is `flock` because `fcntl` locks vanish when the process closes any descriptor of the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from dataclasses import dataclass

from leadership import _clock
from leadership.backends._sqlite_fork import close_in_child, forget

SUFFIX = ".lock"


@dataclass(frozen=True, slots=True)
class Place:
    """
    From where a process sees clocks and processes.
    """

    boot: str
    """Empty where the system does not tell: then no deadline of another process is comparable, and no death proved."""
    time_namespace: str
    pid_namespace: str


def here() -> Place:
    """
    The place of this process.
    """
    return Place(_clock.boot(), _clock.namespace("time"), _clock.namespace("pid"))


def identity(status: os.stat_result) -> str:
    """
    What tells a file from another that has taken its name.
    """
    return f"{status.st_dev}:{status.st_ino}"


class LivenessLock:
    """
    An exclusive lock on a file of its own, held until it is closed or the process is dead.

    Raises:
        OSError: The file cannot be made or locked.
    """

    def __init__(self, folder: str) -> None:
        os.makedirs(folder, exist_ok=True)
        while True:
            self.session = uuid.uuid4().hex
            self._path = lock_path(folder, self.session)
            self.fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            if self._take():
                break
            os.close(self.fd)  # one that sweeps the folder took it for a dead process's
        close_in_child(self)

    def _take(self) -> bool:
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.identity = identity(os.fstat(self.fd))
            return identity(os.stat(self._path)) == self.identity
        except (BlockingIOError, FileNotFoundError):
            return False

    def close(self) -> None:
        """
        Close the file; the lock goes when nobody else has it open. Idempotent.
        """
        fd, self.fd = self.fd, -1
        if fd >= 0:
            forget(self)
            os.close(fd)


def lock_path(folder: str, session: str) -> str:
    """
    Where a session's lock is.
    """
    return os.path.join(folder, session + SUFFIX)


def is_free(folder: str, session: str, recorded: str | None = None) -> bool:
    """
    Nobody has the session's lock: all who had it are dead. Where `recorded` is given, it must be that very file.
    """
    try:
        fd = os.open(lock_path(folder, session), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        if recorded is not None and identity(os.fstat(fd)) != recorded:
            return False
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared, so that two who look do not hinder each other
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def remove(path: str) -> None:
    """
    Remove a file to which nothing refers any more. One that cannot be removed is swept later.
    """
    with contextlib.suppress(OSError):
        os.unlink(path)

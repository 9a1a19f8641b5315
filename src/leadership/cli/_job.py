"""
One run of CMD under a guard, as `leadership run` sees it: started, told of deadlines, ended.

`_guard.py` says what is promised of it, and what goes over the two pipes.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from leadership import _clock
from leadership.cli import _guard

NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127


def shell_status(wait_status: int) -> int:
    """
    A wait status as a shell would say it: the exit status, or 128 + n for signal n.
    """
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code


@dataclass(frozen=True, slots=True)
class End:
    """
    How a run of CMD ended; nothing of it is left.
    """

    why: str
    """
    `itself`, `told` (its term was over), `overdue` (the lease was nearly over), `never` (as before, and CMD had not
    begun), `refused` (it could not be executed), `lost` (the guard was killed, and CMD with it).
    """
    status: int
    """As a shell would say it."""
    error: str = ""
    """Of a CMD that could not be executed."""


class Job:
    """
    One run of CMD. `tell`, `end`, `signal` and `poke` may be called by any thread and by signal handlers.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        deadline: float,
        notice: float,
        grace: float,
        held: Sequence[int] = (),
    ) -> None:
        """
        Args:
            command: CMD and its arguments.
            env: Its environment.
            deadline: When it must be dead unless a later deadline is told, in seconds on the clock of deadlines.
            notice: Seconds before the deadline at which it is told to end if no later one has come.
            grace: Seconds for what it leaves behind when it ends by itself.
            held: Descriptors that the guard inherits and keeps open until the last process of CMD is dead.

        Raises:
            OSError: The guard cannot be started.
        """
        self.deadline = deadline
        """The last that the guard was told."""
        self.asked = 0.0
        """When it was asked to end; 0.0 before."""
        self.pid: int | None = None
        self._pending = b""
        self._end: End | None = None
        # Re-entrant: a signal handler may interrupt a write of its own thread.
        self._lock = threading.RLock()
        control, self._control = os.pipe()
        self._status, status = os.pipe()
        self._poked, self._poke = os.pipe()
        for descriptor in (self._control, self._status, self._poke):
            os.set_blocking(descriptor, False)
        self._open = True
        try:
            inherited = (control, status, *held)
            arguments = [",".join(map(str, inherited)), str(deadline), str(notice), str(grace), *command]
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", _guard.__file__, *arguments],
                env=dict(env),
                pass_fds=inherited,
                start_new_session=True,
            )
        except BaseException:
            self._close()
            raise
        finally:
            os.close(control)
            os.close(status)

    def tell(self, deadline: float) -> None:
        """
        The deadline is now this one.
        """
        self.deadline = deadline
        self._write(f"D {deadline}")

    def end(self, kill_at: float) -> None:
        """
        SIGTERM to its group at once, SIGKILL at `kill_at` or at the deadline; no SIGTERM when `kill_at` is past.
        """
        self.asked = _clock.now()
        self._write(f"E {kill_at}")

    def signal(self, signum: int) -> None:
        """
        Pass a signal on to its group.
        """
        self._write(f"S {signum}")

    def poke(self) -> None:
        """
        Let a `wait` return before its time.
        """
        with self._lock:
            if self._open:
                os.write(self._poke, b".")

    def wait(self, timeout: float) -> End | None:
        """
        How it ended; None when the time (seconds) was up first. One thread only.
        """
        poll = select.poll()
        poll.register(self._status, select.POLLIN)
        poll.register(self._poked, select.POLLIN)
        for descriptor, _ in poll.poll(max(0.0, timeout) * 1000):
            if descriptor == self._poked:
                os.read(self._poked, 64)
            else:
                return self._hear()
        return None

    def destroy(self, why: str) -> End:
        """
        Kill the guard, and all that it guarded. One thread only, and nothing else may have children in this process.

        Args:
            why: The `why` of the end that is returned.
        """
        self._guard.kill()  # the kernel kills CMD then, and all of its descendants become ours
        with self._lock:
            group = self.pid
        while self._remains(group):
            select.select([], [], [], _guard.KILL_AGAIN)
        return self._ended(End(why, 128 + signal.SIGKILL))

    def _remains(self, group: int | None) -> bool:
        if group is not None and not _guard.LINUX:
            _guard.send(signal.SIGKILL, group, group=True)
        for pid, _ in _guard.descendants(os.getpid()):
            _guard.send(signal.SIGKILL, pid)
        reap()
        return bool(_guard.descendants(os.getpid()))

    def _hear(self) -> End | None:
        data = os.read(self._status, 4096)
        if not data:  # the guard ended without a last word
            return self.destroy("lost")
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            kind, *values = line.decode().split()
            if kind == "P":
                self.pid = int(values[0])
            elif kind == "F":
                number = int(values[0])
                status = NOT_FOUND if number == errno.ENOENT else NOT_EXECUTABLE
                self._end = End("refused", status, os.strerror(number))
            elif kind == "X":
                why = "told" if values[1] == "orphaned" else values[1]
                return self._ended(self._end or End(why, shell_status(int(values[0]))))
        return None

    def _ended(self, end: End) -> End:
        self._guard.wait()  # it still holds what it inherited
        with self._lock:
            self._close()
        return end

    def _close(self) -> None:
        self._open = False
        for descriptor in (self._control, self._status, self._poked, self._poke):
            os.close(descriptor)

    def _write(self, line: str) -> None:
        with self._lock:
            if not self._open:
                return
            try:
                os.write(self._control, f"{line}\n".encode())
            except BrokenPipeError:
                return  # the guard is gone: its status pipe says so
            except BlockingIOError:
                return  # it does not read: whoever waits sees that it does not obey either


def reap() -> None:
    """
    Take note of every child that has ended: orphans become ours when we are PID 1 or adopt them.
    """
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return


def adopt_orphans() -> None:
    """
    Become the parent of descendants that lose theirs (Linux), so that none is lost sight of when a guard is killed.
    """
    _guard.control_process(_guard.PR_SET_CHILD_SUBREAPER, 1)

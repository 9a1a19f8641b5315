"""
A process that outlives this one by a moment, to end the servers that it left behind, however it died, and to take
away what it has mounted.

The kernel's own signal at a parent's death (PR_SET_PDEATHSIG) comes at the end of the *thread* that made the child.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final

SCRIPT: Final = """
import os, signal, sys
left = set()
for line in sys.stdin:
    (left.add if line[0] == "+" else left.discard)(line[2:-1])
for each in sorted(left):
    try:
        if each.isdigit():
            os.kill(int(each), signal.SIGKILL)
        else:
            os.spawnlp(os.P_WAIT, "umount", "umount", "--lazy", each)
    except OSError:
        pass
"""


SOON: Final = 10.0
"""Seconds for the end of what a process of a pool has started."""


class Guard:
    """
    The guard of one process: it is told of each server and each mount, and ends those that are left when its standard
    input ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def add(self, what: int | Path) -> None:
        """
        A server has started, or something is mounted at an absolute path.
        """
        self._tell(f"+ {what}\n")

    def discard(self, what: int | Path) -> None:
        """
        It has ended.
        """
        self._tell(f"- {what}\n")

    def _tell(self, line: str) -> None:
        with self._lock:
            if self._process is None or self._owner != os.getpid():  # a fork has a guard of its own
                self._owner = os.getpid()
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", SCRIPT],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    cwd="/",
                )
            if self._process.stdin is None:  # pragma: no cover
                msg = "the guard has no standard input"
                raise RuntimeError(msg)
            os.write(self._process.stdin.fileno(), line.encode())

    def close(self) -> None:
        """
        End what is left, and the guard.
        """
        with self._lock:
            process, self._process = self._process, None
            if process is not None and self._owner == os.getpid() and process.stdin is not None:
                process.stdin.close()
                process.wait()


GUARD: Final = Guard()
atexit.register(GUARD.close)


def end_with_parent() -> None:
    """
    Have this process, one of a pool, end with all that it has started when it is told to, or when its parent is gone.
    """
    parent = multiprocessing.parent_process()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGINT may be ignored: in a background of a shell, say

    def watch() -> None:
        if parent is not None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(SOON)
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

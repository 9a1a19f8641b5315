"""
A process with contenders that are commands: `consul lock` or `etcdctl elect`, a process each.

It takes the commands of `worker.py`, and tells the same: `elected` is the moment at which the command's child, or the
command itself, has said so, `resigned` the one before that child or command is told to end. What it has started ends
with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from typing import Any
from urllib.parse import urlsplit

from servers._where import program

from benchmarks.contenders import Contender, contend

CHILD = "echo elected; exec cat >/dev/null"


class CommandContender(Contender):
    """
    Runs the command anew for each time that it stands.
    """

    def __init__(
        self,
        election: str,
        command: list[str],
        running: set[subprocess.Popen[bytes]],
        environment: dict[str, str] | None = None,
    ) -> None:
        super().__init__(election)
        self._command = command
        self._running = running
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None

    def campaign(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            env={**os.environ, **self._environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._running.add(self._process)
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        if not self._process.stdout.readline():
            msg = f"{' '.join(self._command)} ended with {self._process.wait()}"
            raise RuntimeError(msg)

    def resign(self) -> None:
        process = self._process
        assert process is not None  # noqa: S101 - it leads
        assert process.stdin is not None  # noqa: S101 - they are pipes
        assert process.stdout is not None  # noqa: S101
        process.stdin.close()
        if self._environment:
            process.send_signal(signal.SIGINT)
        process.stdout.read()
        process.stdout.close()
        process.wait()
        self._running.discard(process)


def main() -> None:
    address = urlsplit(sys.argv[1])
    running: set[subprocess.Popen[bytes]] = set()

    def stand(election: str, _ttl: float) -> Contender:
        if address.scheme == "etcd":
            command = [program("etcdctl"), f"--endpoints={address.netloc}", "elect", election, "peer"]
            return CommandContender(election, command, running, {"ETCDCTL_API": "3"})
        command = [program("consul"), "lock", f"-http-addr=http://{address.netloc}", "-pass-stdin", election, CHILD]
        return CommandContender(election, command, running)

    def end() -> None:
        threading.excepthook = lambda _: None  # those who stand see their commands end
        for process in list(running):
            _kill(process)

    contend(stand, end)


def _kill(process: subprocess.Popen[Any]) -> None:
    """
    The whole session of a command, its child included.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    main()

"""
The conductor's side of the processes: each contender with its own way to the servers, and the resource.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Final

from servers import Proxy
from servers._guard import GUARD
from servers._process import state, until

from court.clock import now
from court.clocks import Clocks

TOOLS: Final = Path(__file__).parents[1]
PATIENCE: Final = 30.0
"""Seconds for what takes a fraction of one on an idle machine."""


OWN_NAMES: Final = ("unshare", "--mount", "sh", "-c", 'mount --bind "$1" /etc/hosts && shift && exec "$@"', "sh")
"""Runs a command, the second argument, where another file, the first one, stands for /etc/hosts; needs root."""


def python(
    module: str,
    *arguments: str,
    log: Path,
    within: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """
    A module of these tools in a process of its own, on another host or with other names of hosts where a command for
    that is given.
    """
    with open(log, "ab") as errors:
        process = subprocess.Popen(
            [*within, sys.executable, "-W", "ignore", "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **(environment or {}), "PYTHONPATH": str(TOOLS)},
            start_new_session=True,  # Ctrl-C is the conductor's
        )
    GUARD.add(process.pid)  # one that stands still would not notice the conductor's end
    return process


def end(process: subprocess.Popen[str]) -> None:
    """
    Kill a process, and close what is left of it.
    """
    process.kill()
    process.wait()
    GUARD.discard(process.pid)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


class Actor:
    """
    The process of one contender, or of a follower, with a way to the servers of its own: proxies, or those of the host
    that it runs on.

    A follower believes while it knows who leads, and `token` is that leader's.
    """

    def __init__(
        self,
        told: Mapping[str, Any],
        proxies: Sequence[Proxy],
        log: Path,
        *,
        module: str = "court.worker",
        within: Sequence[str] = (),
        clocks: Clocks | None = None,
    ) -> None:
        self.node = str(told["role"]["node"])
        self.url = str(told["role"]["url"])
        self.clocks = clocks
        self.proxies = proxies
        self.believes = False
        self.token: int | None = None
        self.believes_since = 0.0
        self.paused = False
        environment = None if clocks is None else clocks.environment
        self.process = python(module, json.dumps(told), log=log, within=within, environment=environment)
        self._log = log
        self._answers: Queue[dict[str, Any]] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            with contextlib.suppress(json.JSONDecodeError):  # the last line of a killed process
                told = json.loads(line)
                if "answer" in told:
                    self._answers.put(told)
                else:
                    self.token, self.believes_since, self.believes = told["token"], told["at"], told["believes"]
        self.believes = False

    @property
    def name(self) -> str:
        """
        The process, in words.
        """
        return f"{self.node} ({self.process.pid})"

    @property
    def alive(self) -> bool:
        """
        Whether its process is there and runs.
        """
        return self.process.poll() is None and not self.paused

    def send(self, do: str, **facts: Any) -> None:
        """
        Send a command.
        """
        if self.process.stdin is not None:
            self.process.stdin.write(f"{json.dumps({'do': do, **facts})}\n")
            self.process.stdin.flush()

    def answer(self, to: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """
        Wait for the answer to a command.
        """
        end = time.monotonic() + timeout
        while True:
            try:
                told = self._answers.get(timeout=max(0.0, end - time.monotonic()))
            except Empty:
                msg = f"{self.node} did not answer to {to!r} within {timeout:g} s; see {self._log}"
                raise RuntimeError(msg) from None
            if told["answer"] == to:
                return told

    def ask(self, do: str, **facts: Any) -> dict[str, Any]:
        """
        Send a command and wait for its answer.
        """
        self.send(do, **facts)
        return self.answer(do)

    def pause(self) -> float:
        """
        Stop it by SIGSTOP, and return when it stands still; the moment.
        """
        os.kill(self.process.pid, signal.SIGSTOP)
        self.paused = True
        until(lambda: state(self.process.pid) == "T", f"{self.node} stopped", 5.0, 0.001)
        return now()

    def resume(self) -> float:
        """
        Let it go on; the moment before.
        """
        at = now()
        os.kill(self.process.pid, signal.SIGCONT)
        self.paused = False
        return at

    def kill(self) -> float:
        """
        Kill it by SIGKILL; the moment before.
        """
        at = now()
        self.process.kill()
        self.process.wait()
        self.believes = False
        return at

    def close(self) -> None:
        """
        End it, whatever state it is in, and its proxies.
        """
        end(self.process)
        self._reader.join(5.0)
        for proxy in self.proxies:
            proxy.close()


def in_use(pid: int) -> list[int]:
    """
    What the kernel says of a process: threads, descriptors, kilobytes in memory.
    """
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    used = len(os.listdir(f"/proc/{pid}/task")), len(os.listdir(f"/proc/{pid}/fd"))
    return [*used, pages * os.sysconf("SC_PAGE_SIZE") // 1024]


class Resources:
    """
    The process of R and R0.
    """

    def __init__(self, log: Path, address: str) -> None:
        self.address = address
        self._process = python("court.resource", address, log=log)
        self.ports: list[int] = json.loads(self._line())

    def _line(self) -> str:
        line = "" if self._process.stdout is None else self._process.stdout.readline()
        if not line:
            msg = "the resource's process has ended"
            raise RuntimeError(msg)
        return line

    def turn(self, folder: Path) -> None:
        """
        Log to the folder of another round.
        """
        if self._process.stdin is not None:
            self._process.stdin.write(f"{folder}\n")
            self._process.stdin.flush()
        self._line()

    def close(self) -> None:
        """
        End it.
        """
        end(self._process)

"""
Examples as a reader runs them: the commands of their READMEs, in a folder of their own.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from leadership import Follower, connect
from leadership._clock import now

EXAMPLES = Path(__file__).parent.parent / "examples"
SOON = 40.0
"""Seconds for what takes one or two on an idle machine."""


def wait_for(condition: Callable[[], object], what: str) -> None:
    """
    Wait until something holds.
    """
    give_up = now() + SOON
    while not condition():
        assert now() < give_up, f"waited {SOON:g} s in vain until {what}"
        time.sleep(0.01)


def free_port() -> int:
    """
    A port that nobody listens on.
    """
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def get(port: int, path: str = "/") -> str:
    """
    What a server answers; empty when it does not, or with an error.
    """
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, ConnectionError):
        return ""


class Process:
    """
    One command in the background, in a group of its own, and what it has printed.
    """

    def __init__(self, command: str, folder: Path) -> None:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
        }
        environment.pop("LEADERSHIP_STORE", None)
        self.printed = ""
        self.popen = subprocess.Popen(
            ["bash", "-c", command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        with self.popen.stdout as stream:
            for line in stream:
                self.printed += line

    def wait_printed(self, pattern: str) -> re.Match[str]:
        """
        Wait until it has printed something.
        """
        found: list[re.Match[str]] = []

        def look() -> bool:
            match = re.search(pattern, self.printed)
            if match is not None:
                found.append(match)
            return bool(found)

        try:
            wait_for(look, f"it prints {pattern!r}")
        except AssertionError as error:
            msg = f"{error}; it printed:\n{self.printed}"
            raise AssertionError(msg) from None
        return found[0]

    def end(self) -> None:
        """
        Leave nothing behind of it.
        """
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        self._reader.join(SOON)


class Example:
    """
    A copy of an example's folder, and what runs in it.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder / name
        shutil.copytree(EXAMPLES / name, self.folder, ignore=shutil.ignore_patterns("__pycache__"))
        self.readme = (self.folder / "README.md").read_text(encoding="utf-8")
        self.processes: list[Process] = []

    def command(self, part: str) -> str:
        """
        The line of the README's shell commands that has this part.
        """
        blocks = re.findall(r"^```sh\n(.*?)^```", self.readme, re.MULTILINE | re.DOTALL)
        (line,) = [line for block in blocks for line in block.splitlines() if part in line]
        return str(line)

    def start(self, command: str) -> Process:
        """
        Run a command in the background.
        """
        self.processes.append(Process(command, self.folder))
        return self.processes[-1]

    def leader(self, election: str, store: str = "election.db") -> tuple[str, int]:
        """
        Who leads, by the library's own follower: node and token.
        """
        with connect(f"sqlite:///{self.folder / store}") as opened, Follower(opened, election, log=False) as follower:
            leader = follower.wait_leader(SOON)
        assert leader is not None
        return leader.node, leader.token

    def end(self) -> None:
        """
        Leave nothing behind.
        """
        for process in self.processes:
            process.end()


def pid_of(node: str) -> int:
    """
    The process behind a default node name.
    """
    return int(node.rpartition(":")[2])

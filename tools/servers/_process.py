"""
A server of a test in a process of its own: started, hurt, restarted, and gone when the test's process is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Protocol, Self

from servers._guard import GUARD
from servers._net import LOOPBACK, clients, free_ports, listens
from servers.network import Host

SOON: Final = 30.0
"""Seconds for a start that takes a fraction of it on an idle machine."""
ATTEMPTS: Final = 5


class ServerFailed(Exception):
    """
    A server did not start or did not answer, with the end of its log.
    """


class PortTaken(ServerFailed):
    """
    Another process was quicker to listen at a port.
    """


def until(true: Callable[[], bool], what: str, seconds: float = SOON, step: float = 0.02) -> None:
    """
    Wait until a condition holds.
    """
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            msg = f"not within {seconds:g} s: {what}"
            raise ServerFailed(msg)
        time.sleep(step)


class Shown(Protocol):
    """
    Clocks that a process is shown.
    """

    environment: Mapping[str, str]

    def step_wall(self, seconds: float) -> None:
        """
        Set the wall clock ahead of the truth, or behind it.
        """


class Server(ABC):
    """
    A server at free ports of the loopback interface, or of a host of a network, which it keeps; its data and its log
    are in a folder.

    It is a context manager: started at the beginning, ended and reaped at the end. Ctrl-C does not reach it.
    """

    SCHEME: ClassVar[str]
    PORTS: ClassVar[tuple[str, ...]]
    """The names of its ports."""
    TAKEN: ClassVar[tuple[str, ...]] = ("address already in use",)
    """What its log says when a port is another's."""

    def __init__(self, folder: str | os.PathLike[str], *, name: str) -> None:
        self.name = name
        self.folder = Path(folder).absolute()
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.ports: Mapping[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._logged = 0
        self.frozen = False
        self.address = LOOPBACK
        self.within: tuple[str, ...] = ()
        self.clocks: Shown | None = None
        """What it is shown instead of the machine's clocks, from its next start on."""
        self.take_ports()

    # -- what each server tells -------------------------------------------------------------------------------

    @property
    @abstractmethod
    def port(self) -> int:
        """
        The port that clients connect to.
        """

    @abstractmethod
    def command(self) -> list[str]:
        """
        The command that runs it, after its configuration was written.
        """

    @abstractmethod
    def answers(self) -> bool:
        """
        Whether this server, and no other at its port, has just done a linearizable write.
        """

    @abstractmethod
    def requests(self) -> int:
        """
        How many requests of clients it has taken in since its start, by its own count; the count itself excluded.
        """

    @abstractmethod
    def keys(self, prefix: str = "") -> list[str]:
        """
        The names of all that is stored below a prefix.
        """

    @abstractmethod
    def sessions(self) -> list[str]:
        """
        The sessions, or leases, that stand.
        """

    @abstractmethod
    def put(self, key: str, value: str | bytes) -> None:
        """
        Write a key, as an operator would.
        """

    @abstractmethod
    def get(self, key: str) -> bytes | None:
        """
        The value of a key, or None where there is no such key.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """
        Remove a key, as an operator would.
        """

    @abstractmethod
    def delete_all(self, prefix: str) -> None:
        """
        Remove all keys below a prefix.
        """

    @abstractmethod
    def leads(self) -> bool:
        """
        Whether it leads its cluster.
        """

    # -- where it is ------------------------------------------------------------------------------------------

    @property
    def host(self) -> str:
        """
        The address that clients connect to: `127.0.0.1:port`.
        """
        return f"{self.address}:{self.port}"

    @property
    def url(self) -> str:
        """
        What `leadership.connect` is given: `etcd://127.0.0.1:port`.
        """
        return f"{self.SCHEME}://{self.host}"

    @property
    def pid(self) -> int:
        """
        The process that runs now.
        """
        return self._alive().pid

    @property
    def running(self) -> bool:
        """
        Whether its process is there; frozen counts.
        """
        return self._process is not None and self._process.poll() is None

    def connections(self) -> list[str]:
        """
        The clients that are connected now.
        """
        return clients(self.port, self.pid)

    def move(self, host: Host) -> None:
        """
        Run on a host of a network, from the next start on.
        """
        self.address, self.within = host.address, host.within

    def take_ports(self) -> None:
        """
        Take new ports, before the first start.
        """
        self.ports = dict(zip(self.PORTS, free_ports(len(self.PORTS)), strict=True))

    # -- started and ended ------------------------------------------------------------------------------------

    def start(self) -> Self:
        """
        Start it, and return when it answers.
        """
        new = not self.data.exists()
        for attempt in range(1, ATTEMPTS + 1):
            self.launch()
            try:
                self.wait()
            except PortTaken:
                if attempt == ATTEMPTS:
                    raise
                if new:
                    self.wipe()
                    self.take_ports()
                else:
                    time.sleep(1.0)
            except ServerFailed:
                self.kill()
                raise
            else:
                break
        return self

    def launch(self) -> None:
        """
        Start its process, and do not wait: a member alone has no quorum and will not answer.
        """
        if self.running:
            msg = f"{self.name} runs already"
            raise RuntimeError(msg)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data.mkdir(mode=0o700, exist_ok=True)
        command = self.command()
        self._logged = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                [*self.within, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.environment(),
                start_new_session=True,
            )
        GUARD.add(self._process.pid)

    def environment(self) -> dict[str, str]:
        """
        Its environment: nothing of its own name, which would change its settings.
        """
        taken = ("ETCD", "CONSUL", "ZOO", "JAVA", "JVM", "JDK_JAVA")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(taken)}
        return kept if self.clocks is None else {**kept, **self.clocks.environment}

    def wait(self, seconds: float = SOON) -> None:
        """
        Wait until it answers.
        """
        end = time.monotonic() + seconds
        while True:
            process = self._process
            if process is None or not self.running:
                said = self.said()
                self._reap()
                kind = PortTaken if any(words in said.lower() for words in self.TAKEN) else ServerFailed
                msg = f"{self.name} ended at its start:\n{said[-3000:]}"
                raise kind(msg)
            with contextlib.suppress(OSError, ValueError, LookupError):
                if listens(self.port, process.pid) and self.answers():
                    return
            if time.monotonic() > end:
                msg = f"{self.name} did not answer within {seconds:g} s:\n{self.said()[-3000:]}"
                raise ServerFailed(msg)
            time.sleep(0.03)

    def said(self) -> str:
        """
        What its log says since the last start.
        """
        with open(self.log, "rb") as log:
            log.seek(self._logged)
            return log.read().decode(errors="replace")

    def terminate(self, seconds: float = 10.0) -> None:
        """
        End it gently, and by force where it does not mind.
        """
        process = self._process
        if process is not None:  # the signals are for nobody, and no error, once it has ended
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
        self._reap()

    stop = terminate

    def kill(self) -> None:
        """
        End it by SIGKILL.
        """
        if self._process is not None:
            self._process.kill()
        self._reap()

    def restart(self, *, wipe: bool = False) -> None:
        """
        End it gently and start it again at the same ports, with its data or without.
        """
        self.terminate()
        if wipe:
            self.wipe()
        self.start()

    def wipe(self) -> None:
        """
        Remove its data while it does not run.
        """
        if self.running:
            msg = f"{self.name} runs: its data cannot be removed"
            raise RuntimeError(msg)
        shutil.rmtree(self.data, ignore_errors=True)

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    # -- hurt -------------------------------------------------------------------------------------------------

    def freeze(self) -> None:
        """
        Stop it by SIGSTOP: its connections stay open, and nothing is answered.
        """
        process = self._alive()
        process.send_signal(signal.SIGSTOP)
        self.frozen = True
        if os.path.exists("/proc/self/stat"):
            until(lambda: state(process.pid) == "T", f"{self.name} stopped", 5.0, 0.001)

    def thaw(self) -> None:
        """
        Let it go on.
        """
        self._alive().send_signal(signal.SIGCONT)
        self.frozen = False

    def _alive(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            msg = f"{self.name} does not run"
            raise RuntimeError(msg)
        return self._process

    def _reap(self) -> None:
        process, self._process = self._process, None
        self.frozen = False
        if process is not None:
            process.wait()
            GUARD.discard(process.pid)


def state(pid: int) -> str:
    """
    The state of a process by one letter: `T` is stopped.
    """
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[0]

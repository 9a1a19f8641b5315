"""
Wake-ups between processes: one that has changed an election sends its name to every store that watches.

Each such store has a unix datagram socket in the folder beside the database. A datagram only says "look": what is true
is read from the database, so a lost or forged one does no harm. Who misses one looks within a second anyway.

Of a vacancy one candidate's store is told at once, drawn by lot, and the others a little later if nobody leads by then:
fifty processes that wake at one moment keep each other from the processor, so that the first of them is elected when
the last of them would be.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import sys
import uuid
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from leadership._clock import now
from leadership.backends._sqlite_fork import close_in_child, forget
from leadership.backends._sqlite_liveness import remove

SUFFIX = ".sock"
HEAD_START = 0.001
"""Seconds until a change other than a vacancy is told: so long has the new leader's process the processor to itself."""
LONGEST_PATH = 100
"""Bytes of a socket's address that every system takes."""
LONGEST_MESSAGE = 32_768
SOON = 0.005
"""Seconds after the first until the others are told of a vacancy: about what it takes to elect a leader."""
QUEUE = 8
"""Datagrams; Linux keeps 10 for a reader by default, and drops what comes after."""


def can_wake(folder: str) -> bool:
    """
    The folder's sockets can be addressed.
    """
    by_descriptor = sys.platform == "linux" and os.path.isdir("/proc/self/fd")
    return by_descriptor or len(os.fsencode(folder)) + 40 <= LONGEST_PATH


@contextlib.contextmanager
def _addresses(folder: str) -> Generator[str, None, None]:
    """
    A short name of the folder: an address holds no more than 107 bytes, and a path may be longer.
    """
    if sys.platform != "linux" or not os.path.isdir("/proc/self/fd"):
        yield folder
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


class Bell:
    """
    The socket at which a store is told to look.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, folder: str, name: str) -> None:
        os.makedirs(folder, exist_ok=True)
        self.path = os.path.join(folder, name)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.settimeout(0)
            with _addresses(folder) as address:
                self._socket.bind(f"{address}/{name}")
        except OSError:
            self._socket.close()
            raise
        close_in_child(self)

    def fileno(self) -> int:
        """
        The descriptor that becomes readable.
        """
        return self._socket.fileno()

    def heard(self) -> set[str]:
        """
        The elections to look at; an empty name stands for all, where names may have been lost.
        """
        names: set[str] = set()
        received = 0
        while True:
            try:
                message = self._socket.recv(LONGEST_MESSAGE + 1)
            except BlockingIOError:
                return names if received < QUEUE else {""}
            received += 1
            names.update(message.decode(errors="replace").split("\n"))

    def close(self) -> None:
        """
        Close the socket; its name stays. Idempotent.
        """
        forget(self)
        self._socket.close()


@dataclass(frozen=True, slots=True)
class _Call:
    due: float
    elections: Sequence[str]
    vacant: bool


class Ringer:
    """
    Tells the other stores beside a database which elections have changed. Never blocks. For one thread.
    """

    def __init__(self, folder: str) -> None:
        self.own = uuid.uuid4().hex + SUFFIX
        """The name of the bell of our own store, which learns of its changes without it."""
        self._folder = folder
        self._calls: list[_Call] = []

    def tell(self, elections: Sequence[str]) -> None:
        """
        Tell all, a moment after the present job has handed over its result.
        """
        self._calls.append(_Call(now() + HEAD_START, elections, vacant=False))

    def tell_vacant(self, elections: Sequence[str], candidates: Sequence[str]) -> None:
        """
        Tell one of these bells now, and all others if the elections are still vacant a little later.
        """
        if candidates:
            self._ring(elections, [random.choice(candidates)])
        self._calls.append(_Call(now() + SOON if candidates else now(), elections, vacant=True))

    def due(self) -> float | None:
        """
        In how many seconds there is something to tell; None for nothing.
        """
        return max(0.0, min(call.due for call in self._calls) - now()) if self._calls else None

    def work(self, still_vacant: Callable[[Sequence[str]], Sequence[str]], *, until: float) -> None:
        """
        Tell what is due at that moment.
        """
        due = [call for call in self._calls if call.due <= until]
        self._calls = [call for call in self._calls if call.due > until]
        elections = [name for call in due if not call.vacant for name in call.elections]
        vacant = [name for call in due if call.vacant for name in call.elections]
        if vacant:
            elections += still_vacant(vacant)
        if elections:
            self._ring(elections)

    def _ring(self, elections: Sequence[str], bells: Sequence[str] | None = None) -> None:
        message = "\n".join(elections).encode()
        if len(message) > LONGEST_MESSAGE:
            message = b""
        try:
            found = os.listdir(self._folder) if bells is None else bells
            names = [name for name in found if name.endswith(SUFFIX) and name != self.own]
            if not names:
                return
            with _addresses(self._folder) as address, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(0)
                for name in names:
                    _send(sender, message, f"{address}/{name}", os.path.join(self._folder, name))
        except OSError:
            return  # the folder is gone, or no descriptor is to be had: they look within a second


def _send(sender: socket.socket, message: bytes, address: str, path: str) -> None:
    try:
        sender.sendto(message, address)
    except ConnectionRefusedError:
        remove(path)  # its owner is dead
    except OSError:
        return  # its queue is full, so it is awake and will look at everything; or it has just gone

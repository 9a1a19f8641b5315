"""
Wake-ups between processes: one that has changed an election sends its name to every store that watches.

Each such store has a unix datagram socket in the folder beside the database. A datagram only says "look": what is true
is read from the database, so a lost or forged one does no harm. Who misses one looks within a second anyway.

Of a vacancy all are told, but only a few are to look at once, drawn by lot: fifty processes that wake at one moment
keep each other from the processor, and the first of them is elected when the last of them would be. The others look a
little later, and mostly find that somebody leads.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import sys
import uuid
from collections.abc import Generator, Sequence

from leadership.backends._sqlite_fork import close_in_child, forget
from leadership.backends._sqlite_liveness import remove

SUFFIX = ".sock"
LONGEST_PATH = 100
"""Bytes of a socket's address that every system takes."""
LONGEST_MESSAGE = 32_768
FIRST = 2
"""Stores that look at once when an election becomes vacant."""
NOW, SOON = "!", "~"
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

    def __init__(self, folder: str) -> None:
        os.makedirs(folder, exist_ok=True)
        self.name = uuid.uuid4().hex + SUFFIX
        self.path = os.path.join(folder, self.name)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.settimeout(0)
            with _addresses(folder) as address:
                self._socket.bind(f"{address}/{self.name}")
        except OSError:
            self._socket.close()
            raise
        close_in_child(self)

    def fileno(self) -> int:
        """
        The descriptor that becomes readable.
        """
        return self._socket.fileno()

    def heard(self) -> tuple[set[str], set[str]]:
        """
        The elections to look at now, and soon. An empty name stands for all, where names may have been lost.
        """
        names: dict[str, set[str]] = {NOW: set(), SOON: set()}
        received = 0
        while True:
            try:
                message = self._socket.recv(LONGEST_MESSAGE + 1).decode(errors="replace")
            except BlockingIOError:
                if received >= QUEUE:
                    names[NOW].add("")
                return names[NOW], names[SOON]
            received += 1
            names[SOON if message.startswith(SOON) else NOW].update(message[1:].split("\n"))

    def close(self) -> None:
        """
        Close the socket; its name stays. Idempotent.
        """
        forget(self)
        self._socket.close()


def ring(folder: str, elections: Sequence[str], own: str | None, *, vacant: bool = False) -> None:
    """
    Tell every store beside the database, but our own, that elections have changed. Never blocks.
    """
    names = "\n".join(elections)
    if len(names.encode()) >= LONGEST_MESSAGE:
        names = ""
    try:
        peers = [name for name in os.listdir(folder) if name.endswith(SUFFIX) and name != own]
        if not peers:
            return
        with _addresses(folder) as address, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(0)
            random.shuffle(peers)
            for number, name in enumerate(peers):
                message = (SOON if vacant and number >= FIRST else NOW) + names
                _send(sender, message.encode(), f"{address}/{name}", os.path.join(folder, name))
    except OSError:
        return  # the folder is gone, or no descriptor is to be had: they look within a second


def _send(sender: socket.socket, message: bytes, address: str, path: str) -> None:
    try:
        sender.sendto(message, address)
    except ConnectionRefusedError:
        remove(path)  # its owner is dead, and names are never used again
    except OSError:
        return  # its queue is full, so it is awake and will look at everything; or it has just gone

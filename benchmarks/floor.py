"""
The floor of a hand-over between two processes: a commit, a datagram, a commit, by nothing but `sqlite3` and `socket`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

from leadership._clock import now

ROOT = Path(__file__).parent.parent


def _open(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE IF NOT EXISTS elections (name TEXT PRIMARY KEY, token INTEGER, holder TEXT)")
    return connection


def _commit(connection: sqlite3.Connection, holder: str | None) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("SELECT token, holder FROM elections WHERE name = 'e'").fetchone()
    connection.execute(
        "INSERT INTO elections VALUES ('e', 1, ?)"
        " ON CONFLICT DO UPDATE SET token = token + 1, holder = excluded.holder",
        (holder,),
    )
    connection.execute("COMMIT")


class Floor:
    """
    One process here, and one that waits for the election to become vacant.
    """

    def __init__(self, ours: socket.socket, connection: sqlite3.Connection) -> None:
        self._ours = ours
        self._connection = connection

    def hand_over(self) -> float:
        """
        Seconds from before the release until the other one holds the election.
        """
        began = now()
        _commit(self._connection, None)
        self._ours.send(b"e")
        return float(self._ours.recv(64)) - began


@contextlib.contextmanager
def floor(folder: str) -> Generator[Floor, None, None]:
    path = f"{folder}/floor.db"
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    fd = theirs.fileno()
    with ours, contextlib.closing(_open(path)) as connection:
        with theirs:
            command = [sys.executable, "-m", "benchmarks.floor", path, str(fd)]
            process = subprocess.Popen(command, cwd=ROOT, pass_fds=[fd])
        ours.settimeout(30)
        try:
            yield Floor(ours, connection)
        finally:
            process.kill()
            process.wait()


def main() -> None:
    connection = _open(sys.argv[1])
    theirs = socket.socket(fileno=int(sys.argv[2]))
    holder = str(os.getpid())
    while theirs.recv(64):
        _commit(connection, holder)
        theirs.send(str(now()).encode())


if __name__ == "__main__":
    main()

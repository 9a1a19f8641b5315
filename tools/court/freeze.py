"""
Stopping a process that uses SQLite, though not while it keeps everybody else from writing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from pathlib import Path

from servers._process import state, until

from court.clock import now

TRIES = 20
"""How often a process is stopped that seems to stand inside a write transaction each time."""
BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def takes_writes(database: Path) -> bool:
    """
    Whether nobody stands still inside a write transaction: nobody can be elected until he goes on, as the store's docs
    say.
    """
    where = f"{database.absolute().as_uri()}?mode=rw"
    with contextlib.closing(sqlite3.connect(where, uri=True, timeout=0.1, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            return error.sqlite_errorcode & 0xFF not in BUSY  # nothing of the pause's
        connection.execute("ROLLBACK")
    return True


def freeze(pid: int, database: Path) -> float:
    """
    Stop a process by SIGSTOP, outside its write transactions as far as that can be had; the moment before.
    """
    left = TRIES
    while True:
        at, left = now(), left - 1
        os.kill(pid, signal.SIGSTOP)
        until(lambda: state(pid) == "T", f"{pid} stopped", 5.0, 0.001)
        if not left or takes_writes(database):
            return at
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.05)

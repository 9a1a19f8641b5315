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


def takes_writes(database: Path) -> bool:
    """
    Whether nobody stands still inside a write transaction: nobody can be elected until he goes on, as the store's docs
    say.
    """
    with contextlib.closing(sqlite3.connect(database, timeout=0.1, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
    return True


def freeze(pid: int, database: Path) -> float:
    """
    Stop a process by SIGSTOP, outside its write transactions; the moment before.
    """
    while True:
        at = now()
        os.kill(pid, signal.SIGSTOP)
        until(lambda: state(pid) == "T", f"{pid} stopped", 5.0, 0.001)
        if takes_writes(database):
            return at
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.01)

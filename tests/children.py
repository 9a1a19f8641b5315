"""
Candidates in processes of their own: scripts on SQLite that say what happens.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from leadership import Candidate
from leadership._clock import now

SOON = 20.0
"""Seconds for what takes a fraction of one on an idle machine."""

BEGIN = """
import os, signal, sys, threading, time
from leadership import Candidate, Follower, connect
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
candidate = Candidate(sys.argv[1], "jobs", sys.argv[2], ttl=float(sys.argv[3]), grace=2.0)
candidate.on_elected(lambda term: say("elected", term.token))
candidate.on_demoted(lambda term, cause: say("demoted", term.token, cause, term.reason))
"""


class Child:
    """
    A Python process that says what happens.
    """

    def __init__(self, database: Path, body: str, node: str = "child", ttl: float = 30.0) -> None:
        self.process = subprocess.Popen(
            # Since 3.12 a fork beside threads warns; that the library survives one is what is tested.
            [
                sys.executable,
                "-W",
                "ignore::DeprecationWarning",
                "-c",
                BEGIN + body,
                f"sqlite:///{database}",
                node,
                str(ttl),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        """
        The next line that it says; the test's time-out ends a wait in vain.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.process.communicate()[1])
        return line.strip()

    def end(self) -> tuple[int, list[str], str]:
        """
        Wait for its end: status, the lines that were not read yet, and what it complained of.
        """
        out, err = self.process.communicate(timeout=SOON)
        return self.process.returncode, out.splitlines(), err


@contextmanager
def child(database: Path, body: str, node: str = "child", ttl: float = 30.0) -> Iterator[Child]:
    made = Child(database, body, node, ttl)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()


def took_over(other: Candidate, since: float) -> float:
    """
    Seconds from a moment until the other leads.
    """
    assert other.wait_elected(SOON) is not None
    return now() - since

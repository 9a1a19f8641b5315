"""
What the subcommands share: exit statuses, the way to say things, the way to a store.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leadership import Leader


class Exit(IntEnum):
    """
    Exit statuses of the command; `leadership run` also has those of CMD.
    """

    YES = 0
    NO = 1
    """Nobody leads, or the request was refused."""
    USAGE = 2
    UNKNOWN = 3
    """The answer did not come in time."""
    UNAVAILABLE = 69
    """The store did not answer, or cannot serve now (EX_UNAVAILABLE)."""
    NOT_ELECTED = 75
    """Try again later (EX_TEMPFAIL)."""
    REFUSED = 77
    """The store refuses: credentials, permission, foreign data (EX_NOPERM)."""


def say(message: str) -> None:
    """
    One line on stderr.
    """
    with contextlib.suppress(OSError):  # whoever listened has gone, and what has to be done must be done all the same
        # In one write, so that the lines of several threads and processes do not run into each other.
        sys.stderr.write(f"leadership: {' '.join(message.split())}\n")
        sys.stderr.flush()


def put(text: str) -> None:
    """
    One line, or several, on stdout, at once.
    """
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def put_json(value: Mapping[str, Any]) -> None:
    """
    One object on a line of stdout.
    """
    put(json.dumps(value, ensure_ascii=False))


def leader_dict(leader: Leader | None) -> dict[str, Any] | None:
    """
    A leader as JSON-able values.
    """
    if leader is None:
        return None
    return {"node": leader.node, "token": leader.token, "metadata": dict(leader.metadata)}

"""
What the judge remembers: the legal rows, what headers said, the last record of each candidate and follower.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from leadership.audit._found import seconds
from leadership.audit._terms import NEVER, RELEASED, RESET, UNFINISHED, Names, Stay, pack_term
from leadership.audit.judgement import Place
from leadership.fsm import CANDIDATE, FOLLOWER
from leadership.fsm.row import Disposition

Fields = dict[str, Any]
Rows = frozenset[tuple[Any, ...]]
Line = tuple[Fields, int, int]
"""A record with the number of its file, and its own in that."""

BROKEN: Final = (LookupError, TypeError, ValueError, AttributeError, OverflowError, struct.error)
"""
What a line raises that lacks a field, or has it in another form.
"""
_WILLING: Final = frozenset({"resigned", "stopped", "callback_failed"})


def _rows(machine: Any) -> Rows:
    rows = {
        (
            str(row.source),
            str(row.trigger),
            str(row.source if row.dest is None else row.dest),
            row.guard_name,
            str(row.disposition),
            None if row.cause is None else str(row.cause),
        )
        for row in machine.table
    }
    stale = str(Disposition.STALE)
    return frozenset(
        rows | {(str(s), str(t), str(s), None, stale, None) for s in machine.states for t in machine.triggers}
    )


LEGAL: Final = {(machine.name, machine.digest()): _rows(machine) for machine in (CANDIDATE, FOLLOWER)}
INITIAL: Final = {machine.name: str(machine.initial) for machine in (CANDIDATE, FOLLOWER)}


class Process:
    """
    What a header says of a process, and the gaps that it has told of.
    """

    __slots__ = ("boot", "clock", "copied", "headers", "lost", "tables", "unknown")

    def __init__(self, boot: str) -> None:
        self.boot = boot
        self.tables: Fields = {}
        self.clock = f"of {boot}"
        """Its clock of deadlines; nobody shares it where no header names it."""
        self.lost = 0
        """The records that could not be written, by the gaps."""
        self.unknown: set[str] = set()
        """What was said to be unknown of it: machines' tables, leases."""
        self.headers: set[tuple[Any, ...]] = set()
        self.copied = False
        """Whether its last header was there before: what follows is a copy, as far as it is known."""

    def heed(self, header: Fields) -> None:
        """
        Take what a header says; a process has one in each file, and another when its clock has become another one.
        """
        tables, clock = header["tables"], header.get("clock")
        key = (header.get("file"), header["at"], clock)
        self.copied = key in self.headers
        self.headers.add(key)
        self.tables = dict(tables)
        self.clock = clock if isinstance(clock, str) else f"of {self.boot}"


class Life:
    """
    The last record of a candidate or follower.
    """

    __slots__ = (
        "audit", "blind", "boot", "clock", "copied", "copy", "election", "fields", "file", "first", "legal", "line",
        "lost", "mono", "names", "node", "open", "process", "seq", "state", "token",
    )  # fmt: skip

    def __init__(self, fields: Fields, process: Process, legal: Rows | None) -> None:
        self.node: str = fields["node"]
        self.election: str = fields["election"]
        self.boot: str = fields["boot"]
        self.process = process
        self.legal = legal
        self.audit = self.file = self.line = self.seq = self.lost = self.copied = 0
        self.state = ""
        self.mono: float = float("-inf")
        self.fields = self.first = fields
        self.copy: Line | None = None
        """The election whose term has not ended in the copy that is read; `copied` is the last number in that."""
        self.open: Line | None = None
        """The election whose term has not ended."""
        self.token: int | None = None
        self.clock: str | None = None
        """The clock of the process when the term that is open began."""
        self.names: tuple[int, ...] = ()
        """The numbers of its node, incarnation and clocks."""
        self.blind = False
        """Records are missing just before: what follows cannot be held against it."""


def term_of(names: Names, life: Life, elected: Line, end: Line | None, last: Fields) -> bytes:
    """
    A term, packed.

    Args:
        names: Where its texts are kept.
        life: Whose it was.
        elected: The record in which it begins.
        end: The one in which it ends; None where that is not known.
        last: That one, or the last line in which the process was seen alive.

    Without an end, `demoted` is the moment of `last`.
    """
    first, elected_file, elected_line = elected
    left, left_mono = seconds(last["at"]), last["monotonic"]
    reason, cause, trigger, renewals = first["reason"], None, None, 0
    deadline = first["lease_deadline"]
    flags = RESET if reason == "token_reset" else 0
    demoted_file, demoted_line, demoted = -1, 0, left_mono
    if end is None:
        flags |= UNFINISHED
    else:
        left_fields, demoted_file, demoted_line = end
        demoted, deadline, renewals = left, left_fields["lease_deadline"], left_fields["renewals"]
        reason, cause, trigger = left_fields["reason"], left_fields["cause"], left_fields["trigger"]
        if cause in _WILLING and deadline is not None and left_mono < deadline:
            flags |= RELEASED
    believed = left_mono if deadline is None or left_mono < deadline else deadline
    number = names.number
    same_boot = number(life.clock if life.clock == life.process.clock else None)
    if not life.names or life.names[-1] != same_boot:
        life.names = (number(life.node), number(first["incarnation"]), number(life.process.clock), same_boot)
    return pack_term(
        first["token"],
        renewals,
        seconds(first["at"]),
        first["monotonic"],
        first["duration"],
        left - (left_mono - believed),
        believed,
        demoted,
        NEVER if deadline is None else deadline,
        *life.names,
        number(cause),
        number(reason),
        number(trigger),
        elected_file,
        elected_line,
        demoted_file,
        demoted_line,
        first["seq"],
        flags,
    )


def stay_of(life: Life, last: Place, slack: float) -> Stay:
    """
    From when to when the records of a candidate go; from ever, where the first are missing.
    """
    first = life.first
    began, began_mono = seconds(first["at"]), first["monotonic"]
    if first["seq"] > 1:
        began = began_mono = float("-inf")
    return Stay(began, began_mono, seconds(life.fields["at"]), life.mono, life.process.clock, last, slack)


def about(f: Fields) -> dict[str, Any]:
    """
    What a finding about a record says of it besides.
    """
    return {"election": f["election"], "nodes": (f["node"],), "began": _moment(f)}


def _moment(f: Fields) -> float | None:
    try:
        return seconds(f["at"])
    except BROKEN:
        return None

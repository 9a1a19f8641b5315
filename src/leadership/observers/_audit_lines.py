"""
The lines of an audit, and when each is written.

Schema 1. A line is an object with `v` (1), `kind`, and, where the audit is chained, `prev`: the SHA-256 in hexadecimal
of the line before (its bytes without the newline, blank lines left out), null where there is none. Kinds:

`header`
    Before the first record of a process in a file. `at`; `boot`, `host` and `pid` name the process; `leadership`,
    `python`, `transitions`: versions; `tables`: the digest of each machine's table; `durability`, `chain`; `clock`: a
    name of the clock that `monotonic` is read from, null where the system has none. Values of `monotonic` from
    processes with the same name can be compared: those of one boot of one machine and one time namespace, or of one
    simulation. As the first line of a file also `file` (the file's number) and `previous` (`name` and last line's
    `sha256` of the rotated file before it, or null). Should a process's clock become another one (as in a simulation
    whose clocks go wrong), another header of the same `boot` says so before the lines that it holds for.
`candidate`
    Before the first record of a candidate in a file: `at`, `boot`, `incarnation`, `election`, `node`, `timing` (the
    fields of `Timing`, in seconds).
`transition`
    A record: the fields of `Transition`; `trace_id` and `span_id` only where there are any. `seq` counts them without
    a gap for each `incarnation` and `machine`.
`leader`
    Who leads, as a candidate (it follows, too, whatever its state) or a follower sees it, has changed: `at`, `boot`,
    `incarnation`, `monotonic` (when it was learned), `election`, `node` (who saw it), `leader` (`node` and `token`, or
    null: nobody). Known views only: the first after each start, then each that differs from the one before; a view that
    is not known to be true is not written. Not counted by `seq`.
`gap`
    Lines could not be written before this one: `at`, `boot`, `lost` (how many transitions), `leaders` (how many lines
    `leader`), `since` (the first one's `at`), `error` (the last one's).

Times `at` and `since` are RFC 3339, UTC, for people; `monotonic` is for arithmetic, within one `clock`.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import socket
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from json.encoder import encode_basestring_ascii
from typing import Any, Final

from leadership.fsm import CANDIDATE, FOLLOWER
from leadership.fsm.record import Transition
from leadership.observers._audit_file import AuditFile

SCHEMA: Final = 1
"""
The version of the lines that are written, their `v`.
"""


START: Final = b'{"v":'
"""
How every line begins.
"""


@dataclass(frozen=True, slots=True)
class View:
    """
    Who leads, as one candidate or follower sees it. Immutable.
    """

    at: datetime
    boot: str
    incarnation: str
    monotonic: float
    election: str
    node: str
    leader: tuple[str, int] | None
    """Node and token; None for nobody."""


@dataclass(frozen=True, slots=True)
class Subject:
    """
    A candidate or a follower that an audit is told of, and what it was promised. Immutable.
    """

    boot: str
    clock: str | None
    fields: dict[str, Any]
    """What the line `candidate` says."""


def is_beginning(first: bytes) -> bool:
    """
    Whether a file whose first line that is not blank is this one can be an audit; without any, it can.
    """
    return first.startswith(START) or START.startswith(first)


class AuditLines:
    """
    Writes records into a file, and before them what is needed to judge them. Not thread-safe.
    """

    def __init__(self, file: AuditFile, **about: Any) -> None:
        """
        Args:
            file: Where to.
            about: What headers are to say besides.
        """
        self._file = file
        self._about = about
        self._taken: int = 0
        self._headed: dict[str, str | None] = {}
        """Processes of which this file has a header, and the clock that the latest one names."""
        self._clocks: dict[str, str | None] = {}
        self._declared: set[str] = set()
        self._candidates: dict[str, dict[str, Any]] = {}
        self._lost = self._lost_views = 0
        self._first_lost: Transition | View | None = None
        self._error = ""

    def declare(self, subject: Subject) -> None:
        """
        Remember what is to be said before the records of a candidate, until one of them says `idle`.
        """
        self._clocks[subject.boot] = subject.clock
        self._candidates[subject.fields["incarnation"]] = subject.fields
        self._declared.discard(subject.fields["incarnation"])

    def write(self, item: Transition | View) -> None:
        """
        Write one record or view. What it raises is counted as a gap, which the next one that succeeds tells of.
        """
        try:
            self._preface(item)
            kind, members = ("leader", _seen(item)) if isinstance(item, View) else ("transition", _members(item))
            self._file.line(f'"v":{SCHEMA},"kind":"{kind}",{members}')
        except Exception as error:
            if isinstance(item, View):
                self._lost_views += 1
            else:
                self._lost += 1
            self._first_lost = self._first_lost or item
            self._error = _sayable(str(error))
            raise
        finally:
            self._file.give()
            if isinstance(item, Transition) and item.dest == "idle":
                self._candidates.pop(item.incarnation, None)
                self._declared.discard(item.incarnation)

    def finish(self) -> None:
        """
        Tell of a gap that no record has told of. Raises OSError if that cannot be written either.
        """
        if self._first_lost is not None:
            try:
                self._preface(self._first_lost)
            finally:
                self._file.give()

    def _preface(self, item: Transition | View) -> None:
        file = self._file
        file.take()
        if file.taken != self._taken:
            self._taken = file.taken
            self._headed.clear()
            self._declared.clear()
        clock = self._clocks.get(item.boot)
        if item.boot not in self._headed or self._headed[item.boot] != clock:
            about = {**_about_process(os.getpid()), **self._about, "clock": clock, **file.begins}
            self._line("header", item, about)
            self._headed[item.boot] = clock
        if self._first_lost is not None:
            since = self._first_lost.at.isoformat()
            lost = {"lost": self._lost, "leaders": self._lost_views, "since": since, "error": self._error}
            self._line("gap", item, lost)
            self._lost, self._lost_views, self._first_lost = 0, 0, None
        who = item.incarnation
        if who in self._candidates and who not in self._declared:
            self._line("candidate", item, self._candidates[who])
            self._declared.add(who)

    def _line(self, kind: str, before: Transition | View, fields: dict[str, Any]) -> None:
        at = before.at.isoformat()
        fields = {"v": SCHEMA, "kind": kind, "at": at, "boot": before.boot, **fields}
        self._file.line(json.dumps(fields, separators=(",", ":"), default=str)[1:-1])


def _members(r: Transition) -> str:
    """
    What `json.dumps(r.as_dict())` puts between the braces, in less than half the time.

    Words of the tables, names made of hex digits, and numbers need no escapes.
    """
    return (
        f'"seq":{r.seq},"at":"{r.at.isoformat()}","monotonic":{r.monotonic!r},"machine":"{r.machine}",'
        f'"election":{_quoted(r.election)},"node":{_quoted(r.node)},"boot":"{r.boot}","incarnation":"{r.incarnation}",'
        f'"trigger":"{r.trigger}","source":"{r.source}","dest":"{r.dest}","guard":{_text(r.guard)},'
        f'"disposition":"{r.disposition}","cause":{_text(r.cause)},"reason":{_text(r.reason)},'
        f'"error":{_text(r.error)},"term":{_text(r.term)},"token":{_number(r.token)},"attempt":{r.attempt},'
        f'"revision":{_number(r.revision)},"lease_deadline":{_number(r.lease_deadline)},'
        f'"duration":{r.duration!r},"renewals":{r.renewals}'
        + ("" if r.trace_id is None else f',"trace_id":"{r.trace_id}","span_id":"{r.span_id}"')
    )


def _seen(view: View) -> str:
    """
    What a line `leader` says, between the braces.
    """
    leader = "null" if view.leader is None else f'{{"node":{_quoted(view.leader[0])},"token":{view.leader[1]}}}'
    return (
        f'"at":"{view.at.isoformat()}","boot":"{view.boot}","incarnation":"{view.incarnation}",'
        f'"monotonic":{view.monotonic!r},"election":{_quoted(view.election)},"node":{_quoted(view.node)},'
        f'"leader":{leader}'
    )


def _sayable(text: str) -> str:
    """
    A text as UTF-8 can say it: the name of a file in an error may have lone surrogates, which no JSON should.
    """
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def _quoted(text: str) -> str:
    return encode_basestring_ascii(_sayable(text))


def _text(value: str | None) -> str:
    return "null" if value is None else _quoted(value)


def _number(value: float | None) -> str:
    return "null" if value is None else repr(value)


@functools.cache
def _about_process(pid: int) -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "leadership": _version("leadership"),
        "python": platform.python_version(),
        "transitions": _version("transitions"),
        "tables": {machine.name: machine.digest() for machine in (CANDIDATE, FOLLOWER)},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # frozen into an executable
        return None

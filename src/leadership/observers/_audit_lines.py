"""
The lines of an audit, and when each is written.

Schema 1. A line is an object with `v` (1), `kind`, and, where the audit is chained, `prev`: the SHA-256 in hexadecimal
of the line before (its bytes without the newline, blank lines left out), null where there is none. Kinds:

`header`
    Before the first record of a process in a file. `at`; `boot`, `host` and `pid` name the process; `leadership`,
    `python`, `transitions`: versions; `tables`: the digest of each machine's table; `durability`, `chain`. As the first
    line of a file also `file` (the file's number) and `previous` (`name` and last line's `sha256` of the rotated file
    before it, or null).
`candidate`
    Before the first record of a candidate in a file: `at`, `boot`, `incarnation`, `election`, `node`, `timing` (the
    fields of `Timing`, in seconds).
`transition`
    A record: the fields of `Transition`. `seq` counts them without a gap for each `incarnation` and `machine`.
`gap`
    Records could not be written before this line: `at`, `boot`, `lost` (how many), `since` (the first one's `at`),
    `error` (the last one's).

Times `at` and `since` are RFC 3339, UTC, for people; `monotonic` is for arithmetic, within one boot of a machine.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import socket
from importlib.metadata import PackageNotFoundError, version
from json.encoder import encode_basestring_ascii as _quoted
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
        self._headed: set[str] = set()
        self._declared: set[str] = set()
        self._candidates: dict[str, dict[str, Any]] = {}
        self._lost = 0
        self._first_lost: Transition | None = None
        self._error = ""

    def declare(self, candidate: dict[str, Any]) -> None:
        """
        Remember what is to be said before the records of a candidate, until one of them says `idle`.
        """
        self._candidates[candidate["incarnation"]] = candidate
        self._declared.discard(candidate["incarnation"])

    def write(self, record: Transition) -> None:
        """
        Write one record. What it raises is counted as a gap, which the next one that succeeds tells of.
        """
        try:
            self._preface(record)
            self._file.line(f'"v":{SCHEMA},"kind":"transition",{_members(record)}')
        except Exception as error:
            self._lost += 1
            self._first_lost = self._first_lost or record
            self._error = str(error)
            raise
        finally:
            self._file.give()
            if record.dest == "idle":
                self._candidates.pop(record.incarnation, None)
                self._declared.discard(record.incarnation)

    def finish(self) -> None:
        """
        Tell of a gap that no record has told of. Raises OSError if that cannot be written either.
        """
        if self._first_lost is not None:
            try:
                self._preface(self._first_lost)
            finally:
                self._file.give()

    def _preface(self, record: Transition) -> None:
        file = self._file
        file.take()
        if file.taken != self._taken:
            self._taken = file.taken
            self._headed.clear()
            self._declared.clear()
        if record.boot not in self._headed:
            self._line("header", record, {**_about_process(os.getpid()), **self._about, **file.begins})
            self._headed.add(record.boot)
        if self._first_lost is not None:
            since = self._first_lost.at.isoformat()
            self._line("gap", record, {"lost": self._lost, "since": since, "error": self._error})
            self._lost, self._first_lost = 0, None
        who = record.incarnation
        if who in self._candidates and who not in self._declared:
            self._line("candidate", record, self._candidates[who])
            self._declared.add(who)

    def _line(self, kind: str, before: Transition, fields: dict[str, Any]) -> None:
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
    )


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

"""
The files of audits: which belong together, in which order, and whether they follow each other.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from leadership.audit._found import Findings, place
from leadership.audit.judgement import Place, Verdict
from leadership.audit.read import TORN, parse

_SUFFIXES = re.compile(r"(?:[.-][0-9]+)*(?:\.gz)?$", re.ASCII)


@dataclass
class AuditFile:
    """
    A file, by its first line; and by its last, once it was read.
    """

    path: str
    head: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The fields of its first line."""
    size: int = 0
    last: str | None = None
    """The hash of its last line."""
    last_line: int = 0
    last_fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    chained: bool = False

    @property
    def stem(self) -> str:
        """
        The name without what rotation and compression have added.
        """
        folder, name = os.path.split(os.path.realpath(self.path))
        return os.path.join(folder, _SUFFIXES.sub("", name))

    @property
    def number(self) -> int:
        """
        The number that its first line gives it.
        """
        number = self.head.get("file")
        return number if type(number) is int else 1

    @property
    def previous(self) -> Mapping[str, Any] | None:
        """
        The rotated file before it, by its first line.
        """
        previous = self.head.get("previous")
        return cast("dict[str, Any]", previous) if isinstance(previous, dict) else None

    def end(self) -> Place:
        """
        Its last line.
        """
        return place(self.path, self.last_line, dict(self.last_fields))


def in_order(files: Iterable[AuditFile]) -> list[list[AuditFile]]:
    """
    The files in groups that belong together, each in the order in which it was written, the oldest group first.
    """
    groups: dict[str, list[AuditFile]] = {}
    for file in {os.path.realpath(file.path): file for file in files}.values():
        groups.setdefault(file.stem, []).append(file)
    for group in groups.values():
        group.sort(key=lambda file: (file.number, _at(file)))
    return sorted(groups.values(), key=lambda group: _at(group[0]))


def _at(file: AuditFile) -> str:
    return str(file.head.get("at", ""))


def link(groups: list[list[AuditFile]], findings: Findings) -> set[str]:
    """
    See whether each file's predecessor was given, and is as it was; the paths of those whose predecessor was not.
    """
    files = [file for group in groups for file in group]
    hashes = {file.last: file for file in files if file.last is not None}
    alone: set[str] = set()
    for group in groups:
        for file in group:
            previous = file.previous
            if previous is None or previous.get("sha256") in hashes:
                continue
            before = [one for one in group if one.number == file.number - 1 and one is not file]
            first = place(file.path, 1, dict(file.head))
            if before and previous.get("sha256") is not None:
                what = f"{before[-1].path!r} does not end with the line that {file.path!r} says it follows"
                verdict = Verdict.INVALID if file.chained or before[-1].chained else Verdict.UNKNOWN
                findings.add("edited_record", verdict, what, before[-1].end(), first)
            elif not before:
                alone.add(file.path)
                what = f"{file.path!r} follows the rotated file {previous.get('name')!r}, which was not given"
                findings.add("missing_file", Verdict.UNKNOWN, what, first)
    return alone


def check_anchors(anchors: Iterable[str], found: set[str], groups: list[list[AuditFile]], findings: Findings) -> None:
    """
    Each hash that was kept elsewhere has to be that of a line.
    """
    ends = tuple(group[-1].end() for group in groups if group[-1].last is not None)
    for anchor in anchors:
        if anchor not in found:
            what = (
                f"no line has the hash {anchor}, which was kept of one: the end of an audit is missing, or was edited"
            )
            findings.add("truncated", Verdict.INVALID, what, *ends[:3])


def first_fields(raw: bytes) -> Mapping[str, Any]:
    """
    The fields of a file's first line; none where it cannot be read.

    Raises:
        ConfigError: It is of a later version.
    """
    fields = next(parse(raw, "", 1), None)
    return {} if fields is None or fields["kind"] == TORN else fields

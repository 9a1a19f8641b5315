"""
Reading for the judge: line by line, with the hashes where there are any; in several processes where there is much.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import subprocess
import sys
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

from leadership.audit._files import AuditFile, first_fields, in_order, link
from leadership.audit._found import place
from leadership.audit._json import loads
from leadership.audit._part import Part
from leadership.audit._shape import fault
from leadership.audit.judgement import Verdict
from leadership.audit.model import Model
from leadership.audit.read import TORN, opened, parse
from leadership.observers._audit_lines import SCHEMA

MUCH: Final = 32_000_000
"""
Bytes from which on several processes share the work.
"""
_PACKED: Final = 12
"""
How much larger a compressed audit is when it is unpacked, about.
"""


def look(path: str) -> AuditFile:
    """
    Learn from a file's first line what it is; that it can be read and is an audit was seen before.
    """
    size = os.path.getsize(path) * (_PACKED if path.endswith(".gz") else 1)
    with opened(path) as file:
        try:
            first = next((line for line in file if line.strip()), b"")
        except (EOFError, OSError, zlib.error):  # compressed, and damaged at its beginning
            first = b""
    return AuditFile(path, first_fields(first), size)


class _Reader:
    """
    Reads the files of a part.
    """

    def __init__(self, anchors: frozenset[str]) -> None:
        self._anchors = anchors
        self.found: set[str] = set()
        self.model = Model()
        self._chained: set[str] = set()
        """The processes that have said that they chain their lines."""

    def read(self, file: AuditFile, audit: int) -> None:
        """
        Judge a file.
        """
        model, feed = self.model, self.model.feed
        model.begin(file.path, audit)
        number, previous, check = 0, b"", bool(self._anchors or self._chained)
        fields: dict[str, Any] = {}
        with opened(file.path) as lines:
            try:
                for number, raw in enumerate(lines, 1):
                    try:
                        fields = loads(raw)
                        sound = fields["v"] == SCHEMA and fault(fields) is None
                    except (ValueError, LookupError, TypeError, RecursionError):
                        sound = False
                    if not sound:
                        if not raw.strip():
                            continue
                        for fields in parse(raw, file.path, number):
                            self._take(file, fields, number)
                        check = self._check(file, number, fields, previous) or check
                        previous = raw
                        continue
                    if check or "prev" in fields or fields["kind"] == "header":
                        check = self._check(file, number, fields, previous) or check
                    feed(fields, number)
                    previous = raw
            except (EOFError, OSError, zlib.error) as error:  # a compressed file without its end, a bad disk
                fields = {"kind": TORN, "problem": f"{type(error).__name__}: {error}", "text": ""}
                number += 1
                feed(fields, number)
        if previous:
            self._hashed(previous)
            file.last, file.last_line, file.last_fields = _hash(previous), number, fields

    def _take(self, file: AuditFile, fields: dict[str, Any], number: int) -> None:
        """
        Judge what is left of a line that was looked at closely.
        """
        if fields.get("damaged"):
            what = f"line {number} of {file.path!r} is no line of an audit: {fields['problem']}"
            self.model.findings.add("damaged_record", Verdict.INVALID, what, place(file.path, number, fields))
        else:
            self.model.feed(fields, number)

    def _check(self, file: AuditFile, number: int, fields: dict[str, Any], previous: bytes) -> bool:
        """
        Compare a line with the hash of the one before; whether the lines that follow are to be looked at, too.
        """
        wanted = self._hashed(previous) if previous else None
        if fields["kind"] == TORN:
            return bool(self._anchors or self._chained)
        boot, begins = fields["boot"], fields["kind"] == "header"
        if begins and fields["chain"]:
            self._chained.add(boot)
        chained = "prev" in fields
        if not previous and isinstance(fields.get("previous"), dict):
            wanted = fields["previous"].get("sha256")
        if chained and begins and previous and fields["prev"] is None:
            what = f"line {number} of {file.path!r} begins another chain: files were joined, or lines are gone"
            self._edited(file, number, fields, previous, what, Verdict.UNKNOWN)
        elif chained and fields["prev"] != wanted:
            what = f"line {number} of {file.path!r} does not follow the line before: one was edited, or one is missing"
            self._edited(file, number, fields, previous, what)
        elif not chained and boot in self._chained:
            what = f"line {number} of {file.path!r} has no hash of the line before, and its process wrote such hashes"
            self._edited(file, number, fields, previous, what)
        file.chained = file.chained or chained
        return chained or bool(self._anchors or self._chained)

    def _edited(
        self,
        file: AuditFile,
        number: int,
        fields: dict[str, Any],
        previous: bytes,
        what: str,
        verdict: Verdict = Verdict.INVALID,
    ) -> None:
        before = place(file.path, number - 1, dict(first_fields(previous)))
        places = (*((before,) if previous else ()), place(file.path, number, fields))
        self.model.findings.add("edited_record", verdict, what, *places)

    def _hashed(self, line: bytes) -> str:
        digest = _hash(line)
        if digest in self._anchors:
            self.found.add(digest)
        return digest


def _hash(line: bytes) -> str:
    return hashlib.sha256(line.rstrip(b"\n")).hexdigest()


def judge_part(groups: Sequence[Sequence[AuditFile]], anchors: frozenset[str]) -> Part:
    """
    Judge files by themselves, in this process.
    """
    reader = _Reader(anchors)
    for audit, group in enumerate(groups):
        for file in group:
            reader.read(file, audit)
    model = reader.model
    model.finish()
    files = [list(group) for group in groups]
    alone = link(files, model.findings)
    _fill_holes(model, files, alone)
    return Part(
        model.packed, model.findings, model.records, model.elections, model.nodes, model.ends, files, reader.found
    )


def _fill_holes(model: Model, groups: list[list[AuditFile]], alone: set[str]) -> None:
    """
    Records that are missing between two files are in the file that is missing, or were taken out.
    """
    group_of = {file.path: number for number, group in enumerate(groups) for file in group}
    order = [file.path for group in groups for file in group]
    for before, here, what, places, fields in model.holes:
        within = range(before + 1 if before >= 0 else 0, here + 1)
        paths = [order[index] for index in within if group_of[order[index]] == group_of[order[here]]]
        missing = any(path in alone for path in paths)
        verdict = Verdict.UNKNOWN if missing or before < 0 else Verdict.INVALID
        text = f"{what}: a file is missing" if missing else what
        model.findings.add(
            "missing_records", verdict, text, *places, election=fields["election"], nodes=(fields["node"],)
        )


# -- several processes ---------------------------------------------------------------------------------------------


def judge_parts(paths: Iterable[str], anchors: frozenset[str]) -> list[Part]:
    """
    Judge files: each group of them by itself, at the same time where there is much to do.
    """
    groups = in_order(look(path) for path in paths)
    shares = _shares(groups)
    if len(shares) < 2 or sum(file.size for group in groups for file in group) < MUCH:
        return [judge_part(groups, anchors)]
    workers = [_start(share, anchors) for share in shares[1:]]
    try:
        return [judge_part(shares[0], anchors), *map(_result, workers)]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
            assert worker.stdout is not None  # noqa: S101 - it was asked for
            worker.stdout.close()


def _shares(groups: list[list[AuditFile]]) -> list[list[list[AuditFile]]]:
    """
    The groups, dealt out to as many processes as there are processors, by their sizes.
    """
    bundles = _bundles(groups)
    sizes = [sum(file.size for group in bundle for file in group) for bundle in bundles]
    count = min(len(bundles), os.cpu_count() or 1)
    shares: list[list[int]] = [[] for _ in range(count)]
    for index in sorted(range(len(bundles)), key=lambda index: -sizes[index]):
        min(shares, key=lambda share: sum(sizes[other] for other in share)).append(index)
    return [[group for index in sorted(share) for group in bundles[index]] for share in shares]


def _bundles(groups: list[list[AuditFile]]) -> list[list[list[AuditFile]]]:
    """
    Groups in which there are lines of one process are judged together, and so are a file and the one that it follows.
    """
    outside = {name for group in groups for name in _followed(group)}
    bundles: list[tuple[set[object], list[int]]] = []
    for index, group in enumerate(groups):
        keys: set[object] = {("boot", boot) for file in group for boot in _boots(file)}
        keys |= {("file", name) for name in (_followed(group) | _names(group)) & outside}
        members = [index]
        for bundle in [bundle for bundle in bundles if not keys.isdisjoint(bundle[0])]:
            bundles.remove(bundle)
            keys |= bundle[0]
            members += bundle[1]
        bundles.append((keys, sorted(members)))
    return [[groups[index] for index in members] for _, members in bundles]


def _boots(file: AuditFile) -> set[str]:
    """
    The processes that a file has headers of, and the one of its first line.
    """
    boots = {file.head["boot"]} if file.head else set[str]()
    with opened(file.path) as lines, contextlib.suppress(EOFError, OSError, zlib.error):
        for raw in lines:
            if b'"header"' in raw:
                boots.update(fields["boot"] for fields in parse(raw, file.path, 0) if fields["kind"] == "header")
    return boots


def _names(group: list[AuditFile]) -> set[str]:
    return {os.path.basename(file.path).removesuffix(".gz") for file in group}


def _followed(group: list[AuditFile]) -> set[str]:
    """
    The names of files that others of a group follow, and that are not in it.
    """
    return {str(file.previous["name"]) for file in group if file.previous is not None} - _names(group)


def _start(share: list[list[AuditFile]], anchors: frozenset[str]) -> subprocess.Popen[bytes]:
    # Not by multiprocessing, which would import the caller's program once more.
    run = "from leadership.audit._work import serve; serve()"
    worker = subprocess.Popen([sys.executable, "-c", run], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert worker.stdin is not None  # noqa: S101 - it was asked for
    worker.stdin.write(pickle.dumps((share, anchors)))
    worker.stdin.close()
    worker.stdin = None
    return worker


def _result(worker: subprocess.Popen[bytes]) -> Part:
    answer, _ = worker.communicate()
    outcome = pickle.loads(answer)  # noqa: S301 - our own process has written it
    if isinstance(outcome, Exception):
        raise outcome
    assert isinstance(outcome, Part)  # noqa: S101 - nothing else is sent
    return outcome


def serve() -> None:
    """
    In a process of its own: judge what stdin names, and tell stdout.
    """
    share, anchors = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own process has written it
    try:
        outcome: object = judge_part(share, anchors)
    except Exception as error:  # noqa: BLE001 - raised where it was asked for
        outcome = error
    pickle.dump(outcome, sys.stdout.buffer, protocol=pickle.HIGHEST_PROTOCOL)

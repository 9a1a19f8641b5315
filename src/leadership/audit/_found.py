"""
Findings, gathered: each kind up to a number, the rest counted.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any, Final

from leadership.audit.judgement import Finding, Place, Verdict

MOST: Final = 200
"""
Findings of a kind that are listed one by one.
"""

_WEIGHT: Final = {Verdict.VALID: 0, Verdict.UNKNOWN: 1, Verdict.INVALID: 2}


class Findings:
    """
    What was found so far.
    """

    def __init__(self) -> None:
        self.listed: list[Finding] = []
        self._counts: Counter[tuple[str, Verdict]] = Counter()

    def add(self, kind: str, verdict: Verdict, what: str, *places: Place, **about: Any) -> None:
        """
        Note one; beyond `MOST` of a kind it is only counted.
        """
        self._counts[kind, verdict] += 1
        if self._counts[kind, verdict] <= MOST:
            self.listed.append(Finding(kind, verdict, what, places, **about))

    def extend(self, other: Findings) -> None:
        """
        Take over another's.
        """
        for finding in other.listed:
            self._counts[finding.kind, finding.verdict] += 1
            self.listed.append(finding)
        for key, count in other._counts.items():
            self._counts[key] += max(0, count - MOST)

    def all(self) -> tuple[Finding, ...]:
        """
        The findings, the gravest first, and one for each kind of which there are more than are listed.
        """
        listed = Counter((finding.kind, finding.verdict) for finding in self.listed)
        more = [
            Finding(kind, verdict, f"{count - listed[kind, verdict]:,} more of this kind are not listed", ())
            for (kind, verdict), count in self._counts.items()
            if count > listed[kind, verdict]
        ]
        return tuple(sorted([*self.listed, *more], key=lambda finding: -_WEIGHT[finding.verdict]))


def worst(findings: tuple[Finding, ...]) -> Verdict:
    """
    The verdict of the whole.
    """
    return max((finding.verdict for finding in findings), key=_WEIGHT.__getitem__, default=Verdict.VALID)


def place(file: str, line: int, fields: dict[str, Any]) -> Place:
    """
    A line as evidence: when, who, what.
    """
    kind = fields.get("kind")
    if kind == "transition":
        source, dest, node = fields.get("source"), fields.get("dest"), fields.get("node")
        words = [f"{node} {source} → {dest} by {fields.get('trigger')}", f"seq {fields.get('seq')}"]
        words += [f"{key} {fields[key]}" for key in ("token", "cause") if fields.get(key) is not None]
        text = ", ".join(words)
    elif kind == "leader":
        seen: dict[str, Any] = fields.get("leader") or {}
        text = f"{fields.get('node')} sees {seen.get('node')} lead with token {seen.get('token')}"
    else:
        text = " ".join(str(fields[key]) for key in ("kind", "lost", "error", "problem", "text") if key in fields)
    return Place(file, line, f"{short(fields.get('at'))} {text}".strip()[:240])


def seconds(at: str) -> float:
    """
    Unix time of an RFC 3339 text.
    """
    return datetime.fromisoformat(at).timestamp()


def short(at: object) -> str:
    """
    A time for people, UTC: from the text of a line, or from Unix time.
    """
    try:
        moment = datetime.fromtimestamp(at, UTC) if isinstance(at, int | float) else datetime.fromisoformat(str(at))
        return moment.astimezone(UTC).isoformat(" ", "milliseconds")[:23]
    except (ValueError, OverflowError, OSError):
        return "" if at is None else str(at)

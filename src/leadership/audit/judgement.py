"""
What a judge says of audits: a verdict, the findings that carry it, and the terms that were seen.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, NamedTuple


class Verdict(StrEnum):
    """
    What can be said of a set of audits as a whole.
    """

    VALID = "valid"
    """Everything that the audits tell agrees with the tables and with the promises."""
    INVALID = "invalid"
    """A promise was broken, or an audit was tampered with: a finding proves it."""
    UNKNOWN = "unknown"
    """Nothing is proved to be wrong, and something that would be needed to say so is missing."""


class Place(NamedTuple):
    """
    A line of an audit.
    """

    file: str
    line: int
    """Counted from 1."""
    text: str
    """The line in short, for people: when, which node, what."""


@dataclass(frozen=True, slots=True)
class Finding:
    """
    Something that is wrong or cannot be known, and the lines that show it.
    """

    kind: str
    """A word of `KINDS`."""
    verdict: Verdict
    """What this finding alone makes of the whole: invalid or unknown; valid for a mere remark."""
    what: str
    """One sentence with the figures."""
    places: tuple[Place, ...]
    """The two or three lines that prove it, earliest first; one is enough for some kinds."""
    election: str | None = None
    nodes: tuple[str, ...] = ()
    began: float | None = None
    """Seconds of the wall clock (Unix time), where the finding has a time; an overlap has both."""
    ended: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """
        JSON-able values.
        """
        return asdict(self) | {"verdict": self.verdict.value, "places": [place._asdict() for place in self.places]}


@dataclass(frozen=True, slots=True)
class Span:
    """
    One term as its own node's audit tells it: the time in which the node believed that it led.
    """

    election: str
    node: str
    token: int
    began: float
    """Unix time by the node's wall clock: the record of the election."""
    ended: float | None
    """The demotion's or the local deadline's, whichever came first; None where the audit ends within the term."""
    cause: str | None
    reason: str | None
    renewals: int
    elected: Place
    demoted: Place | None

    def as_dict(self) -> dict[str, Any]:
        """
        JSON-able values.
        """
        return asdict(self) | {
            "elected": self.elected._asdict(),
            "demoted": None if self.demoted is None else self.demoted._asdict(),
        }


@dataclass(frozen=True, slots=True)
class Judgement:
    """
    The whole.
    """

    verdict: Verdict
    findings: tuple[Finding, ...]
    spans: tuple[Span, ...]
    """All terms, by election and token."""
    records: int
    files: int
    elections: tuple[str, ...]
    nodes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """
        JSON-able values.
        """
        return {
            "verdict": self.verdict.value,
            "findings": [finding.as_dict() for finding in self.findings],
            "spans": [span.as_dict() for span in self.spans],
            "records": self.records,
            "files": self.files,
            "elections": list(self.elections),
            "nodes": list(self.nodes),
        }

"""
A report of audits: one HTML file to look at and to hand on.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from typing import Any, Final

from leadership.audit._report.machine import edges, svg
from leadership.audit._report.records import EXACT, Names, Records, printable, token
from leadership.audit.judgement import Finding, Judgement, Span, Verdict
from leadership.audit.read import Line

MARK: Final = "<!-- leadership audit report -->"
"""The second line of every report, by which one is known."""
TITLE: Final = "Audit report"
"""The title of a report that is given none."""
FINDINGS: Final = 1000
"""Findings that a report tells in full; more are counted by their kind."""

_MEANS: Final = {
    Verdict.VALID: "Everything that the audits tell agrees with the tables of the machines and with the promises.",
    Verdict.INVALID: "A promise was broken, or an audit was tampered with: the findings below prove it.",
    Verdict.UNKNOWN: "Nothing is proved to be wrong, and something that would be needed to say so is missing.",
}
_CODE: Final = (
    "data.js",
    "tables.js",
    "figures.js",
    "behaviour.js",
    "looks.js",
    "bars.js",
    "timeline.js",
    "pointer.js",
    "report.js",
)


def render(judgement: Judgement, lines: Iterable[Line], *, title: str = TITLE) -> str:
    """
    Render a report: one HTML page that asks nothing of a network. Holds all records in memory.

    Args:
        judgement: What a judge says of the audits.
        lines: The lines of the same audits, as `read` gives them.
        title: The page's title.

    Raises:
        ConfigError: A line that is read late is of a later version (see `read`).
    """
    records = Records()
    records.take(lines)
    data = _data(judgement, records)
    style, code = _part("report.css"), "\n".join(_part(name) for name in _CODE)
    page = _part("report.html")
    parts = {
        "MARK": MARK,
        "POLICY": f"default-src 'none'; script-src '{_digest(code)}'; style-src '{_digest(style)}'; "
        "base-uri 'none'; form-action 'none'",
        "TITLE": html.escape(printable(title)),
        "VERDICT": judgement.verdict.value,
        "MEANS": _MEANS[judgement.verdict],
        "SUMMARY": html.escape(_summary(judgement)),
        "MADE": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC by leadership {version('leadership')}",
        "MACHINE": svg(),
        "STYLE": style,
        "CODE": code,
        "DATA": embedded(data),
    }
    # In one pass: what is put in is not looked at again, whatever it says.
    return re.sub(r"@([A-Z]+)@", lambda mark: parts[mark[1]], page)


def is_report(text: str) -> bool:
    """
    Whether a file that begins so is a report, which another one may replace.
    """
    return MARK in text.splitlines()[:2]


def embedded(value: Any) -> str:
    """
    JSON that nothing in it can end or escape, wherever it stands in HTML.
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _part(name: str) -> str:
    return (files("leadership.audit._report") / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """
    The name by which the page's policy lets this text, and no other, be run.
    """
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _summary(judgement: Judgement) -> str:
    """
    How much was judged, in one sentence.
    """
    counts = (
        (judgement.records, "record"),
        (judgement.files, "file"),
        (len(judgement.nodes), "node"),
        (len(judgement.elections), "election"),
        (len(judgement.spans), "term"),
    )
    return ", ".join(f"{count:,} {word}{'' if count == 1 else 's'}" for count, word in counts)


def _data(judgement: Judgement, records: Records) -> dict[str, Any]:
    base = _base(judgement, records)
    causes = Names()
    spans = [_span(span, records, causes, base) for span in judgement.spans]
    told, left = judgement.findings[:FINDINGS], judgement.findings[FINDINGS:]
    return {
        "base": base,
        "verdict": judgement.verdict.value,
        "spans": spans,
        "causes": causes.texts(),
        "findings": [_finding(finding, records, base) for finding in told],
        "left": dict(Counter(printable(finding.kind) for finding in left)),
        "edges": edges(),
        **records.as_dict(base),
        # Last: what spans and findings name may be in no record.
        "elections": records.elections.texts(),
        "nodes": records.nodes.texts(),
        "files": records.files.texts(),
    }


def _base(judgement: Judgement, records: Records) -> int:
    """
    The earliest time of all, which the page counts from.
    """
    times = [records.earliest(), *(_micros(span.began) for span in judgement.spans)]
    times += [_micros(finding.began) for finding in judgement.findings]
    return min((time for time in times if time is not None), default=0)


def _micros(seconds: float | None, base: int = 0) -> int | None:
    return None if seconds is None or not abs(seconds) < EXACT / 1e6 else round(seconds * 1e6) - base


def _span(span: Span, records: Records, causes: Names, base: int) -> list[Any]:
    return [
        records.elections(span.election),
        records.nodes(span.node),
        token(span.token),
        _micros(span.began, base),
        _micros(span.ended, base),
        None if span.cause is None else causes(span.cause),
        printable(span.reason),
        span.renewals,
        records.files(span.elected.file),
        span.elected.line,
        None if span.demoted is None else records.files(span.demoted.file),
        None if span.demoted is None else span.demoted.line,
    ]


def _finding(finding: Finding, records: Records, base: int) -> dict[str, Any]:
    return {
        "kind": printable(finding.kind),
        "verdict": finding.verdict.value,
        "what": printable(finding.what),
        "places": [[records.files(place.file), place.line, printable(place.text)] for place in finding.places],
        "e": None if finding.election is None else records.elections(finding.election),
        "nodes": [records.nodes(node) for node in finding.nodes],
        "began": _micros(finding.began, base),
        "ended": _micros(finding.ended, base),
    }

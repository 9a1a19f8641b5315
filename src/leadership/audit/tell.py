"""
A judgement in words, for a terminal: the verdict with its evidence, and the terms in the order of time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import median
from typing import Final

from leadership.audit._found import short
from leadership.audit.judgement import Finding, Judgement, Span, Verdict
from leadership.audit.show import as_text

_SAYS: Final = {
    Verdict.VALID: "valid: all that the audits tell agrees with the tables and the promises",
    Verdict.INVALID: "invalid: a promise was broken, or an audit was changed",
    Verdict.UNKNOWN: "unknown: nothing is proved to be wrong, and something is missing that would be needed to say so",
}
_WILLING: Final = ("resigned", "stopped", "callback_failed")
_TITLES: Final = ("from (UTC)", "to", "length", "token", "node", "ended by")


def tell(judgement: Judgement) -> Iterator[str]:
    """
    The verdict, the findings with the lines that prove them, and what was read.

    Returns:
        Lines without newlines. Text from the audit cannot control a terminal.
    """
    yield _SAYS[judgement.verdict]
    for finding in judgement.findings:
        yield ""
        word = "remark" if finding.verdict is Verdict.VALID else finding.verdict.value
        yield as_text(f"{word}: {finding.kind}: {finding.what}")
        for place in finding.places:
            yield f"    {as_text(f'{place.file}:{place.line}: {place.text}')}"
    yield ""
    counts = {
        "record": judgement.records,
        "node": len(judgement.nodes),
        "election": len(judgement.elections),
        "file": judgement.files,
    }
    yield ", ".join(f"{count:,} {word}{'' if count == 1 else 's'}" for word, count in counts.items())


def timeline(judgement: Judgement, election: str | None = None) -> Iterator[str]:
    """
    Who led when: each election's terms, the vacancies between them, overlaps, and what it took to fail over.

    Args:
        judgement: With its spans.
        election: Only this one.

    Returns:
        Lines without newlines. Text from the audit cannot control a terminal.
    """
    overlaps = [finding for finding in judgement.findings if finding.kind == "overlap"]
    for name in judgement.elections:
        if election in {None, name}:
            spans = sorted((span for span in judgement.spans if span.election == name), key=lambda span: span.began)
            yield from _election(name, spans, overlaps)


def _election(name: str, spans: list[Span], overlaps: list[Finding]) -> Iterator[str]:
    yield as_text(name)
    if not spans:
        yield "  nobody led"
        yield ""
        return
    rows: list[tuple[str, ...]] = [_TITLES]
    marks: dict[int, str] = {}
    vacancies: list[tuple[float, Span]] = []
    latest: Span | None = None
    for span in spans:
        if latest is not None and latest.ended is not None and span.began > latest.ended:
            vacancies.append((span.began - latest.ended, latest))
            rows.append(("", "", _seconds(span.began - latest.ended), "", "vacant", ""))
        for finding in overlaps:
            if span.elected in finding.places[1:2]:
                marks[len(rows)] = f"!! {finding.what}"
        rows.append(_row(span))
        if latest is None or latest.ended is None or (span.ended or span.began) >= latest.ended:
            latest = span
    widths = [max(len(row[column]) for row in rows) for column in range(len(_TITLES))]
    for number, row in enumerate(rows):
        if number in marks:
            yield f"  {as_text(marks[number])}"
        cells = (cell.ljust(width) for cell, width in zip(row, [*widths[:-1], 0], strict=True))
        yield f"  {'  '.join(cells)}".rstrip()
    yield f"  {_count(len(spans), 'term')} of {_count(len({span.node for span in spans}), 'node')}"
    willing = [length for length, before in vacancies if before.cause in _WILLING]
    others = [length for length, before in vacancies if before.cause not in _WILLING]
    yield from _summary("handed over by resigning or stopping", willing)
    yield from _summary("taken over after any other end", others)
    yield ""


def _row(span: Span) -> tuple[str, ...]:
    if span.ended is None:
        ends = ("", "", "the audit ends within the term")
    else:
        reason = f" ({span.reason})" if span.reason else ""
        ends = (short(span.ended), _seconds(span.ended - span.began), f"{span.cause}{reason}")
    return short(span.began), ends[0], ends[1], str(span.token), as_text(span.node), as_text(ends[2])


def _summary(what: str, lengths: Iterable[float]) -> Iterator[str]:
    known = sorted(lengths)
    if known:
        yield (
            f"  {what}: {_count(len(known), 'time')}, vacant for {_seconds(sum(known))} in all,"
            f" {_seconds(median(known))} in the median, {_seconds(known[-1])} at most"
        )


def _seconds(value: float) -> str:
    return f"{value:.3f} s"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"

"""
Audits, shown: a record a line, in the order of time.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from leadership.audit.read import TORN, Files, Line, as_list, read

_CHUNK: Final = 500
"""
Lines that are aligned together. Columns never get narrower afterwards.
"""

_TITLES: Final = ("time (UTC)", "node", "election", "machine", "transition", "trigger", "cause", "token", "after", "")


def show(
    files: Files,
    election: str | None = None,
    node: str | None = None,
    *,
    rotated: bool = False,
    as_json: bool = False,
) -> Iterator[str]:
    """
    Render the records of audits, merged by their wall clocks, as aligned columns or as JSON.

    Besides records it shows what is missing: gaps, and lines that cannot be read. These belong to no election, so no
    filter hides them. As JSON it also shows who led in the eyes of whom (`kind` leader), which in columns would drown
    the records. Nothing to show: no lines.

    Args:
        files: The files.
        election: Only this election's records.
        node: Only this node's records.
        rotated: Also the rotated files of each.
        as_json: One JSON object a line: the fields as written, and `file` and `line`.

    Returns:
        Lines without newlines. Text from the audit cannot control a terminal.

    Raises:
        ConfigError: See `read`.
    """
    streams = [_timed(read([file], rotated=rotated)) for file in as_list(files)]
    merged = (line for _, line in heapq.merge(*streams, key=lambda timed: timed[0]))
    lines = (line for line in merged if _is_wanted(line.fields, election, node))
    if as_json:
        return (_as_json(line) for line in lines)
    return _as_columns(line for line in lines if line.fields["kind"] != "leader")


def _timed(lines: Iterator[Line]) -> Iterator[tuple[str, Line]]:
    """
    A line without a time belongs where the one before it does.
    """
    latest = ""
    for line in lines:
        latest = str(line.fields.get("at", latest))
        yield latest, line


def _is_wanted(fields: dict[str, Any], election: str | None, node: str | None) -> bool:
    if fields["kind"] not in ("transition", "leader"):
        return fields["kind"] in ("gap", TORN)
    return election in (None, fields.get("election")) and node in (None, fields.get("node"))


def _as_json(line: Line) -> str:
    return json.dumps({"file": line.file, "line": line.number, **line.fields}, allow_nan=False)


def _as_columns(lines: Iterator[Line]) -> Iterator[str]:
    widths = [0] * len(_TITLES)
    titles = [_TITLES]
    while chunk := [_cells(line) for line in itertools.islice(lines, _CHUNK)]:
        for cells in titles + chunk:
            if isinstance(cells, tuple):
                widths = [max(width, len(cell)) for width, cell in zip(widths, cells, strict=True)]
        for cells in titles + chunk:
            yield cells if isinstance(cells, str) else _row(cells, widths)
        titles = []


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, [*widths[:-1], 0], strict=True))
    return "  ".join(padded).rstrip()


def _cells(line: Line) -> tuple[str, ...] | str:
    """
    The columns of a record, or a sentence on what is missing.
    """
    fields = line.fields
    where = f"{line.file}:{line.number}"
    if fields["kind"] == "gap":
        since, error = _time(fields.get("since")), as_text(fields.get("error"))
        return f"!! {as_text(where)}: {_lost(fields)} could not be written since {since} ({error})"
    if fields["kind"] == TORN:
        return f"!! {as_text(where)}: {as_text(fields.get('problem'))}: {as_text(fields.get('text'))[:80]}"
    source, dest = as_text(fields.get("source")), as_text(fields.get("dest"))
    went = fields.get("disposition") == "go"
    return (
        _time(fields.get("at")),
        as_text(fields.get("node")),
        as_text(fields.get("election")),
        as_text(fields.get("machine")),
        f"{source} → {dest}" if went else f"{source} ({as_text(fields.get('disposition'))})",
        as_text(fields.get("trigger")),
        as_text(fields.get("cause")),
        as_text(fields.get("token")),
        _seconds(fields.get("duration")),
        " ".join(f"{key}={as_text(fields[key])}" for key in ("reason", "error") if fields.get(key)),
    )


def _lost(fields: dict[str, Any]) -> str:
    views = f"{as_text(fields['leaders'])} view(s) of who led" if fields.get("leaders") else ""
    records = "" if views and fields.get("lost") == 0 else f"{as_text(fields.get('lost'))} record(s)"
    return " and ".join(filter(None, (records, views)))


def _time(value: object) -> str:
    try:
        at = datetime.fromisoformat(str(value))
        return at.astimezone(UTC).isoformat(" ", "milliseconds")[:23]
    except (ValueError, OverflowError):
        return as_text(value)


def _seconds(value: object) -> str:
    return f"{value:.3f} s" if isinstance(value, int | float) else as_text(value)


def as_text(value: object) -> str:
    """
    A value as text that stays on its line.
    """
    text = "" if value is None else str(value)
    return text if text.isprintable() else json.dumps(text)

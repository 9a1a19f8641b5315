"""
What happened in a demo, drawn as text. Pure: records in, lines out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

Record = Mapping[str, Any]
GONE: Final = "gone"
"""The state of a node whose process was killed, in a record that the demo makes itself."""
FROZEN: Final = "frozen"
_MARKS: Final = {"leader": "█", "campaigning": "·", FROZEN: "▒", GONE: " ", "idle": " "}
_OTHER: Final = "-"
LEGEND: Final = "█ leads (the digit is its token)   · waits   - steps down or pauses   ▒ is frozen   ✗ killed"


def lanes(records: Sequence[Record], nodes: Sequence[str], *, width: int = 72) -> list[str]:
    """
    A line a node, from left to right in time: what it was.

    Args:
        records: Of all nodes; `monotonic` is the time.
        nodes: In the order of their lines.
        width: Columns for the time.
    """
    begin = min(record["monotonic"] for record in records)
    scale = (max(record["monotonic"] for record in records) - begin) / (width - 1) or 1.0
    margin = max(map(len, nodes)) + 2
    lines: list[str] = []
    for node in nodes:
        lane = [" "] * width
        changes = sorted((record for record in records if record["node"] == node), key=lambda one: one["monotonic"])
        for record in changes:
            column = round((record["monotonic"] - begin) / scale)
            state = record["dest"]
            lane[column:] = _MARKS.get(state, _OTHER) * (width - column)
        for record in changes:  # after the lanes, lest the next state hide them
            column = round((record["monotonic"] - begin) / scale)
            if record["dest"] == GONE:
                lane[column] = "✗"
            elif record["dest"] == "leader":
                lane[column] = str(record["token"])[-1]
        lines.append(f"{node:<{margin}}{''.join(lane).rstrip()}")
    return [_ruler(margin, width, scale), *lines]


def _ruler(margin: int, width: int, scale: float) -> str:
    """
    Seconds, a mark every two.
    """
    ruler = [" "] * (width + 4)
    second = 0
    while (column := round(second / scale)) < width:
        ruler[column : column + 4] = f"{second}s".ljust(4)
        second += 2
    return " " * margin + "".join(ruler).rstrip()


def paths(records: Iterable[Record]) -> list[str]:
    """
    Each way that the machines took, in the order in which it was first taken, with the reasons and how often.
    """
    ways: dict[tuple[str, str], Counter[str]] = {}
    for record in records:
        if record.get("trigger"):
            ways.setdefault((record["source"], record["dest"]), Counter())[record["trigger"]] += 1
    return [
        f"{source:>11} ──▶ {dest:<11}  {', '.join(f'{trigger} ×{count}' for trigger, count in reasons.items())}"
        for (source, dest), reasons in ways.items()
    ]

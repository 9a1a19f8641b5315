"""
The candidate's machine as an inline SVG, laid out by hand and drawn from its table; the page adds what was counted.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import Any, Final, cast

from leadership._arrows import AnyMachine, Arrow, arrows
from leadership.fsm import CANDIDATE

MACHINE: Final = cast("AnyMachine", CANDIDATE)
PLACES: Final[Mapping[str, tuple[float, float]]] = {
    "idle": (95, 285),
    "campaigning": (420, 55),
    "leader": (770, 55),
    "error": (510, 285),
    "resigning": (770, 480),
    "backoff": (300, 480),
}
WIDTH: Final = 138
HEIGHT: Final = 66
APART: Final = 30
"""Between arrows that join the same two states."""
# Ways around what stands between: the point that pulls a curve, from the middle of the straight line.
BENDS: Final[Mapping[tuple[str, str], tuple[float, float]]] = {("resigning", "idle"): (-260, 400)}

Point = tuple[float, float]


def drawn() -> list[Arrow]:
    """
    The arrows of the table, in the order of their numbers in the picture.
    """
    return list(arrows(MACHINE, {}))


def edges() -> list[dict[str, Any]]:
    """
    For the page: each arrow, and which records are counted on it, as `trigger/guard`.
    """
    return [
        {
            "source": str(arrow.source),
            "dest": str(arrow.dest),
            "kind": arrow.kind.value,
            "of": [
                f"{row.trigger}/{row.guard_name or ''}"
                for row in MACHINE.table
                if (row.source, row.dest) == (arrow.source, arrow.dest) and _is_of(arrow, row)
            ],
        }
        for arrow in drawn()
    ]


def _is_of(arrow: Arrow, row: Any) -> bool:
    """
    Whether a row is one of an arrow's: between the same states there may be arrows of several classes.
    """
    return any(
        reason.trigger == row.trigger and (row.guard_name or "else") in _guards(reason.guard)
        for reason in arrow.reasons
    )


def _guards(words: str | None) -> list[str]:
    if words is None:
        return ["else"]
    return ["else" if word == "else" or word.startswith("not ") else word for word in words.split(" or ")]


def svg() -> str:
    """
    The picture. Each state and arrow has a mark by which the page finds it.
    """
    everything = drawn()
    parts = [
        '<svg id="machine" viewBox="0 0 880 630" role="img" aria-labelledby="machine-title">',
        '<title id="machine-title">The candidate as it behaved, which the table below tells in words</title>',
        "<defs>",
        *(
            f'<marker id="tip-{kind}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="11" markerHeight="11" '
            f'markerUnits="userSpaceOnUse" orient="auto"><path class="head {kind}" d="M0 0L10 5L0 10z"/></marker>'
            for kind in dict.fromkeys(arrow.kind.value for arrow in everything)
        ),
        "</defs>",
    ]
    pairs: dict[frozenset[str], list[int]] = {}
    for number, arrow in enumerate(everything):
        pairs.setdefault(frozenset((str(arrow.source), str(arrow.dest))), []).append(number)
    for number, arrow in enumerate(everything):
        together = pairs[frozenset((str(arrow.source), str(arrow.dest)))]
        lane = (together.index(number) - (len(together) - 1) / 2) * APART
        parts.append(_arrow(number, arrow, lane))
    parts += [_state(state, *place) for state, place in PLACES.items()]
    return "\n".join([*parts, "</svg>"])


def _state(name: str, x: float, y: float) -> str:
    left, top = x - WIDTH / 2, y - HEIGHT / 2
    return (
        f'<g class="state" data-state="{name}"><rect class="box s-{name}" x="{left:g}" y="{top:g}" '
        f'width="{WIDTH}" height="{HEIGHT}" rx="8"/>'
        f'<text class="name" x="{x:g}" y="{y - 11:g}">{name}</text>'
        f'<text class="time" x="{x:g}" y="{y + 7:g}"></text><text class="more" x="{x:g}" y="{y + 23:g}"></text></g>'
    )


def _arrow(number: int, arrow: Arrow, lane: float) -> str:
    source, dest = PLACES[str(arrow.source)], PLACES[str(arrow.dest)]
    # The same side for both directions of a pair: the line is turned so that it always begins at the lesser name.
    sign = 1 if arrow.source < arrow.dest else -1
    length = math.dist(source, dest)
    aside = (-(dest[1] - source[1]) / length * lane * sign, (dest[0] - source[0]) / length * lane * sign)
    begin, end = _shifted(source, aside), _shifted(dest, aside)
    bend = BENDS.get((str(arrow.source), str(arrow.dest)))
    middle = _shifted(((begin[0] + end[0]) / 2, (begin[1] + end[1]) / 2), bend or (0.0, 0.0))
    start = _border(source, begin, middle if bend else end)
    stop = _border(dest, end, middle if bend else begin)
    label = ((start[0] + stop[0]) / 2, (start[1] + stop[1]) / 2)
    if bend:
        label = ((label[0] + middle[0]) / 2, (label[1] + middle[1]) / 2)
        way = f"M{start[0]:.1f} {start[1]:.1f}Q{middle[0]:.1f} {middle[1]:.1f} {stop[0]:.1f} {stop[1]:.1f}"
    else:
        way = f"M{start[0]:.1f} {start[1]:.1f}L{stop[0]:.1f} {stop[1]:.1f}"
    reasons = html.escape(", ".join(map(str, arrow.reasons)))
    return (
        f'<g class="edge {arrow.kind.value}" data-edge="{number}"><title>{arrow.source} → {arrow.dest}: {reasons}'
        f'</title><path class="way" d="{way}" marker-end="url(#tip-{arrow.kind.value})"/>'
        f'<text class="count" x="{label[0]:.1f}" y="{label[1] + 4:.1f}"></text></g>'
    )


def _shifted(point: Point, by: Point) -> Point:
    return point[0] + by[0], point[1] + by[1]


def _border(box: Point, inside: Point, towards: Point) -> Point:
    """
    Where a line from a point within a state's box leaves it.
    """
    dx, dy = towards[0] - inside[0], towards[1] - inside[1]
    parts = [
        ((box[0] + math.copysign(WIDTH / 2 + 3, dx) - inside[0]) / dx) if dx else math.inf,
        ((box[1] + math.copysign(HEIGHT / 2 + 3, dy) - inside[1]) / dy) if dy else math.inf,
    ]
    part = min(parts)
    return inside[0] + dx * part, inside[1] + dy * part

"""
Pictures of samples: a line for each contestant, a dot for each sample, a stroke at the median; the axis is logarithmic.

The picture brings its own background, light or dark as the reader's system asks, so that it can be read on any page.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from benchmarks.run import number

WIDTH: Final = 800
LEFT: Final = 262
RIGHT: Final = 84
TOP: Final = 52
LINE: Final = 18
GAP: Final = 7
LEAST: Final = 0.1
STYLE: Final = """
  .back { fill: #ffffff } .grid { stroke: #d8dee4 } text { fill: #24292f; font: 12px sans-serif }
  .title { font-weight: bold } .ours { fill: #0969da; stroke: #0969da } .peer { fill: #9a6700; stroke: #9a6700 }
  circle { fill-opacity: .35; stroke: none } line.ours, line.peer { stroke-width: 3 } .end { text-anchor: end }
  .axis { text-anchor: middle }
  @media (prefers-color-scheme: dark) {
    .back { fill: #0d1117 } .grid { stroke: #30363d } text { fill: #e6edf3 }
    .ours { fill: #58a6ff; stroke: #58a6ff } .peer { fill: #d29922; stroke: #d29922 }
    circle { fill-opacity: .5; stroke: none }
  }
"""


@dataclass(frozen=True)
class Strip:
    """
    One line.
    """

    label: str
    samples: Sequence[float]
    ours: bool
    first: bool = False
    """There is a gap before it."""


def strips(title: str, rows: Sequence[Strip], unit: str) -> str:
    """
    An SVG.
    """
    values = [max(LEAST, value) for row in rows for value in row.samples]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)

    def x(value: float) -> float:
        return round(LEFT + (math.log10(max(LEAST, value)) - low) / (high - low) * (WIDTH - LEFT - RIGHT), 1)

    height = TOP + LINE * len(rows) + GAP * sum(row.first for row in rows) + 14
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
                f'height="{height}" role="img" aria-label="{escape(title)}">'
            ),
            f"<style>{STYLE}</style>",
            f'<rect class="back" width="{WIDTH}" height="{height}"/>',
            f'<text class="title" x="12" y="20">{escape(title)}</text>',
            *_grid(low, high, height, x, unit),
            *_rows(rows, x, unit),
            "</svg>",
            "",
        ]
    )


def _grid(low: int, high: int, height: int, x: Callable[[float], float], unit: str) -> Iterator[str]:
    for power in range(low, high + 1):
        at = x(10**power)
        yield f'<line class="grid" x1="{at}" x2="{at}" y1="{TOP - 8}" y2="{height - 8}"/>'
        yield f'<text class="axis" x="{at}" y="{TOP - 12}">{10**power:,g} {unit}</text>'


def _rows(rows: Sequence[Strip], x: Callable[[float], float], unit: str) -> Iterator[str]:
    y = TOP
    for row in rows:
        y += GAP if row.first else 0
        middle = y + LINE / 2
        kind = "ours" if row.ours else "peer"
        median = statistics.median(row.samples)
        yield f'<text class="end" x="{LEFT - 10}" y="{middle + 4}">{escape(row.label)}</text>'
        yield from (f'<circle class="{kind}" cx="{x(value)}" cy="{middle}" r="3"/>' for value in row.samples)
        at = x(median)
        yield f'<line class="{kind}" x1="{at}" x2="{at}" y1="{middle - 7}" y2="{middle + 7}"/>'
        yield f'<text class="end" x="{WIDTH - 12}" y="{middle + 4}">{number(median)} {unit}</text>'
        y += LINE

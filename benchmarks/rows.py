"""
What a part tells: one row for each figure, a line of JSON on its standard output.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any


def row(
    what: str,
    unit: str,
    samples: Sequence[float],
    *,
    goal: float | None = None,
    ratio: tuple[float, str] | None = None,
    tail: bool = False,
    n: int | None = None,
    more: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """
    Tell a figure: the median of its samples.

    Args:
        what: What was measured.
        unit: Of the samples.
        samples: As measured.
        goal: The figure is to be no more than this.
        ratio: To what, measured in the same rounds.
        tail: Tell the 99th percentile and the maximum, too.
        n: How many things were measured, where a sample is the mean of several.
        more: Parts of the figure, in the same unit.
    """
    value = statistics.median(samples)
    parts = dict(more or {})
    if tail:
        parts = {"p99": percentile(samples, 0.99), "max": max(samples), **parts}
    told = {
        "what": what,
        "value": value,
        "unit": unit,
        "n": len(samples) if n is None else n,
        "more": parts,
        "ratio": None if ratio is None else {"value": ratio[0], "to": ratio[1]},
        "goal": goal,
        "passed": None if goal is None else value <= goal,
    }
    print(json.dumps(told), flush=True)
    return told


def percentile(samples: Sequence[float], part: float) -> float:
    """
    The smallest sample that is no less than this part of all.
    """
    return sorted(samples)[math.ceil(part * len(samples)) - 1]


def ratio(samples: Sequence[float], peer: Sequence[float], name: str) -> tuple[float, str]:
    """
    The median of the ratios of rounds that ran side by side.
    """
    return statistics.median(mine / theirs for mine, theirs in zip(samples, peer, strict=True)), name

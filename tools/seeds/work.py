"""
What worker processes do: play lives, and sum up.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from leadership.audit import Verdict, verify
from seeds.life import Life, play
from seeds.plan import Plan, draw_plan
from seeds.plants import planted
from seeds.witness import Played

SKEW: Final = 0.001
"""All nodes tell one wall time; what is left is what rounding and a clock's rate make of it."""


@dataclass
class Sums:
    """
    What many lives did, so that one sees that they did something.
    """

    lives: int = 0
    seconds: float = 0.0
    terms: int = 0
    events: int = 0
    taken: int = 0
    refused: int = 0
    stale: int = 0
    audited: int = 0
    slowest: float = 0.0
    """The longest recovery, as a part of its bound."""
    ends: Counter[str] = field(default_factory=Counter[str])
    faults: Counter[str] = field(default_factory=Counter[str])
    broken: dict[int, str] = field(default_factory=dict[int, str])

    def add(self, played: Played) -> None:
        """
        One more.
        """
        self.lives += 1
        self.audited += played.audited
        self.seconds += played.seconds
        self.terms += played.terms
        self.events += played.events
        self.taken += played.taken
        self.refused += played.refused
        self.stale += played.stale
        self.slowest = max(self.slowest, played.recovery)
        self.ends += played.ends
        self.faults += played.faults
        if played.failures:
            self.broken[played.seed] = played.failures[0]

    def as_dict(self) -> dict[str, Any]:
        """
        JSON-able.
        """
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}


def judged(plan: Plan) -> Played:
    """
    Play a plan with an audit for each candidate, and have it judged.
    """
    with tempfile.TemporaryDirectory() as folder:
        life = Life(plan, Path(folder))
        played = life.play()
        played.audited = True
        verdict = verify([log.path for log in life.logs], clock_error=SKEW)
        # Of a process that is killed nobody knows what it has not written yet.
        killed = any(step.kind == "crash" for step in plan.steps)
        allowed = {Verdict.VALID, Verdict.UNKNOWN} if killed else {Verdict.VALID}
        if plan.is_honest and verdict.verdict not in allowed and not played.failures:
            found = [each.what for each in verdict.findings if each.verdict is not Verdict.VALID]
            played.failures.append(f"{played.seconds:.6f} audit the audits are {verdict.verdict}: {found[:2]}")
    return played


def work(store: str, seeds: range, audit: int, plant: str = "") -> list[Played]:
    """
    Play some seeds of one store; for worker processes.
    """
    found: list[Played] = []
    with planted(plant):
        for seed in seeds:
            plan = draw_plan(seed, store)
            try:
                played = judged(plan) if audit and seed % audit == 0 else play(plan)
            except Exception as error:  # noqa: BLE001 - the others go on
                played = Played(seed, [f"0.000000 engine {type(error).__name__}: {error}"])
            played.transcript.clear()
            found.append(played)
    return found

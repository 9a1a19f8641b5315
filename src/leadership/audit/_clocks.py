"""
What the order of events at the store says of two nodes' wall clocks, as NTP bounds an offset by causes and effects.

If one thing came before another at the store, and by their nodes' clocks after it, then the clocks differ by at least
that much. Causes before effects are here: a leader that resigned within its lease gave its entry back after its last
record, and the next one was elected after that; and nobody sees a leader before the election was granted, which was
after that leader had begun to stand.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from leadership.audit._found import Findings
from leadership.audit.judgement import Place, Verdict

_INFINITE = float("inf")


@dataclass
class Bound:
    """
    How far the clock of `b` is ahead of that of `a`, in seconds: at least `low`, at most `high`; and what proves it.
    """

    low: float = -_INFINITE
    high: float = _INFINITE
    low_places: tuple[Place, ...] = ()
    high_places: tuple[Place, ...] = ()
    nodes: tuple[str, str] = ("", "")


@dataclass
class Clocks:
    """
    The bounds between all clocks of which something is known.
    """

    error: float
    bounds: dict[tuple[str, str], Bound] = field(default_factory=dict[tuple[str, str], Bound])
    stepped: set[str] = field(default_factory=set[str])
    """Clocks that were set while they ran."""

    def before(
        self, a: str, b: str, gap: float, nodes: tuple[str, str], places: tuple[Place, ...] | None = None
    ) -> bool:
        """
        Learn that something at `a` came before something at `b`, `gap` seconds earlier by their clocks.

        Returns:
            Whether that says more than was known; then it is to be told again with `places`.
        """
        swapped = b < a
        bound = self.bounds.get((b, a) if swapped else (a, b))
        if bound is None:
            bound = self.bounds[(b, a) if swapped else (a, b)] = Bound(nodes=(nodes[1], nodes[0]) if swapped else nodes)
        known = -bound.low if swapped else bound.high
        if gap >= known and places is None:
            return False
        if places is not None and swapped:
            bound.low, bound.low_places = -gap, places
        elif places is not None:
            bound.high, bound.high_places = gap, places
        return True

    def contradict(self, a: str, b: str) -> bool:
        """
        Whether the order of the store cannot be had with clocks that agree within their error.
        """
        bound = self.bounds.get((min(a, b), max(a, b)))
        return bound is not None and (bound.high < -self.error or bound.low > self.error)

    def doubtful(self, *clocks: str) -> bool:
        """
        Whether one of these agrees with some other one only beyond their error.
        """
        return any(self.contradict(*pair) for pair in self.bounds if not set(pair).isdisjoint(clocks))

    def impossible(self, a: str, b: str) -> bool:
        """
        Whether no difference of two clocks, neither of which was set meanwhile, explains the order of the store.
        """
        bound = self.bounds.get((min(a, b), max(a, b)))
        return bound is not None and bound.low > bound.high + self.error and not {a, b} & self.stepped

    def say(self, findings: Findings) -> None:
        """
        Name the clocks that are off.
        """
        for (a, b), bound in self.bounds.items():
            if not self.contradict(a, b) or self.impossible(a, b):
                continue
            behind, ahead = bound.nodes if bound.low > self.error else (bound.nodes[1], bound.nodes[0])
            least = bound.low if bound.low > self.error else -bound.high
            places = bound.low_places if bound.low > self.error else bound.high_places
            what = (
                f"the wall clock of {ahead!r} is at least {least:.3f} s ahead of {behind!r}, or that one behind:"
                " by the order of the store the one came before the other"
            )
            findings.add("clock_skew", Verdict.UNKNOWN, what, *places, nodes=(behind, ahead))

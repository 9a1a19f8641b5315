"""
What a picture of a machine says, before it is written in any language: arrows with labels, and reactions inside states.

Law: a picture says what a table says. Only looks and classes are decided here; states, guards and effects are rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias

from leadership.fsm import CandidateEffect, CandidateTrigger, FollowerEffect, Machine
from leadership.fsm.row import Disposition, Row

AnyMachine: TypeAlias = Machine[StrEnum, StrEnum, StrEnum, Any]
AnyRow: TypeAlias = Row[StrEnum, StrEnum, StrEnum, Any]
Counts: TypeAlias = Mapping[tuple[str, str, str], int]
"""How often each (source, trigger, dest) was seen."""

LONG: Final = 2  # reasons of an arrow, above which a compact picture only counts them
WIDE: Final = 27  # characters of a line, above which it is broken: Mermaid breaks later ones at a place of its own


class Class(StrEnum):
    """
    What kind of reason moves a machine.
    """

    SUCCESS = "success"
    FAULT = "fault"
    USER = "user"
    TIMER = "timer"
    ENGINE = "engine"


_CLASS_OF: Final[Mapping[str, Class]] = {
    CandidateTrigger.START: Class.USER,
    CandidateTrigger.RESIGN: Class.USER,
    CandidateTrigger.STOP: Class.USER,
    CandidateTrigger.BACKOFF_ELAPSED: Class.TIMER,
    CandidateTrigger.CALLBACK_FAILED: Class.FAULT,
}
_CALLBACKS: Final[Mapping[str, str]] = {
    CandidateEffect.ON_ELECTED: "on_elected",
    CandidateEffect.ON_DEMOTED: "on_demoted",
    FollowerEffect.ON_LEADER_CHANGED: "on_leader_changed",
    FollowerEffect.ON_LEADER_LOST: "on_leader_changed(None)",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """
    One line of an arrow's label.
    """

    trigger: str
    guard: str | None
    callbacks: tuple[str, ...]
    count: int

    def __str__(self) -> str:
        return f"{self.trigger}{_times(self.count)}{f' [{self.guard}]' if self.guard else ''}"


@dataclass(frozen=True, slots=True)
class Arrow:
    """
    All reasons of one class to go from one state to another.
    """

    source: str
    dest: str
    kind: Class
    reasons: tuple[Reason, ...]

    @property
    def count(self) -> int:
        """
        How often the machine went this way.
        """
        return sum(reason.count for reason in self.reasons)

    def lines(self, *, compact: bool, sign: str = "") -> list[str]:
        """
        The label: a line a reason, wide ones broken, and what several reasons call said once.
        """
        called = {reason.callbacks for reason in self.reasons}
        if len(self.reasons) == 1 or len(called) > 1:
            return [line for reason in self.reasons for line in _broken(f"{sign}{reason}", reason.callbacks)]
        (callbacks,) = called
        if compact and len(self.reasons) > LONG:
            lost = "lost: " if _CALLBACKS[CandidateEffect.ON_DEMOTED] in callbacks else ""
            return _broken(f"{sign}{lost}{len(self.reasons)} reasons{_times(self.count)}", callbacks)
        lines = [line for reason in self.reasons for line in _broken(f"{sign}{reason}")]
        return [*lines, *_broken("each", callbacks)] if callbacks else lines


def arrows(machine: AnyMachine, counts: Counts) -> Iterator[Arrow]:
    """
    The rows that leave a state, grouped by (source, dest, class), in the order of the states.
    """
    grouped: dict[tuple[StrEnum, StrEnum, Class], dict[str, list[AnyRow]]] = {}
    for row in machine.table:
        if row.dest is not None:
            cells = grouped.setdefault((row.source, row.dest, _class_of(row)), {})
            cells.setdefault(row.trigger, []).append(row)
    order = [*machine.states, *Class]
    for group in sorted(grouped, key=lambda group: [order.index(part) for part in group]):
        yield Arrow(*group, tuple(_reason(machine, rows, counts) for rows in grouped[group].values()))


def reactions(machine: AnyMachine, state: str, counts: Counts) -> list[str]:
    """
    What a state does without being left; triggers that do the same share a line.
    """
    rows = [row for row in machine.table if row.source == state]
    leaving = {row.trigger for row in rows if row.dest == state}
    grouped: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        if row.disposition is Disposition.STAY:
            # (state, trigger, state) counts the arrow to itself, where there is one.
            reason = _reason(machine, [row], {} if row.trigger in leaving else counts)
            grouped.setdefault(row.effects, []).append(str(reason))
    return [f"{', '.join(triggers)} / {', '.join(effects)}" for effects, triggers in grouped.items()]


def _class_of(row: AnyRow) -> Class:
    if row.trigger in _CLASS_OF:
        return _CLASS_OF[row.trigger]
    if str(row.dest) == "error" or CandidateEffect.ON_GAVE_UP in row.effects:
        return Class.FAULT
    return Class.SUCCESS if str(row.dest) in ("leader", "following") else Class.ENGINE


def _reason(machine: AnyMachine, rows: Sequence[AnyRow], counts: Counts) -> Reason:
    """
    The alternatives of one cell that lead to the same state, as one reason.
    """
    first = rows[0]
    guards = [guard for row in rows if (guard := _guard(machine, row))]
    callbacks = tuple(_CALLBACKS[effect] for effect in first.effects if effect in _CALLBACKS)
    count = counts.get((first.source, first.trigger, first.dest or first.source), 0)
    return Reason(first.trigger, " or ".join(guards) or None, callbacks, count)


def _guard(machine: AnyMachine, row: AnyRow) -> str | None:
    """
    When an alternative applies; the last one of a cell says what those before it do not.
    """
    if row.guard is not None:
        return row.guard_name
    others = [other.guard_name for other in machine.cell(row.source, row.trigger) if other.guard is not None]
    return None if not others else f"not {others[0]}" if len(others) == 1 else "else"


def _times(count: int) -> str:
    return f" ×{count:,}" if count else ""


def _broken(head: str, callbacks: tuple[str, ...] = ()) -> list[str]:
    """
    A line, or several where it would be wide.
    """
    tail = f" / {', '.join(callbacks)}" if callbacks else ""
    if len(head) + len(tail) <= WIDE:
        return [head + tail]
    trigger, bracket, guard = head.partition(" [")
    guards = f"[{guard}".replace(" or ", "\n or ").splitlines() if bracket else []
    return [trigger, *(f"   {part}" for part in guards), *([f"  {tail}"] if tail else [])]

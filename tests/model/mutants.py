"""
Every table that differs from a given one in one place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any, NamedTuple

from model.probing import AnyRow

from leadership.fsm.row import DemotionCause, Disposition


class Mutant(NamedTuple):
    """
    A table with one fault planted, and the fault in words.
    """

    kind: str
    what: str
    rows: tuple[AnyRow, ...]


def moved(row: AnyRow, dest: Any) -> AnyRow:
    """
    The row with another destination, and the disposition that goes with it.
    """
    if dest is not None:
        return replace(row, dest=dest, disposition=Disposition.GO)
    return replace(row, dest=None, disposition=Disposition.STAY if row.effects else Disposition.IGNORE)


def without(row: AnyRow, effect: Any) -> AnyRow:
    """
    The row without an effect; one that did nothing else is ignored.
    """
    left = replace(row, effects=tuple(other for other in row.effects if other is not effect))
    return left if left.effects or left.dest is not None else replace(left, disposition=Disposition.IGNORE)


def with_effect(row: AnyRow, effect: Any, *, first: bool) -> AnyRow:
    """
    The row with an effect more.
    """
    effects = (effect, *row.effects) if first else (*row.effects, effect)
    return replace(row, effects=effects, disposition=Disposition.STAY if row.dest is None else Disposition.GO)


def legality(row: AnyRow) -> AnyRow:
    """
    The row refused where it was answered, or passed over where it was refused.
    """
    if row.disposition is Disposition.ILLEGAL:
        return replace(row, disposition=Disposition.IGNORE)
    return replace(row, dest=None, effects=(), cause=None, disposition=Disposition.ILLEGAL)


def name(row: AnyRow) -> str:
    """
    A row in a few words.
    """
    guard = "" if row.guard is None else f"[{row.guard_name}]"
    return f"{row.source} x {row.trigger}{guard}"


def changes(row: AnyRow, states: type[StrEnum], effects: Iterable[Any]) -> Iterator[tuple[str, str, AnyRow]]:
    """
    Every way to change one row.
    """
    if row.guard is not None:
        yield "guard dropped", name(row), replace(row, guard=None)
    for dest in (*states, None):
        if dest is not row.dest and (dest is not None or row.disposition is Disposition.GO):
            yield "destination changed", f"{name(row)} -> {dest}", moved(row, dest)
    yield "legality changed", name(row), legality(row)
    for effect in row.effects:
        yield "effect dropped", f"{name(row)}: {effect}", without(row, effect)
    for cause in (*DemotionCause, None):
        if cause is not row.cause:
            yield "cause changed", f"{name(row)}: {cause}", replace(row, cause=cause)
    if row.disposition is not Disposition.ILLEGAL:
        for effect in effects:
            yield "effect added", f"{name(row)}: {effect} first", with_effect(row, effect, first=True)
            yield "effect added", f"{name(row)}: {effect} last", with_effect(row, effect, first=False)


def mutants(rows: Sequence[AnyRow], states: type[StrEnum], effects: Iterable[Any]) -> Iterator[Mutant]:
    """
    Every table with one row deleted, changed, or exchanged with the next alternative of its cell.
    """
    effects = tuple(effects)
    for number, row in enumerate(rows):
        before, after = tuple(rows[:number]), tuple(rows[number + 1 :])
        yield Mutant("row deleted", name(row), before + after)
        for kind, what, changed in changes(row, states, effects):
            yield Mutant(kind, what, (*before, changed, *after))
        if row.guard is not None:
            following = next(
                i for i, other in enumerate(after) if (other.source, other.trigger) == (row.source, row.trigger)
            )
            other = after[following]
            swapped = (replace(other, guard=row.guard), replace(row, guard=other.guard))
            rest = (*after[:following], swapped[1], *after[following + 1 :])
            yield Mutant("guard negated", name(row), (*before, swapped[0], *rest))

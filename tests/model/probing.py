"""
A table made to answer as told: guards replaced by facts that the checker decides.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from leadership.errors import IllegalTransition
from leadership.fsm.event import Event
from leadership.fsm.machine import Machine
from leadership.fsm.row import Disposition, Row

AnyRow = Row[Any, Any, Any, Any]
Facts = Mapping[str, bool]
Guards = Mapping[tuple[Any, Any], tuple[str, ...]]


@dataclass(slots=True)
class Probe:
    """
    A context whose guards have been decided.
    """

    state: Any
    facts: Facts
    attempt: int = 0


class Prober:
    """
    The real machine over a table whose guards read their outcome off the context.
    """

    def __init__(self, states: type[StrEnum], triggers: type[StrEnum], rows: Sequence[AnyRow]) -> None:
        self.rows = tuple(rows)
        stubs = [row if row.guard is None else replace(row, guard=_stub(str(row.guard_name))) for row in rows]
        self._machine: Machine[Any, Any, Any, Any] = Machine("probe", states, triggers, stubs)
        self._numbers = {id(row): number for number, row in enumerate(self._machine.table)}
        self._asked: dict[tuple[Any, Any], set[str]] = {}
        for row in rows:
            asked = self._asked.setdefault((row.source, row.trigger), set())
            if row.guard is not None:
                asked.add(str(row.guard_name))

    def asked(self, state: Any, trigger: Any) -> set[str]:
        """
        The guards that a cell asks.
        """
        return self._asked[state, trigger]

    def fire(self, state: Any, trigger: Any, facts: Facts) -> int | None:
        """
        The number of the row that applies; None for an illegal event, which must not have moved anything.
        """
        probe = Probe(state, facts)
        try:
            step = self._machine.fire(probe, Event(trigger, now=0.0))
        except IllegalTransition:
            assert probe.state is state, f"an illegal {trigger} moved {state} to {probe.state}"
            return None
        return self._numbers[id(step.row)]


def _stub(name: str) -> Any:
    return lambda ctx, event: ctx.facts[name]


def outcomes(names: Iterable[str]) -> Iterator[dict[str, bool]]:
    """
    Every way in which independent facts can turn out.
    """
    ordered = sorted(names)
    for values in itertools.product((False, True), repeat=len(ordered)):
        yield dict(zip(ordered, values, strict=True))


def check_form(states: type[StrEnum], triggers: type[StrEnum], rows: Sequence[AnyRow], guards: Guards) -> None:
    """
    What can be seen without running the table: it is complete, each row does what its disposition says, and each cell
    asks the guards that it must, in their order.

    Raises:
        AssertionError: It is not so; the message says where.
    """
    cells: dict[tuple[Any, Any], list[AnyRow]] = {cell: [] for cell in itertools.product(states, triggers)}
    for row in rows:
        cells[row.source, row.trigger].append(row)
    for cell, alternatives in cells.items():
        asked = tuple(str(row.guard_name) for row in alternatives[:-1])
        assert alternatives, f"no answer in {cell}"
        assert alternatives[-1].guard is None, f"the last answer in {cell} is guarded"
        assert all(row.guard is not None for row in alternatives[:-1]), f"an answer in {cell} can never apply"
        assert asked == guards.get(cell, ()), f"{cell} asks {asked}"
    possible = {row.trigger for row in rows if row.disposition is not Disposition.ILLEGAL}
    assert possible == set(triggers), f"{set(triggers) - possible} can never happen"
    for row in rows:
        assert (row.disposition is Disposition.GO) == (row.dest is not None), f"{row} does not do what it says"
        assert row.disposition is not Disposition.STALE, f"{row}: stale events never reach a table"
        idle = row.disposition in (Disposition.IGNORE, Disposition.ILLEGAL)
        assert not (idle and (row.effects or row.cause)), f"{row} does something and says that it does not"
        assert row.disposition is not Disposition.STAY or row.effects, f"{row} does nothing and says that it does"


def closure(edges: Mapping[Any, set[Any]], start: Any) -> set[Any]:
    """
    Everything that can be reached from `start`, itself included.
    """
    reached, todo = {start}, [start]
    while todo:
        new = edges.get(todo.pop(), set()) - reached
        reached |= new
        todo.extend(new)
    return reached

"""
The engine of both machines: the only module that imports `transitions`.

`transitions` is used as a pure commit step: which row applies, change the state, say which it was.
No callback of ours or of a user runs inside it, one machine serves every context of its kind, and it knows no model:
contexts are passed in one by one, so it costs nothing per candidate and holds none alive.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, Generic, Protocol, TypeVar

from transitions import Event as TransitionsEvent
from transitions import EventData, MachineError
from transitions import Machine as TransitionsMachine
from transitions import Transition as TransitionsTransition

from leadership.errors import IllegalTransition
from leadership.fsm.event import Event, Step
from leadership.fsm.row import Disposition, Row

S = TypeVar("S", bound=StrEnum)
T = TypeVar("T", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


class Context(Protocol):
    """
    What every machine's context has.
    """

    state: Any
    attempt: int


C = TypeVar("C", bound=Context)


class _QuietTransition(TransitionsTransition):
    """
    A transition without callbacks of its own, hence without the log records that stock `transitions` makes around each.
    """

    def execute(self, event_data: EventData) -> bool:
        if not self._eval_conditions(event_data):
            return False
        if self.dest is not None:
            model: Any = event_data.model
            model.state = event_data.machine.states[self.dest].value
        event_data.machine.callbacks(event_data.machine.after_state_change, event_data)
        return True


class _QuietEvent(TransitionsEvent):
    """
    A trigger that queues nothing and calls nothing: it takes the first transition whose conditions hold.
    """

    def trigger(self, model: Any, *args: Any, **kwargs: Any) -> bool:
        source = model.state._name_  # as `name`, which is a property and slow
        if source not in self.transitions:
            raise MachineError(self.name)
        event_data = EventData(None, self, self.machine, model, args, kwargs)
        for transition in self.transitions[source]:
            event_data.transition = transition
            if transition.execute(event_data):
                return True
        return False


class _QuietMachine(TransitionsMachine):
    transition_cls = _QuietTransition
    event_cls = _QuietEvent

    def callbacks(self, funcs: Any, event_data: EventData) -> None:
        """
        Run the callbacks without the INFO record that stock `transitions` makes for each.
        """
        for func in funcs:
            func(event_data)


class Machine(Generic[S, T, E, C]):
    """
    A table, executable.

    Not thread-safe: one thread fires at a time. Raises ValueError at construction for a table with a missing,
    doubled or dead cell.
    """

    def __init__(
        self,
        name: str,
        states: type[S],
        triggers: type[T],
        table: Sequence[Row[S, T, E, C]],
        stale: Mapping[T, tuple[E, ...]] | None = None,
        is_stale: Callable[[C, Event[T]], bool] | None = None,
    ) -> None:
        """
        Args:
            name: What the machine is called in records and pictures.
            states: All states; the first is the initial one.
            triggers: All triggers.
            table: A row for each alternative of each cell.
            stale: Effects of an event of an earlier attempt, which never reaches the table.
            is_stale: A further reason to call an event stale, beside its attempt.
        """
        self.name: Final = name
        self.states: Final = states
        self.triggers: Final = triggers
        self.table: Final = tuple(table)
        self.initial: Final = next(iter(states))
        self._stale: Final = dict(stale or {})
        self._is_stale = is_stale
        _check(self.table, states, triggers)
        self._machine: Final = _QuietMachine(
            model=None,
            states=states,
            initial=self.initial,
            auto_transitions=False,
            send_event=True,
            after_state_change=self._committed,
        )
        self._rows: Final[dict[int, Row[S, T, E, C]]] = {}
        self._hit: TransitionsTransition | None = None
        for row in self.table:
            if row.disposition is not Disposition.ILLEGAL:
                self._add(row)
        known = self._machine.events
        self._events: Final = {trigger: known[trigger.value] for trigger in triggers if trigger.value in known}

    def _add(self, row: Row[S, T, E, C]) -> None:
        self._machine.add_transition(
            row.trigger.value,
            row.source.name,
            None if row.dest is None else row.dest.name,
            conditions=None if row.guard is None else _condition(row.guard),
        )
        added = self._machine.events[row.trigger.value].transitions[row.source.name][-1]
        self._rows[id(added)] = row

    def _committed(self, event_data: EventData) -> None:
        self._hit = event_data.transition

    def fire(self, ctx: C, event: Event[T]) -> Step:
        """
        Apply one event to one context: its state changes, and the step says which row it was.

        Raises:
            IllegalTransition: The table declares the event impossible here; the state is as before.
        """
        source = ctx.state
        if (event.attempt is not None and event.attempt != ctx.attempt) or (
            self._is_stale is not None and self._is_stale(ctx, event)
        ):
            return Step(source, source, None, self._stale.get(event.trigger, ()))
        self._hit = None
        rows = self._events.get(event.trigger)
        try:
            if rows is not None:  # None: illegal in every state
                rows.trigger(ctx, event)
        except MachineError:
            rows = None
        if rows is None:
            msg = f"{self.name}: {event.trigger.value!r} cannot happen in state {source.value!r}"
            raise IllegalTransition(msg)
        if self._hit is None:  # pragma: no cover - _check refuses tables in which it could happen
            msg = f"{self.name}: no alternative of {event.trigger.value!r} applies in state {source.value!r}"
            raise IllegalTransition(msg)
        row = self._rows[id(self._hit)]
        return Step(source, ctx.state, row, row.effects)

    def cell(self, source: S, trigger: T) -> tuple[Row[S, T, E, C], ...]:
        """
        The alternatives of one cell, in the order in which they are tried.
        """
        return tuple(row for row in self.table if row.source is source and row.trigger is trigger)

    def cells(self) -> Iterator[tuple[S, T, tuple[Row[S, T, E, C], ...]]]:
        """
        Every cell, state by state.
        """
        for source in self.states:
            for trigger in self.triggers:
                yield source, trigger, self.cell(source, trigger)

    def digest(self) -> str:
        """
        Twelve hex digits that name this very table: an audit says by which it was written.
        """
        rows = [
            (row.source, row.trigger, row.dest, row.disposition, row.guard_name, row.effects, row.cause)
            for row in self.table
        ]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:12]


def _condition(guard: Callable[[Any, Any], bool]) -> Callable[[EventData], bool]:
    def condition(event_data: EventData) -> bool:
        (event,) = event_data.args
        return guard(event_data.model, event)

    return condition


def _check(table: Sequence[Row[Any, Any, Any, Any]], states: type[StrEnum], triggers: type[StrEnum]) -> None:
    """
    Refuse a table with a hole, a dead alternative, or a row that names what does not exist.
    """
    cells: dict[tuple[StrEnum, StrEnum], list[Row[Any, Any, Any, Any]]] = {
        (state, trigger): [] for state in states for trigger in triggers
    }
    for row in table:
        if (row.source, row.trigger) not in cells or (row.dest is not None and row.dest not in list(states)):
            msg = f"the row {row} names a state or trigger that does not exist"
            raise ValueError(msg)
        if (row.dest is not None) != (row.disposition is Disposition.GO):
            msg = f"the row {row} goes somewhere without being a 'go', or the other way round"
            raise ValueError(msg)
        cells[row.source, row.trigger].append(row)
    for (state, trigger), rows in cells.items():
        if not rows or rows[-1].guard is not None or any(row.guard is None for row in rows[:-1]):
            msg = f"the cell ({state}, {trigger}) needs alternatives of which the last alone has no guard, not {rows}"
            raise ValueError(msg)

"""
The tables are complete, and the machine does exactly what they say.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from leadership.errors import IllegalTransition
from leadership.fsm import CANDIDATE, FOLLOWER, CandidateContext, FollowerContext, Machine
from leadership.fsm.event import Event
from leadership.fsm.row import Disposition, Row
from leadership.fsm.states import (
    CandidateEffect,
    CandidateState,
    CandidateTrigger,
    FollowerState,
    FollowerTrigger,
)

AnyMachine = Machine[Any, Any, Any, Any]
Outcomes = dict[str, bool]
MACHINES: tuple[AnyMachine, ...] = (CANDIDATE, FOLLOWER)
both = pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)


@dataclass
class Forced:
    """
    A context whose guards have been decided in advance.
    """

    state: Any
    outcomes: Outcomes = field(default_factory=dict)
    attempt: int = 0


def forced(machine: AnyMachine) -> AnyMachine:
    """
    The same table, row by row, with each guard replaced by one that reads its outcome off the context.
    """

    def stub(name: str) -> Any:
        return lambda ctx, event: ctx.outcomes[name]

    rows = [row if row.guard is None else replace(row, guard=stub(str(row.guard_name))) for row in machine.table]
    return Machine(machine.name, machine.states, machine.triggers, rows)


def guards_of(rows: tuple[Row[Any, Any, Any, Any], ...]) -> list[str]:
    """
    The names of the guards of one cell.
    """
    return [str(row.guard_name) for row in rows if row.guard is not None]


def combinations(machine: AnyMachine) -> Iterator[tuple[Any, Any, Outcomes]]:
    """
    Every state, trigger and outcome of the guards that the cell asks.
    """
    for state, trigger, rows in machine.cells():
        names = guards_of(rows)
        for outcomes in itertools.product((False, True), repeat=len(names)):
            yield state, trigger, dict(zip(names, outcomes, strict=True))


def look_up(table: tuple[Row[Any, Any, Any, Any], ...], state: Any, trigger: Any, outcomes: Outcomes) -> int:
    """
    The bare reading of a table: the number of the first row of the cell whose guard holds.
    """
    for number, row in enumerate(table):
        if (row.source, row.trigger) == (state, trigger) and (row.guard is None or outcomes[str(row.guard_name)]):
            return number
    raise AssertionError((state, trigger, outcomes))


@pytest.mark.parametrize(
    ("machine", "states", "triggers", "cells"),
    [(CANDIDATE, CandidateState, CandidateTrigger, 102), (FOLLOWER, FollowerState, FollowerTrigger, 84)],
    ids=["candidate", "follower"],
)
def test_every_cell_is_present(machine: AnyMachine, states: Any, triggers: Any, cells: int) -> None:
    """
    Each state answers each trigger: 6 x 17 cells of a candidate, 6 x 14 of a follower.
    """
    present = {(row.source, row.trigger) for row in machine.table}

    assert cells == len(present)
    assert set(itertools.product(states, triggers)) == present
    assert cells == len(list(machine.cells()))


@both
def test_alternatives_end_unguarded(machine: AnyMachine) -> None:
    """
    The last alternative of each cell has no guard, and it alone: no outcome is unanswered, no row is dead.
    """
    for state, trigger, rows in machine.cells():
        expected = [True] * (len(rows) - 1) + [False]

        assert expected == [row.guard is not None for row in rows], (state, trigger)


@both
def test_alternatives_ask_different_guards(machine: AnyMachine) -> None:
    """
    No cell asks one guard twice: the second row would be dead.
    """
    for state, trigger, rows in machine.cells():
        names = guards_of(rows)

        assert len(names) == len(set(names)), (state, trigger)


@both
def test_dispositions_say_what_rows_do(machine: AnyMachine) -> None:
    """
    A row goes somewhere exactly when it is a 'go'; a 'stay' has effects; 'ignore' and 'illegal' have none.
    """
    for row in machine.table:
        assert (row.disposition is Disposition.GO) == (row.dest is not None), row
        if row.disposition is Disposition.STAY:
            assert row.effects, row
        if row.disposition in (Disposition.IGNORE, Disposition.ILLEGAL):
            assert (None, ()) == (row.cause, row.effects), row
        assert len(row.effects) == len(set(row.effects)), row


@both
def test_illegal_cells_have_no_alternatives(machine: AnyMachine) -> None:
    """
    What is impossible is so whatever the guards would say.
    """
    for state, trigger, rows in machine.cells():
        if any(row.disposition is Disposition.ILLEGAL for row in rows):
            assert len(rows) == 1, (state, trigger)


@both
def test_machine_and_table_agree(machine: AnyMachine) -> None:
    """
    For every state, trigger and guard outcome the machine applies the row that a bare look-up finds, and no other.
    """
    stubbed = forced(machine)
    seen = set()
    for state, trigger, outcomes in combinations(machine):
        number = look_up(machine.table, state, trigger, outcomes)
        row = machine.table[number]
        seen.add(number)
        ctx = Forced(state, outcomes)
        event = Event(trigger, now=0.0)
        if row.disposition is Disposition.ILLEGAL:
            with pytest.raises(IllegalTransition):
                stubbed.fire(ctx, event)
            assert Forced(state, outcomes) == ctx
            continue
        step = stubbed.fire(ctx, event)

        assert step.row is stubbed.table[number], (state, trigger, outcomes)
        assert (state, row.dest or state, row.effects) == (step.source, step.dest, step.effects)
        assert Forced(row.dest or state, outcomes) == ctx
    assert set(range(len(machine.table))) == seen


@both
def test_illegal_events_move_nothing(machine: AnyMachine) -> None:
    """
    An event that the table declares impossible raises an error that names both, and leaves the context as it was.
    """
    context = CandidateContext if machine is CANDIDATE else FollowerContext
    illegal = [(s, t) for s, t, rows in machine.cells() if rows[0].disposition is Disposition.ILLEGAL]

    assert illegal
    for state, trigger in illegal:
        ctx: Any = context(state=state, attempt=3, token=5)
        with pytest.raises(IllegalTransition, match=f"{machine.name}: '{trigger.value}'.*'{state.value}'"):
            machine.fire(ctx, Event(trigger, now=1.0, attempt=3, token=9))
        assert context(state=state, attempt=3, token=5) == ctx


@both
def test_events_of_another_attempt_never_reach_the_table(machine: AnyMachine) -> None:
    """
    In each cell, the illegal ones too, an event of an earlier or unknown attempt is stale: nothing moves.

    Only a candidate's late grant has an effect: it is let go.
    """
    context = CandidateContext if machine is CANDIDATE else FollowerContext
    for state, trigger, _ in machine.cells():
        orphan = (CandidateEffect.RELEASE_ORPHAN,) if trigger is CandidateTrigger.ACQUIRED else ()
        for attempt in (2, 4):
            ctx: Any = context(state=state, attempt=3)
            step = machine.fire(ctx, Event(trigger, now=0.0, attempt=attempt, deadline=9.0))

            assert (state, state, None, orphan) == step
            assert context(state=state, attempt=3) == ctx


@pytest.mark.parametrize("attempt", [3, None])
def test_events_of_this_attempt_or_of_none_reach_the_table(attempt: int | None) -> None:
    """
    An event of the present attempt, or of no attempt at all, is answered by a row.
    """
    ctx = CandidateContext(state=CandidateState.CAMPAIGNING, attempt=3)

    step = CANDIDATE.fire(ctx, Event(CandidateTrigger.ACQUIRED, now=0.0, attempt=attempt, deadline=1.0))

    assert CandidateState.LEADER is ctx.state
    assert step.row is not None


@pytest.mark.parametrize("state", CandidateState)
@pytest.mark.parametrize("own", [None, 5])
def test_resign_of_another_term_is_stale(state: CandidateState, own: int | None) -> None:
    """
    An operator's request that names a term other than the present one never reaches the table.
    """
    ctx = CandidateContext(state=state, token=own)

    step = CANDIDATE.fire(ctx, Event(CandidateTrigger.RESIGN, now=0.0, token=4))

    assert (state, state, None, ()) == step
    assert CandidateContext(state=state, token=own) == ctx


@pytest.mark.parametrize("token", [None, 5])
def test_resign_of_this_term_ends_it(token: int | None) -> None:
    """
    A request that names the present term, or none, resigns.
    """
    ctx = CandidateContext(state=CandidateState.LEADER, token=5)

    CANDIDATE.fire(ctx, Event(CandidateTrigger.RESIGN, now=0.0, token=token))

    assert CandidateState.RESIGNING is ctx.state


def test_stop_that_names_a_term_is_not_stale() -> None:
    """
    Only `resign` is meant for a term; `stop` ends whatever there is.
    """
    ctx = CandidateContext(state=CandidateState.LEADER, token=5)

    CANDIDATE.fire(ctx, Event(CandidateTrigger.STOP, now=0.0, token=4))

    assert CandidateState.RESIGNING is ctx.state


def test_reentering_a_state_is_a_transition() -> None:
    """
    A follower that sees another leader leaves following and enters it again: a 'go', not a 'stay'.
    """
    ctx = FollowerContext(state=FollowerState.FOLLOWING, token=4, last_token=4)

    step = FOLLOWER.fire(ctx, Event(FollowerTrigger.LEADER_OBSERVED, now=0.0, token=5))

    assert (FollowerState.FOLLOWING, FollowerState.FOLLOWING) == (step.source, step.dest)
    assert step.row is not None
    assert Disposition.GO is step.row.disposition


def test_one_machine_serves_many_contexts() -> None:
    """
    Contexts of one machine know nothing of each other.
    """
    first, second = CandidateContext(), CandidateContext()

    CANDIDATE.fire(first, Event(CandidateTrigger.START, now=0.0))

    assert (CandidateState.CAMPAIGNING, CandidateState.IDLE) == (first.state, second.state)


@pytest.mark.parametrize("state", CandidateState)
def test_what_is_illegal_everywhere_is_illegal(state: CandidateState) -> None:
    """
    A trigger that a table refuses in every state is refused like any other, and moves nothing.
    """
    settled = CandidateTrigger.SETTLED
    rows: list[Any] = [row for row in CANDIDATE.table if row.trigger is not settled]
    rows += [Row(one, settled, None, Disposition.ILLEGAL) for one in CandidateState]
    machine: AnyMachine = Machine("candidate", CandidateState, CandidateTrigger, rows)
    ctx = CandidateContext(state=state)

    with pytest.raises(IllegalTransition, match=f"candidate: 'settled' cannot happen in state '{state.value}'"):
        machine.fire(ctx, Event(settled, now=0.0))
    assert CandidateContext(state=state) == ctx
    assert machine.fire(ctx, Event(CandidateTrigger.CALLBACK_FAILED, now=0.0)).row is not None


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyError, AttributeError])
def test_a_raising_guard_moves_nothing(error: type[Exception]) -> None:
    """
    A guard that raises is a bug that is seen: the error comes through, the state is as before, the machine goes on.
    """

    def broken(ctx: Any, event: Any) -> bool:
        raise error

    rows = [replace(row, guard=broken) if row.guard is not None else row for row in CANDIDATE.table]
    machine: AnyMachine = Machine("candidate", CandidateState, CandidateTrigger, rows)
    ctx = Forced(CandidateState.CAMPAIGNING)

    with pytest.raises(error):
        machine.fire(ctx, Event(CandidateTrigger.ACQUIRED, now=0.0))
    assert Forced(CandidateState.CAMPAIGNING) == ctx
    assert CandidateState.RESIGNING is machine.fire(ctx, Event(CandidateTrigger.STOP, now=0.0)).dest


def test_a_transition_is_silent_at_info(caplog: pytest.LogCaptureFixture) -> None:
    """
    `transitions` logs nothing of ours at INFO, so that a host's log is not filled by renewals.
    """
    ctx = CandidateContext()
    with caplog.at_level(logging.INFO):
        CANDIDATE.fire(ctx, Event(CandidateTrigger.START, now=0.0))

    assert [] == caplog.records


ROWS: list[Any] = list(CANDIDATE.table)
START = next(row for row in ROWS if (row.source, row.trigger) == (CandidateState.IDLE, CandidateTrigger.STOP))
GUARDED = next(row for row in ROWS if row.guard is not None)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row for row in ROWS if row is not START], "last alone has no guard"),
        ([*ROWS, START], "last alone has no guard"),
        ([replace(row, guard=None) if row is GUARDED else row for row in ROWS], "last alone has no guard"),
        ([*ROWS, GUARDED], "last alone has no guard"),
        ([*ROWS, replace(START, source="nowhere")], "does not exist"),
        ([*ROWS, replace(START, trigger="never")], "does not exist"),
        ([*ROWS, replace(GUARDED, dest="nowhere")], "does not exist"),
        ([*ROWS, replace(START, dest=CandidateState.IDLE)], "without being a 'go'"),
        ([*ROWS, replace(GUARDED, dest=None)], "without being a 'go'"),
    ],
    ids=[
        "a hole",
        "a cell answered twice",
        "a guard lost before the last alternative",
        "a guarded last alternative",
        "an unknown source",
        "an unknown trigger",
        "an unknown destination",
        "an ignored event that goes somewhere",
        "a go to nowhere",
    ],
)
def test_a_broken_table_is_refused(rows: list[Any], words: str) -> None:
    """
    A table with a hole, a dead alternative, or a name that does not exist makes no machine.
    """
    with pytest.raises(ValueError, match=words):
        Machine("candidate", CandidateState, CandidateTrigger, rows)


def test_the_digest_names_the_table() -> None:
    """
    The digest is twelve hex digits that stay for the same table and change with any row of it.
    """
    same: AnyMachine = Machine("candidate", CandidateState, CandidateTrigger, ROWS)
    digests = {CANDIDATE.digest(), FOLLOWER.digest()}
    for number, row in enumerate(ROWS):
        if row.effects:
            fewer = [*ROWS[:number], replace(row, effects=row.effects[1:]), *ROWS[number + 1 :]]
            digests.add(Machine("candidate", CandidateState, CandidateTrigger, fewer).digest())

    assert CANDIDATE.digest() == same.digest()
    assert 2 + sum(bool(row.effects) for row in ROWS) == len(digests)
    assert all(len(digest) == 12 and int(digest, 16) >= 0 for digest in digests)

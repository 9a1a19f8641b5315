"""
The laws of a candidate's table, checked over everything that can happen.

`check_candidate(rows)` walks all reachable pairs of a state and a ghost; each step is applied by the real machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from model.candidate_laws import (
    CAUSES,
    CLEANING_UP,
    DOES,
    FACTS,
    ONLY,
    REQUIRED_GUARDS,
    Ghost,
    Moment,
    destination,
    is_illegal,
    required_effects,
    used_up,
)
from model.probing import AnyRow, Facts, Prober, check_form, closure, outcomes

from leadership.fsm.states import CandidateEffect as E
from leadership.fsm.states import CandidateState as S
from leadership.fsm.states import CandidateTrigger as T


def apply_effects(m: Moment, effects: Sequence[E]) -> Ghost:
    """
    Carry out a row's effects in their order, each where it may be, none twice, none forgotten.
    """
    ghost = m.ghost
    assert len(effects) == len(set(effects)), f"{m.where} does something twice"
    for effect in effects:
        now = m._replace(ghost=ghost)
        assert ONLY[effect](now), f"{m.where} must not {effect} when {ghost}"
        if effect is E.TRY_ACQUIRE and m.source is not S.CAMPAIGNING:
            assert E.NEW_ATTEMPT in effects[: effects.index(effect)], f"{m.where} asks in the name of an old attempt"
        ghost = ghost._replace(**DOES.get(effect, {}))
    missing = set(required_effects(m)) - set(effects)
    assert not missing, f"{m.where} must {sorted(missing)}"
    if m.dest is S.IDLE:
        ghost = ghost._replace(stop_wanted=False, stopping=False, cool_down=False)
    return ghost


def check_pair(state: S, ghost: Ghost, where: str) -> None:
    """
    What holds between a state and what is under way, whenever nothing is being fired.
    """
    assert (state is S.LEADER) == ghost.elected, f"{where}: leader is not the time from on_elected to on_demoted"
    assert (state in CLEANING_UP) == ghost.cleaning, f"{where}: a clean-up nobody waits for, or none to wait for"
    assert (state is S.CAMPAIGNING) == ghost.claim, f"{where}: a campaign that asks nobody, or a claim without one"
    assert (state is S.LEADER) == ghost.lease_timer, f"{where}: a term without a timer, or the other way round"
    assert (state is S.BACKOFF) == ghost.waker, f"{where}: a backoff that nothing ends, or a timer without one"
    assert not (state is S.CAMPAIGNING and ghost.running), f"{where}: it stands while its own callbacks run"
    assert not ghost.stop_wanted or state in (S.RESIGNING, S.IDLE), f"{where}: stop is not honoured"
    assert ghost.stopping == ghost.stop_wanted, f"{where}: stop is forgotten, or made up"
    assert not (state is S.BACKOFF and ghost.cool_down), f"{where}: the cool-down is not kept"


def events(prober: Prober, state: S, ghost: Ghost) -> Iterator[tuple[T, Facts]]:
    """
    Everything that can happen to a pair, with every outcome of the facts.
    """
    known = {"stopping": ghost.stopping, "callbacks_returned": not ghost.running}
    for trigger in T:
        free = {*FACTS.get(trigger, ()), *prober.asked(state, trigger)} - set(known)
        for facts in outcomes(free):
            if not (facts.get("resign_on_failure") and facts.get("stop_on_failure")):
                yield trigger, {**facts, **known}


def take(m: Moment, row: AnyRow) -> Ghost:
    """
    Check one step, and say what is under way after it.
    """
    stop = m.trigger is T.STOP or (
        m.trigger is T.CALLBACK_FAILED and m.source is S.LEADER and m.facts["stop_on_failure"]
    )
    wanted = m.ghost.stop_wanted or (stop and m.source is not S.IDLE)
    expected = destination(m.source, m.trigger, m.facts, wanted)
    assert m.dest is expected, f"{m.where}, and should be {expected}"
    assert row.dest is not m.source, f"{m.where} enters itself again"
    cause = CAUSES.get(m.trigger) if m.source is S.LEADER and m.dest is not S.LEADER else None
    assert row.cause is cause, f"{m.where} says {row.cause}, and should say {cause}"
    ghost = m.ghost._replace(stop_wanted=wanted)
    used = used_up(m)
    if used is not None:
        ghost = ghost._replace(**{used: False})
    ghost = apply_effects(m._replace(ghost=ghost), row.effects)
    check_pair(m.dest, ghost, m.where)
    return ghost


class Found(NamedTuple):
    """
    How much was looked at.
    """

    pairs: int
    steps: int


def check_candidate(rows: Sequence[AnyRow]) -> Found:
    """
    Check every law over every reachable pair of a state and a ghost.

    Raises:
        AssertionError: The table breaks a law; the message says where and how.
    """
    check_form(S, T, rows, REQUIRED_GUARDS)
    prober = Prober(S, T, rows)
    start = (S.IDLE, Ghost())
    edges: dict[tuple[S, Ghost], set[tuple[S, Ghost]]] = {}
    todo, used, steps = [start], set(), 0
    while todo:
        pair = todo.pop()
        if pair in edges:
            continue
        state, ghost = pair
        after = edges[pair] = {(state, ghost._replace(running=False))}
        for trigger, facts in events(prober, state, ghost):
            number = prober.fire(state, trigger, facts)
            illegal = is_illegal(state, trigger)
            assert (number is None) == illegal, f"{state} x {trigger} is {'not ' if illegal else ''}illegal"
            if number is None:
                continue
            row = prober.rows[number]
            used.add(number)
            steps += 1
            dest = row.dest or state
            after.add((dest, take(Moment(state, trigger, facts, dest, ghost), row)))
        todo.extend(after - edges.keys())
    for pair in edges:
        reached = {state for state, _ in closure(edges, pair)}
        assert reached == set(S), f"{pair} is a trap: {set(S) - reached} cannot be reached"
    for number, row in enumerate(rows):
        assert number in used or is_illegal(row.source, row.trigger), f"{row} never applies"
    return Found(len(edges), steps)

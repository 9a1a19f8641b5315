"""
The laws of a follower's table, checked over everything that can happen with a few tokens.

`check_follower(rows)` drives the real machine and the real guards: contexts and events carry tokens, and the checker
does to the context what the engine does. The laws speak of what a user sees: who leads, whether that is known, and that
reported tokens never go back unless a confirmed read says so.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from model.probing import AnyRow, Guards, check_form, closure

from leadership.errors import IllegalTransition
from leadership.fsm.event import Event
from leadership.fsm.follower_table import FollowerContext
from leadership.fsm.machine import Machine
from leadership.fsm.states import FollowerEffect as E
from leadership.fsm.states import FollowerState as S
from leadership.fsm.states import FollowerTrigger as T

SEEING: Final = (S.FOLLOWING, S.VACANT)
AWAKE: Final = (S.SYNCING, *SEEING)
FAULTS: Final = (T.SESSION_LOST, T.STORE_ERROR)
GAPS: Final = (T.WATCH_CLOSED, T.SESSION_RESTORED)

REQUIRED_GUARDS: Final[Guards] = {
    (S.SYNCING, T.LEADER_OBSERVED): ("alive",),
    (S.FOLLOWING, T.LEADER_OBSERVED): ("newer",),
    (S.FOLLOWING, T.KEY_DELETED): ("current_key",),
    (S.FOLLOWING, T.LEASE_EXPIRED): ("current_key",),
    (S.VACANT, T.LEADER_OBSERVED): ("alive",),
    (S.ERROR, T.SETTLED): ("retries_left",),
}
"""
The cells with alternatives, and the guards that choose among them.
"""


class View(NamedTuple):
    """
    What the user sees, and what the engine has under way.
    """

    leader: int | None = None
    """The token of the leader that was reported last; None for vacant."""
    newest: int = 0
    """The newest token seen, or the last that a confirmed read showed."""
    ended: int = 0
    """The newest token whose end was seen."""
    stale: bool = True
    watching: bool = False
    reading: bool = False
    """The truth is being read, by a read that began after the watch."""
    cleaning: bool = False
    waker: bool = False
    """Something will end the backoff."""


class Moment(NamedTuple):
    """
    One event, and where the table went.
    """

    source: S
    event: Event[T]
    dest: S
    view: View
    followed: int | None
    reported: bool = False
    """This step tells the user of a leader."""

    @property
    def trigger(self) -> T:
        """
        What happened.
        """
        return self.event.trigger

    @property
    def where(self) -> str:
        """
        The moment in words, for a message.
        """
        token = "" if self.event.token is None else f" {self.event.token}"
        sure = " confirmed" if self.event.confirmed else ""
        return f"{self.source}({self.followed}) --{self.trigger}{token}{sure}--> {self.dest}, seen {self.view.newest}"


def destination(m: Moment, failed: bool) -> S:
    """
    Where a follower has to be after an event: each state, and the only ways out of it.
    """
    token, source, trigger = m.event.token, m.source, m.trigger
    if trigger is T.STOP:
        return S.IDLE
    if source is S.IDLE or source is S.BACKOFF:
        wake = {S.IDLE: T.START, S.BACKOFF: T.BACKOFF_ELAPSED}[source]
        return S.SYNCING if trigger is wake else source
    if source is S.ERROR:
        return source if trigger is not T.SETTLED else S.IDLE if failed else S.BACKOFF
    if trigger in FAULTS:
        return S.ERROR
    if trigger is T.LEADER_OBSERVED:
        assert token is not None
        news = token >= m.view.newest and token > m.view.ended
        return S.FOLLOWING if m.event.confirmed or news else source
    if trigger is T.VACANT_OBSERVED:
        return S.VACANT
    if trigger in (T.KEY_DELETED, T.LEASE_EXPIRED) and source is S.FOLLOWING and token == m.followed:
        return S.VACANT
    return S.SYNCING if trigger in GAPS else source


def is_news(m: Moment) -> bool:
    """
    This step has to tell the user of a leader: there was none, or another who is no older by all that is known.
    """
    if m.trigger is not T.LEADER_OBSERVED or m.dest is not S.FOLLOWING:
        return False
    token = m.event.token or 0
    news = m.event.confirmed or token > max(m.view.newest, m.view.ended)
    return m.source is not S.FOLLOWING or (token != m.followed and news)


def is_illegal(source: S, trigger: T) -> bool:
    """
    The events that cannot happen in a state, unless the engine is wrong or the API misused.
    """
    return (trigger is T.START and source is not S.IDLE) or (trigger is T.SETTLED and source is not S.ERROR)


def on_moving(m: Moment) -> Iterator[E]:
    """
    The effects that entering one state and leaving another must have.
    """
    if m.dest is S.SYNCING:
        yield from (E.OPEN_WATCH, E.READ_KEY)
        yield E.MARK_STALE if m.source in SEEING else E.NEW_ATTEMPT
    if m.dest is S.VACANT:
        yield E.ON_LEADER_LOST
    if m.dest is S.ERROR:
        yield from (E.MARK_STALE, E.CLEANUP)
    if m.dest is S.BACKOFF:
        yield E.ARM_BACKOFF
    if m.dest is S.IDLE:
        yield E.ON_STOPPED if m.trigger is T.STOP else E.ON_GAVE_UP
        if m.trigger is T.STOP:
            yield E.CANCEL_BACKOFF if m.source is S.BACKOFF else E.CLOSE_WATCH


def required_effects(m: Moment) -> Iterator[E]:
    """
    The effects that a step must have: the REQUIRED table, by what has happened.
    """
    if m.dest is not m.source:
        yield from on_moving(m)
    if m.reported:
        yield E.ON_LEADER_CHANGED
    elif m.source is S.FOLLOWING and m.trigger is T.LEADER_OBSERVED:
        yield E.REFRESH_LEADER
    if m.trigger is T.CALLBACK_FAILED:
        yield E.NOTE_FAILURE
    if m.trigger is T.SESSION_SUSPENDED and m.source in SEEING:
        yield E.MARK_STALE
    if m.source is S.SYNCING and m.trigger in GAPS:
        yield E.READ_KEY
        if m.trigger is T.WATCH_CLOSED:
            yield E.OPEN_WATCH


DOES: Final[Mapping[E, Mapping[str, bool]]] = {
    E.OPEN_WATCH: {"watching": True, "reading": False},
    E.READ_KEY: {"reading": True},
    E.CLOSE_WATCH: {"watching": False, "reading": False},
    E.MARK_STALE: {"stale": True},
    E.ON_LEADER_CHANGED: {"stale": False, "reading": False},
    E.ON_LEADER_LOST: {"stale": False, "reading": False},
    E.CLEANUP: {"cleaning": True, "watching": False, "reading": False},
    E.ARM_BACKOFF: {"waker": True},
    E.CANCEL_BACKOFF: {"waker": False},
}
"""
What an effect makes of the view; the others leave nothing under way.
"""

ONLY: Final[Mapping[E, Callable[[Moment], bool]]] = {
    E.NEW_ATTEMPT: lambda m: m.dest is S.SYNCING and m.source in (S.IDLE, S.BACKOFF) and not m.view.watching,
    E.OPEN_WATCH: lambda m: m.dest is S.SYNCING and (m.source is not S.SYNCING or m.trigger is T.WATCH_CLOSED),
    E.READ_KEY: lambda m: m.dest is S.SYNCING and m.view.watching and (m.source is not S.SYNCING or m.trigger in GAPS),
    E.CLOSE_WATCH: lambda m: m.dest is S.IDLE and m.trigger is T.STOP and m.source in (*AWAKE, S.ERROR),
    E.MARK_STALE: lambda m: (
        (m.source in AWAKE and m.trigger in FAULTS)
        or (m.source in SEEING and m.trigger in (*GAPS, T.SESSION_SUSPENDED))
    ),
    E.ON_LEADER_CHANGED: lambda m: m.reported,
    E.ON_LEADER_LOST: lambda m: m.dest is S.VACANT and m.source is not S.VACANT,
    E.REFRESH_LEADER: lambda m: m.trigger is T.LEADER_OBSERVED and m.source is S.FOLLOWING and not m.reported,
    E.CLEANUP: lambda m: m.dest is S.ERROR and m.source is not S.ERROR,
    E.ARM_BACKOFF: lambda m: m.dest is S.BACKOFF and m.source is not S.BACKOFF,
    E.CANCEL_BACKOFF: lambda m: m.source is S.BACKOFF and m.trigger is T.STOP,
    E.NOTE_FAILURE: lambda m: m.trigger is T.CALLBACK_FAILED,
    E.ON_STOPPED: lambda m: m.dest is S.IDLE and m.source is not S.IDLE and m.trigger is T.STOP,
    E.ON_GAVE_UP: lambda m: m.dest is S.IDLE and m.source is not S.IDLE and m.trigger is not T.STOP,
}
"""
When an effect may be asked for, with the view as the effects before it in the row have left it.
"""


def apply_effects(m: Moment, effects: Sequence[E]) -> View:
    """
    Carry out a row's effects in their order, each where it may be, none twice, none forgotten.
    """
    view = m.view
    assert len(effects) == len(set(effects)), f"{m.where} does something twice"
    for effect in effects:
        assert ONLY[effect](m._replace(view=view)), f"{m.where} must not {effect} when {view}"
        view = view._replace(**DOES.get(effect, {}))
        if effect is E.ON_LEADER_CHANGED:
            assert m.event.token is not None
            older = view.leader is not None and m.event.token < view.leader
            assert m.event.confirmed or not older, f"{m.where}: reported tokens go back from {view.leader}"
            view = view._replace(leader=m.event.token)
        elif effect is E.ON_LEADER_LOST:
            view = view._replace(leader=None)
        elif effect is E.REFRESH_LEADER and m.event.token == m.followed:
            view = view._replace(stale=False)
    missing = set(required_effects(m)) - set(effects)
    assert not missing, f"{m.where} must {sorted(missing)}"
    return view._replace(leader=None, stale=True) if m.dest is S.IDLE else view


def check_pair(state: S, followed: int | None, view: View, where: str) -> None:
    """
    What holds between a state and the view, whenever nothing is being fired.
    """
    if state is S.FOLLOWING:
        assert followed is not None, f"{where}: it follows nobody"
        assert view.leader == followed, f"{where}: it follows {followed} and says {view.leader}"
    assert state is not S.VACANT or view.leader is None, f"{where}: vacant, and says {view.leader}"
    assert state in SEEING or view.stale, f"{where}: it claims to know"
    assert view.watching == (state in AWAKE), f"{where}: the watch is not what the state needs"
    assert view.reading == (state is S.SYNCING), f"{where}: it waits for a read that nobody makes, or reads in vain"
    assert view.cleaning == (state is S.ERROR), f"{where}: a clean-up nobody waits for, or none to wait for"
    assert view.waker == (state is S.BACKOFF), f"{where}: a backoff that nothing ends, or a timer without one"


class Pair(NamedTuple):
    """
    A follower, as far as it matters.
    """

    state: S
    followed: int | None
    view: View


def events(tokens: int) -> Iterator[tuple[Event[T], bool]]:
    """
    Everything that can happen, and whether the follower has failed for good when it does.
    """
    for trigger, failed in itertools.product(T, (False, True)):
        if failed and trigger is not T.SETTLED:
            continue
        if trigger is T.LEADER_OBSERVED:
            for token, confirmed in itertools.product(range(1, tokens + 1), (False, True)):
                yield Event(trigger, 0.0, token=token, confirmed=confirmed), failed
        elif trigger in (T.KEY_DELETED, T.LEASE_EXPIRED):
            for token in range(1, tokens + 1):
                yield Event(trigger, 0.0, token=token), failed
        else:
            yield Event(trigger, 0.0), failed


def take(m: Moment, row: AnyRow, failed: bool) -> Pair:
    """
    Check one step, and say what the follower is after it.
    """
    expected = destination(m, failed)
    assert m.dest is expected, f"{m.where}, and should be {expected}"
    m = m._replace(reported=is_news(m))
    assert (row.dest is m.source) == (m.reported and m.source is m.dest), f"{m.where}: enters itself, or does not"
    assert row.cause is None, f"{m.where} ends a term that a follower does not have"
    view = m.view
    if m.trigger is T.LEADER_OBSERVED and m.event.token is not None and m.source in AWAKE:
        sure, token = m.event.confirmed, m.event.token
        ended = min(view.ended, token - 1) if sure else view.ended
        view = view._replace(newest=token if sure else max(view.newest, token), ended=ended)
    if m.trigger in (T.KEY_DELETED, T.LEASE_EXPIRED) and m.event.token is not None:
        view = view._replace(ended=max(view.ended, m.event.token))
    if m.trigger is T.WATCH_CLOSED and m.source in AWAKE:
        view = view._replace(watching=False)
    if m.source is S.SYNCING and m.trigger in GAPS:
        view = view._replace(reading=False)
    if m.trigger is T.SETTLED:
        view = view._replace(cleaning=False)
    if m.source is S.BACKOFF and m.trigger is T.BACKOFF_ELAPSED:
        view = view._replace(waker=False)
    if m.source is S.ERROR and m.trigger is T.STOP:
        view = view._replace(cleaning=False)  # the engine settles an error only while it lasts
    view = apply_effects(m._replace(view=view), row.effects)
    followed = m.followed
    if row.dest is not None:
        followed = m.event.token if m.dest is S.FOLLOWING else None
    check_pair(m.dest, followed, view, m.where)
    return Pair(m.dest, followed, view)


class Found(NamedTuple):
    """
    How much was looked at.
    """

    pairs: int
    steps: int


def check_follower(rows: Sequence[AnyRow], tokens: int = 3) -> Found:
    """
    Check every law over every reachable follower, with tokens from 1 to `tokens`.

    Raises:
        AssertionError: The table breaks a law; the message says where and how.
    """
    check_form(S, T, rows, REQUIRED_GUARDS)
    machine: Machine[S, T, E, FollowerContext] = Machine("follower", S, T, rows)
    start = Pair(S.IDLE, None, View())
    edges: dict[Pair, set[Pair]] = {}
    todo, used, steps = [start], set(), 0
    while todo:
        pair = todo.pop()
        if pair in edges:
            continue
        after = edges[pair] = set()
        for event, failed in events(tokens):
            ctx = FollowerContext(
                pair.state, 0, pair.followed, pair.view.newest, ended=pair.view.ended, failed_for_good=failed
            )
            illegal = is_illegal(pair.state, event.trigger)
            try:
                row = machine.fire(ctx, event).row
            except IllegalTransition:
                assert illegal, f"{pair.state} x {event.trigger} is illegal"
                assert ctx.state is pair.state, f"an illegal {event.trigger} moved {pair.state} to {ctx.state}"
                continue
            assert not illegal, f"{pair.state} x {event.trigger} is not illegal"
            assert row is not None
            used.add(id(row))
            steps += 1
            after.add(take(Moment(pair.state, event, ctx.state, pair.view, pair.followed), row, failed))
        todo.extend(after - edges.keys())
    for pair in edges:
        missing = set(S) - {reached.state for reached in closure(edges, pair)}
        assert not missing, f"{pair} is a trap: {missing} cannot be reached"
    for row in rows:
        assert id(row) in used or is_illegal(row.source, row.trigger), f"{row} never applies"
    return Found(len(edges), steps)

"""
The laws of a candidate's table, stated over facts and not over what the table happens to ask.

A fact ("the lease is valid") has the name of the guard that should ask for it, so that a row which no longer asks is
seen. What the engine has under way if it does exactly what the effects say is a `Ghost`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from model.probing import Facts, Guards

from leadership.fsm.row import DemotionCause as Cause
from leadership.fsm.states import CandidateEffect as E
from leadership.fsm.states import CandidateState as S
from leadership.fsm.states import CandidateTrigger as T

CLEANING_UP: Final = (S.RESIGNING, S.ERROR)

REQUIRED_GUARDS: Final[Guards] = {
    (S.IDLE, T.START): ("callbacks_returned",),
    (S.CAMPAIGNING, T.ACQUIRED): ("lease_valid",),
    (S.CAMPAIGNING, T.KEY_DELETED): ("in_queue",),
    (S.LEADER, T.ACQUIRED): ("same_term",),
    (S.LEADER, T.RENEWED): ("still_valid",),
    (S.LEADER, T.LEASE_EXPIRED): ("lease_valid",),
    (S.LEADER, T.SESSION_SUSPENDED): ("demote_on_suspend",),
    (S.LEADER, T.STORE_ERROR): ("fatal",),
    (S.LEADER, T.KEY_DELETED): ("own_key",),
    (S.LEADER, T.LEADER_OBSERVED): ("newer_other",),
    (S.LEADER, T.CALLBACK_FAILED): ("resign_on_failure", "stop_on_failure"),
    (S.RESIGNING, T.SETTLED): ("stopping", "retries_left"),
    (S.ERROR, T.SETTLED): ("retries_left",),
    (S.BACKOFF, T.BACKOFF_ELAPSED): ("callbacks_returned",),
}
"""
The cells with alternatives, and the guards that choose among them.
"""

FACTS: Final[Mapping[T, tuple[str, ...]]] = {
    T.ACQUIRED: ("lease_valid", "same_term"),
    T.RENEWED: ("still_valid",),
    T.LEASE_EXPIRED: ("lease_valid",),
    T.SESSION_SUSPENDED: ("demote_on_suspend",),
    T.STORE_ERROR: ("fatal",),
    T.KEY_DELETED: ("own_key", "in_queue"),
    T.LEADER_OBSERVED: ("newer_other",),
    T.CALLBACK_FAILED: ("resign_on_failure", "stop_on_failure"),
    T.SETTLED: ("retries_left",),
}
"""
What the world decides about an event, whether the table asks or not.
"""

CAUSES: Final[Mapping[T, Cause]] = {
    T.ACQUIRED: Cause.SUPERSEDED,
    T.CONTENDED: Cause.SUPERSEDED,
    T.LEADER_OBSERVED: Cause.SUPERSEDED,
    T.RENEWED: Cause.LEASE_EXPIRED,
    T.LEASE_EXPIRED: Cause.LEASE_EXPIRED,
    T.SESSION_LOST: Cause.SESSION_LOST,
    T.SESSION_SUSPENDED: Cause.SESSION_LOST,
    T.STORE_ERROR: Cause.STORE_ERROR,
    T.KEY_DELETED: Cause.DELETED,
    T.RESIGN: Cause.RESIGNED,
    T.STOP: Cause.STOPPED,
    T.CALLBACK_FAILED: Cause.CALLBACK_FAILED,
}
"""
Why a term ends, by what ends it.
"""


class Ghost(NamedTuple):
    """
    What the engine has under way.
    """

    elected: bool = False
    """on_elected was called, on_demoted was not."""
    running: bool = False
    """A callback of a term has not returned."""
    cleaning: bool = False
    """A clean-up will post `settled`."""
    claim: bool = False
    """The store is being asked for the entry, or something will make us ask again."""
    lease_timer: bool = False
    """Something will tell when the deadline in force passes."""
    waker: bool = False
    """Something will end the backoff."""
    stop_wanted: bool = False
    """The user, or the policy for failures, wants to leave the contest."""
    stopping: bool = False
    """The engine was told so."""
    cool_down: bool = False
    """A cool-down is stored for the next backoff."""


class Moment(NamedTuple):
    """
    One event, and where the table went.
    """

    source: S
    trigger: T
    facts: Facts
    dest: S
    ghost: Ghost

    @property
    def where(self) -> str:
        """
        The moment in words, for a message.
        """
        facts = " ".join(name if holds else f"not-{name}" for name, holds in self.facts.items())
        return f"{self.source} --{self.trigger}[{facts}]--> {self.dest}"


def is_evidence(trigger: T, facts: Facts) -> bool:
    """
    A leader that sees this can no longer be sure that it alone leads.
    """
    if trigger in (T.CONTENDED, T.SESSION_LOST):
        return True
    if trigger is T.RENEWED:
        return not facts["still_valid"]
    if trigger is T.LEASE_EXPIRED:
        return not facts["lease_valid"]
    if trigger is T.ACQUIRED:
        return not facts["same_term"]
    proof = {
        T.SESSION_SUSPENDED: "demote_on_suspend",
        T.STORE_ERROR: "fatal",
        T.KEY_DELETED: "own_key",
        T.LEADER_OBSERVED: "newer_other",
    }.get(trigger)
    return proof is not None and facts[proof]


def is_wish(trigger: T, facts: Facts) -> bool:
    """
    A leader that hears this gives up by choice.
    """
    failed = trigger is T.CALLBACK_FAILED and (facts["resign_on_failure"] or facts["stop_on_failure"])
    return failed or trigger in (T.RESIGN, T.STOP)


def destination(source: S, trigger: T, facts: Facts, stop_wanted: bool) -> S:
    """
    Where a candidate has to be after an event: each state, and the only ways out of it.
    """
    if source is S.LEADER:
        return S.ERROR if is_evidence(trigger, facts) else S.RESIGNING if is_wish(trigger, facts) else source
    if trigger is T.STOP and source is not S.IDLE:
        return S.IDLE if source is S.BACKOFF else S.RESIGNING
    ways: dict[tuple[S, T], S] = {
        (S.IDLE, T.START): S.CAMPAIGNING if facts["callbacks_returned"] else S.BACKOFF,
        (S.CAMPAIGNING, T.ACQUIRED): S.LEADER if facts.get("lease_valid") else S.ERROR,
        (S.CAMPAIGNING, T.SESSION_LOST): S.ERROR,
        (S.CAMPAIGNING, T.STORE_ERROR): S.ERROR,
        (S.CAMPAIGNING, T.RESIGN): S.RESIGNING,
        (S.RESIGNING, T.SETTLED): S.IDLE if stop_wanted or not facts.get("retries_left") else S.BACKOFF,
        (S.ERROR, T.SETTLED): S.BACKOFF if facts.get("retries_left") else S.IDLE,
        (S.BACKOFF, T.BACKOFF_ELAPSED): S.CAMPAIGNING if facts["callbacks_returned"] else S.BACKOFF,
    }
    return ways.get((source, trigger), source)


def is_illegal(source: S, trigger: T) -> bool:
    """
    The events that cannot happen in a state, unless the engine is wrong or the API misused.
    """
    if trigger is T.START:
        return source is not S.IDLE
    if trigger is T.SETTLED:
        return source not in CLEANING_UP
    return (source, trigger) == (S.CAMPAIGNING, T.RENEWED)


DOES: Final[Mapping[E, Mapping[str, bool]]] = {
    E.TRY_ACQUIRE: {"claim": True},
    E.AWAIT_VACANCY: {"claim": True},
    E.CANCEL_ATTEMPT: {"claim": False},
    E.ARM_LEASE_TIMER: {"lease_timer": True},
    E.EXTEND_LEASE: {"lease_timer": True},
    E.ON_ELECTED: {"elected": True, "running": True},
    E.ON_DEMOTED: {"elected": False, "running": True, "lease_timer": False},
    E.CLEANUP: {"cleaning": True, "claim": False},
    E.SET_REJOIN: {"cool_down": True},
    E.SET_COOL_DOWN: {"cool_down": True},
    E.SET_STOP: {"stopping": True},
    E.ARM_BACKOFF: {"waker": True, "cool_down": False},
    E.CANCEL_BACKOFF: {"waker": False},
    E.AWAIT_CALLBACKS: {"waker": True},
}
"""
What an effect makes of the ghost; the others leave nothing under way.
"""

USES_UP: Final[Mapping[tuple[S, T], str]] = {
    (S.CAMPAIGNING, T.ACQUIRED): "claim",
    (S.CAMPAIGNING, T.CONTENDED): "claim",
    (S.CAMPAIGNING, T.KEY_DELETED): "claim",
    (S.CAMPAIGNING, T.WATCH_CLOSED): "claim",
    (S.CAMPAIGNING, T.SESSION_RESTORED): "claim",
    (S.LEADER, T.RENEWED): "lease_timer",
    (S.RESIGNING, T.SETTLED): "cleaning",
    (S.ERROR, T.SETTLED): "cleaning",
    (S.BACKOFF, T.BACKOFF_ELAPSED): "waker",
}
"""
What an event brings to its end: the answer to a claim, a timer that has fired.
"""


def is_not_our_turn(m: Moment) -> bool:
    """
    Another's entry went, and ours waits in the store's queue: the claim stands as it is.
    """
    return (m.source, m.trigger) == (S.CAMPAIGNING, T.KEY_DELETED) and m.facts["in_queue"]


def used_up(m: Moment) -> str | None:
    """
    What the event has brought to its end.
    """
    return None if is_not_our_turn(m) else USES_UP.get((m.source, m.trigger))


ONLY: Final[Mapping[E, Callable[[Moment], bool]]] = {
    E.NEW_ATTEMPT: lambda m: m.dest is S.CAMPAIGNING and m.source is not S.CAMPAIGNING,
    E.TRY_ACQUIRE: lambda m: m.dest is S.CAMPAIGNING and m.trigger is not T.CONTENDED and not m.ghost.claim,
    E.AWAIT_VACANCY: lambda m: m.dest is S.CAMPAIGNING and m.trigger is T.CONTENDED,
    E.CANCEL_ATTEMPT: lambda m: m.source is S.CAMPAIGNING and is_wish(m.trigger, m.facts) and not m.ghost.cleaning,
    E.RELEASE_ORPHAN: lambda m: m.trigger is T.ACQUIRED and m.source not in (S.CAMPAIGNING, S.LEADER),
    E.ARM_LEASE_TIMER: lambda m: m.dest is S.LEADER and m.source is not S.LEADER,
    E.EXTEND_LEASE: lambda m: m.dest is S.LEADER and m.trigger is T.RENEWED and m.facts["still_valid"],
    E.RETRY_RENEW: lambda m: m.dest is S.LEADER and m.trigger is T.STORE_ERROR,
    E.VERIFY_OWNERSHIP: lambda m: m.dest is S.LEADER and m.trigger in (T.SESSION_RESTORED, T.WATCH_CLOSED),
    E.MARK_SUSPENDED: lambda m: m.trigger is T.SESSION_SUSPENDED and m.dest in (S.CAMPAIGNING, S.LEADER),
    E.ON_ELECTED: lambda m: (
        (m.source, m.trigger, m.facts.get("lease_valid")) == (S.CAMPAIGNING, T.ACQUIRED, True)
        and m.ghost.lease_timer
        and not (m.ghost.elected or m.ghost.cleaning or m.ghost.running)
    ),
    E.ON_DEMOTED: lambda m: m.ghost.elected and not m.ghost.cleaning,
    E.CLEANUP: lambda m: not (m.ghost.cleaning or m.ghost.elected),
    E.MARK_NOT_HELD: lambda m: m.source in CLEANING_UP and m.trigger in (T.LEASE_EXPIRED, T.SESSION_LOST),
    E.RETRY_RELEASE: lambda m: m.source in CLEANING_UP and m.trigger is T.STORE_ERROR,
    E.SET_REJOIN: lambda m: (
        m.source is not S.RESIGNING and m.dest is S.RESIGNING and not (m.ghost.cleaning or m.ghost.stop_wanted)
    ),
    E.SET_COOL_DOWN: lambda m: m.trigger is T.RESIGN and m.source in (S.RESIGNING, S.ERROR, S.BACKOFF),
    E.SET_STOP: lambda m: m.ghost.stop_wanted and is_wish(m.trigger, m.facts) and m.trigger is not T.RESIGN,
    E.ARM_BACKOFF: lambda m: m.dest is S.BACKOFF and (m.source is not S.BACKOFF or m.trigger is T.RESIGN),
    E.CANCEL_BACKOFF: lambda m: m.source is S.BACKOFF and m.trigger is T.STOP,
    E.AWAIT_CALLBACKS: lambda m: m.ghost.running and m.dest is S.BACKOFF and m.trigger is T.BACKOFF_ELAPSED,
    E.NOTE_FAILURE: lambda m: m.trigger is T.CALLBACK_FAILED,
    E.ON_STOPPED: lambda m: m.dest is S.IDLE and m.source is not S.IDLE and m.ghost.stop_wanted,
    E.ON_GAVE_UP: lambda m: m.dest is S.IDLE and m.source is not S.IDLE and not m.ghost.stop_wanted,
}
"""
When an effect may be asked for, with the ghost as the effects before it in the row have left it.
"""


def on_moving(m: Moment) -> Iterator[E]:
    """
    The effects that entering one state and leaving another must have.
    """
    if m.dest is S.CAMPAIGNING:
        yield from (E.NEW_ATTEMPT, E.TRY_ACQUIRE)
    if m.dest is S.LEADER:
        yield from (E.ARM_LEASE_TIMER, E.ON_ELECTED)
    if m.dest is S.BACKOFF:
        yield E.ARM_BACKOFF
    if m.dest is S.IDLE:
        yield E.ON_STOPPED if m.ghost.stop_wanted else E.ON_GAVE_UP
    if m.source is S.LEADER:
        yield from (E.ON_DEMOTED, E.CLEANUP)
    if m.source is S.CAMPAIGNING and m.dest is not S.LEADER:
        yield E.CLEANUP
        if m.dest is S.RESIGNING:
            yield E.CANCEL_ATTEMPT


def required_effects(m: Moment) -> Iterator[E]:
    """
    The effects that a step must have: the REQUIRED table, by what has happened.
    """
    if m.dest is m.source:
        yield from () if is_not_our_turn(m) else UPKEEP.get((m.source, m.trigger), ())
    else:
        yield from on_moving(m)
    if m.trigger is T.CALLBACK_FAILED:
        yield E.NOTE_FAILURE
    if m.ghost.stop_wanted and not m.ghost.stopping:
        yield E.SET_STOP
    elif m.source in (S.LEADER, S.CAMPAIGNING) and m.dest is S.RESIGNING:
        yield E.SET_REJOIN
    if m.trigger is T.ACQUIRED and m.source not in (S.CAMPAIGNING, S.LEADER):
        yield E.RELEASE_ORPHAN
    if m.trigger is T.RESIGN and m.source in (*CLEANING_UP, S.BACKOFF):
        yield E.SET_COOL_DOWN
    if m.trigger is T.SESSION_SUSPENDED and m.dest in (S.CAMPAIGNING, S.LEADER):
        yield E.MARK_SUSPENDED


UPKEEP: Final[Mapping[tuple[S, T], tuple[E, ...]]] = {
    (S.CAMPAIGNING, T.CONTENDED): (E.AWAIT_VACANCY,),
    (S.CAMPAIGNING, T.KEY_DELETED): (E.TRY_ACQUIRE,),
    (S.CAMPAIGNING, T.WATCH_CLOSED): (E.TRY_ACQUIRE,),
    (S.CAMPAIGNING, T.SESSION_RESTORED): (E.TRY_ACQUIRE,),
    (S.LEADER, T.RENEWED): (E.EXTEND_LEASE,),
    (S.LEADER, T.STORE_ERROR): (E.RETRY_RENEW,),
    (S.LEADER, T.SESSION_RESTORED): (E.VERIFY_OWNERSHIP,),
    (S.LEADER, T.WATCH_CLOSED): (E.VERIFY_OWNERSHIP,),
    **{(state, T.LEASE_EXPIRED): (E.MARK_NOT_HELD,) for state in CLEANING_UP},
    **{(state, T.SESSION_LOST): (E.MARK_NOT_HELD,) for state in CLEANING_UP},
    **{(state, T.STORE_ERROR): (E.RETRY_RELEASE,) for state in CLEANING_UP},
    (S.BACKOFF, T.RESIGN): (E.ARM_BACKOFF,),
    (S.BACKOFF, T.BACKOFF_ELAPSED): (E.AWAIT_CALLBACKS,),
}
"""
What a state that is not left must do about an event.
"""

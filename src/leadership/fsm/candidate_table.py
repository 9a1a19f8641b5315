"""
The life of a candidate, as a table.

Law 1: everything that decides how a candidate moves is in this file. No other code assigns its state.
Law 2: nothing here knows a store, a clock, a thread or a callback. Guards are pure predicates on (context, event).
Law 3: every cell of state x trigger is present, the impossible ones too, so that a reader sees they were thought of.

Why it is as it is:

* Voluntary exits of leader go to resigning, involuntary ones to error. Both leave only by `settled`, which the
  runtime posts once per `cleanup`: callbacks are back or the grace is over, and the release is confirmed or the
  local deadline has passed.
* Contradictory evidence while leader (contended, a foreign acquired, a late renewed) ends the term: stepping down is
  always safe.
* `stop` from a state that may hold something at the store goes through resigning, never straight to idle.
* `lease_valid`: an answer that comes later than its own lease grants nothing.
* `still_valid`: an answer that comes after the deadline in force revives nothing: the user has seen the term end.
* `own_key`: the deletion of the previous holder's entry may be seen after we acquired.
* `newer_other`: an observation may be older than our own term.
* `in_queue`: where the store keeps those who wait in a queue, the end of a term concerns the next in it only, who is
  told; the others would ask in vain, all at once.
* `fatal`: revoked credentials end a term; a lost packet does not, the deadline will.
* `callbacks_returned`: a candidate whose own callbacks still run does not stand again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from leadership.fsm.event import Event
from leadership.fsm.row import DemotionCause as Cause
from leadership.fsm.row import Disposition, Row
from leadership.fsm.states import CandidateEffect as E
from leadership.fsm.states import CandidateState as S
from leadership.fsm.states import CandidateTrigger as T


@dataclass(slots=True)
class CandidateContext:
    """
    What guards may know of one candidate. Owned by the engine thread.
    """

    state: S = S.IDLE
    attempt: int = 0
    """Bumped by every campaign; an event of an earlier one is stale."""
    token: int | None = None
    """The fencing token of the present term."""
    session: str | None = None
    """The session that this candidate's entries belong to."""
    lease_deadline: float = 0.0
    stopping: bool = False
    failed_for_good: bool = False
    """A fatal error was met, or the retries are used up."""
    callbacks_running: int = 0
    on_callback_error: str = "resign"
    holds_through_suspension: bool = True
    """False where a suspended session may be ended before its time."""
    queues: bool = False
    """The store keeps those who wait in a queue, and tells whose turn it is."""


CandidateEvent: TypeAlias = Event[T]
CandidateRow: TypeAlias = Row[S, T, E, CandidateContext]


def lease_valid(ctx: CandidateContext, event: CandidateEvent) -> bool:
    """
    The deadline that the event brings, or else the one in force, is ahead.
    """
    deadline = ctx.lease_deadline if event.deadline is None else event.deadline
    return deadline > event.now


def still_valid(ctx: CandidateContext, event: CandidateEvent) -> bool:
    """
    The deadline in force has not passed, and the new one is ahead: a renewal revives nothing.
    """
    return ctx.lease_deadline > event.now and event.deadline is not None and event.deadline > event.now


def same_term(ctx: CandidateContext, event: CandidateEvent) -> bool:
    """
    The grant repeats the one that the present term stands on.
    """
    return event.token is not None and event.token == ctx.token


def own_key(ctx: CandidateContext, event: CandidateEvent) -> bool:
    """
    The entry that went is the one that the present term stands on.
    """
    return event.token is not None and event.token == ctx.token


def newer_other(ctx: CandidateContext, event: CandidateEvent) -> bool:
    """
    Another session holds the entry, later than the present term or by a read that nothing has overtaken.
    """
    if event.session == ctx.session:
        return False
    return event.confirmed or (event.token is not None and ctx.token is not None and event.token > ctx.token)


def in_queue(ctx: CandidateContext, event: CandidateEvent) -> bool:
    """
    The entry that went was another's, and the store will tell when it is our turn.
    """
    return ctx.queues and event.token is not None


def fatal(ctx: CandidateContext, event: CandidateEvent) -> bool:  # noqa: ARG001 - guards share one signature
    """
    Trying again cannot mend the error.
    """
    return event.fatal


def demote_on_suspend(ctx: CandidateContext, event: CandidateEvent) -> bool:  # noqa: ARG001 - one signature
    """
    The store does not promise that a suspended session lives until its deadline.
    """
    return not ctx.holds_through_suspension


def stopping(ctx: CandidateContext, event: CandidateEvent) -> bool:  # noqa: ARG001 - one signature
    """
    A stop was asked for.
    """
    return ctx.stopping


def retries_left(ctx: CandidateContext, event: CandidateEvent) -> bool:  # noqa: ARG001 - one signature
    """
    No fatal error was met, and the retries are not used up.
    """
    return not ctx.failed_for_good


def callbacks_returned(ctx: CandidateContext, event: CandidateEvent) -> bool:  # noqa: ARG001 - one signature
    """
    None of this candidate's own callbacks of earlier terms runs any more.
    """
    return ctx.callbacks_running == 0


def resign_on_failure(ctx: CandidateContext, event: CandidateEvent) -> bool:
    """
    It was on_elected that failed, and the policy is to resign and stand again; or an audit without which nobody leads.
    """
    if event.callback == "audit":
        return ctx.on_callback_error != "stop"
    return event.callback == "on_elected" and ctx.on_callback_error == "resign"


def stop_on_failure(ctx: CandidateContext, event: CandidateEvent) -> bool:
    """
    It was on_elected that failed, and the policy is to leave the contest.
    """
    return event.callback in ("on_elected", "audit") and ctx.on_callback_error == "stop"


GO, STAY, IGNORE, ILLEGAL = Disposition.GO, Disposition.STAY, Disposition.IGNORE, Disposition.ILLEGAL
CAMPAIGN = (E.NEW_ATTEMPT, E.TRY_ACQUIRE)
LEAVE_OFFICE = (E.ON_DEMOTED, E.CLEANUP)


def _ignored(source: S, *triggers: T) -> tuple[CandidateRow, ...]:
    return tuple(Row(source, trigger, None, IGNORE) for trigger in triggers)


def _illegal(source: S, *triggers: T) -> tuple[CandidateRow, ...]:
    return tuple(Row(source, trigger, None, ILLEGAL) for trigger in triggers)


# Nothing is outstanding in idle: whatever a store says here is late.
_IDLE: tuple[CandidateRow, ...] = (
    Row(S.IDLE, T.START, S.CAMPAIGNING, GO, callbacks_returned, CAMPAIGN),
    Row(S.IDLE, T.START, S.BACKOFF, GO, None, (E.ARM_BACKOFF,)),
    Row(S.IDLE, T.ACQUIRED, None, STAY, None, (E.RELEASE_ORPHAN,)),
    *_ignored(
        S.IDLE,
        T.CONTENDED,
        T.RENEWED,
        T.LEASE_EXPIRED,
        T.SESSION_LOST,
        T.SESSION_SUSPENDED,
        T.SESSION_RESTORED,
        T.STORE_ERROR,
        T.WATCH_CLOSED,
        T.KEY_DELETED,
        T.LEADER_OBSERVED,
        T.RESIGN,
        T.STOP,
        T.BACKOFF_ELAPSED,
    ),
    *_illegal(S.IDLE, T.SETTLED),
    Row(S.IDLE, T.CALLBACK_FAILED, None, STAY, None, (E.NOTE_FAILURE,)),
)

_CAMPAIGNING: tuple[CandidateRow, ...] = (
    *_illegal(S.CAMPAIGNING, T.START, T.RENEWED, T.SETTLED),
    Row(S.CAMPAIGNING, T.ACQUIRED, S.LEADER, GO, lease_valid, (E.ARM_LEASE_TIMER, E.ON_ELECTED)),
    Row(S.CAMPAIGNING, T.ACQUIRED, S.ERROR, GO, None, (E.CLEANUP,)),
    Row(S.CAMPAIGNING, T.CONTENDED, None, STAY, None, (E.AWAIT_VACANCY,)),
    *_ignored(S.CAMPAIGNING, T.LEASE_EXPIRED, T.LEADER_OBSERVED, T.BACKOFF_ELAPSED),
    Row(S.CAMPAIGNING, T.SESSION_LOST, S.ERROR, GO, None, (E.CLEANUP,)),
    Row(S.CAMPAIGNING, T.SESSION_SUSPENDED, None, STAY, None, (E.MARK_SUSPENDED,)),
    Row(S.CAMPAIGNING, T.SESSION_RESTORED, None, STAY, None, (E.TRY_ACQUIRE,)),
    # The outcome of the acquire is unknown: the clean-up removes what it may have left.
    Row(S.CAMPAIGNING, T.STORE_ERROR, S.ERROR, GO, None, (E.CLEANUP,)),
    Row(S.CAMPAIGNING, T.WATCH_CLOSED, None, STAY, None, (E.TRY_ACQUIRE,)),
    Row(S.CAMPAIGNING, T.KEY_DELETED, None, IGNORE, in_queue),
    Row(S.CAMPAIGNING, T.KEY_DELETED, None, STAY, None, (E.TRY_ACQUIRE,)),
    Row(S.CAMPAIGNING, T.RESIGN, S.RESIGNING, GO, None, (E.SET_REJOIN, E.CANCEL_ATTEMPT, E.CLEANUP)),
    Row(S.CAMPAIGNING, T.STOP, S.RESIGNING, GO, None, (E.SET_STOP, E.CANCEL_ATTEMPT, E.CLEANUP)),
    Row(S.CAMPAIGNING, T.CALLBACK_FAILED, None, STAY, None, (E.NOTE_FAILURE,)),
)

_LEADER: tuple[CandidateRow, ...] = (
    *_illegal(S.LEADER, T.START, T.SETTLED),
    Row(S.LEADER, T.ACQUIRED, None, IGNORE, same_term),
    Row(S.LEADER, T.ACQUIRED, S.ERROR, GO, None, LEAVE_OFFICE, Cause.SUPERSEDED),
    Row(S.LEADER, T.CONTENDED, S.ERROR, GO, None, LEAVE_OFFICE, Cause.SUPERSEDED),
    Row(S.LEADER, T.RENEWED, None, STAY, still_valid, (E.EXTEND_LEASE,)),
    Row(S.LEADER, T.RENEWED, S.ERROR, GO, None, LEAVE_OFFICE, Cause.LEASE_EXPIRED),
    Row(S.LEADER, T.LEASE_EXPIRED, None, IGNORE, lease_valid),  # a timer armed before the last renewal
    Row(S.LEADER, T.LEASE_EXPIRED, S.ERROR, GO, None, LEAVE_OFFICE, Cause.LEASE_EXPIRED),
    Row(S.LEADER, T.SESSION_LOST, S.ERROR, GO, None, LEAVE_OFFICE, Cause.SESSION_LOST),
    Row(S.LEADER, T.SESSION_SUSPENDED, S.ERROR, GO, demote_on_suspend, LEAVE_OFFICE, Cause.SESSION_LOST),
    Row(S.LEADER, T.SESSION_SUSPENDED, None, STAY, None, (E.MARK_SUSPENDED,)),
    Row(S.LEADER, T.SESSION_RESTORED, None, STAY, None, (E.VERIFY_OWNERSHIP,)),
    Row(S.LEADER, T.STORE_ERROR, S.ERROR, GO, fatal, LEAVE_OFFICE, Cause.STORE_ERROR),
    Row(S.LEADER, T.STORE_ERROR, None, STAY, None, (E.RETRY_RENEW,)),
    Row(S.LEADER, T.WATCH_CLOSED, None, STAY, None, (E.VERIFY_OWNERSHIP,)),
    Row(S.LEADER, T.KEY_DELETED, S.ERROR, GO, own_key, LEAVE_OFFICE, Cause.DELETED),
    Row(S.LEADER, T.KEY_DELETED, None, IGNORE),
    Row(S.LEADER, T.LEADER_OBSERVED, S.ERROR, GO, newer_other, LEAVE_OFFICE, Cause.SUPERSEDED),
    Row(S.LEADER, T.LEADER_OBSERVED, None, IGNORE),
    Row(S.LEADER, T.RESIGN, S.RESIGNING, GO, None, (E.SET_REJOIN, *LEAVE_OFFICE), Cause.RESIGNED),
    Row(S.LEADER, T.STOP, S.RESIGNING, GO, None, (E.SET_STOP, *LEAVE_OFFICE), Cause.STOPPED),
    *_ignored(S.LEADER, T.BACKOFF_ELAPSED),
    Row(
        S.LEADER,
        T.CALLBACK_FAILED,
        S.RESIGNING,
        GO,
        resign_on_failure,
        (E.NOTE_FAILURE, E.SET_REJOIN, *LEAVE_OFFICE),
        Cause.CALLBACK_FAILED,
    ),
    Row(
        S.LEADER,
        T.CALLBACK_FAILED,
        S.RESIGNING,
        GO,
        stop_on_failure,
        (E.NOTE_FAILURE, E.SET_STOP, *LEAVE_OFFICE),
        Cause.CALLBACK_FAILED,
    ),
    Row(S.LEADER, T.CALLBACK_FAILED, None, STAY, None, (E.NOTE_FAILURE,)),
)


def _cleaning_up(source: S) -> tuple[CandidateRow, ...]:
    """
    The cells that resigning and error share: a clean-up is outstanding, and only `settled` ends it.
    """
    return (
        *_illegal(source, T.START),
        Row(source, T.ACQUIRED, None, STAY, None, (E.RELEASE_ORPHAN,)),
        *_ignored(
            source,
            T.CONTENDED,
            T.RENEWED,
            T.SESSION_SUSPENDED,
            T.SESSION_RESTORED,
            T.WATCH_CLOSED,
            T.KEY_DELETED,
            T.LEADER_OBSERVED,
            T.BACKOFF_ELAPSED,
        ),
        Row(source, T.LEASE_EXPIRED, None, STAY, None, (E.MARK_NOT_HELD,)),
        Row(source, T.SESSION_LOST, None, STAY, None, (E.MARK_NOT_HELD,)),
        Row(source, T.STORE_ERROR, None, STAY, None, (E.RETRY_RELEASE,)),
        Row(source, T.RESIGN, None, STAY, None, (E.SET_COOL_DOWN,)),
        Row(source, T.CALLBACK_FAILED, None, STAY, None, (E.NOTE_FAILURE,)),
    )


_RESIGNING: tuple[CandidateRow, ...] = (
    *_cleaning_up(S.RESIGNING),
    Row(S.RESIGNING, T.STOP, None, STAY, None, (E.SET_STOP,)),
    Row(S.RESIGNING, T.SETTLED, S.IDLE, GO, stopping, (E.ON_STOPPED,)),
    Row(S.RESIGNING, T.SETTLED, S.BACKOFF, GO, retries_left, (E.ARM_BACKOFF,)),
    Row(S.RESIGNING, T.SETTLED, S.IDLE, GO, None, (E.ON_GAVE_UP,)),
)

_ERROR: tuple[CandidateRow, ...] = (
    *_cleaning_up(S.ERROR),
    Row(S.ERROR, T.STOP, S.RESIGNING, GO, None, (E.SET_STOP,)),
    Row(S.ERROR, T.SETTLED, S.BACKOFF, GO, retries_left, (E.ARM_BACKOFF,)),
    Row(S.ERROR, T.SETTLED, S.IDLE, GO, None, (E.ON_GAVE_UP,)),
)

_BACKOFF: tuple[CandidateRow, ...] = (
    *_illegal(S.BACKOFF, T.START, T.SETTLED),
    Row(S.BACKOFF, T.ACQUIRED, None, STAY, None, (E.RELEASE_ORPHAN,)),
    *_ignored(
        S.BACKOFF,
        T.CONTENDED,
        T.RENEWED,
        T.LEASE_EXPIRED,
        T.SESSION_LOST,
        T.SESSION_SUSPENDED,
        T.SESSION_RESTORED,
        T.STORE_ERROR,
        T.WATCH_CLOSED,
        T.KEY_DELETED,
        T.LEADER_OBSERVED,
    ),
    Row(S.BACKOFF, T.RESIGN, None, STAY, None, (E.SET_COOL_DOWN, E.ARM_BACKOFF)),
    Row(S.BACKOFF, T.STOP, S.IDLE, GO, None, (E.SET_STOP, E.CANCEL_BACKOFF, E.ON_STOPPED)),
    Row(S.BACKOFF, T.BACKOFF_ELAPSED, S.CAMPAIGNING, GO, callbacks_returned, CAMPAIGN),
    Row(S.BACKOFF, T.BACKOFF_ELAPSED, None, STAY, None, (E.AWAIT_CALLBACKS,)),
    Row(S.BACKOFF, T.CALLBACK_FAILED, None, STAY, None, (E.NOTE_FAILURE,)),
)

CANDIDATE_TABLE: Final[tuple[CandidateRow, ...]] = (
    *_IDLE,
    *_CAMPAIGNING,
    *_LEADER,
    *_RESIGNING,
    *_ERROR,
    *_BACKOFF,
)

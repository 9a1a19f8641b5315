"""
The life of a follower, as a table.

Law 1: everything that decides how a follower moves is in this file. No other code assigns its state.
Law 2: nothing here knows a store, a clock, a thread or a callback. Guards are pure predicates on (context, event).
Law 3: every cell of state x trigger is present.

Why it is as it is:

* A follower holds nothing at the store, so `stop` needs no resigning state.
* "I do not know" is said: a broken watch marks the view stale until the truth has been read again.
* Reported tokens never go back, except by a linearizable read that no watch event has overtaken (`confirmed`): a store
  that was wiped starts again at low tokens, and a follower must not be blind to its leaders for ever.
* `alive`: an observation of an entry whose end was seen, which comes late, brings no leader back; one of the leader
  that was seen last, whose end was not seen, does.
* While syncing the end of an entry says nothing: it may be an earlier one's, and the read will tell.
* `current_key`: only the end of the entry that is being followed makes the view vacant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from leadership.fsm.event import Event
from leadership.fsm.row import Disposition, Row
from leadership.fsm.states import FollowerEffect as E
from leadership.fsm.states import FollowerState as S
from leadership.fsm.states import FollowerTrigger as T


@dataclass(slots=True)
class FollowerContext:
    """
    What guards may know of one follower. Owned by the engine thread.
    """

    state: S = S.IDLE
    attempt: int = 0
    token: int | None = None
    """The token of the leader that is being followed; None where there is none."""
    last_token: int = 0
    """The newest token seen."""
    ended: int = 0
    """The newest token whose end was seen."""
    failed_for_good: bool = False


FollowerEvent: TypeAlias = Event[T]
FollowerRow: TypeAlias = Row[S, T, E, FollowerContext]


def remember(ctx: FollowerContext, event: FollowerEvent, *, heeded: bool) -> None:
    """
    Keep what an event has told of tokens: the newest seen, and the newest whose end was seen.

    Args:
        heeded: False where the event was ignored; an end counts all the same.
    """
    if event.token is None:
        return
    if event.trigger in (T.KEY_DELETED, T.LEASE_EXPIRED):
        ctx.ended = max(ctx.ended, event.token)
    elif event.trigger is T.LEADER_OBSERVED and event.confirmed and heeded:
        ctx.last_token = event.token
        ctx.ended = min(ctx.ended, event.token - 1)  # a store that was wiped begins again at low tokens
    elif event.trigger is T.LEADER_OBSERVED and heeded:
        ctx.last_token = max(ctx.last_token, event.token)


def alive(ctx: FollowerContext, event: FollowerEvent) -> bool:
    """
    The entry is no older than the newest that was seen, and its end was not seen; or it is the confirmed truth.
    """
    known = max(ctx.last_token, ctx.ended + 1)
    return event.confirmed or (event.token is not None and event.token >= known)


def newer(ctx: FollowerContext, event: FollowerEvent) -> bool:
    """
    Another term than the one that is being followed, later than all that were seen to begin or to end, or confirmed.
    """
    if event.token is None or event.token == ctx.token:
        return False
    return event.confirmed or event.token > max(ctx.last_token, ctx.ended)


def current_key(ctx: FollowerContext, event: FollowerEvent) -> bool:
    """
    The entry that ended is the one that is being followed.
    """
    return event.token is not None and event.token == ctx.token


def retries_left(ctx: FollowerContext, event: FollowerEvent) -> bool:  # noqa: ARG001 - guards share one signature
    """
    No fatal error was met, and the retries are not used up.
    """
    return not ctx.failed_for_good


GO, STAY, IGNORE, ILLEGAL = Disposition.GO, Disposition.STAY, Disposition.IGNORE, Disposition.ILLEGAL
SYNC = (E.NEW_ATTEMPT, E.OPEN_WATCH, E.READ_KEY)  # the watch first: what changes during the read is not missed
RESYNC = (E.MARK_STALE, E.OPEN_WATCH, E.READ_KEY)


def _ignored(source: S, *triggers: T) -> tuple[FollowerRow, ...]:
    return tuple(Row(source, trigger, None, IGNORE) for trigger in triggers)


def _illegal(source: S, *triggers: T) -> tuple[FollowerRow, ...]:
    return tuple(Row(source, trigger, None, ILLEGAL) for trigger in triggers)


def _running(source: S) -> tuple[FollowerRow, ...]:
    """
    The cells that syncing, following and vacant share.
    """
    return (
        *_illegal(source, T.START, T.SETTLED),
        Row(source, T.SESSION_LOST, S.ERROR, GO, None, (E.MARK_STALE, E.CLEANUP)),
        Row(source, T.STORE_ERROR, S.ERROR, GO, None, (E.MARK_STALE, E.CLEANUP)),
        Row(source, T.STOP, S.IDLE, GO, None, (E.CLOSE_WATCH, E.ON_STOPPED)),
        *_ignored(source, T.BACKOFF_ELAPSED),
        Row(source, T.CALLBACK_FAILED, None, STAY, None, (E.NOTE_FAILURE,)),
    )


_IDLE: tuple[FollowerRow, ...] = (
    Row(S.IDLE, T.START, S.SYNCING, GO, None, SYNC),
    *_ignored(S.IDLE, *(trigger for trigger in T if trigger not in (T.START, T.SETTLED, T.CALLBACK_FAILED))),
    *_illegal(S.IDLE, T.SETTLED),
    Row(S.IDLE, T.CALLBACK_FAILED, None, STAY, None, (E.NOTE_FAILURE,)),
)

_SYNCING: tuple[FollowerRow, ...] = (
    *_running(S.SYNCING),
    Row(S.SYNCING, T.LEADER_OBSERVED, S.FOLLOWING, GO, alive, (E.ON_LEADER_CHANGED,)),
    Row(S.SYNCING, T.LEADER_OBSERVED, None, IGNORE),
    Row(S.SYNCING, T.VACANT_OBSERVED, S.VACANT, GO, None, (E.ON_LEADER_LOST,)),
    *_ignored(S.SYNCING, T.KEY_DELETED, T.LEASE_EXPIRED, T.SESSION_SUSPENDED),
    Row(S.SYNCING, T.WATCH_CLOSED, None, STAY, None, (E.OPEN_WATCH, E.READ_KEY)),
    Row(S.SYNCING, T.SESSION_RESTORED, None, STAY, None, (E.READ_KEY,)),
)

_FOLLOWING: tuple[FollowerRow, ...] = (
    *_running(S.FOLLOWING),
    Row(S.FOLLOWING, T.LEADER_OBSERVED, S.FOLLOWING, GO, newer, (E.ON_LEADER_CHANGED,)),
    Row(S.FOLLOWING, T.LEADER_OBSERVED, None, STAY, None, (E.REFRESH_LEADER,)),
    Row(S.FOLLOWING, T.VACANT_OBSERVED, S.VACANT, GO, None, (E.ON_LEADER_LOST,)),
    Row(S.FOLLOWING, T.KEY_DELETED, S.VACANT, GO, current_key, (E.ON_LEADER_LOST,)),
    Row(S.FOLLOWING, T.KEY_DELETED, None, IGNORE),
    Row(S.FOLLOWING, T.LEASE_EXPIRED, S.VACANT, GO, current_key, (E.ON_LEADER_LOST,)),
    Row(S.FOLLOWING, T.LEASE_EXPIRED, None, IGNORE),
    Row(S.FOLLOWING, T.WATCH_CLOSED, S.SYNCING, GO, None, RESYNC),
    Row(S.FOLLOWING, T.SESSION_SUSPENDED, None, STAY, None, (E.MARK_STALE,)),
    Row(S.FOLLOWING, T.SESSION_RESTORED, S.SYNCING, GO, None, RESYNC),
)

_VACANT: tuple[FollowerRow, ...] = (
    *_running(S.VACANT),
    Row(S.VACANT, T.LEADER_OBSERVED, S.FOLLOWING, GO, alive, (E.ON_LEADER_CHANGED,)),
    Row(S.VACANT, T.LEADER_OBSERVED, None, IGNORE),
    *_ignored(S.VACANT, T.VACANT_OBSERVED, T.KEY_DELETED, T.LEASE_EXPIRED),
    Row(S.VACANT, T.WATCH_CLOSED, S.SYNCING, GO, None, RESYNC),
    Row(S.VACANT, T.SESSION_SUSPENDED, None, STAY, None, (E.MARK_STALE,)),
    Row(S.VACANT, T.SESSION_RESTORED, S.SYNCING, GO, None, RESYNC),
)

_STORE_FACTS = (
    T.LEADER_OBSERVED,
    T.VACANT_OBSERVED,
    T.KEY_DELETED,
    T.LEASE_EXPIRED,
    T.WATCH_CLOSED,
    T.SESSION_LOST,
    T.SESSION_SUSPENDED,
    T.SESSION_RESTORED,
    T.STORE_ERROR,
)

_ERROR: tuple[FollowerRow, ...] = (
    *_illegal(S.ERROR, T.START),
    *_ignored(S.ERROR, *_STORE_FACTS, T.BACKOFF_ELAPSED),
    Row(S.ERROR, T.STOP, S.IDLE, GO, None, (E.CLOSE_WATCH, E.ON_STOPPED)),
    Row(S.ERROR, T.SETTLED, S.BACKOFF, GO, retries_left, (E.ARM_BACKOFF,)),
    Row(S.ERROR, T.SETTLED, S.IDLE, GO, None, (E.ON_GAVE_UP,)),
    Row(S.ERROR, T.CALLBACK_FAILED, None, STAY, None, (E.NOTE_FAILURE,)),
)

_BACKOFF: tuple[FollowerRow, ...] = (
    *_illegal(S.BACKOFF, T.START, T.SETTLED),
    *_ignored(S.BACKOFF, *_STORE_FACTS),
    Row(S.BACKOFF, T.STOP, S.IDLE, GO, None, (E.CANCEL_BACKOFF, E.ON_STOPPED)),
    Row(S.BACKOFF, T.BACKOFF_ELAPSED, S.SYNCING, GO, None, SYNC),
    Row(S.BACKOFF, T.CALLBACK_FAILED, None, STAY, None, (E.NOTE_FAILURE,)),
)

FOLLOWER_TABLE: Final[tuple[FollowerRow, ...]] = (
    *_IDLE,
    *_SYNCING,
    *_FOLLOWING,
    *_VACANT,
    *_ERROR,
    *_BACKOFF,
)

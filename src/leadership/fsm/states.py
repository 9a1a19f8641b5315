"""
The vocabulary of the two machines: states, triggers, effects.
"""

from __future__ import annotations

from enum import StrEnum


class CandidateState(StrEnum):
    """
    Where a candidate is in its life.
    """

    IDLE = "idle"
    """Not standing."""
    CAMPAIGNING = "campaigning"
    """Standing: asking for the entry, or waiting until it is free."""
    LEADER = "leader"
    """Holding the entry. Belief also needs the deadline to be ahead: ask `is_leader`."""
    RESIGNING = "resigning"
    """Withdrawing by choice: callbacks end, then the entry is released."""
    ERROR = "error"
    """Cleaning up after an involuntary end."""
    BACKOFF = "backoff"
    """Waiting before it stands again."""


class FollowerState(StrEnum):
    """
    What a follower knows.
    """

    IDLE = "idle"
    """Not following."""
    SYNCING = "syncing"
    """Reading who leads."""
    FOLLOWING = "following"
    """Somebody leads."""
    VACANT = "vacant"
    """Nobody leads."""
    ERROR = "error"
    """The store cannot be read; cleaning up."""
    BACKOFF = "backoff"
    """Waiting before it reads again."""


class CandidateTrigger(StrEnum):
    """
    What can happen to a candidate.
    """

    START = "start"
    ACQUIRED = "acquired"
    CONTENDED = "contended"
    RENEWED = "renewed"
    LEASE_EXPIRED = "lease_expired"
    SESSION_LOST = "session_lost"
    SESSION_SUSPENDED = "session_suspended"
    SESSION_RESTORED = "session_restored"
    STORE_ERROR = "store_error"
    WATCH_CLOSED = "watch_closed"
    KEY_DELETED = "key_deleted"
    LEADER_OBSERVED = "leader_observed"
    RESIGN = "resign"
    STOP = "stop"
    SETTLED = "settled"
    BACKOFF_ELAPSED = "backoff_elapsed"
    CALLBACK_FAILED = "callback_failed"


class FollowerTrigger(StrEnum):
    """
    What can happen to a follower.
    """

    START = "start"
    LEADER_OBSERVED = "leader_observed"
    VACANT_OBSERVED = "vacant_observed"
    KEY_DELETED = "key_deleted"
    LEASE_EXPIRED = "lease_expired"
    WATCH_CLOSED = "watch_closed"
    SESSION_LOST = "session_lost"
    SESSION_SUSPENDED = "session_suspended"
    SESSION_RESTORED = "session_restored"
    STORE_ERROR = "store_error"
    STOP = "stop"
    SETTLED = "settled"
    BACKOFF_ELAPSED = "backoff_elapsed"
    CALLBACK_FAILED = "callback_failed"


class CandidateEffect(StrEnum):
    """
    What the runtime is to do after a candidate's row was committed, in the row's order.
    """

    NEW_ATTEMPT = "new_attempt"
    TRY_ACQUIRE = "try_acquire"
    AWAIT_VACANCY = "await_vacancy"
    CANCEL_ATTEMPT = "cancel_attempt"
    RELEASE_ORPHAN = "release_orphan"
    ARM_LEASE_TIMER = "arm_lease_timer"
    EXTEND_LEASE = "extend_lease"
    RETRY_RENEW = "retry_renew"
    VERIFY_OWNERSHIP = "verify_ownership"
    MARK_SUSPENDED = "mark_suspended"
    ON_ELECTED = "on_elected"
    ON_DEMOTED = "on_demoted"
    CLEANUP = "cleanup"
    MARK_NOT_HELD = "mark_not_held"
    RETRY_RELEASE = "retry_release"
    SET_REJOIN = "set_rejoin"
    SET_STOP = "set_stop"
    SET_COOL_DOWN = "set_cool_down"
    ARM_BACKOFF = "arm_backoff"
    CANCEL_BACKOFF = "cancel_backoff"
    AWAIT_CALLBACKS = "await_callbacks"
    NOTE_FAILURE = "note_failure"
    ON_STOPPED = "on_stopped"
    ON_GAVE_UP = "on_gave_up"


class FollowerEffect(StrEnum):
    """
    What the runtime is to do after a follower's row was committed, in the row's order.
    """

    NEW_ATTEMPT = "new_attempt"
    READ_KEY = "read_key"
    OPEN_WATCH = "open_watch"
    CLOSE_WATCH = "close_watch"
    MARK_STALE = "mark_stale"
    ON_LEADER_CHANGED = "on_leader_changed"
    ON_LEADER_LOST = "on_leader_lost"
    REFRESH_LEADER = "refresh_leader"
    CLEANUP = "cleanup"
    ARM_BACKOFF = "arm_backoff"
    CANCEL_BACKOFF = "cancel_backoff"
    NOTE_FAILURE = "note_failure"
    ON_STOPPED = "on_stopped"
    ON_GAVE_UP = "on_gave_up"

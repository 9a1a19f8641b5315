"""
Leader election whose every transition can be seen.

What it promises: at most one candidate of an election believes that it leads, provided that the store is linearizable,
local clocks run at most 10 % slower than the store's, and nobody ends the leader's entry before its time.

What it does not: a lease cannot stop work that outlives it. Every term has a fencing token that rises from term to
term; only what refuses an older token is safe from a leader of the past. `Candidate.is_leader` speaks of now, not of
later.
"""

from leadership import _platform as _platform
from leadership.aio import AsyncCandidate, AsyncFollower, AsyncTerm
from leadership.candidate import Candidate
from leadership.connect import connect
from leadership.errors import (
    ConfigError,
    IllegalTransition,
    LeadershipError,
    NotLeader,
    StoreRefused,
    StoreUnavailable,
)
from leadership.follower import Follower
from leadership.fsm.backoff import Backoff
from leadership.fsm.record import Transition
from leadership.fsm.row import DemotionCause
from leadership.fsm.states import CandidateState, FollowerState
from leadership.observers.audit import AuditLog
from leadership.store import Store, Timing
from leadership.term import Leader, Term

__all__ = [
    "AsyncCandidate",
    "AsyncFollower",
    "AsyncTerm",
    "AuditLog",
    "Backoff",
    "Candidate",
    "CandidateState",
    "ConfigError",
    "DemotionCause",
    "Follower",
    "FollowerState",
    "IllegalTransition",
    "Leader",
    "LeadershipError",
    "NotLeader",
    "Store",
    "StoreRefused",
    "StoreUnavailable",
    "Term",
    "Timing",
    "Transition",
    "connect",
]

"""
The record of one committed transition, and of one renewal: what observers receive.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from leadership.fsm.row import DemotionCause


@dataclass(frozen=True, slots=True)
class Transition:
    """
    One row of a machine, as it was applied. Immutable; safe to hand to any thread.
    """

    seq: int
    """Counts the records of this machine (`incarnation`, `machine`) from 1 without a gap."""
    at: datetime
    """Wall clock, UTC, for people. Never used for a decision."""
    monotonic: float
    """Seconds on the clock of deadlines; comparable within one boot of one machine only."""
    machine: str
    """`candidate` or `follower`."""
    election: str
    node: str
    boot: str
    """Names the process."""
    incarnation: str
    """Names this very candidate or follower object."""
    trigger: str
    source: str
    dest: str
    guard: str | None
    disposition: str
    """`go`, `stay`, `ignore`, `illegal` or `stale`."""
    cause: DemotionCause | None
    """Why the term ended, on a row that ends one."""
    reason: str | None
    """
    The operator's words on a resignation, on the leader's record and on a follower's of that term's end; `token_reset`
    where the store has lost its data.
    """
    error: str | None
    term: str | None
    """Names the term: election, node and token, in words."""
    token: int | None
    attempt: int
    revision: int | None
    lease_deadline: float | None
    """Seconds on the same clock as `monotonic`; while the state is leader."""
    duration: float
    """Seconds spent in `source`."""
    renewals: int
    """Renewals counted since `source` was entered."""
    trace_id: str | None = None
    """
    32 hex digits: the OpenTelemetry trace of the call of `start`, `stop` or `resign` that this row answers, made within
    a span. None for all other rows; left out of `as_dict`, log and audit then.
    """
    span_id: str | None = None
    """16 hex digits: the span of that call."""

    def as_dict(self) -> dict[str, Any]:
        """
        The record as JSON-able values: time as RFC 3339 text, enums as their words.
        """
        traced = {} if self.trace_id is None else {"trace_id": self.trace_id, "span_id": self.span_id}
        return {
            "seq": self.seq,
            "at": self.at.isoformat(),
            "monotonic": self.monotonic,
            "machine": self.machine,
            "election": self.election,
            "node": self.node,
            "boot": self.boot,
            "incarnation": self.incarnation,
            "trigger": self.trigger,
            "source": self.source,
            "dest": self.dest,
            "guard": self.guard,
            "disposition": self.disposition,
            "cause": None if self.cause is None else str(self.cause),
            "reason": self.reason,
            "error": self.error,
            "term": self.term,
            "token": self.token,
            "attempt": self.attempt,
            "revision": self.revision,
            "lease_deadline": self.lease_deadline,
            "duration": self.duration,
            "renewals": self.renewals,
            **traced,
        }


@dataclass(frozen=True, slots=True)
class Renewal:
    """
    One attempt of a leader to renew its lease. It moves nothing, hence it is no transition. Immutable.
    """

    election: str
    node: str
    boot: str
    """Names the process."""
    incarnation: str
    """Names this very candidate, as in its transitions."""
    at: datetime
    """Wall clock, UTC, when the attempt was known to have succeeded or failed."""
    monotonic: float
    """The same moment in seconds on the clock of deadlines."""
    token: int
    latency: float
    """Seconds since the renewal was sent."""
    headroom: float
    """Seconds that were left of the lease at that moment, before it was extended."""
    lease_deadline: float
    """Until when the lease is sure now, on the same clock as `monotonic`: later than before only if it succeeded."""
    error: str | None
    """None when it was acknowledged; else what prevented that."""

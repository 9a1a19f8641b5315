"""
The record of one committed transition: what observers receive.
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
    """The operator's words on a resignation; `token_reset` where the store has lost its data."""
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

    def as_dict(self) -> dict[str, Any]:
        """
        The record as JSON-able values: time as RFC 3339 text, enums as their words.
        """
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
        }

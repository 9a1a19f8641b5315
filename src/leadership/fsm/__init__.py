"""
The two machines: tables as data, guards as pure functions, effects as values.

Nothing here has a clock, a thread, a socket, a log or a die.
"""

from __future__ import annotations

from typing import Final

from leadership.fsm.candidate_table import CANDIDATE_TABLE, CandidateContext, CandidateEvent
from leadership.fsm.follower_table import FOLLOWER_TABLE, FollowerContext
from leadership.fsm.machine import Machine
from leadership.fsm.states import (
    CandidateEffect,
    CandidateState,
    CandidateTrigger,
    FollowerEffect,
    FollowerState,
    FollowerTrigger,
)


def _meant_for_another_term(ctx: CandidateContext, event: CandidateEvent) -> bool:
    """
    An operator's request names the term that is to end; it is stale for any other.
    """
    return event.trigger is CandidateTrigger.RESIGN and event.token is not None and event.token != ctx.token


CANDIDATE: Final = Machine(
    "candidate",
    CandidateState,
    CandidateTrigger,
    CANDIDATE_TABLE,
    # A grant that answers an earlier attempt is held by nobody: let it go.
    stale={CandidateTrigger.ACQUIRED: (CandidateEffect.RELEASE_ORPHAN,)},
    is_stale=_meant_for_another_term,
)
"""The candidate's machine, shared by every candidate of the process."""

FOLLOWER: Final[Machine[FollowerState, FollowerTrigger, FollowerEffect, FollowerContext]] = Machine(
    "follower", FollowerState, FollowerTrigger, FOLLOWER_TABLE
)
"""The follower's machine, shared by every follower of the process."""

__all__ = [
    "CANDIDATE",
    "FOLLOWER",
    "CandidateContext",
    "CandidateEffect",
    "CandidateState",
    "CandidateTrigger",
    "FollowerContext",
    "FollowerEffect",
    "FollowerState",
    "FollowerTrigger",
    "Machine",
]

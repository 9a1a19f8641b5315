"""
The laws of both tables hold over everything that can happen.
"""

from __future__ import annotations

import pytest
from model.candidate_laws import CAUSES, ONLY
from model.follower_check import ONLY as FOLLOWER_ONLY
from model.follower_check import check_follower
from model.table_check import check_candidate

from leadership.fsm import CANDIDATE, FOLLOWER, CandidateContext, FollowerContext
from leadership.fsm.candidate_table import CANDIDATE_TABLE
from leadership.fsm.event import Event
from leadership.fsm.follower_table import FOLLOWER_TABLE, newer, remember
from leadership.fsm.states import (
    CandidateEffect,
    CandidateState,
    CandidateTrigger,
    FollowerEffect,
    FollowerState,
    FollowerTrigger,
)


def test_the_candidates_laws_hold() -> None:
    """
    Leader is the time from on_elected to on_demoted, evidence ends a term and nothing else does, each clean-up is
    waited for, a stop is honoured, no state is a trap, no row is dead: whatever happens, in whatever order.
    """
    found = check_candidate(CANDIDATE_TABLE)

    assert found.pairs >= 15
    assert found.steps >= 400


@pytest.mark.parametrize("tokens", [2, 3, 4])
def test_the_followers_laws_hold(tokens: int) -> None:
    """
    Reported tokens never go back but by a confirmed read, what is not known is said to be stale, a sync always reads
    behind an open watch, no state is a trap, no row is dead.
    """
    found = check_follower(FOLLOWER_TABLE, tokens)

    assert found.pairs > 10 * tokens / 2
    assert found.steps > 200 * tokens


def test_the_laws_speak_of_every_effect() -> None:
    """
    Each effect has a law that says when it may be asked for, and each cause of a demotion a trigger that has it.
    """
    assert set(CandidateEffect) == set(ONLY)
    assert set(FollowerEffect) == set(FOLLOWER_ONLY)
    assert {row.cause for row in CANDIDATE_TABLE if row.cause is not None} == set(CAUSES.values())


@pytest.mark.parametrize("state", CandidateState)
def test_stop_takes_at_most_two_events(state: CandidateState) -> None:
    """
    From any state a stop and, where something is under way, one `settled` lead to idle.
    """
    ctx = CandidateContext(state=state, token=5, attempt=1)

    step = CANDIDATE.fire(ctx, Event(CandidateTrigger.STOP, now=0.0))
    ctx.stopping = CandidateEffect.SET_STOP in step.effects
    if ctx.state is not CandidateState.IDLE:
        CANDIDATE.fire(ctx, Event(CandidateTrigger.SETTLED, now=0.0, attempt=1))

    assert CandidateState.IDLE is ctx.state


@pytest.mark.parametrize("state", FollowerState)
def test_a_follower_stops_at_once(state: FollowerState) -> None:
    """
    A follower holds nothing at the store: one event takes it from anywhere to idle.
    """
    ctx = FollowerContext(state=state, token=5, last_token=5)

    FOLLOWER.fire(ctx, Event(FollowerTrigger.STOP, now=0.0))

    assert FollowerState.IDLE is ctx.state


def test_a_wiped_store_does_not_blind_a_follower() -> None:
    """
    After a confirmed read has shown a lower token, the leaders that follow it are seen without one.
    """
    ctx = FollowerContext(state=FollowerState.FOLLOWING, token=900, last_token=900)

    FOLLOWER.fire(ctx, Event(FollowerTrigger.LEADER_OBSERVED, now=0.0, token=1))
    assert (FollowerState.FOLLOWING, 900) == (ctx.state, ctx.token)
    step = FOLLOWER.fire(ctx, Event(FollowerTrigger.LEADER_OBSERVED, now=0.0, token=1, confirmed=True))
    assert FollowerEffect.ON_LEADER_CHANGED in step.effects
    ctx.token = ctx.last_token = 1
    step = FOLLOWER.fire(ctx, Event(FollowerTrigger.LEADER_OBSERVED, now=0.0, token=2))
    assert FollowerEffect.ON_LEADER_CHANGED in step.effects


def test_ends_from_before_a_wipe_are_forgotten() -> None:
    """
    Entries with high tokens were seen to end, and then the confirmed truth has a low one: what follows it is newer.
    """
    ctx = FollowerContext(state=FollowerState.FOLLOWING, token=1, last_token=900, ended=900)

    remember(ctx, Event(FollowerTrigger.LEADER_OBSERVED, now=0.0, token=1, confirmed=True), heeded=True)
    assert newer(ctx, Event(FollowerTrigger.LEADER_OBSERVED, now=0.0, token=2))


def test_a_renewal_after_the_deadline_revives_nothing() -> None:
    """
    Once the local deadline has passed the user has seen the term end: an answer that comes then does not take it back.
    """
    ctx = CandidateContext(state=CandidateState.LEADER, token=5, lease_deadline=10.0)

    CANDIDATE.fire(ctx, Event(CandidateTrigger.RENEWED, now=10.0, deadline=15.0))

    assert CandidateState.ERROR is ctx.state


def test_a_candidate_out_of_retries_does_not_stand_again() -> None:
    """
    When the retries are used up, a resignation too ends in idle: a failing on_elected counts as a failure.
    """
    ctx = CandidateContext(state=CandidateState.RESIGNING, failed_for_good=True)

    CANDIDATE.fire(ctx, Event(CandidateTrigger.SETTLED, now=0.0))

    assert CandidateState.IDLE is ctx.state


def test_an_entry_that_has_ended_is_not_followed_again() -> None:
    """
    An answer that is older than the end of the entry it speaks of (a late refusal, say) brings no leader back.
    """
    ctx = FollowerContext(state=FollowerState.FOLLOWING, token=5, last_token=5)
    FOLLOWER.fire(ctx, Event(FollowerTrigger.KEY_DELETED, now=0.0, token=5))
    ctx.token, ctx.ended = None, 5
    assert FollowerState.VACANT is ctx.state

    FOLLOWER.fire(ctx, Event(FollowerTrigger.LEADER_OBSERVED, now=0.0, token=5))

    assert FollowerState.VACANT is ctx.state

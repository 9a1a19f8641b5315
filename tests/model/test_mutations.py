"""
The laws can fail: faults planted in the tables are found, each and every one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from model.follower_check import check_follower
from model.mutants import Mutant, legality, moved, mutants, with_effect, without
from model.probing import AnyRow
from model.table_check import check_candidate

from leadership.fsm.candidate_table import CANDIDATE_TABLE, lease_valid
from leadership.fsm.event import Event
from leadership.fsm.follower_table import FOLLOWER_TABLE, FollowerContext, newer
from leadership.fsm.row import DemotionCause as Cause
from leadership.fsm.row import Disposition
from leadership.fsm.states import CandidateEffect as E
from leadership.fsm.states import CandidateState as S
from leadership.fsm.states import CandidateTrigger as T
from leadership.fsm.states import FollowerEffect, FollowerState, FollowerTrigger

F, FE, FT = FollowerState, FollowerEffect, FollowerTrigger
Change = Callable[[AnyRow], AnyRow | None]
KINDS = (
    "row deleted",
    "guard dropped",
    "guard negated",
    "destination changed",
    "legality changed",
    "effect dropped",
    "effect added",
    "cause changed",
)
SAMPLE = {"effect added": 12}
"""
Of so many of a kind, one is tried: the rest differ in the effect that is too many, and take a minute.
"""


def planted(rows: Sequence[AnyRow], source: Any, trigger: Any, guard: str | None, change: Change) -> list[AnyRow]:
    """
    The rows with the one that is meant changed or, where the change answers None, left out.
    """
    hit = [row for row in rows if (row.source, row.trigger, row.guard_name) == (source, trigger, guard)]
    assert len(hit) == 1, f"no row, or more than one, is {source} x {trigger} [{guard}]"
    return [new for row in rows if (new := change(row) if row is hit[0] else row) is not None]


def deleted(row: AnyRow) -> None:
    """
    The row is left out.
    """


def unguarded(row: AnyRow) -> AnyRow:
    """
    The row applies always.
    """
    return replace(row, guard=None)


def to(dest: Any) -> Change:
    """
    The row goes elsewhere, or nowhere.
    """
    return lambda row: moved(row, dest)


def lacks(effect: Any) -> Change:
    """
    The row does less.
    """
    return lambda row: without(row, effect)


def adds(effect: Any) -> Change:
    """
    The row does more.
    """
    return lambda row: with_effect(row, effect, first=False)


def because(cause: Cause | None) -> Change:
    """
    The row gives another reason.
    """
    return lambda row: replace(row, cause=cause)


def reordered(row: AnyRow) -> AnyRow:
    """
    The row does the same in the opposite order.
    """
    return replace(row, effects=row.effects[::-1])


def passed_over(row: AnyRow) -> AnyRow:
    """
    Nothing follows from the event.
    """
    return replace(row, dest=None, effects=(), cause=None, disposition=Disposition.IGNORE)


def does(dest: Any, *effects: Any) -> Change:
    """
    The row goes there, and does that.
    """
    return lambda row: moved(replace(row, effects=effects), dest)


def asks(guard: Callable[[Any, Any], bool], called: str | None = None) -> Change:
    """
    The row asks another guard, under its own name or another's.
    """

    def ask(ctx: Any, event: Any) -> bool:
        return guard(ctx, event)

    ask.__name__ = called or guard.__name__
    return lambda row: replace(row, guard=ask)


def not_older(ctx: FollowerContext, event: Event[Any]) -> bool:
    """
    What knows nothing of ends.
    """
    return event.confirmed or (event.token is not None and event.token >= ctx.last_token)


REVIVES = does(None, E.EXTEND_LEASE)
STANDS_AGAIN = does(S.BACKOFF, E.ARM_BACKOFF)
LIKE_OLD = asks(not_older, called="alive")
LIKE_NEWER = asks(newer, called="alive")

LOSES = does(F.VACANT, FE.ON_LEADER_LOST)


PLANTED: list[tuple[str, Any, Any, str | None, Change, str]] = [
    ("a late grant elects", S.CAMPAIGNING, T.ACQUIRED, "lease_valid", unguarded, "never apply"),
    ("a late grant is not cleaned up", S.CAMPAIGNING, T.ACQUIRED, None, lacks(E.CLEANUP), "must"),
    ("nobody is told that he leads", S.CAMPAIGNING, T.ACQUIRED, "lease_valid", lacks(E.ON_ELECTED), "must"),
    ("a term without a timer", S.CAMPAIGNING, T.ACQUIRED, "lease_valid", lacks(E.ARM_LEASE_TIMER), "on_elected"),
    ("elected before the timer is set", S.CAMPAIGNING, T.ACQUIRED, "lease_valid", reordered, "on_elected"),
    ("a lost session does not matter", S.LEADER, T.SESSION_LOST, None, passed_over, "should be error"),
    ("the deadline does not matter", S.LEADER, T.LEASE_EXPIRED, None, passed_over, "should be error"),
    ("a stale timer ends a term", S.LEADER, T.LEASE_EXPIRED, "lease_valid", deleted, "asks"),
    ("the end of our entry does not matter", S.LEADER, T.KEY_DELETED, "own_key", deleted, "asks"),
    ("the end of any entry ends a term", S.LEADER, T.KEY_DELETED, "own_key", unguarded, "never apply"),
    ("a newer leader does not matter", S.LEADER, T.LEADER_OBSERVED, "newer_other", to(None), "should be error"),
    ("a lost packet ends a term", S.LEADER, T.STORE_ERROR, "fatal", unguarded, "never apply"),
    ("a renewal is not noted", S.LEADER, T.RENEWED, "still_valid", lacks(E.EXTEND_LEASE), "without a timer|must"),
    ("a renewal after the deadline revives the term", S.LEADER, T.RENEWED, None, REVIVES, "should be error"),
    ("a renewal asks for its own deadline only", S.LEADER, T.RENEWED, "still_valid", asks(lease_valid), "asks"),
    ("release without on_demoted", S.LEADER, T.RESIGN, None, lacks(E.ON_DEMOTED), "must not cleanup"),
    ("release before on_demoted", S.LEADER, T.RESIGN, None, reordered, "must not cleanup"),
    ("a term that is never cleaned up", S.LEADER, T.LEASE_EXPIRED, None, lacks(E.CLEANUP), "must"),
    ("resign stops for good", S.LEADER, T.RESIGN, None, adds(E.SET_STOP), "must not set_stop"),
    ("a stop is forgotten", S.LEADER, T.STOP, None, lacks(E.SET_STOP), "must"),
    ("a stop while resigning is forgotten", S.RESIGNING, T.STOP, None, passed_over, "must"),
    ("a stop skips the clean-up", S.CAMPAIGNING, T.STOP, None, to(S.IDLE), "should be resigning"),
    ("a lost leader stands again at once", S.LEADER, T.LEASE_EXPIRED, None, to(S.CAMPAIGNING), "should be error"),
    ("it idles after a resignation", S.RESIGNING, T.SETTLED, "retries_left", to(S.IDLE), "should be backoff"),
    ("retries are not asked after a resignation", S.RESIGNING, T.SETTLED, None, STANDS_AGAIN, "should be idle"),
    ("a stop is not asked for after a resignation", S.RESIGNING, T.SETTLED, "stopping", STANDS_AGAIN, "should be idle"),
    ("it gives up in silence", S.RESIGNING, T.SETTLED, None, lacks(E.ON_GAVE_UP), "must"),
    ("it says that it was stopped, and gave up", S.RESIGNING, T.SETTLED, None, does(S.IDLE, E.ON_STOPPED), "must not"),
    ("it never gives up", S.ERROR, T.SETTLED, None, to(S.BACKOFF), "should be idle"),
    ("an error that nothing ends", S.ERROR, T.SETTLED, "retries_left", to(None), "should be backoff"),
    ("a backoff that nothing ends", S.ERROR, T.SETTLED, "retries_left", lacks(E.ARM_BACKOFF), "must"),
    ("it stands while callbacks run", S.BACKOFF, T.BACKOFF_ELAPSED, "callbacks_returned", unguarded, "never apply"),
    ("callbacks that nobody awaits", S.BACKOFF, T.BACKOFF_ELAPSED, None, passed_over, "must"),
    ("a timer survives a stop", S.BACKOFF, T.STOP, None, lacks(E.CANCEL_BACKOFF), "timer without one"),
    ("an old attempt's name", S.BACKOFF, T.BACKOFF_ELAPSED, "callbacks_returned", lacks(E.NEW_ATTEMPT), "old attempt"),
    ("asked before it has a name", S.BACKOFF, T.BACKOFF_ELAPSED, "callbacks_returned", reordered, "old attempt"),
    ("a grant that nobody wants is kept", S.BACKOFF, T.ACQUIRED, None, passed_over, "must"),
    ("the cool-down is not kept", S.BACKOFF, T.RESIGN, None, lacks(E.ARM_BACKOFF), "cool-down|must"),
    ("the cool-down comes too late", S.BACKOFF, T.RESIGN, None, reordered, "cool-down"),
    ("nobody watches the winner", S.CAMPAIGNING, T.CONTENDED, None, passed_over, "must"),
    ("vacancy is slept through", S.CAMPAIGNING, T.KEY_DELETED, None, passed_over, "must"),
    ("all who wait in a queue ask at once", S.CAMPAIGNING, T.KEY_DELETED, "in_queue", deleted, "asks"),
    ("a failure nobody notes", S.LEADER, T.CALLBACK_FAILED, None, passed_over, "must"),
    ("a wrong reason", S.LEADER, T.KEY_DELETED, "own_key", because(Cause.SUPERSEDED), "should say deleted"),
    ("no reason", S.LEADER, T.STOP, None, because(None), "should say stopped"),
    ("a reason without a term", S.CAMPAIGNING, T.STOP, None, because(Cause.STOPPED), "should say None"),
    ("a start while it stands", S.CAMPAIGNING, T.START, None, legality, "illegal"),
    ("a late event raises", S.IDLE, T.LEADER_OBSERVED, None, legality, "illegal"),
    ("an older leader is reported", F.SYNCING, FT.LEADER_OBSERVED, "alive", unguarded, "never apply"),
    ("a newer leader is overlooked", F.FOLLOWING, FT.LEADER_OBSERVED, "newer", deleted, "asks"),
    ("a change is not reported", F.FOLLOWING, FT.LEADER_OBSERVED, "newer", lacks(FE.ON_LEADER_CHANGED), "must"),
    ("another's end is taken for ours", F.FOLLOWING, FT.KEY_DELETED, "current_key", unguarded, "never apply"),
    ("a vacant follower follows the dead entry again", F.VACANT, FT.LEADER_OBSERVED, "alive", LIKE_OLD, "be vacant"),
    ("a syncing follower follows a dead entry", F.SYNCING, FT.LEADER_OBSERVED, "alive", LIKE_OLD, "be syncing"),
    ("a vacant follower is blind", F.VACANT, FT.LEADER_OBSERVED, "alive", LIKE_NEWER, "should be following"),
    ("the end of any entry is believed while syncing", F.SYNCING, FT.KEY_DELETED, None, LOSES, "be syncing"),
    ("a vacant follower stays so", F.VACANT, FT.LEADER_OBSERVED, "alive", passed_over, "should be following"),
    ("a vacancy is not reported", F.FOLLOWING, FT.LEASE_EXPIRED, "current_key", lacks(FE.ON_LEADER_LOST), "must"),
    ("a broken watch is not stale", F.FOLLOWING, FT.WATCH_CLOSED, None, lacks(FE.MARK_STALE), "claims to know|must"),
    ("a suspended session is not stale", F.VACANT, FT.SESSION_SUSPENDED, None, passed_over, "must"),
    ("read before the watch", F.IDLE, FT.START, None, reordered, "must not read_key"),
    ("a sync without a read", F.VACANT, FT.WATCH_CLOSED, None, lacks(FE.READ_KEY), "nobody makes|must"),
    ("a stopped follower watches on", F.FOLLOWING, FT.STOP, None, lacks(FE.CLOSE_WATCH), "watch|must"),
    ("an error that nothing ends", F.ERROR, FT.SETTLED, "retries_left", to(None), "should be backoff"),
]


@pytest.mark.parametrize(
    ("source", "trigger", "guard", "change", "words"),
    [case[1:] for case in PLANTED],
    ids=[f"{'follower' if isinstance(case[1], FollowerState) else 'candidate'}: {case[0]}" for case in PLANTED],
)
def test_a_planted_fault_is_found(source: Any, trigger: Any, guard: str | None, change: Change, words: str) -> None:
    """
    A table with this one fault breaks a law, and the message says which.
    """
    follows = isinstance(source, FollowerState)
    table: Sequence[AnyRow] = FOLLOWER_TABLE if follows else CANDIDATE_TABLE
    check: Callable[[Sequence[AnyRow]], object] = check_follower if follows else check_candidate
    rows = planted(table, source, trigger, guard, change)

    with pytest.raises(AssertionError, match=words):
        check(rows)


def survivors(tried: Sequence[Mutant], check: Callable[[Sequence[AnyRow]], object]) -> list[str]:
    """
    The mutants whose fault no law has found.
    """
    alive = []
    for mutant in tried:
        try:
            check(mutant.rows)
        except AssertionError:
            continue
        alive.append(f"{mutant.kind}: {mutant.what}")
    return alive


def sample(found: Sequence[Mutant], kind: str) -> list[Mutant]:
    """
    The mutants of a kind, evenly thinned where there are thousands.
    """
    return list(itertools.islice((mutant for mutant in found if mutant.kind == kind), 0, None, SAMPLE.get(kind, 1)))


@pytest.mark.parametrize("kind", KINDS)
def test_every_mutant_of_the_candidates_table_is_found(kind: str) -> None:
    """
    Whatever is changed in one place of the candidate's table breaks a law.
    """
    tried = sample(list(mutants(CANDIDATE_TABLE, S, E)), kind)

    assert tried
    assert [] == survivors(tried, check_candidate)


@pytest.mark.parametrize("kind", KINDS)
def test_every_mutant_of_the_followers_table_is_found(kind: str) -> None:
    """
    Whatever is changed in one place of the follower's table breaks a law.
    """
    tried = sample(list(mutants(FOLLOWER_TABLE, F, FE)), kind)

    assert tried
    assert [] == survivors(tried, lambda rows: check_follower(rows, tokens=2))


def test_there_are_hundreds_of_mutants() -> None:
    """
    The mutants are as many as the tables are large: none was lost on the way.
    """
    for rows, states, effects in ((CANDIDATE_TABLE, S, E), (FOLLOWER_TABLE, F, FE)):
        found = list(mutants(rows, states, effects))

        assert set(KINDS) == {mutant.kind for mutant in found}
        assert len(rows) == sum(mutant.kind == "row deleted" for mutant in found)
        assert sum(len(row.effects) for row in rows) == sum(mutant.kind == "effect dropped" for mutant in found)
        assert sum(mutant.kind not in SAMPLE for mutant in found) > 1000
        assert all(tuple(rows) != mutant.rows for mutant in found)

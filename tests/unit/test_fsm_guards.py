"""
The real guards: each boundary, and the table driven by them.
"""

from __future__ import annotations

import itertools
from typing import Any, Final

import pytest

from leadership.errors import IllegalTransition
from leadership.fsm import CANDIDATE, FOLLOWER, CandidateContext, FollowerContext, Machine
from leadership.fsm import candidate_table as candidate
from leadership.fsm import follower_table as follower
from leadership.fsm.event import Event
from leadership.fsm.row import Disposition
from leadership.fsm.states import CandidateTrigger, FollowerTrigger

NOW: Final = 10.0
Facts = dict[str, Any]
CASES: list[tuple[str, Any, Facts, Facts, bool]] = [
    # guard, what the context knows, what the event says, the answer
    ("the event's deadline is ahead", candidate.lease_valid, {}, {"deadline": 10.001}, True),
    ("the event's deadline is now", candidate.lease_valid, {}, {"deadline": NOW}, False),
    ("the event's deadline has passed", candidate.lease_valid, {}, {"deadline": 9.999}, False),
    ("the deadline in force is ahead", candidate.lease_valid, {"lease_deadline": 10.001}, {}, True),
    ("the deadline in force is now", candidate.lease_valid, {"lease_deadline": NOW}, {}, False),
    ("there was never a deadline", candidate.lease_valid, {}, {}, False),
    (
        "the event's deadline counts, not the old",
        candidate.lease_valid,
        {"lease_deadline": 99.0},
        {"deadline": 9.0},
        False,
    ),
    ("a deadline of zero is a deadline", candidate.lease_valid, {"lease_deadline": 99.0}, {"deadline": 0.0}, False),
    ("both deadlines are ahead", candidate.still_valid, {"lease_deadline": 10.001}, {"deadline": 10.002}, True),
    ("the new deadline is the earlier", candidate.still_valid, {"lease_deadline": 99.0}, {"deadline": 10.001}, True),
    ("the deadline in force is now", candidate.still_valid, {"lease_deadline": NOW}, {"deadline": 99.0}, False),
    ("the deadline in force has passed", candidate.still_valid, {"lease_deadline": 9.999}, {"deadline": 99.0}, False),
    ("there was never a deadline", candidate.still_valid, {}, {"deadline": 99.0}, False),
    ("the new deadline is now", candidate.still_valid, {"lease_deadline": 99.0}, {"deadline": NOW}, False),
    ("the new deadline has passed", candidate.still_valid, {"lease_deadline": 99.0}, {"deadline": 9.999}, False),
    ("the new deadline is zero", candidate.still_valid, {"lease_deadline": 99.0}, {"deadline": 0.0}, False),
    ("there is no new deadline", candidate.still_valid, {"lease_deadline": 99.0}, {}, False),
    ("there is no deadline at all", candidate.still_valid, {}, {}, False),
    ("the grant repeats ours", candidate.same_term, {"token": 5}, {"token": 5}, True),
    ("the grant is another", candidate.same_term, {"token": 5}, {"token": 6}, False),
    ("the grant is an older one", candidate.same_term, {"token": 5}, {"token": 4}, False),
    ("the grant has no token", candidate.same_term, {"token": 5}, {}, False),
    ("neither has a token", candidate.same_term, {}, {}, False),
    ("our entry went", candidate.own_key, {"token": 5}, {"token": 5}, True),
    ("an older entry went", candidate.own_key, {"token": 5}, {"token": 4}, False),
    ("a newer entry went", candidate.own_key, {"token": 5}, {"token": 6}, False),
    ("some entry went", candidate.own_key, {"token": 5}, {}, False),
    ("some entry went, and we have none", candidate.own_key, {}, {}, False),
    ("a newer holder", candidate.newer_other, {"token": 5, "session": "a"}, {"token": 6, "session": "b"}, True),
    (
        "a newer holder, of any name",
        candidate.newer_other,
        {"token": 5, "session": "b"},
        {"token": 6, "session": "a"},
        True,
    ),
    ("an older holder", candidate.newer_other, {"token": 5, "session": "a"}, {"token": 4, "session": "b"}, False),
    (
        "a holder with our token",
        candidate.newer_other,
        {"token": 5, "session": "a"},
        {"token": 5, "session": "b"},
        False,
    ),
    ("we hold it", candidate.newer_other, {"token": 5, "session": "a"}, {"token": 5, "session": "a"}, False),
    (
        "our session holds a newer",
        candidate.newer_other,
        {"token": 5, "session": "a"},
        {"token": 6, "session": "a"},
        False,
    ),
    (
        "our session, by a confirmed read",
        candidate.newer_other,
        {"token": 5, "session": "a"},
        {"token": 5, "session": "a", "confirmed": True},
        False,
    ),
    (
        "an older holder, by a confirmed read",
        candidate.newer_other,
        {"token": 5, "session": "a"},
        {"token": 1, "session": "b", "confirmed": True},
        True,
    ),
    ("a holder without a token", candidate.newer_other, {"token": 5, "session": "a"}, {"session": "b"}, False),
    ("we have no token", candidate.newer_other, {"session": "a"}, {"token": 6, "session": "b"}, False),
    ("another's entry, and a queue", candidate.in_queue, {"queues": True}, {"token": 5}, True),
    ("our turn in a queue", candidate.in_queue, {"queues": True}, {}, False),
    ("another's entry, and no queue", candidate.in_queue, {}, {"token": 5}, False),
    ("it can be mended", candidate.fatal, {}, {}, False),
    ("it cannot be mended", candidate.fatal, {}, {"fatal": True}, True),
    ("sessions hold through", candidate.demote_on_suspend, {"holds_through_suspension": True}, {}, False),
    ("sessions may end", candidate.demote_on_suspend, {"holds_through_suspension": False}, {}, True),
    ("no stop was asked for", candidate.stopping, {}, {}, False),
    ("a stop was asked for", candidate.stopping, {"stopping": True}, {}, True),
    ("all is well", candidate.retries_left, {}, {}, True),
    ("it failed for good", candidate.retries_left, {"failed_for_good": True}, {}, False),
    ("none runs", candidate.callbacks_returned, {"callbacks_running": 0}, {}, True),
    ("one runs", candidate.callbacks_returned, {"callbacks_running": 1}, {}, False),
    ("resign is the default", candidate.resign_on_failure, {}, {"callback": "on_elected"}, True),
    ("policy stop", candidate.resign_on_failure, {"on_callback_error": "stop"}, {"callback": "on_elected"}, False),
    ("policy keep", candidate.resign_on_failure, {"on_callback_error": "keep"}, {"callback": "on_elected"}, False),
    ("on_demoted failed", candidate.resign_on_failure, {}, {"callback": "on_demoted"}, False),
    ("nobody knows which failed", candidate.resign_on_failure, {}, {}, False),
    ("policy stop", candidate.stop_on_failure, {"on_callback_error": "stop"}, {"callback": "on_elected"}, True),
    ("policy resign", candidate.stop_on_failure, {"on_callback_error": "resign"}, {"callback": "on_elected"}, False),
    ("policy keep", candidate.stop_on_failure, {"on_callback_error": "keep"}, {"callback": "on_elected"}, False),
    ("on_demoted failed", candidate.stop_on_failure, {"on_callback_error": "stop"}, {"callback": "on_demoted"}, False),
    (
        "on_leader_changed failed",
        candidate.stop_on_failure,
        {"on_callback_error": "stop"},
        {"callback": "on_leader_changed"},
        False,
    ),
    ("on_leader_changed failed", candidate.resign_on_failure, {}, {"callback": "on_leader_changed"}, False),
    ("a newer one", follower.alive, {"last_token": 5}, {"token": 6}, True),
    ("the same one", follower.alive, {"last_token": 5}, {"token": 5}, True),
    ("an older one", follower.alive, {"last_token": 5}, {"token": 4}, False),
    ("an older one, confirmed", follower.alive, {"last_token": 5}, {"token": 4, "confirmed": True}, True),
    ("one without a token", follower.alive, {"last_token": 5}, {}, False),
    ("the first of all", follower.alive, {}, {"token": 1}, True),
    ("a newer one", follower.newer, {"token": 5, "last_token": 5}, {"token": 6}, True),
    ("the same one", follower.newer, {"token": 5, "last_token": 5}, {"token": 5}, False),
    ("the same one, confirmed", follower.newer, {"token": 5, "last_token": 5}, {"token": 5, "confirmed": True}, False),
    ("a newer one that has ended", follower.newer, {"token": 5, "last_token": 5, "ended": 6}, {"token": 6}, False),
    (
        "the first after one that has ended",
        follower.newer,
        {"token": 5, "last_token": 5, "ended": 6},
        {"token": 7},
        True,
    ),
    ("the one that has ended", follower.alive, {"last_token": 5, "ended": 5}, {"token": 5}, False),
    (
        "the one that had ended, confirmed",
        follower.alive,
        {"last_token": 5, "ended": 5},
        {"token": 5, "confirmed": True},
        True,
    ),
    ("the first after one that has ended", follower.alive, {"last_token": 5, "ended": 5}, {"token": 6}, True),
    ("the first of all", follower.newer, {}, {"token": 1}, True),
    ("an older one", follower.newer, {"token": 5, "last_token": 5}, {"token": 4}, False),
    ("an older one, confirmed", follower.newer, {"token": 5, "last_token": 5}, {"token": 4, "confirmed": True}, True),
    ("newer than ours, older than the newest", follower.newer, {"token": 3, "last_token": 5}, {"token": 4}, False),
    ("one without a token", follower.newer, {"token": 5, "last_token": 5}, {"confirmed": True}, False),
    ("it is followed", follower.current_key, {"token": 5}, {"token": 5}, True),
    ("it is not followed", follower.current_key, {"token": 5}, {"token": 4}, False),
    ("nothing is followed", follower.current_key, {}, {"token": 5}, False),
    ("nothing is known", follower.current_key, {}, {}, False),
    ("all is well", follower.retries_left, {}, {}, True),
    ("it failed for good", follower.retries_left, {"failed_for_good": True}, {}, False),
]


def kind(guard: Any) -> tuple[Any, Any]:
    """
    The context and a trigger of the machine that a guard belongs to.
    """
    if guard.__module__ == candidate.__name__:
        return CandidateContext, CandidateTrigger.STOP
    return FollowerContext, FollowerTrigger.STOP


@pytest.mark.parametrize(
    ("guard", "knows", "says", "answer"),
    [case[1:] for case in CASES],
    ids=[f"{case[1].__name__}-{case[0]}" for case in CASES],
)
def test_guard(guard: Any, knows: Facts, says: Facts, answer: bool) -> None:
    """
    Each guard answers with a real bool (`transitions` takes nothing else for True), and changes nothing.
    """
    context, trigger = kind(guard)
    ctx = context(**knows)

    assert guard(ctx, Event(trigger, now=NOW, **says)) is answer
    assert context(**knows) == ctx


def test_every_guard_has_both_answers_tested() -> None:
    """
    The cases above hold a yes and a no for each guard that either table asks.
    """
    asked = {row.guard for machine in (CANDIDATE, FOLLOWER) for row in machine.table if row.guard is not None}

    assert {(guard, answer) for guard in asked for answer in (False, True)} == {(c[1], c[4]) for c in CASES}


CONTRADICTION: Final = frozenset({"resign_on_failure", "stop_on_failure"})
"""
The one pair of guards of a cell that cannot both hold: a policy is one or the other.
"""


@pytest.mark.parametrize("machine", [CANDIDATE, FOLLOWER], ids=lambda machine: machine.name)
def test_real_guards_choose_the_row(machine: Machine[Any, Any, Any, Any]) -> None:
    """
    In each cell, with contexts and events that give each outcome of its real guards, the row looked up is applied.
    """
    context = CandidateContext if machine is CANDIDATE else FollowerContext
    applied, impossible = set(), set()
    for state, trigger, rows in machine.cells():
        guarded = [row for row in rows if row.guard is not None]
        cases = [[(knows, says) for _, guard, knows, says, _ in CASES if guard is row.guard] for row in guarded]
        realised = set()
        for chosen in itertools.product(*cases):
            knows = {key: value for facts, _ in chosen for key, value in facts.items()}
            says = {key: value for _, facts in chosen for key, value in facts.items()}
            ctx: Any = context(state=state, **knows)
            event = Event(trigger, now=NOW, **says)
            outcomes = [row.guard(ctx, event) for row in guarded if row.guard is not None]
            realised.add(tuple(outcomes))
            expected = rows[[*outcomes, True].index(True)]
            if expected.disposition is Disposition.ILLEGAL:
                with pytest.raises(IllegalTransition):
                    machine.fire(ctx, event)
            else:
                assert expected is machine.fire(ctx, event).row
            assert context(state=expected.dest or state, **knows) == ctx
            applied.add(expected)
        for missing in set(itertools.product((False, True), repeat=len(guarded))) - realised:
            impossible.add(frozenset(str(row.guard_name) for row, yes in zip(guarded, missing, strict=True) if yes))

    assert set(machine.table) == applied
    assert ({CONTRADICTION} if machine is CANDIDATE else set()) == impossible

"""
At most one user may act: two candidates and a store, looked at whole.

`pytest -s` prints the counter-example for each rail that is taken away.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import pytest
from model.election_model import World
from model.election_search import Search
from model.election_store import remove
from model.election_words import ME, OTHER, THIRD, Entries, Entry, Kind, Node, Rail, Rules, acts

from leadership.fsm.states import CandidateState as S
from leadership.fsm.states import CandidateTrigger as T

SAFE: Final = {
    Rules(Kind.LEASE, ttl=3): 200_000,
    Rules(Kind.LEASE, late=2): 1_000_000,
    Rules(Kind.LEASE, ttl=3, drift=1, margin=1): 200_000,
    Rules(Kind.SESSION): 5_000_000,
    Rules(Kind.SESSION, ttl=1, drift=1, margin=1): 300_000,
    Rules(Kind.REENTRANT): 1_000_000,
    Rules(Kind.QUEUE, ttl=1): 2_000_000,
}
"""
The models that are looked at whole, and how many states (both images of each) they have at the least.
"""

COMMON: Final = (Rail.SENT, Rail.DEADLINE, Rail.CALLBACKS, Rail.COMPARE, Rail.TOKEN, Rail.OBEDIENCE)
SHARED: Final = (*COMMON, Rail.FRESH, Rail.ENTRY, Rail.LOSS)
RAILS: Final[dict[Kind, tuple[Rail, ...]]] = {
    Kind.LEASE: (*COMMON, Rail.ATTEMPTS),
    Kind.SESSION: (*SHARED, Rail.ATTEMPTS),
    # Here a new session answers what attempt ids answer elsewhere: no call of an earlier attempt outlives it.
    Kind.REENTRANT: (*SHARED, Rail.UNANSWERED),
    Kind.QUEUE: (*SHARED, Rail.ATTEMPTS, Rail.HEAD),
}
"""
The rails that each store stands on.
"""

EXERCISED: Final = {
    (S.IDLE, T.START),
    (S.CAMPAIGNING, T.ACQUIRED),
    (S.CAMPAIGNING, T.CONTENDED),
    (S.CAMPAIGNING, T.KEY_DELETED),
    (S.CAMPAIGNING, T.SESSION_LOST),
    (S.CAMPAIGNING, T.STORE_ERROR),
    (S.CAMPAIGNING, T.RESIGN),
    (S.LEADER, T.RENEWED),
    (S.LEADER, T.LEASE_EXPIRED),
    (S.LEADER, T.SESSION_LOST),
    (S.LEADER, T.RESIGN),
    *((state, trigger) for state in (S.ERROR, S.RESIGNING) for trigger in (T.ACQUIRED, T.STORE_ERROR, T.SETTLED)),
    *((state, trigger) for state in (S.ERROR, S.RESIGNING) for trigger in (T.SESSION_LOST, T.LEASE_EXPIRED)),
    (S.BACKOFF, T.ACQUIRED),
    (S.BACKOFF, T.BACKOFF_ELAPSED),
}
"""
The cells that a model with a session asks.
"""


def name(rules: Rules) -> str:
    """
    A model in a few words.
    """
    figures = f"ttl {rules.ttl}, drift {rules.drift}, margin {rules.margin}, late {rules.late}"
    return f"{rules.kind} store, {rules.without or figures}"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("rules", "least"), SAFE.items(), ids=[name(rules) for rules in SAFE])
def test_no_two_users_may_ever_act(rules: Rules, least: int) -> None:
    """
    With all rails in place there is no way to two users who may act, in all that network, clocks and users can do.
    """
    search = Search(rules)
    found = search.run(cap=20 * least)
    print(f"{name(rules)}: {found.states} states, {len(search.nodes)} nodes, {len(search.stores)} stores")

    assert found.trace is None
    assert found.states >= least
    if rules.shares:
        assert EXERCISED <= search.world.cells


UNSAFE: Final = [
    *(Rules(kind, rail) for kind, rails in RAILS.items() for rail in rails),
    *(Rules(kind, drift=1) for kind in Kind),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("rules", UNSAFE, ids=name)
def test_each_rail_carries(rules: Rules) -> None:
    """
    Without this one rail there is a way to two users who may act, and the search finds it.
    """
    found = Search(rules).run(cap=20_000_000)

    assert found.trace is not None
    print(f"{name(rules)}: two act after {len(found.trace)} steps ({found.states} states)")
    print(*(f"    {step}" for step in found.trace), sep="\n")
    assert replayed(rules, found.trace) == len(found.trace)


def test_every_rail_is_tried() -> None:
    """
    There is no rail that is not shown to carry.
    """
    assert set(Rail) == {rules.without for rules in UNSAFE if rules.without is not None}
    assert {1} == set(Counter(UNSAFE).values())


def replayed(rules: Rules, trace: list[str]) -> int:
    """
    The step of a trace at which two users may act for the first time, by a plain walk from the beginning.

    It knows nothing of numbers, bits and mirror images: it is what the search is judged by.
    """
    states: set[tuple[Node, Node, Entries]] = {(Node(), Node(), ())}
    for number, step in enumerate(trace, 1):
        states = {after for state in states for after in stepped(rules, state, step)}
        assert states, f"step {number} of {trace} is not possible"
        if any(acts(a, rules) and acts(b, rules) for a, b, _ in states):
            return number
    return 0


def stepped(rules: Rules, state: tuple[Node, Node, Entries], step: str) -> set[tuple[Node, Node, Entries]]:
    """
    The states to which a step leads from a state: more than one where two steps have one name.
    """
    world = World(rules)
    a, b, entries = state
    who, _, label = step.partition(" ")
    if step == "a tick":
        (a, a_over), (b, b_over) = world.tick(a), world.tick(b)
        gone = {ME} if a_over else set()
        gone |= {OTHER} if b_over else set()
        return {(a, b, remove(entries, lambda entry: entry.owner in gone, rules))}
    if "third party" in label:
        rest = remove(entries, lambda entry: entry.owner == THIRD, rules)
        return {(a, b, (*entries, Entry(THIRD)) if rest == entries else rest)}
    if who == "A":
        moves = [move for move in world.moves(a, entries) if move.label == label]
        return {(tidy(rules, move.node, move.entries), b, move.entries) for move in moves}
    moves = [move for move in world.moves(b, mirrored(entries)) if move.label == label]
    return {(a, tidy(rules, move.node, move.entries), mirrored(move.entries)) for move in moves}


def tidy(rules: Rules, node: Node, entries: Entries) -> Node:
    """
    A lease without an entry is none.
    """
    held = rules.shares or any(entry.owner == ME for entry in entries)
    return node if held else node._replace(server=0)


def mirrored(entries: Entries) -> Entries:
    """
    What stands at the store, as the other node sees it.
    """
    other = {ME: OTHER, OTHER: ME, THIRD: THIRD}
    return tuple(entry._replace(owner=other[entry.owner]) for entry in entries)

"""
Two candidates and a store, as a transition system small enough to be looked at whole.

Each candidate is driven by the project's own machine: its rows, its guards, and its effects, carried out here as the
runtime would. What the world may do is everything that a network, a scheduler and a clock can: calls that arrive late
or after their caller has given them up, answers that are late or lost, a process that does nothing for any time,
a user who resigns at any moment. Time is unbounded: only what is left of a lease is kept.

The stores:

* `LEASE`: each attempt has a lease of its own, granted with the entry.
* `SESSION`: the entry belongs to a session that the process renews for all its elections. Writing an entry renews
  nothing, and an entry that is left behind lives as long as the session.
* `REENTRANT`: the same, and the store grants the entry again to the session that has it (as Consul does).
* `QUEUE`: the same as `SESSION`, with waiting entries in the order in which they came; the first leads. A third party
  comes and goes in the queue.

A `Rail` is one of the rules that keep it safe; `Rules.without` takes one away. `election_search` looks for two users
who may act at a time.

Bounds, said so: at most `Rules.late` given-up calls of a node are on their way at a time (one more loses the oldest), and
attempts older than the last are one. The delay of a renewal's request is not modelled, because it shortens the deadline
as the delay of its answer does, which is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from enum import Enum, StrEnum
from typing import NamedTuple

from leadership.fsm import CANDIDATE, CandidateContext
from leadership.fsm.event import Event
from leadership.fsm.states import CandidateEffect as E
from leadership.fsm.states import CandidateState as S
from leadership.fsm.states import CandidateTrigger as T

CLEANING_UP = (S.ERROR, S.RESIGNING)
ME, OTHER, THIRD = range(3)


class Kind(StrEnum):
    """
    How a store keeps an election.
    """

    LEASE = "lease"
    SESSION = "session"
    REENTRANT = "re-entrant"
    QUEUE = "queue"


class Rail(StrEnum):
    """
    A rule that keeps it safe, named by what goes wrong without it.
    """

    SENT = "deadline counted from the reply"
    DEADLINE = "is_leader reads only the state"
    CALLBACKS = "release before on_demoted has returned"
    ATTEMPTS = "no attempt id on replies"
    COMPARE = "the key is deleted whoever has it"
    TOKEN = "a release compares the session only"
    FRESH = "an entry of an earlier attempt is adopted"
    OBEDIENCE = "the user's work outlives the deadline"
    ENTRY = "acquiring refreshes the deadline"
    LOSS = "a new session goes on with the old term"
    HEAD = "predecessor gone is taken for elected"
    UNANSWERED = "the session is kept after an unanswered acquire"


class Rules(NamedTuple):
    """
    A store, the clocks, and the rail that is missing.
    """

    kind: Kind = Kind.LEASE
    without: Rail | None = None
    ttl: int = 2
    drift: int = 0
    """Ticks by which a local clock may fall behind the store's during one lease."""
    margin: int = 0
    """Ticks by which the local deadline is earlier than the lease."""
    late: int = 1

    @property
    def shares(self) -> bool:
        """
        Entries belong to a session.
        """
        return self.kind is not Kind.LEASE

    def deadline(self, age: int) -> int:
        """
        Ticks to the local deadline, when an answer arrives `age` ticks after its call was sent.
        """
        counted = 0 if self.without is Rail.SENT else age
        return max(0, self.ttl - counted + self.drift - self.margin)

    @property
    def oldest(self) -> int:
        """
        The age from which an answer grants nothing.
        """
        return self.ttl + self.drift


class At(Enum):
    """
    Where a call is.
    """

    SENT = 0
    """On its way to the store."""
    DONE = 1
    REFUSED = 2
    GONE = 3
    """On its way back: the store does not know the session."""


class Call(NamedTuple):
    """
    An acquire or a release.
    """

    release: bool
    at: At = At.SENT
    attempt: int = 0
    """0: of the present attempt; 1: of an earlier one."""
    age: int = 0


class Beat(NamedTuple):
    """
    The answer to a grant or renewal of the session, on its way.
    """

    done: bool
    age: int = 0


class Node(NamedTuple):
    """
    One process, and its session at the store.
    """

    state: S = S.IDLE
    left: int = 0
    """Ticks to the term's local deadline."""
    busy: bool = False
    """on_demoted, or the on_elected that it ended, has not returned."""
    session: int | None = None
    """Ticks to the session's local deadline; None without a session."""
    server: int = 0
    """Ticks for which the store keeps the session, or the lease of the node's entry."""
    beat: Beat | None = None
    call: Call | None = None
    late: tuple[Call, ...] = ()
    """Calls that their caller has given up."""


class Entry(NamedTuple):
    """
    What stands at the store, as one node sees it.
    """

    owner: int
    attempt: int = 0
    turn: bool = False
    """The entry in front of it has gone. Kept only where somebody looks at it."""


Entries = tuple[Entry, ...]


class Move(NamedTuple):
    """
    Something that can happen to one node.
    """

    label: str
    node: Node
    entries: Entries


@functools.cache
def fire(state: S, trigger: T, left: int, busy: bool, deadline: int | None, current: bool) -> tuple[S, tuple[E, ...]]:
    """
    The machine's answer: where the candidate goes, and what is to be done.
    """
    ctx = CandidateContext(state, attempt=1, token=1, session="own", lease_deadline=left, callbacks_running=int(busy))
    token = 2 if trigger is T.ACQUIRED else None
    step = CANDIDATE.fire(ctx, Event(trigger, now=0, attempt=1 if current else 0, deadline=deadline, token=token))
    return ctx.state, step.effects


def acts(node: Node, rules: Rules) -> bool:
    """
    The user of this node may act: it leads and its deadline is ahead, or its callbacks run and it is.
    """
    if node.state is S.LEADER:
        return node.left > 0 or rules.without is Rail.DEADLINE
    return node.busy and (node.left > 0 or rules.without is Rail.OBEDIENCE)


def remove(entries: Entries, goes: Callable[[Entry], bool], rules: Rules) -> Entries:
    """
    The entries without some of them; the one behind such a one has its turn.
    """
    rest: list[Entry] = []
    gap = False
    for entry in entries:
        if goes(entry):
            gap = True
            continue
        rest.append(entry._replace(turn=True) if gap and rules.without is Rail.HEAD else entry)
        gap = False
    return tuple(rest)


def mine(entries: Entries, attempt: int | None = None) -> Iterator[Entry]:
    """
    The node's own entries, of one attempt or of all.
    """
    return (e for e in entries if e.owner == ME and (attempt is None or e.attempt == attempt))


class World:
    """
    What can happen to one node, given what stands at the store.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    # -- the machine --------------------------------------------------------------------------------------------

    def fired(
        self, node: Node, entries: Entries, trigger: T, deadline: int | None = None, *, current: bool = True
    ) -> tuple[Node, Entries]:
        """
        One event, and the effects of its row.
        """
        state, effects = fire(node.state, trigger, node.left, node.busy, deadline, current)
        left_office = node.state is S.LEADER and state is not S.LEADER
        node = node._replace(state=state)
        for effect in effects:
            node, entries = self.carry_out(effect, node, entries, deadline or 0)
        if left_office and not self.rules.shares:
            node = node._replace(beat=None)  # a renewal of this lease means nothing to anybody any more
        if state not in (S.LEADER, *CLEANING_UP):
            node = node._replace(left=0)
        return node, entries

    def carry_out(self, effect: E, node: Node, entries: Entries, deadline: int) -> tuple[Node, Entries]:
        """
        What the runtime does about an effect, as far as it can be seen from the store or by the user.
        """
        if effect is E.NEW_ATTEMPT:
            older = tuple(sorted((c._replace(attempt=1) for c in node.late), key=repr))
            return node._replace(late=older), tuple(e if e.owner != ME else e._replace(attempt=1) for e in entries)
        if effect is E.TRY_ACQUIRE and (node.session is not None or not self.rules.shares):
            node = node._replace(call=Call(release=False))
        elif effect in (E.ARM_LEASE_TIMER, E.EXTEND_LEASE):
            node = node._replace(left=deadline)
        elif effect is E.ON_DEMOTED:
            node = node._replace(busy=True)
        elif effect is E.CLEANUP and node.call is not None:
            node = self.given_up(node)
        return node, entries

    def given_up(self, node: Node) -> Node:
        """
        The node waits no longer for its call, which goes on its way all the same.
        """
        call = node.call
        assert call is not None
        node = node._replace(call=None)
        if not call.release and self.rules.kind is Kind.REENTRANT and self.rules.without is not Rail.UNANSWERED:
            node = node._replace(session=None, beat=None)
        return self.with_late(node, call)

    def with_late(self, node: Node, call: Call) -> Node:
        """
        One more call on its way that nobody waits for.
        """
        if call.at in (At.REFUSED, At.GONE) or (call.release and call.at is At.DONE):
            return node  # nobody listens, and nothing follows from it
        if not (self.rules.without is Rail.ATTEMPTS and not self.rules.shares):
            call = call._replace(age=0)
        kept = (*node.late, call)[-self.rules.late :]
        return node._replace(late=tuple(sorted(kept, key=repr)))

    # -- everything that can happen -----------------------------------------------------------------------------

    def moves(self, node: Node, entries: Entries) -> Iterator[Move]:
        """
        Every step of this node that takes no time.
        """
        yield from self.user_and_timers(node, entries)
        yield from self.beats(node, entries) if self.rules.shares else self.renewals(node, entries)
        yield from self.cleaning(node, entries)
        if node.call is not None:
            yield from self.calls(node, entries, node.call)
        for call in dict.fromkeys(node.late):
            yield from self.late_calls(node, entries, call)

    def user_and_timers(self, node: Node, entries: Entries) -> Iterator[Move]:
        """
        Wishes of the user, timers, and the watch.
        """
        wishes = {S.IDLE: T.START, S.BACKOFF: T.BACKOFF_ELAPSED, S.CAMPAIGNING: T.RESIGN, S.LEADER: T.RESIGN}
        if node.state in wishes:
            trigger = wishes[node.state]
            yield Move(trigger, *self.fired(node, entries, trigger))
        if node.state is S.LEADER and node.left == 0 and not self.rules.shares:
            yield Move("the deadline passes", *self.fired(node, entries, T.LEASE_EXPIRED))
        if node.busy:
            yield Move("callbacks return", node._replace(busy=False), entries)
        if node.state is S.CAMPAIGNING and node.call is None:
            if node.session is not None or not self.rules.shares:
                yield Move("asks again", *self.fired(node, entries, T.KEY_DELETED))
            if any(entry.turn for entry in mine(entries, 0)):
                yield Move("its turn", *self.fired(node, entries, T.ACQUIRED, node.session or 0))

    def renewals(self, node: Node, entries: Entries) -> Iterator[Move]:
        """
        A leader renews the lease of its entry.
        """
        if node.beat is None:
            if node.state is S.LEADER:
                held = any(mine(entries, 0))
                server = self.rules.ttl if held else node.server
                yield Move("renews", node._replace(server=server, beat=Beat(held)), entries)
            return
        beat, node = node.beat, node._replace(beat=None)
        yield Move("loses the answer", node, entries)
        if beat.done:
            yield Move("is renewed", *self.fired(node, entries, T.RENEWED, self.rules.deadline(beat.age)))
        else:
            yield Move("is told it has no lease", *self.fired(node, entries, T.SESSION_LOST))

    def beats(self, node: Node, entries: Entries) -> Iterator[Move]:
        """
        The process opens, renews and loses its session, whatever its candidate does.
        """
        if node.session == 0:
            yield Move("the deadline passes", *self.session_over(node, entries, T.LEASE_EXPIRED))
        if node.beat is None:
            yield from self.asks_for_session(node, entries)
            return
        beat, node = node.beat, node._replace(beat=None)
        yield Move("loses the answer", node, entries)
        deadline = self.rules.deadline(beat.age)
        if not beat.done:
            yield Move("is told that its session has ended", *self.session_over(node, entries, T.SESSION_LOST))
        elif node.session == 0:
            return  # a loss is latched: the deadline has passed, the timer will say so
        elif node.session is not None:
            node = node._replace(session=max(node.session, deadline))
            if node.state is S.LEADER:
                node, entries = self.fired(node, entries, T.RENEWED, node.session)
            yield Move("is renewed", node, entries)
        elif deadline > 0:
            node = node._replace(session=deadline)
            if node.state is S.CAMPAIGNING:
                node = node._replace(call=Call(release=False))
            elif node.state is S.LEADER:
                node, entries = self.fired(node, entries, T.RENEWED, deadline)
            yield Move("has a session", node, entries)

    def asks_for_session(self, node: Node, entries: Entries) -> Iterator[Move]:
        """
        A renewal, or where there is no session the end of the old one and the grant of a new one.
        """
        if node.session is not None:
            alive = node.server > 0
            server = self.rules.ttl if alive else 0
            yield Move("renews", node._replace(server=server, beat=Beat(alive)), entries)
        elif node.state is S.CAMPAIGNING or (node.state is S.LEADER and self.rules.without is Rail.LOSS):
            entries = remove(entries, lambda entry: entry.owner == ME, self.rules)
            # What is on its way speaks of the old session, and means nothing to the new one.
            yield Move("opens a session", node._replace(server=self.rules.ttl, beat=Beat(True), late=()), entries)

    def session_over(self, node: Node, entries: Entries, trigger: T) -> tuple[Node, Entries]:
        """
        Nothing more is believed on the strength of the session; the store may keep it for a while.
        """
        node = node._replace(session=None, beat=None)
        if node.state is S.CAMPAIGNING:
            trigger = T.SESSION_LOST
        if node.state is S.LEADER and self.rules.without is Rail.LOSS:
            return node, entries
        return self.fired(node, entries, trigger)

    def cleaning(self, node: Node, entries: Entries) -> Iterator[Move]:
        """
        The entry is released when the callbacks are back or the grace is over, and then it is settled.
        """
        if node.state not in CLEANING_UP:
            return
        waited = not node.busy or node.left == 0
        has_session = node.session is not None or not self.rules.shares
        if node.call is None and has_session and (waited or self.rules.without is Rail.CALLBACKS):
            yield Move("releases", node._replace(call=Call(release=True)), entries)
        if node.call is None and waited and (node.left == 0 or not has_session):
            yield Move("settles, the deadline has passed", *self.fired(node, entries, T.SETTLED))
        if node.call is not None and node.call.at is At.DONE and waited:
            yield Move("settles, it was released", *self.fired(node._replace(call=None), entries, T.SETTLED))

    def calls(self, node: Node, entries: Entries, call: Call) -> Iterator[Move]:
        """
        The call that the node waits for: carried out, answered, or given up.
        """
        what = "release" if call.release else "acquire"
        if call.at is At.SENT:
            call, server, changed = self.at_store(node, entries, call)
            yield Move(f"{what} reaches the store", node._replace(call=call, server=server), changed)
        elif not call.release:
            answered = node._replace(call=None)
            if call.at is At.DONE:
                by_entry = not self.rules.shares or self.rules.without is Rail.ENTRY
                deadline = self.rules.deadline(call.age) if by_entry else node.session or 0
                yield Move("is told that it has the entry", *self.fired(answered, entries, T.ACQUIRED, deadline))
            elif call.at is At.REFUSED:
                yield Move("is told that it has to wait", *self.fired(answered, entries, T.CONTENDED))
            else:
                yield Move("is told that it has no session", *self.session_over(answered, entries, T.SESSION_LOST))
        given_up = node if not call.release else self.given_up(node)
        yield Move(f"gives up its {what}", *self.fired(given_up, entries, T.STORE_ERROR))

    def late_calls(self, node: Node, entries: Entries, call: Call) -> Iterator[Move]:
        """
        A call that nobody waits for: carried out, answered, or lost.
        """
        rest = list(node.late)
        rest.remove(call)
        node = node._replace(late=tuple(rest))
        what = "release" if call.release else "acquire"
        yield Move(f"a late {what} is lost", node, entries)
        if call.at is At.SENT:
            call, server, changed = self.at_store(node, entries, call)
            yield Move(f"a late {what} reaches the store", self.with_late(node._replace(server=server), call), changed)
            return
        current = call.attempt == 0 or self.rules.without is Rail.ATTEMPTS
        deadline = self.rules.deadline(call.age) if not self.rules.shares else node.session or 0
        orphan = Call(release=True, attempt=call.attempt)
        _, effects = fire(node.state, T.ACQUIRED, node.left, node.busy, deadline, current)
        node, entries = self.fired(node, entries, T.ACQUIRED, deadline, current=current)
        if E.RELEASE_ORPHAN in effects:
            node = self.with_late(node, orphan)
        yield Move("a late grant is told", node, entries)

    # -- the store ----------------------------------------------------------------------------------------------

    def at_store(self, node: Node, entries: Entries, call: Call) -> tuple[Call, int, Entries]:
        """
        The store carries out a call at once: the call on its way back, how long the session lasts, what stands.
        """
        if call.release:
            return call._replace(at=At.DONE), node.server, self.release(entries, call)
        if self.rules.shares and node.server == 0:
            return call._replace(at=At.GONE, age=0), 0, entries
        at, entries = self.acquire(entries, call)
        server = self.rules.ttl if at is At.DONE and not self.rules.shares else node.server
        if at is At.REFUSED:
            call = call._replace(age=0)
        return call._replace(at=at), server, entries

    def release(self, entries: Entries, call: Call) -> Entries:
        """
        Remove the attempt's own entry and no other, unless that rail is missing.
        """
        blind, by_session = self.rules.without is Rail.COMPARE, self.rules.without is Rail.TOKEN

        def goes(entry: Entry) -> bool:
            if blind:
                return entry is entries[0]
            return entry.owner == ME and (by_session or entry.attempt == call.attempt)

        return remove(entries, goes, self.rules)

    def acquire(self, entries: Entries, call: Call) -> tuple[At, Entries]:
        """
        Claim the entry: the store's answer, and what stands then.
        """
        own = tuple(mine(entries))
        same = Entry(ME, call.attempt)
        other_attempts = tuple(entry for entry in own if entry.attempt != call.attempt)
        if other_attempts and self.rules.shares:
            if self.rules.without is Rail.FRESH:
                return At.DONE if entries[0].owner == ME else At.REFUSED, entries
            if self.rules.kind is Kind.REENTRANT:
                return At.DONE, (same,)
            if call.attempt == 0:  # what an earlier attempt has left is removed first, then it asks again
                return At.SENT, remove(entries, lambda entry: entry in other_attempts, self.rules)
            if self.rules.kind is Kind.SESSION:
                return At.REFUSED, entries
        if self.rules.kind is Kind.QUEUE:
            if not any(mine(entries, call.attempt)):
                entries = (*entries, same)
            first = entries[0]
            return At.DONE if (first.owner, first.attempt) == same[:2] else At.REFUSED, entries
        if not entries:
            return At.DONE, (same,)
        return At.DONE if entries[0] == same else At.REFUSED, entries

    # -- time ---------------------------------------------------------------------------------------------------

    def tick(self, node: Node) -> tuple[Node, bool]:
        """
        One tick passes; whether the store ends the session, or the lease of the node's entry.
        """
        oldest = self.rules.oldest
        ages = not self.rules.shares or self.rules.without is Rail.ENTRY
        call = node.call
        if call is not None and ages and not call.release and call.at in (At.SENT, At.DONE):
            call = call._replace(age=min(call.age + 1, oldest))
        late = node.late
        if not self.rules.shares and self.rules.without is Rail.ATTEMPTS:
            late = tuple(c if c.release else c._replace(age=min(c.age + 1, oldest)) for c in late)
        beat = node.beat
        if beat is not None and beat.done:
            beat = beat._replace(age=min(beat.age + 1, oldest))
        ticked = node._replace(
            left=max(0, node.left - 1),
            session=None if node.session is None else max(0, node.session - 1),
            server=max(0, node.server - 1),
            beat=beat,
            call=call,
            late=late,
        )
        return ticked, node.server == 1

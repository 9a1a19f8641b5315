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

Bounds, said so: at most `Rules.late` given-up calls of a node are on their way at a time (one more loses another), and
attempts older than the last are one. The delay of a renewal's request is not modelled, because it shortens the deadline
as the delay of its answer does, which is.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from model.election_store import at_store, mine, remove
from model.election_words import ME, At, Beat, Call, Entries, Kind, Move, Node, Rail, Rules

from leadership.fsm import CANDIDATE, CandidateContext
from leadership.fsm.event import Event
from leadership.fsm.states import CandidateEffect as E
from leadership.fsm.states import CandidateState as S
from leadership.fsm.states import CandidateTrigger as T

CLEANING_UP = (S.ERROR, S.RESIGNING)


@functools.cache
def fire(state: S, trigger: T, left: int, busy: bool, deadline: int | None, current: bool) -> tuple[S, tuple[E, ...]]:
    """
    The machine's answer: where the candidate goes, and what is to be done.
    """
    ctx = CandidateContext(state, attempt=1, token=1, session="own", lease_deadline=left, callbacks_running=int(busy))
    token = 2 if trigger is T.ACQUIRED else None
    step = CANDIDATE.fire(ctx, Event(trigger, now=0, attempt=1 if current else 0, deadline=deadline, token=token))
    return ctx.state, step.effects


class World:
    """
    What can happen to one node, given what stands at the store.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.cells: set[tuple[S, T]] = set()
        """The cells of the candidate's table that something has asked."""

    # -- the machine --------------------------------------------------------------------------------------------

    def fired(
        self,
        node: Node,
        entries: Entries,
        trigger: T,
        deadline: int | None = None,
        *,
        current: bool = True,
        attempt: int = 0,
    ) -> tuple[Node, Entries]:
        """
        One event, and the effects of its row.

        Args:
            current: The machine takes it for one of the present attempt.
            attempt: The attempt that it is of.
        """
        self.cells.add((node.state, trigger))
        state, effects = fire(node.state, trigger, node.left, node.busy, deadline, current)
        left_office = node.state is S.LEADER and state is not S.LEADER
        node = node._replace(state=state)
        for effect in effects:
            node, entries = self.carry_out(effect, node, entries, deadline or 0, attempt)
        if left_office and not self.rules.shares:
            node = node._replace(beat=None)  # a renewal of this lease means nothing to anybody any more
        if state not in (S.LEADER, *CLEANING_UP):
            node = node._replace(left=0)
        return node, entries

    def carry_out(self, effect: E, node: Node, entries: Entries, deadline: int, attempt: int) -> tuple[Node, Entries]:
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
        elif effect is E.RELEASE_ORPHAN:
            node = self.with_late(node, Call(release=True, attempt=attempt))
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
            elif node.state is S.LEADER:  # without Rail.LOSS: past the table's `still_valid`, too, which would end it
                node, entries = self.fired(node._replace(left=deadline), entries, T.RENEWED, deadline)
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
            call, server, changed = at_store(node, entries, call, self.rules)
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
        waits_no_longer = self.given_up(node) if call.release else node  # else it is the clean-up that gives it up
        yield Move(f"gives up its {what}", *self.fired(waits_no_longer, entries, T.STORE_ERROR))

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
            call, server, changed = at_store(node, entries, call, self.rules)
            yield Move(f"a late {what} reaches the store", self.with_late(node._replace(server=server), call), changed)
            return
        current = call.attempt == 0 or self.rules.without is Rail.ATTEMPTS
        deadline = self.rules.deadline(call.age) if not self.rules.shares else node.session or 0
        node, entries = self.fired(node, entries, T.ACQUIRED, deadline, current=current, attempt=call.attempt)
        yield Move("a late grant is told", node, entries)

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

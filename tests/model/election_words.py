"""
The words of the two-node model: rules, rails, and what a state is made of.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import NamedTuple

from leadership.fsm.states import CandidateState as S

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


def acts(node: Node, rules: Rules) -> bool:
    """
    The user of this node may act: it leads and its deadline is ahead, or its callbacks run and it is.
    """
    if node.state is S.LEADER:
        return node.left > 0 or rules.without is Rail.DEADLINE
    return node.busy and (node.left > 0 or rules.without is Rail.OBEDIENCE)

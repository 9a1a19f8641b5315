"""
Terms and views, packed: some hundred bytes each, so that an audit of many days fits into memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from leadership.audit.judgement import Place

NEVER: Final = float("nan")
Texts = Sequence[str | None]


class Names:
    """
    Texts that occur again and again, as numbers. 0 is None.
    """

    def __init__(self) -> None:
        self.texts: list[str | None] = [None]
        self._numbers: dict[str | None, int] = {None: 0}

    def number(self, text: str | None) -> int:
        """
        The number of a text.
        """
        number = self._numbers.get(text)
        if number is None:
            if not isinstance(text, str):
                msg = f"a text is wanted, not {text!r}"
                raise TypeError(msg)
            number = self._numbers[text] = len(self.texts)
            self.texts.append(text)
        return number


class Term(NamedTuple):
    """
    A term, as its node's audit tells it. Files and texts are numbers; `NEVER` where there was no such moment.
    """

    token: int
    renewals: int
    began: float
    """Wall clock of its node; `*_mono` is its clock of deadlines."""
    began_mono: float
    campaign: float
    """Seconds for which it had stood before it was elected."""
    ended: float
    """When belief ended: the demotion or the deadline; where the audit ends within the term: the last sign of life."""
    ended_mono: float
    demoted: float
    """Where the audit ends within the term: the last sign of life of its process, by its clock of deadlines."""
    deadline_mono: float
    """The last known."""
    node: int
    incarnation: int
    clock: int
    """The wall clock of its process: its `clock` where it has one, else one of its own."""
    same_boot: int
    """The same, within which `*_mono` can be compared; 0 where it became another one within the term."""
    cause: int
    reason: int
    trigger: int
    elected_file: int
    elected_line: int
    demoted_file: int
    """-1: the audit ends within the term."""
    demoted_line: int
    seq: int
    """The number of the record in which it begins."""
    flags: int

    def differs(self, other: Term, texts: Texts, others: Texts) -> bool:
        """
        Whether two copies of one term, each told to its end, tell of it in two ways.
        """
        mine = [texts[number] for number in (self.node, self.cause, self.reason, self.trigger)]
        its = [others[number] for number in (other.node, other.cause, other.reason, other.trigger)]
        return mine != its or _FIGURES.pack(*self[:_MANY]) != _FIGURES.pack(*other[:_MANY])


_MANY: Final = 9
"""How many members of a term are figures; equal ones have equal bytes, those that are no number, too."""
_FIGURES: Final = struct.Struct("<qq7d")


RESET: Final = 1
"""The store had lost its data."""
RELEASED: Final = 2
"""It ended by its own will and in time: the entry stood until the node itself gave it back."""
UNFINISHED: Final = 4

_TERM: Final = struct.Struct("<qq7d13i")
pack_term: Final = _TERM.pack
"""The members of a `Term`, in their order, as bytes."""


class Stay(NamedTuple):
    """
    From when to when the records of a candidate go.
    """

    began: float
    """Wall clock of its node; `*_mono` is its clock of deadlines."""
    began_mono: float
    ended: float
    ended_mono: float
    clock: str
    last: Place
    slack: float
    """Seconds after its end in which a grant that nobody took may still be seen."""

    def precedes(self, view: View, clock: str, error: float) -> bool:
        """
        Whether it had ended when something was seen, by a clock of deadlines.
        """
        if clock == self.clock:
            return view.seen_mono > self.ended_mono + self.slack
        return view.seen > self.ended + self.slack + error

    def follows(self, view: View, clock: str, error: float) -> bool:
        """
        Whether it had not begun when something was seen, by a clock of deadlines.
        """
        if clock == self.clock:
            return view.seen_mono < self.began_mono
        return view.seen < self.began - error


class View(NamedTuple):
    """
    What a node saw of who leads.
    """

    token: int
    seen: float
    seen_mono: float
    leader: int
    node: int
    clock: int
    same_boot: int
    file: int
    line: int


_VIEW: Final = struct.Struct("<qdd6i")


class Packed:
    """
    The terms and views of the files that were judged together.
    """

    def __init__(self) -> None:
        self.names = Names()
        self.files: list[str] = []
        self._terms: dict[str, bytearray] = {}
        self._views: dict[str, bytearray] = {}
        self._known: dict[str, dict[tuple[int, int], int]] = {}
        """Where the terms of an election are, by incarnation and number of record: of those of which copies came."""

    @property
    def elections(self) -> set[str]:
        """
        Those in which somebody was elected or seen to lead.
        """
        return self._terms.keys() | self._views.keys()

    def add_term(self, election: str, term: bytes) -> None:
        """
        Keep one, packed.
        """
        self._terms.setdefault(election, bytearray()).extend(term)

    def add_copy(self, election: str, packed: bytes) -> Term | None:
        """
        Take a copy of a term into account, which tells of it to its end.

        Returns:
            The term that is known, where the copy tells of it in another way.
        """
        terms = self._terms.setdefault(election, bytearray())
        known = self._known.setdefault(election, {})
        for index in range(len(known), self.count(election)):
            other = self.term(election, index)
            key = (other.incarnation, other.seq)
            known[(-1, index) if key in known else key] = index
        copy = Term._make(_TERM.unpack(packed))
        index = known.get((copy.incarnation, copy.seq), -1)
        if index < 0:
            terms.extend(packed)  # what is missing in the one is there in the other
            return None
        term = self.term(election, index)
        if term.flags & UNFINISHED:
            terms[index * _TERM.size : (index + 1) * _TERM.size] = packed
            return None
        return term if term.differs(copy, self.names.texts, self.names.texts) else None

    def add_view(self, election: str, view: View) -> None:
        """
        Keep one.
        """
        self._views.setdefault(election, bytearray()).extend(_VIEW.pack(*view))

    def count(self, election: str) -> int:
        """
        How many terms of an election there are.
        """
        return len(self._terms.get(election, b"")) // _TERM.size

    def keys(self, election: str) -> Iterator[tuple[int, float, int]]:
        """
        Token, beginning and flags of each term of an election, as they were added.
        """
        return ((row[0], row[2], row[-1]) for row in _TERM.iter_unpack(self._terms.get(election, b"")))

    def term(self, election: str, index: int) -> Term:
        """
        One term of an election.
        """
        return Term._make(_TERM.unpack_from(self._terms[election], index * _TERM.size))

    def views(self, election: str) -> Iterator[View]:
        """
        The views of one election.
        """
        return map(View._make, _VIEW.iter_unpack(self._views.get(election, b"")))

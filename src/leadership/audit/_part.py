"""
What came of judging some files by themselves, and the terms of an election over all of them.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate, groupby

from leadership.audit._files import AuditFile
from leadership.audit._found import Findings, short
from leadership.audit._terms import RESET, UNFINISHED, Packed, Stay, Term
from leadership.audit.judgement import Place, Span


@dataclass
class Part:
    """
    Files that were judged together.
    """

    packed: Packed
    findings: Findings
    records: int
    elections: set[str]
    nodes: set[str]
    ends: dict[tuple[str, str], list[Stay]]
    files: list[list[AuditFile]] = field(default_factory=list[list[AuditFile]])
    anchors: set[str] = field(default_factory=set[str])
    """Those of the wanted hashes that some line has."""

    def text(self, number: int) -> str:
        """
        A text by its number; empty for none.
        """
        return self.packed.names.texts[number] or ""


class Tenure:
    """
    A term with the part that it comes from, and so with its texts.
    """

    __slots__ = ("boot", "clock", "incarnation", "node", "part", "term")

    def __init__(self, term: Term, part: Part) -> None:
        texts = part.packed.names.texts
        self.term = term
        self.part = part
        self.node = texts[term.node] or ""
        """Whose term it is."""
        self.incarnation = texts[term.incarnation]
        """Whose, by the object: a node may have several, one after the other."""
        self.clock = texts[term.clock] or ""
        """By which wall clock its times are."""
        self.boot = texts[term.same_boot]
        """Within which its monotonic times can be compared; None where there is no such thing."""

    @property
    def cause(self) -> str | None:
        """
        Why it ended.
        """
        return self.part.packed.names.texts[self.term.cause]

    def differs(self, other: Tenure) -> bool:
        """
        Whether two copies of one term, each told to its end, tell of it in two ways.
        """
        return self.term.differs(other.term, self.part.packed.names.texts, other.part.packed.names.texts)

    def until(self, other: Tenure) -> float:
        """
        Seconds from its end to the beginning of another.
        """
        if self.boot == other.boot is not None:
            return other.term.began_mono - self.term.ended_mono
        return other.term.began - self.term.ended

    def length(self, other: Tenure) -> float:
        """
        Seconds for which it was believed in, by the clock by which it is compared with another.
        """
        if self.boot == other.boot is not None:
            return self.term.ended_mono - self.term.began_mono
        return self.term.ended - self.term.began

    def elected(self) -> Place:
        """
        The line that tells of its beginning.
        """
        term = self.term
        text = f"{short(term.began)} {self.node} elected with token {term.token}"
        return Place(self.part.packed.files[term.elected_file], term.elected_line, text)

    def demoted(self) -> Place | None:
        """
        The line that tells of its end.
        """
        term = self.term
        if term.demoted_file < 0:
            return None
        trigger = self.part.text(term.trigger)
        text = f"{short(term.demoted)} {self.node} demoted by {trigger}, token {term.token}, cause {self.cause}"
        return Place(self.part.packed.files[term.demoted_file], term.demoted_line, text)

    def last(self) -> Place:
        """
        The line that tells of its end, or else of its beginning.
        """
        return self.demoted() or self.elected()

    def span(self, election: str) -> Span:
        """
        For those who read the judgement.
        """
        term = self.term
        return Span(
            election=election,
            node=self.node,
            token=term.token,
            began=term.began,
            ended=None if term.flags & UNFINISHED else term.ended,
            cause=self.cause,
            reason=self.part.packed.names.texts[term.reason],
            renewals=term.renewals,
            elected=self.elected(),
            demoted=self.demoted(),
        )


class Tenures:
    """
    The terms of one election in the order of the store: by token; and where the store lost its data, by that.
    """

    def __init__(self, parts: list[Part], election: str) -> None:
        self._parts = parts
        self._election = election
        self._starts = list(accumulate((part.packed.count(election) for part in parts), initial=0))
        self.tokens: array[int] = array("q")
        begins: array[float] = array("d")
        resets: list[float] = []
        for part in parts:
            for token, began, flags in part.packed.keys(election):
                self.tokens.append(token)
                begins.append(began)
                if flags & RESET:
                    resets.append(began)
        resets.sort()
        self.resets = len(resets)
        self._counts = array("l", (bisect_right(resets, began) for began in begins)) if resets else None
        key = self.tokens.__getitem__ if self._counts is None else self._key
        self._order: list[int] = sorted(range(len(self.tokens)), key=key)

    def _key(self, index: int) -> tuple[int, int]:
        return 0 if self._counts is None else self._counts[index], self.tokens[index]

    def runs(self) -> Iterator[tuple[int, list[Tenure]]]:
        """
        Those with one token at a time, as there is one or somebody has copied it, or something is wrong.
        """
        for (counted, _), run in groupby(self, key=lambda each: (each[0], each[1].term.token)):
            yield counted, [tenure for _, tenure in run]

    def __iter__(self) -> Iterator[tuple[int, Tenure]]:
        """
        Each with the number of the count that its token belongs to.
        """
        counts = self._counts
        for index in self._order:
            number = bisect_right(self._starts, index) - 1
            part = self._parts[number]
            term = part.packed.term(self._election, index - self._starts[number])
            yield 0 if counts is None else counts[index], Tenure(term, part)

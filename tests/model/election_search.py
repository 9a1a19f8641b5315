"""
Breadth-first search for two users who may act at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from model.election_model import World
from model.election_store import remove
from model.election_words import ME, OTHER, THIRD, Entries, Entry, Kind, Node, Rules, acts

Half = tuple[int, int]
"""
The first node, and what stands at the store as it sees it.
"""


class Result(NamedTuple):
    """
    What a search has found.
    """

    states: int
    trace: list[str] | None
    """The steps to two users who may act, the shortest there are; None where there is no way."""


def members(bits: int) -> Iterator[int]:
    """
    The numbers in a set of bits.
    """
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


class Search:
    """
    All states of two nodes and a store.

    Nodes and stores are numbered. Of a set of states, what is kept for each first node and store is the set of second
    nodes, as the bits of one number: a step of the first node moves a whole set at a time. The nodes are alike, so with
    each state its mirror image is in the set, and the steps of the second node are those of the first in the image.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.world = World(rules)
        self.nodes: list[Node] = []
        self.stores: list[Entries] = []
        self.acting = 0
        """The nodes whose user may act, as bits."""
        self._numbers: dict[Node, int] = {}
        self._store_numbers: dict[Entries, int] = {}
        self._moves: dict[Half, list[tuple[str, Half]]] = {}
        self._ticked: dict[int, tuple[int, bool]] = {}
        self._expired: dict[tuple[int, bool, bool], int] = {}
        self._mirrored: dict[int, int] = {}

    # -- numbers ------------------------------------------------------------------------------------------------

    def node(self, node: Node, entries: Entries) -> int:
        """
        The number of a node. A lease without an entry is none.
        """
        if not self.rules.shares and not any(entry.owner == ME for entry in entries):
            node = node._replace(server=0)
        number = self._numbers.setdefault(node, len(self.nodes))
        if number == len(self.nodes):
            self.nodes.append(node)
            self.acting |= acts(node, self.rules) << number
        return number

    def store(self, entries: Entries) -> int:
        """
        The number of what stands at the store, as the first node sees it.
        """
        number = self._store_numbers.setdefault(entries, len(self.stores))
        if number == len(self.stores):
            self.stores.append(entries)
        return number

    def mirrored(self, store: int) -> int:
        """
        The same store, as the second node sees it.
        """
        if store not in self._mirrored:
            other = {ME: OTHER, OTHER: ME, THIRD: THIRD}
            entries = tuple(entry._replace(owner=other[entry.owner]) for entry in self.stores[store])
            self._mirrored[store] = self.store(entries)
        return self._mirrored[store]

    # -- steps --------------------------------------------------------------------------------------------------

    def moves(self, half: Half) -> list[tuple[str, Half]]:
        """
        What the first node can do, and the third party where there is one.
        """
        if half not in self._moves:
            node, store = half
            entries = self.stores[store]
            found = [
                (move.label, (self.node(move.node, move.entries), self.store(move.entries)))
                for move in self.world.moves(self.nodes[node], entries)
            ]
            if self.rules.kind is Kind.QUEUE:
                rest = remove(entries, lambda entry: entry.owner == THIRD, self.rules)
                after = (*entries, Entry(THIRD)) if rest == entries else rest
                found.append(("- the third party comes or goes -", (node, self.store(after))))
            self._moves[half] = found
        return self._moves[half]

    def ticked(self, number: int) -> tuple[int, bool]:
        """
        A node one tick later, and whether its entries have gone.
        """
        if number not in self._ticked:
            node, over = self.world.tick(self.nodes[number])
            self._ticked[number] = (self.node(node, (Entry(ME),)), over)
        return self._ticked[number]

    def expired(self, store: int, first: bool, second: bool) -> int:
        """
        What stands at the store when the entries of one node or both have gone.
        """
        key = (store, first, second)
        if key not in self._expired:
            gone = [ME] * first + [OTHER] * second
            entries = remove(self.stores[store], lambda entry: entry.owner in gone, self.rules)
            self._expired[key] = self.store(entries)
        return self._expired[key]

    def after(self, level: dict[Half, int]) -> dict[Half, int]:
        """
        Everything that is one step of the first node, or one tick, away.
        """
        found: dict[Half, int] = defaultdict(int)
        for half, seconds in level.items():
            for _, new in self.moves(half):
                found[new] |= seconds
            first, gone = self.ticked(half[0])
            images = [0, 0]  # of those whose own entries stay, and of those whose go
            for number in members(seconds):
                second, over = self.ticked(number)
                images[over] |= 1 << second
            for gone_too in (False, True):
                if images[gone_too]:
                    found[first, self.expired(half[1], gone, gone_too)] |= images[gone_too]
        return found

    # -- the search ---------------------------------------------------------------------------------------------

    def run(self, cap: int) -> Result:
        """
        Look at every state, nearest first, until two may act.

        Raises:
            AssertionError: There are more than `cap` states.
        """
        start = (self.node(Node(), ()), self.store(()))
        levels = [{start: 1 << start[0]}]
        reached: dict[Half, int] = defaultdict(int)
        reached.update(levels[0])
        states = 1
        while levels[-1]:
            level: dict[Half, int] = defaultdict(int)
            for (first, store), seconds in self.after(levels[-1]).items():
                fresh = seconds & ~reached[first, store]
                if fresh:
                    level[first, store] |= fresh
                    image = self.mirrored(store)
                    for second in members(fresh):
                        level[second, image] |= 1 << first
            for half, seconds in level.items():
                reached[half] |= seconds
                states += seconds.bit_count()
                both = seconds & self.acting if self.acting >> half[0] & 1 else 0
                if both:
                    return Result(states, self.trace(levels, half[0], next(members(both)), half[1]))
            assert states <= cap, f"more than {cap} states"
            levels.append(level)
        return Result(states, None)

    def trace(self, levels: list[dict[Half, int]], first: int, second: int, store: int) -> list[str]:
        """
        The steps that lead to a state, which is one step away from the last level.
        """
        words: list[str] = []
        for level in reversed(levels):
            word, first, second, store = next(self.before(level, first, second, store))
            words.append(word)
        return words[::-1]

    def before(
        self, level: dict[Half, int], first: int, second: int, store: int
    ) -> Iterator[tuple[str, int, int, int]]:
        """
        The states of a level from which one step leads to a state, and the step in words.
        """
        for half, seconds in level.items():
            for label, new in self.moves(half):
                if new == (first, store) and seconds >> second & 1:
                    yield f"A {label}", half[0], second, half[1]
                if new == (second, self.mirrored(store)) and seconds >> first & 1:
                    yield f"B {label}", first, half[0], self.mirrored(half[1])
            if self.ticked(half[0])[0] == first:
                gone = self.ticked(half[0])[1]
                for number in members(seconds):
                    later, gone_too = self.ticked(number)
                    if later == second and self.expired(half[1], gone, gone_too) == store:
                        yield "a tick", half[0], number, half[1]


def search(rules: Rules, cap: int = 20_000_000) -> Result:
    """
    Look for two users who may act at a time.
    """
    return Search(rules).run(cap)

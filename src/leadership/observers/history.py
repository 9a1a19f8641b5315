"""
The last transitions, in memory.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from leadership.fsm.record import Transition
from leadership.fsm.row import Disposition
from leadership.fsm.states import CandidateTrigger

SIZE: Final = 256
"""
How many records a history keeps.
"""

Edge = tuple[str, str, str]
"""
Source, trigger, dest.
"""

_RENEWED: Final = CandidateTrigger.RENEWED.value


class History:
    """
    The last 256 records, and how often each edge of a machine was taken.

    One thread adds, any thread asks. There is no lock: the thread that adds drives elections and waits for nobody, and
    a lock that another thread holds at a fork would stay locked in the child for ever.
    """

    def __init__(self) -> None:
        self._records: deque[Transition] = deque(maxlen=SIZE)
        self._edges: dict[str, dict[Edge, int]] = {}

    def add(self, record: Transition) -> None:
        """
        Keep one record, and forget the oldest if there are too many. Constant time.
        """
        self._records.append(record)
        if record.disposition != Disposition.GO:
            return
        edges = self._edges.setdefault(record.machine, {})
        edge = (record.source, record.trigger, record.dest)
        edges[edge] = edges.get(edge, 0) + 1
        if record.renewals:  # they have no records of their own
            edge = (record.source, _RENEWED, record.source)
            edges[edge] = edges.get(edge, 0) + record.renewals

    def snapshot(self) -> tuple[Transition, ...]:
        """
        The records of now, the oldest first.
        """
        while True:
            try:
                return tuple(self._records)
            except RuntimeError:  # one was added meanwhile: look again
                continue

    def edges(self, machine: str) -> dict[Edge, int]:
        """
        How often each edge of `candidate` or `follower` was taken since the beginning, renewals included.
        """
        while True:
            try:
                return dict(self._edges.get(machine, {}))
            except RuntimeError:  # an edge was taken for the first time meanwhile: look again
                continue

"""
A thread that is told of every change below one beginning of names, by blocking queries.

Consul's index may go backwards; then it starts anew. A restored snapshot ends a query at once with the old index, and
the next one would then wait in vain for that index to be passed. An absent key wakes a query at any write of the whole
store, and a pause that grows keeps that cheap. A snapshot that is costly to take in is followed by as long a pause, so
that a burst of changes is told in fewer snapshots.

When a lock goes, everybody who waits for it wakes. Those who have found themselves in a crowd before spread over a
moment, and look again before they tell: most of them then tell who leads, and ask Consul for nothing.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from leadership._clock import now
from leadership.backends import _consul_entries as entries
from leadership.backends._consul_entries import Pairs
from leadership.backends._consul_roots import plain
from leadership.backends._consul_workers import Caller
from leadership.backends._loops import post
from leadership.errors import LeadershipError, StoreUnavailable

WAIT: Final = 10
"""Seconds that an agent waits for a change before it answers all the same."""
CHEAP: Final = 0.003
LONGEST_PAUSE: Final = 0.5


ELBOW_ROOM: Final = 0.002
"""Seconds for each who waits in a crowd."""
HEAD_START: Final = 0.0015
"""Seconds that the engine has to ask for a lock before this thread is in its way."""


class Crowd:
    """
    How many seem to wait for the same locks: one more whenever another was quicker, half as many after a success.

    Of n who wait each succeeds in one of n races, so that this stays between n and 2n. Before the first success it
    grows faster, to get there. One who waits alone never stands back.
    """

    MOST: Final = 50
    FIRST_GUESS: Final = 8

    def __init__(self) -> None:
        self._size = 0.0
        self._has_won = False

    def won(self) -> None:
        """
        A lock was taken.
        """
        self._size, self._has_won = self._size / 2, True

    def lost(self) -> None:
        """
        Another was quicker.
        """
        size = self._size + 1 if self._has_won else self._size * 1.5 + self.FIRST_GUESS
        self._size = min(self.MOST, size)

    def left(self) -> None:
        """
        Nobody waits here any more.
        """
        self._size = 0.0

    def room(self) -> float:
        """
        Seconds to stand back.
        """
        return random.random() * self._size * ELBOW_ROOM


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    All keys below a root at one moment.
    """

    pairs: Pairs
    index: int
    sent: float
    """When it was asked for."""
    reset: bool = False
    """The index has gone backwards: what was known counts no more."""


def take(caller: Caller, root: str, *, index: int = 0, until: float) -> Snapshot:
    """
    The keys below a root; with an index, when they are others than at that index, or the wait is over.

    Raises:
        StoreUnavailable: It cannot be had now.
        StoreRefused: It will not be had.
    """
    sent = now()
    query: dict[str, str | int] = {"recurse": 1, "consistent": 1}
    if index:
        query |= {"index": index, "wait": f"{WAIT}s"}
    answer = caller.call("GET", f"kv/{root}", until=until, held=WAIT if index else 0.0, **query)
    answer.check(f"reading the keys below {root!r} (key:read)", 404)
    pairs: Pairs = {} if answer.status == 404 else entries.index_of(answer.data)
    return Snapshot(pairs, max(answer.index, 1), sent)


class Query:
    """
    Takes snapshots of one root and hands them over on the loop, until it breaks or is stopped. Made on the loop.
    """

    def __init__(
        self,
        root: str,
        key: str,
        caller: Caller,
        crowd: Crowd,
        on_snapshot: Callable[[Query, Snapshot], None],
        on_end: Callable[[Query, LeadershipError], None],
    ) -> None:
        """
        Args:
            key: One that is asked for by its name if there is none: what may not be read is shown as absent.
        """
        self.root = root
        self._key = key
        self.refreshing = False
        self.refresh_again = False
        self._caller = caller
        self._crowd = crowd
        self._on_snapshot = on_snapshot
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name="leadership-consul-watch", daemon=True)

    def stop(self) -> None:
        """
        Take no more snapshots. Does not wait.
        """
        self._stopping.set()
        self._caller.abort()

    def _run(self) -> None:
        try:
            self._follow()
        except LeadershipError as error:
            self._end(error)
        except Exception as error:  # noqa: BLE001 - a thread that ends in silence would leave its watches blind
            self._end(StoreUnavailable(f"the watch failed: {type(error).__name__}: {error}"))
        finally:
            self._caller.close()

    def _end(self, error: LeadershipError) -> None:
        if not self._stopping.is_set():
            post(self._loop, self._on_end, self, error)

    def _follow(self) -> None:
        index, newest, in_vain = 0, 0, 0
        known: Pairs | None = None
        while not self._stopping.is_set():
            snapshot = take(self._caller, self.root, index=index, until=self._until())
            if snapshot.index < newest:
                snapshot = replace(snapshot, reset=True)
            taken = now()
            if known is None and not snapshot.pairs and plain(self._key) == self._key:
                entries.probe(self._caller, self._key, until=self._until())
            early = taken - snapshot.sent < WAIT / 2
            freed = known is not None and is_freed(known, snapshot.pairs)
            if freed and not snapshot.reset:
                snapshot = self._stand_back(snapshot)
                taken = now()
            if snapshot.index != index or not index:
                post(self._loop, self._on_snapshot, self, snapshot)
            in_vain = in_vain + 1 if early and known is not None and is_same(known, snapshot.pairs) else 0
            abandoned = early and snapshot.index == index  # its state was replaced by a restored one, of a lower index
            known, newest = snapshot.pairs, snapshot.index
            index = 0 if snapshot.reset or abandoned else newest
            cost = now() - taken
            if in_vain > 1:
                self._stopping.wait(min(LONGEST_PAUSE, 0.025 * 2**in_vain))
            elif freed or cost > CHEAP:
                self._stopping.wait(min(LONGEST_PAUSE, max(HEAD_START, 2 * cost)))

    def _until(self) -> float:
        return now() + self._caller.settings.timeout

    def _stand_back(self, snapshot: Snapshot) -> Snapshot:
        """
        Give way to others for a moment, and look again.
        """
        room = self._crowd.room()
        if room < HEAD_START:
            return snapshot
        self._stopping.wait(room)
        later = take(self._caller, self.root, until=self._until())
        if later.index < snapshot.index:
            return snapshot
        if not is_same(snapshot.pairs, later.pairs):
            self._crowd.lost()
        return later


def is_freed(known: Pairs, pairs: Pairs) -> bool:
    """
    A key that was held is so no more.
    """
    return any(pair.get("Session") and not pairs.get(key, {}).get("Session") for key, pair in known.items())


def is_same(known: Pairs, pairs: Pairs) -> bool:
    """
    Nothing was written in between.
    """
    return known.keys() == pairs.keys() and all(
        pair["ModifyIndex"] == pairs[key]["ModifyIndex"] for key, pair in known.items()
    )

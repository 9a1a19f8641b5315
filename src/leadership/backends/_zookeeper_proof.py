"""
What an acknowledged write proves of a ZooKeeper session's lease.

A session expires when its server's leader has not heard of it for the time-out. A write that a follower passes on to
the leader is no such news: the follower tells which sessions it has heard only in its answers to the leader's pings,
one every half tick. So a write that was sent at t0 and committed proves this much, because a connection keeps its
order: what the follower had heard before t0 - tick / 2 reached the leader before the write did. The lease counts from
the sending of the newest request that was *answered* by then: its answer shows that the follower had heard it.

The connect request of a session, or of its return over a new connection, is confirmed by the leader itself. It counts
from its own sending, once a write on that connection is committed: an old leader that is cut off confirms connections
too, and commits nothing.
"""

from __future__ import annotations

from collections import deque
from typing import Final

PING_LAG: Final = 0.05
"""
Seconds by which a follower's answer to a ping may be late.
"""


class Proof:
    """
    The requests of one connection that can prove something. Used on one thread.
    """

    def __init__(self, tick: float) -> None:
        """
        Args:
            tick: The servers' tickTime (seconds), or more.
        """
        self.lag = tick / 2 + PING_LAG
        self._base: float | None = None
        self._answered: deque[tuple[float, float]] = deque()

    def connected(self, sent: float) -> None:
        """
        A connection was made; nothing of an earlier one counts any more.
        """
        self._base = sent
        self._answered.clear()

    def answered(self, sent: float, heard: float) -> None:
        """
        A request, whatever it was, was sent and answered at these moments.
        """
        last = self._answered[-1][1] if self._answered else float("-inf")
        if heard - last >= self.lag / 16:  # a burst of requests proves no more than one of them
            self._answered.append((sent, heard))

    def since(self, written: float) -> float | None:
        """
        The moment from which the lease counts, by the acknowledgement of a write that was sent at `written`.
        """
        while self._answered and self._answered[0][1] <= written - self.lag:
            sent, _heard = self._answered.popleft()
            self._base = sent if self._base is None else max(self._base, sent)
        return self._base

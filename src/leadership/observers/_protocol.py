"""
What an observer is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from leadership.fsm.record import Renewal, Transition

Observer: TypeAlias = Callable[[Transition], None]
"""
Anything that can be called with a record; a `close()` without arguments is optional.

It is called on the observer lane, one record at a time, in the order of `seq`. What it raises is logged and goes no
further; records that it is too slow for are dropped and counted, and the gap shows in `seq`. An `AuditLog` has a lane
of its own, which drops nothing.

It may have the methods of `RenewalObserver` and `DropObserver`, too; they are called on the same lane.
"""


class RenewalObserver(Protocol):
    """
    An observer that is told of renewals, too.
    """

    def on_renewal(self, renewal: Renewal) -> None:
        """
        A leader's renewal was acknowledged, or failed.
        """


class DropObserver(Protocol):
    """
    An observer that is told what it has missed.
    """

    def on_dropped(self, count: int) -> None:
        """
        So many calls of this observer were dropped since it was last told, because the lane was full.
        """

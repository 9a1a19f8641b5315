"""
One question at a time: candidates of one process that ask for the same election share the answer.

When an entry goes, everybody who waits for it asks. In one process the first answer tells all of them: whoever leads
now is the holder that they wait for. A store with a queue is different: there everybody needs an entry of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leadership.store import Holder

if TYPE_CHECKING:
    from leadership._runtime.campaign import Campaign


class Turnstile:
    """
    For one election of one store. On the engine's thread only.
    """

    def __init__(self) -> None:
        self._asking: Campaign | None = None
        self._waiting: dict[Campaign, int] = {}
        """Who waits, and in which attempt."""

    def enter(self, campaign: Campaign, attempt: int) -> bool:
        """
        Whether this campaign may ask now; else it is told what the one before it was told, or asks next.
        """
        if self._asking is None or self._asking is campaign:
            self._asking = campaign
            return True
        self._waiting[campaign] = attempt
        return False

    def leave(self, campaign: Campaign, holder: Holder | None) -> None:
        """
        The question was answered: by who leads now, or in a way that says nothing to the others.
        """
        if self._asking is not campaign:
            return
        self._asking = None
        waiting, self._waiting = self._waiting, {}
        for other, attempt in waiting.items():
            if holder is not None:
                other.told(attempt, holder)
            else:
                other.asks(attempt)  # the first of them enters, the others wait for it

"""
Why terms ended, as far as one follower was told.
"""

from __future__ import annotations

from typing import Any, Final

from leadership.fsm.states import FollowerState as S
from leadership.store import Fact, WatchEvent

NOTHING: Final[tuple[int | None, str | None]] = (None, None)


class Why:
    """
    Remembers what terms were asked to resign for, until their end is seen. On the engine's thread only.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        """What the last term whose end was seen was asked to resign for. Any thread."""
        self.of_row: str | None = None
        """The same, where the present row has seen the end."""
        self._followed: int | None = None
        """The token of the last term that was followed, until it is known to be over."""
        self._asked = NOTHING

    def began(self) -> None:
        """
        The follower was started: what was before is not known.
        """
        self.reason = self.of_row = self._followed = None
        self._asked = NOTHING

    def heard(self, event: WatchEvent) -> None:
        """
        A fact of the watch, before the machine is told of it. Of several requests to one term the first with words
        stands: the leader has obeyed it.
        """
        if event.fact is Fact.RESIGN_REQUESTED or event.reason is not None:
            asked, words = self._asked
            if asked != event.token or words is None:
                self._asked = event.token, event.reason

    def moved(self, dest: Any, token: int | None) -> None:
        """
        A row has led into a state, where a term with this token is followed or none is.
        """
        self.of_row = None
        if dest not in (S.FOLLOWING, S.VACANT):
            return  # it is not known
        before, self._followed = self._followed, token
        if before is not None and token != before:
            asked, reason = self._asked
            self.reason = self.of_row = reason if asked == before else None
            if asked == before:  # where the store loses its data, another term may have the same token
                self._asked = NOTHING

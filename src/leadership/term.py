"""
A term: one candidate's time in office, from its election to its demotion.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Protocol

from leadership import _clock
from leadership.checks import check_timeout
from leadership.errors import NotLeader
from leadership.fsm.row import DemotionCause


@dataclass(frozen=True, slots=True)
class Leader:
    """
    Who leads an election, as last seen. Immutable.
    """

    node: str
    token: int
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """What it published; read-only, empty when absent."""
    is_self: bool = False
    """True where the candidate that was asked is the leader itself."""


class Wakeup(Protocol):
    """
    How a thread waits for the end of a term: `threading.Event` has it.
    """

    def set(self) -> None:
        """
        Wake whoever waits, now and later.
        """

    def wait(self, timeout: float | None = None) -> bool:
        """
        Wait until it is set, or `timeout` seconds have passed.
        """
        ...


class Term:
    """
    One candidate's time in office. Any thread may use it.

    `is_current` is evaluated at the call: it turns False at the lease's local deadline, whatever thread hangs. A lease
    cannot stop work that outlives it: hand `token` to what the work touches, and let it refuse older ones.
    """

    def __init__(
        self,
        election: str,
        node: str,
        token: int,
        deadline: float,
        *,
        clock: Callable[[], float] = _clock.now,
        elected_at: datetime | None = None,
        wakeup: Wakeup | None = None,
    ) -> None:
        self._election = election
        self._node = node
        self._token = token
        self._deadline = deadline
        self._clock = clock
        self._elected_at = elected_at or datetime.now(UTC)
        self._wakeup: Wakeup = wakeup or threading.Event()
        self._over = False
        self._cause: DemotionCause | None = None
        self._detail = ""
        self._reason: str | None = None
        self._listeners: list[Callable[[], None]] = []

    @property
    def election(self) -> str:
        """
        The election's name.
        """
        return self._election

    @property
    def node(self) -> str:
        """
        The name under which the candidate stood.
        """
        return self._node

    @property
    def token(self) -> int:
        """
        The fencing token: greater than that of every earlier term of this election.
        """
        return self._token

    @property
    def elected_at(self) -> datetime:
        """
        When the term began, UTC, for people.
        """
        return self._elected_at

    @property
    def deadline(self) -> float:
        """
        Until when the lease is sure, in seconds on the clock of deadlines; each renewal moves it.
        """
        return self._deadline

    @property
    def is_current(self) -> bool:
        """
        Whether the candidate leads at this very moment: the term has not ended, and its deadline is ahead.

        Not a promise about the next moment, and no substitute for checking `token` where the work lands.
        """
        return not self._over and self._clock() < self._deadline

    @property
    def cause(self) -> DemotionCause | None:
        """
        Why the term ended; None until its end was processed, which may be a moment after `is_current` turned False.
        """
        return self._cause

    @property
    def detail(self) -> str:
        """
        The cause in words, with the error's text where there is one; empty until the end.
        """
        return self._detail

    @property
    def reason(self) -> str | None:
        """
        What the operator or the program gave as the reason of a resignation.
        """
        return self._reason

    def remaining(self) -> float:
        """
        Seconds until the local deadline if no further renewal succeeds; 0.0 when the term is over.
        """
        return 0.0 if self._over else max(0.0, self._deadline - self._clock())

    def check(self) -> None:
        """
        Return if the term is current. Call it before each write, and hand the write its token too.

        Raises:
            NotLeader: The term is over.
        """
        if not self.is_current:
            why = self._detail or "its lease reached the local deadline"
            msg = f"the term of {self._node!r} in {self._election!r} with token {self._token} is over: {why}"
            raise NotLeader(msg)

    def wait(self, timeout: float | None = None) -> bool:
        """
        Sleep until the term ends or the time is up.

        Args:
            timeout: Seconds; None waits for the end of the term.

        Returns:
            True when the term has ended, at once if it has already; False when the time was up first.

        Raises:
            ConfigError: The timeout is no number of seconds.
        """
        limit = check_timeout(timeout)
        give_up = None if limit is None else self._clock() + limit
        while self.is_current:
            now = self._clock()
            if give_up is not None and now >= give_up:
                return False
            # Never beyond the deadline: the end must be seen even when nobody processes it.
            until = self._deadline if give_up is None else min(self._deadline, give_up)
            self._wakeup.wait(max(0.0, until - now))
        return True

    def _extend(self, deadline: float) -> None:
        self._deadline = deadline

    def _end(self, cause: DemotionCause, detail: str, reason: str | None) -> None:
        """
        Called once by the engine, before anything else happens to the demotion.
        """
        self._cause, self._detail, self._reason = cause, detail, reason
        self._over = True
        self._wakeup.set()
        for listener in tuple(self._listeners):
            listener()

    def _when_over(self, listener: Callable[[], None]) -> Callable[[], None]:
        """
        Have `listener` called by the engine when the end is processed; at once if it was. Returns how to undo that.
        """
        self._listeners.append(listener)
        if self._over:
            listener()

        def forget() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return forget

    def __repr__(self) -> str:
        state = "current" if self.is_current else f"over ({self._cause or 'deadline'})"
        return f"<Term {self._election!r} node={self._node!r} token={self._token} {state}>"

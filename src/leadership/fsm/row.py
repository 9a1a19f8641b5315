"""
A table is a tuple of rows; this is a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from leadership.fsm.event import Event

S = TypeVar("S", bound=StrEnum)
T = TypeVar("T", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)
C = TypeVar("C")


class Disposition(StrEnum):
    """
    What became of an event.
    """

    GO = "go"
    """The state was left for another, or for itself."""
    STAY = "stay"
    """The state stayed and something is to be done."""
    IGNORE = "ignore"
    """A late or doubled event that means nothing here; counted."""
    ILLEGAL = "illegal"
    """A bug, or a misuse of the API: refused, nothing moved."""
    STALE = "stale"
    """An event of an earlier attempt: dropped before the table."""


class DemotionCause(StrEnum):
    """
    Why a term ended.
    """

    RESIGNED = "resigned"
    """`resign()`, or an operator's request."""
    STOPPED = "stopped"
    """`stop()`, a signal, or the end of the process."""
    LEASE_EXPIRED = "lease_expired"
    """The local deadline passed before a renewal was acknowledged."""
    SESSION_LOST = "session_lost"
    """The store says that the session has ended."""
    DELETED = "deleted"
    """Somebody removed the entry while its session was alive."""
    SUPERSEDED = "superseded"
    """Somebody else holds the entry, with a newer token."""
    STORE_ERROR = "store_error"
    """The store refuses us for good: credentials, permission, foreign data."""
    CALLBACK_FAILED = "callback_failed"
    """`on_elected` raised, or an audit that the term waits for could not be written."""


@dataclass(frozen=True, slots=True)
class Row(Generic[S, T, E, C]):
    """
    One alternative of one cell (source, trigger); the first whose guard holds applies.
    """

    source: S
    trigger: T
    dest: S | None
    """None: the state is not left. The same as `source`: it is left and entered again."""
    disposition: Disposition
    guard: Callable[[C, Event[T]], bool] | None = None
    effects: tuple[E, ...] = ()
    cause: DemotionCause | None = None
    """For a row that leaves leader: why."""

    @property
    def guard_name(self) -> str | None:
        """
        The guard's name, for people.
        """
        return None if self.guard is None else getattr(self.guard, "__name__", repr(self.guard))

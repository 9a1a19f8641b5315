"""
What machines are told, and what they answer: plain values, no behaviour.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from leadership.fsm.row import Row

T = TypeVar("T", bound=StrEnum)


class Event(NamedTuple, Generic[T]):
    """
    One thing that happened, with the facts that guards may ask for.

    Time comes in on the event (`now`, seconds on the deadline's clock): machines have no clock.
    """

    trigger: T
    now: float
    attempt: int | None = None
    """The attempt that caused it; None where it belongs to none (a request of the user, say)."""
    token: int | None = None
    """The fencing token that it speaks of."""
    session: str | None = None
    """The session that owns the entry that it speaks of."""
    deadline: float | None = None
    """The session's local deadline, on acquired and renewed."""
    confirmed: bool = False
    """True for an observation by a linearizable read that no watch event has overtaken."""
    fatal: bool = False
    """True for an error that trying again cannot mend."""
    callback: str | None = None
    """The kind of callback that failed: on_elected, on_demoted, on_leader_changed."""
    reason: str | None = None
    """The operator's words, on resign."""
    error: BaseException | None = None
    said: str | None = None
    """The error's words, made where it was raised; None where they may be asked for here."""
    revision: int | None = None
    """The store's own number for this state of its data, where it has one."""
    cool_down: float | None = None
    """Seconds to stay out after a resignation."""
    payload: Any = None
    """For the shell that fired it; no guard looks at it."""


class Step(NamedTuple):
    """
    The answer of a machine: which row applied. The state of the context has changed already.
    """

    source: Any
    dest: Any
    row: Row[Any, Any, Any, Any] | None
    """None for a stale event, which never reached the table."""
    effects: tuple[Any, ...]

"""
Sessions that are over for us and may live at the store.

Law 1: whoever needs a new session ends them first, so that the next term need not wait for them.
Law 2: where nobody does, they are ended all the same, and asked to until they have answered: at once when no candidate
is left, else after a TTL, for those who pause for long or whose callbacks do not return. A store may keep a session,
and the entry that leads with it, for as long as its connection is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from leadership.store import Outcome, Reply, Session

if TYPE_CHECKING:
    from leadership._runtime.engine import Timer
    from leadership._runtime.keeper import SessionKeeper


class Leftovers:
    """
    Those of one keeper. On the engine's thread only.
    """

    def __init__(self, keeper: SessionKeeper) -> None:
        self._keeper = keeper
        self._sessions: list[Session] = []
        self._timer: Timer | None = None
        self._yielding = False
        """Somebody who needs a new session ends them."""
        self._closed = False

    def add(self, session: Session) -> None:
        """
        One more: end it when a session is needed, or now if no candidate is left to need one.
        """
        if self._closed:
            return
        self._sessions.append(session)
        if self._keeper.members:
            self._end_later()
        else:
            self.end()

    def end(self) -> None:
        """
        Ask now for the end of all, unless somebody does already.
        """
        self._disarm()
        if not self._yielding:
            for session in self._sessions:
                self._ask(session, self._answered)

    def _answered(self, session: Session, reply: Reply, late: bool) -> None:
        if reply.outcome is Outcome.UNKNOWN:
            if not late:
                self._end_later()
        elif not reply.fatal:
            self._remove(session)

    def end_first(self, then: Callable[[Reply | None], None]) -> None:
        """
        End all, one after the other; `then` is told what kept one of them from its end, or None.
        """
        self._disarm()
        self._yielding = bool(self._sessions)
        if not self._sessions:
            then(None)
            return

        def answered(session: Session, reply: Reply, late: bool) -> None:
            if late:
                return
            if reply.outcome is Outcome.UNKNOWN or reply.fatal:
                self._yielding = False
                self._end_later()
                then(reply)
                return
            self._remove(session)
            self.end_first(then)

        self._ask(self._sessions[0], answered)

    def close(self) -> None:
        """
        Ask no more: the store ends its sessions when it closes.
        """
        self._closed = True
        self._sessions.clear()
        self._disarm()

    def _ask(self, session: Session, answered: Callable[[Session, Reply, bool], None]) -> None:
        keeper = self._keeper
        keeper.engine.request(
            "end session", session.end, keeper.call_timeout, lambda reply, late: answered(session, reply, late)
        )

    def _end_later(self) -> None:
        """
        Ask when those who pause have had their time, or again before long if nobody is left.
        """
        keeper = self._keeper
        self._disarm()
        if self._sessions and not self._yielding:
            pause = keeper.ttl if keeper.members else keeper.retry_interval
            self._timer = keeper.engine.call_at(keeper.engine.now() + pause, self.end)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _remove(self, session: Session) -> None:
        if session in self._sessions:
            self._sessions.remove(session)

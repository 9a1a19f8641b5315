"""
The clean-up after a campaign or a term: what stands between its end and `settled`.

Law 1: the entry is released only after the term's callbacks are back or the grace is over.
Law 2: why a term ends is told to those who follow before the entry is released, if the user has said why. Nothing
depends on it: it is asked once, while callbacks still run, and its failure or time-out only lets the release follow. It
delays the release beyond the grace by no more than `PATIENCE`.
Law 3: `settled` is posted exactly once, when the release is confirmed, when there is nothing to release, or when the
local deadline has passed; then the session's keeper goes on asking.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from leadership.fsm.event import Event
from leadership.store import Entry, Fact, Outcome, Reply, Session, WatchEvent

if TYPE_CHECKING:
    from leadership._runtime.candidate import CandidateDriver
    from leadership._runtime.engine import Timer
    from leadership._runtime.keeper import SessionKeeper


PATIENCE = 0.25
"""
Seconds that the words for a term's end are given at least, whatever the grace, if the TTL has room for it.
"""


class Cleanup:
    """
    One clean-up of one candidate. On the engine's thread only.
    """

    def __init__(
        self,
        driver: CandidateDriver,
        keeper: SessionKeeper,
        session: Session | None,
        entry: Entry | None,
        *,
        until: float,
        deadline: float,
        held: bool,
        reason: str | None,
    ) -> None:
        """
        Args:
            until: When callbacks are waited for no longer.
            deadline: When the release is waited for no longer.
            held: False when the entry ended with its session already.
            reason: What to tell those who follow; None for nothing.
        """
        self.attempt = driver.ctx.attempt
        self._driver = driver
        self._keeper = keeper
        self._session = session
        self._entry = entry
        self._until = until
        self._deadline = deadline
        self._held = held and session is not None and entry is not None
        self._releasing = False
        self._over = False
        self._asking = False
        """Those who follow are being told why."""
        self._timers: list[Timer] = []
        if reason is not None and self._held and driver.ctx.token is not None:
            self._ask(driver.ctx.token, reason)
        if driver.office.running and until > driver.engine.now():
            self._timers.append(driver.engine.call_at(until, self.step))
        # Not within the row that began it: settled may follow at once.
        driver.engine.call_soon(self.step)

    def step(self) -> None:
        """
        Go on, if what is waited for has come.
        """
        driver = self._driver
        if self._over or self._asking or (driver.office.running and driver.engine.now() < self._until):
            return
        session, entry = self._session, self._entry
        if not self._held or session is None or entry is None or session is not self._keeper.session:
            self._settle()
        elif not self._releasing:
            self._releasing = True
            driver.engine.request("release", lambda: session.release(entry), self._keeper.call_timeout, self._released)

    def _ask(self, token: int, reason: str) -> None:
        """
        Have the store tell why the term ends, as an operator's request would.
        """
        driver = self._driver
        self._asking, driver.told_term = True, token
        now = driver.engine.now()
        patience = max(0.0, min(self._keeper.call_timeout, self._deadline - now, max(self._until - now, PATIENCE)))
        call = partial(driver.store.request_resign, driver.election, token, reason)

        def told(reply: Reply, late: bool) -> None:
            if late:
                return
            if reply.outcome is not Outcome.DONE:
                error = None if reply.error is None else str(reply.error)
                keys = {"election": driver.election, "node": driver.node, "token": token, "reason": reason}
                driver.engine.say(logging.WARNING, "leadership.reason_not_told", **keys, error=error)
            self._asking = False
            self.step()

        driver.engine.request("tell the reason", call, patience, told)

    def _released(self, reply: Reply, late: bool) -> None:
        driver = self._driver
        if self._over:
            return
        if reply.outcome is Outcome.DONE:
            if driver.ctx.token is not None:
                gone = WatchEvent(Fact.KEY_DELETED, token=driver.ctx.token, revision=reply.revision)
                driver.follower.observe(gone)
            self._settle()
        elif not late:
            self._releasing = False
            driver.campaign.failed(self.attempt, reply)

    def retry(self, event: Event[Any]) -> None:
        """
        The release failed: ask again before long, until the local deadline.
        """
        now = self._driver.engine.now()
        if self._releasing or self._over or not self._held:
            return
        if event.fatal or now >= self._deadline:
            self._give_up()
        else:
            when = min(now + self._keeper.retry_interval, self._deadline)
            self._timers.append(self._driver.engine.call_at(when, self._retry_due))

    def _retry_due(self) -> None:
        if self._driver.engine.now() >= self._deadline:
            self._give_up()
        else:
            self.step()

    def _give_up(self) -> None:
        """
        The keeper goes on asking, or replaces the session.
        """
        if self._session is not None and self._entry is not None:
            self._keeper.doubt(self._session, self._entry)
        self.not_held()

    def not_held(self) -> None:
        """
        There is nothing to release any more.
        """
        self._held = False
        self.step()

    def _settle(self) -> None:
        self._over = True
        for timer in self._timers:
            timer.cancel()
        self._driver.settled(self)

"""
Keeps one session: grants it, renews it, and tells its candidates what becomes of it.

Law 1: the deadline is the session's: `sent + ttl * (1 - margin)`, from the sending of the last acknowledged grant or
renewal. Writing an entry renews nothing. (Gray and Cheriton, "Leases", 1989, with the margin against clock rates.)
Law 2: a loss is latched: an answer that comes after the deadline revives nothing.
Law 3: an old session is ended before a new one is granted, or soon where nobody wants one (see `leftovers`).
Law 4: an entry whose release was never confirmed is released again before each renewal; one that stays unconfirmed for
a whole TTL costs the session, because nothing else would ever free it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from leadership._runtime.leftovers import Leftovers
from leadership._runtime.renewals import tell_renewal
from leadership.errors import LeadershipError, StoreUnavailable
from leadership.fsm.event import Event
from leadership.fsm.states import CandidateState as S
from leadership.fsm.states import CandidateTrigger as T
from leadership.store import MARGIN, Entry, Fact, Outcome, Reply, Session, Store, WatchEvent

if TYPE_CHECKING:
    from leadership._runtime.candidate import CandidateDriver
    from leadership._runtime.engine import Engine, Timer

PATIENCE = 0.25
"""Seconds for which a leader whose entry is gone waits for the store's word on its session."""

OnOpen = Callable[[Session | None, Reply], None]


@dataclass(slots=True)
class _Doubt:
    entry: Entry
    since: float
    """When its absence was last confirmed, or the doubt arose."""
    final_after: float
    """A confirmation before this moment may be overtaken by an acquire that is still under way."""
    asking: bool = False


class SessionKeeper:
    """
    One session of one store and TTL, for candidates of different elections. On the engine's thread only.
    """

    def __init__(self, engine: Engine, store: Store, ttl: float) -> None:
        self.engine = engine
        self.store = store
        self.ttl = ttl
        self.session: Session | None = None
        self.deadline = 0.0
        self.members: dict[str, CandidateDriver] = {}
        self._interval = store.timing(ttl).renew_interval
        self._waiting: list[OnOpen] = []
        self._opening = False
        self._renewing = False
        self._overdue = False
        self._trouble: LeadershipError | None = None
        """What the last renewal failed by."""
        self._leftovers = Leftovers(self)
        self._doubts: dict[str, _Doubt] = {}
        self._next_renewal: Timer | None = None
        self._expiry: Timer | None = None

    @property
    def call_timeout(self) -> float:
        """
        Seconds that one call of the store may take.
        """
        return self.ttl / 4

    @property
    def retry_interval(self) -> float:
        """
        Seconds between attempts at what must succeed before the deadline.
        """
        return min(0.5, self.ttl / 8)

    @property
    def overdue(self) -> bool:
        """
        The last renewal was not acknowledged.
        """
        return self._overdue

    def attach(self, driver: CandidateDriver) -> None:
        """
        Let a candidate share the session.
        """
        self.members[driver.election] = driver

    def detach(self, driver: CandidateDriver) -> None:
        """
        Let it go; the session ends at its next renewal when nobody else needs it.
        """
        if self.members.get(driver.election) is driver:
            del self.members[driver.election]
            if not self.members:
                self._leftovers.end()

    # -- granting -----------------------------------------------------------------------------------------------

    def ensure(self, done: OnOpen) -> None:
        """
        Call `done` with a live session, or with why there is none.
        """
        if self.session is not None and self.engine.now() < self.deadline:
            done(self.session, Reply(Outcome.DONE))
            return
        self._waiting.append(done)
        if self._opening:
            return
        self._opening = True
        if self.session is not None:  # its deadline has passed and the timer has not fired yet
            self._expire()
        self._leftovers.end_first(self._open)

    def _open(self, hindrance: Reply | None) -> None:
        if hindrance is not None:
            self._opened(None, hindrance)
            return
        sent = self.engine.now()
        granted: list[Session] = []

        def notify(event: WatchEvent) -> None:
            if granted and granted[0] is self.session:
                self._on_fact(event)

        async def call() -> Reply:
            granted.append(await self.store.open_session(self.ttl, notify))
            return Reply(Outcome.DONE)

        def opened(reply: Reply, late: bool) -> None:
            if late and granted:
                self._leftovers.add(granted[0])
            elif not late:
                self._opened(granted[0] if granted else None, reply, sent)

        self.engine.request("open session", call, self.call_timeout, opened)

    def _opened(self, session: Session | None, reply: Reply, sent: float = 0.0) -> None:
        self._opening = False
        if session is not None and reply.outcome is Outcome.DONE:
            deadline = sent + session.ttl * (1 - MARGIN)
            if self.engine.now() >= deadline:
                self._leftovers.add(session)
                error = StoreUnavailable(f"a session of {session.ttl:g} s was granted later than it lasts")
                session, reply = None, Reply(Outcome.UNKNOWN, error=error)
            else:
                self.session, self.deadline, self._overdue, self._trouble = session, deadline, False, None
                self._arm(sent)
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            self.engine.deliver(done, session, reply)

    # -- renewing -----------------------------------------------------------------------------------------------

    def _arm(self, sent: float) -> None:
        assert self.session is not None  # noqa: S101 - for the type checker
        self._schedule(sent + self._interval)
        if self._expiry is None:
            self._expiry = self.engine.call_at(self.deadline, self.check_expiry)

    def _schedule(self, when: float) -> None:
        if self._next_renewal is not None:
            self._next_renewal.cancel()
        self._next_renewal = self.engine.call_at(when, self._renew)

    def retry_soon(self) -> None:
        """
        Renew again before long, unless a renewal is under way.
        """
        if self.session is not None and not self._renewing:
            self._schedule(self.engine.now() + self.retry_interval)

    def _renew(self) -> None:
        session = self.session
        if session is None or self._renewing:
            return
        if not self.members and not self._doubts:
            self._drop(session)
            self._leftovers.add(session)
            return
        self._retry_releases(session)
        if self.session is not session:
            return
        self._renewing = True
        sent = self.engine.now()
        self.engine.request("renew session", session.renew, self.call_timeout, partial(self._renewed, session, sent))

    def _renewed(self, session: Session, sent: float, reply: Reply, late: bool) -> None:
        if session is not self.session:
            return
        if not late:
            self._renewing = False
        now = self.engine.now()
        if reply.outcome is Outcome.DONE:
            if now >= self.deadline:
                self._expire()
                return
            headroom = self.deadline - now
            since = sent if reply.since is None else reply.since
            self.deadline = max(self.deadline, since + session.ttl * (1 - MARGIN))
            self._overdue = False
            if not late:
                self._schedule(max(now, sent + self._interval))
            renewed = Event(T.RENEWED, now, deadline=self.deadline)
            self._each(lambda driver: driver.renewed(renewed))  # all of them before anybody is told
            self._each(lambda driver: tell_renewal(driver, sent, headroom))
        elif reply.outcome is Outcome.REFUSED and not reply.fatal:
            self._lose(reply.error)
        else:
            self._overdue, self._trouble = True, reply.error
            self.engine.say(
                logging.WARNING,
                "leadership.renewal_failed",
                store=self.store.url,
                error=str(reply.error),
                seconds_left=round(max(0.0, self.deadline - now), 3),
            )
            if not late:
                self.retry_soon()
            error = reply.error or StoreUnavailable("the renewal failed without a reason")
            self._each(lambda driver: tell_renewal(driver, sent, self.deadline - now, error))
            self._each(lambda driver: driver.store_failed(reply.error, fatal=reply.fatal))

    def confirm(self, then: Callable[[], None]) -> None:
        """
        Ask the store whether the session lives, tell the members if not, and call `then`, within `PATIENCE` seconds.
        """
        session = self.session
        if session is None:
            then()
            return

        def answered(reply: Reply, late: bool) -> None:
            if session is self.session and reply.outcome is Outcome.REFUSED and not reply.fatal:
                self._lose(reply.error)
            if not late:
                then()

        self.engine.request("confirm session", session.renew, PATIENCE, answered)

    def _each(self, tell: Callable[[CandidateDriver], None]) -> None:
        """
        Tell every member; what one of them raises is logged, and keeps nothing from the others.
        """
        for driver in tuple(self.members.values()):
            self.engine.guard(tell, driver)

    # -- losing -------------------------------------------------------------------------------------------------

    def _on_fact(self, event: WatchEvent) -> None:
        if event.fact is Fact.SESSION_LOST:
            self._lose(event.error)
        elif event.fact is Fact.SESSION_SUSPENDED:
            self._tell(T.SESSION_SUSPENDED, event.error)
        elif event.fact is Fact.SESSION_RESTORED:
            self._tell(T.SESSION_RESTORED, event.error)
            self._schedule(self.engine.now())
        elif event.fact is Fact.TURN:
            self._each(lambda driver: driver.turn() if driver.entry_key == event.key else None)

    def check_expiry(self) -> None:
        """
        End what is past its deadline: the timer asks, and whoever hears what may be the consequence of that end.
        """
        now = self.engine.now()
        if self.session is not None and now >= self.deadline:
            self._expire()
        elif self._expiry is not None:  # it is, while there is a session
            self._expiry.cancel()
            self._expiry = self.engine.call_at(self.deadline, self.check_expiry)
            self._end_overdue(now)

    def _end_overdue(self, now: float) -> None:
        """
        A term's deadline is its session's, unless a fault kept a renewal from it: a lease does not outlast its own.
        """
        error = StoreUnavailable("the lease was not extended, though its session was renewed")
        for driver in tuple(self.members.values()):
            if driver.ctx.state is S.LEADER and driver.ctx.lease_deadline <= now:
                self.engine.guard(driver.lease_expired, error)

    def _expire(self) -> None:
        """
        The deadline has passed without an acknowledged renewal.
        """
        session = self.session
        assert session is not None  # noqa: S101 - for the type checker
        self._drop(session)
        self._leftovers.add(session)
        last = "" if self._trouble is None else f"; the last one: {self._trouble}"
        error = StoreUnavailable(f"no renewal was acknowledged within {session.ttl * (1 - MARGIN):.3g} s{last}")
        self._each(lambda driver: driver.lease_expired(error))

    def _lose(self, error: LeadershipError | None) -> None:
        session = self.session
        if session is None:
            return
        self._drop(session)
        self._tell(T.SESSION_LOST, error or StoreUnavailable("the store says that the session has ended"))

    def _drop(self, session: Session) -> None:
        """
        Forget the session: nothing more is believed on its strength.
        """
        assert session is self.session  # noqa: S101 - a drop of another would lose a live lease in silence
        self.session = None
        self.deadline = 0.0
        self._renewing = self._overdue = False
        self._doubts.clear()  # its entries end with it
        for timer in (self._next_renewal, self._expiry):
            if timer is not None:
                timer.cancel()
        self._next_renewal = self._expiry = None

    def _tell(self, trigger: T, error: LeadershipError | None) -> None:
        self._each(lambda driver: driver.session_fact(trigger, error))

    # -- entries of which nobody knows --------------------------------------------------------------------------

    def doubt(self, session: Session, entry: Entry, *, outstanding: bool = False) -> None:
        """
        An entry may stand at the store though nobody wants it: release it until its absence is confirmed.

        Args:
            outstanding: The acquire may still be under way; one confirmation is not enough until a TTL has passed.
        """
        if session is self.session:
            now = self.engine.now()
            self._doubts[entry.key] = _Doubt(entry, now, now + session.ttl if outstanding else now)

    def release_doubts(self) -> None:
        """
        Ask now for the release of all entries in doubt.
        """
        if self.session is not None:
            self._retry_releases(self.session)

    def _retry_releases(self, session: Session) -> None:
        now = self.engine.now()
        for doubt in tuple(self._doubts.values()):
            if now - doubt.since > session.ttl:
                election = doubt.entry.election
                error = StoreUnavailable(f"the release of an entry of {election!r} was not confirmed for a whole TTL")
                self.engine.say(
                    logging.WARNING,
                    "leadership.session_replaced",
                    store=self.store.url,
                    election=election,
                    error=str(error),
                )
                self._lose(error)
                self._leftovers.add(session)
                self._leftovers.end()
                return
            if not doubt.asking:
                doubt.asking = True
                self._release(session, doubt)

    def _release(self, session: Session, doubt: _Doubt) -> None:
        def released(reply: Reply, _late: bool) -> None:
            doubt.asking = False
            if reply.outcome is Outcome.UNKNOWN:
                return
            doubt.since = self.engine.now()
            if doubt.since >= doubt.final_after and self._doubts.get(doubt.entry.key) is doubt:
                del self._doubts[doubt.entry.key]

        self.engine.request("release", partial(session.release, doubt.entry), self.call_timeout, released)

    def close(self) -> None:
        """
        Renew no more; the store ends its sessions when it closes.
        """
        if self.session is not None:
            self._drop(self.session)
        self._leftovers.close()


def keeper_for(engine: Engine, store: Store, ttl: float, election: str) -> SessionKeeper:
    """
    The keeper that a new candidate shares: candidates of one election never share a session, because a store may grant
    an election again to the session that holds it.
    """
    for keeper in engine.keepers:
        if keeper.store is store and keeper.ttl == ttl and election not in keeper.members:
            return keeper
    keeper = SessionKeeper(engine, store, ttl)
    engine.keepers.append(keeper)
    return keeper

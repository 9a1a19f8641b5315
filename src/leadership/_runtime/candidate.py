"""
Drives the candidate's machine.

Law 1: the term ends in the same step in which the state leaves leader, before anybody is told and anything is released.
Law 2: an entry is released only after the term's callbacks are back or the grace is over.
Law 3: whatever may stand at the store because of us is released until its absence is confirmed, or its session is over.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from leadership._runtime.campaign import Campaign
from leadership._runtime.candidate_effects import EFFECTS
from leadership._runtime.changed import Changed
from leadership._runtime.cleanup import Cleanup
from leadership._runtime.driver import Driver, Function, Subscriptions
from leadership._runtime.follower import FollowerDriver
from leadership._runtime.jobs import Job
from leadership._runtime.keeper import keeper_for
from leadership._runtime.office import Office
from leadership._runtime.settings import CandidateSettings
from leadership._runtime.trace import Trace
from leadership.errors import LeadershipError
from leadership.fsm import CANDIDATE, CandidateContext
from leadership.fsm.event import Event, Step
from leadership.fsm.record import Transition
from leadership.fsm.states import CandidateState as S
from leadership.fsm.states import CandidateTrigger as T
from leadership.observers.audit import AuditLog
from leadership.observers.history import History
from leadership.store import Fact, Store, Timing, WatchEvent
from leadership.term import Term

if TYPE_CHECKING:
    from leadership._runtime.engine import Engine, Timer

WrapTerm = Callable[[Function, Term], Any]


class CandidateDriver(Driver[CandidateContext]):
    """
    One candidate's life.
    """

    machine = CANDIDATE
    effects = EFFECTS

    def __init__(
        self,
        engine: Engine,
        store: Store,
        election: str,
        node: str,
        settings: CandidateSettings,
        subscriptions: Subscriptions,
        *,
        log: bool = True,
        loop: asyncio.AbstractEventLoop | None = None,
        history: History,
        changed: Changed,
        wrap_term: WrapTerm = lambda _function, term: term,
    ) -> None:
        super().__init__(
            engine, store, election, node, subscriptions, log=log, loop=loop, history=history, changed=changed
        )
        self.settings = settings
        self.ctx = CandidateContext(
            on_callback_error=settings.on_callback_error,
            holds_through_suspension=store.guarantees.holds_through_suspension,
            queues=store.guarantees.queues,
        )
        self.follower = self._make_follower()
        self.office = Office(self)
        self.next_retry: float | None = None
        self.wrap_term = wrap_term
        self._campaign: Campaign | None = None
        self.failures = 0
        self.failed_exit = False
        """The last campaign or term ended by a failure, so that the next waits the longer."""
        self.cool_down: float | None = None
        self.cleanup: Cleanup | None = None
        self.told_term: int | None = None
        """The last term whose end it has explained to those who follow."""
        self.timer: Timer | None = None
        self.callbacks_awaited = False
        self.restart: Trace | None = None  # the span of a start that was made while stopping
        self._settling: list[threading.Event] = []

    def _make_follower(self) -> FollowerDriver:
        return FollowerDriver(
            self.engine,
            self.store,
            self.election,
            self.node,
            Subscriptions(),
            backoff=replace(self.settings.backoff, retries=None),  # it lives as long as the candidate
            reread=self.settings.ttl,
            log=False,
            history=None,
            changed=self.changed,
            listener=self._observed,
            own_session=lambda: self.ctx.session,
            on_view=self._view_changed,
            on_gave_up=lambda error: self.store_failed(error, fatal=True),
        )

    # -- asked by any thread ------------------------------------------------------------------------------------

    @property
    def is_leader(self) -> bool:
        """
        Whether it leads at this very moment. Any thread.
        """
        term = self.office.term
        return term is not None and term.is_current

    @property
    def patience(self) -> float:
        """
        Grace (by default the longest that a local deadline can be ahead) and one TTL. Any thread.
        """
        grace = self.settings.ttl if self.settings.grace is None else self.settings.grace
        return grace + self.settings.ttl

    @property
    def timing(self) -> Timing:
        """
        What its TTL means on its store.
        """
        return self.settings.timing

    @property
    def renewal_overdue(self) -> bool:
        """
        It leads, and the last renewal was not acknowledged. Any thread.
        """
        return self._campaign is not None and self._campaign.keeper.overdue and self.is_leader

    @property
    def entry_key(self) -> str | None:
        """
        The name of this attempt's entry.
        """
        entry = None if self._campaign is None else self._campaign.entry
        return None if entry is None else entry.key

    def liveness_fds(self) -> tuple[int, ...]:
        """
        Descriptors that attest this process's life to others. Any thread.
        """
        session = None if self._campaign is None else self._campaign.session
        return () if session is None else session.liveness_fds()

    def request_stop(self, reason: str | None = None, *, publish: bool = False) -> None:
        """
        Ask it to leave the contest; with `publish` those who follow are told why. Any thread.
        """
        self.wanted = False
        self.ask(self.stop, reason, publish)

    def request_resign(self, reason: str | None, cool_down: float | None, settled: threading.Event) -> None:
        """
        Ask it to step down and stand again; `settled` is set when its entry is released. Any thread.
        """
        if not self.ask(self._fire_resign, reason, cool_down, settled):
            settled.set()

    # -- the engine's thread ------------------------------------------------------------------------------------

    def start(self) -> None:
        """
        Stand, unless it does already; a start made while it comes to its end is remembered.
        """
        if not self.is_idle:
            self.restart = self.caller if self.ctx.stopping or self.ctx.failed_for_good else None
            return
        rivals = [
            driver
            for driver in self.engine.drivers
            if isinstance(driver, CandidateDriver)
            and (driver.store is self.store or driver.store.url == self.store.url != "memory://")
            and (driver.election, driver.node) == (self.election, self.node)
        ]
        if rivals:
            self.engine.say(
                logging.WARNING,
                "leadership.node_name_shared",
                election=self.election,
                node=self.node,
                incarnations=[driver.incarnation for driver in (*rivals, self)],
            )
        self.engine.drivers.add(self)
        keeper = keeper_for(self.engine, self.store, self.settings.ttl, self.election)
        keeper.attach(self)
        if self._campaign is None or self._campaign.keeper.store is not self.store:
            self._campaign = Campaign(self, keeper)
        if self.follower.store is not self.store:
            self.follower = self._make_follower()
        self._campaign.keeper = keeper
        self.ctx.stopping = self.ctx.failed_for_good = self.callbacks_awaited = False
        self.error, self.failures, self.cool_down, self.restart = None, 0, None, None
        self.describe_to_audits()
        self.follower.start()
        self.fire(Event(T.START, self.engine.now()))

    def stop(self, reason: str | None, publish: bool) -> None:
        """
        Leave the contest. Idempotent.
        """
        self.restart = None
        if self.is_idle:
            self.own.ended()
        elif not self.ctx.stopping:
            self.fire(Event(T.STOP, self.engine.now(), reason=reason, payload=reason if publish else None))

    def _fire_resign(self, reason: str | None, cool_down: float | None, settled: threading.Event) -> None:
        self.fire(Event(T.RESIGN, self.engine.now(), reason=reason, cool_down=cool_down, payload=reason))
        self._settling.append(settled)
        self._tell_settled()

    def _tell_settled(self) -> None:
        """
        Release those who wait for a resignation, unless a clean-up is still outstanding.
        """
        if self.cleanup is None:
            for settled in self._settling:
                settled.set()
            self._settling.clear()
            self.notify_changed()

    def forked(self) -> None:
        """
        In a forked child: no term, and none of the parent's entries.
        """
        super().forked()
        self.office.forked()
        self.follower.forked()
        self._campaign = None

    @property
    def campaign(self) -> Campaign:
        """
        Its campaigns; it has been started.
        """
        assert self._campaign is not None  # noqa: S101 - set by start, before any effect
        return self._campaign

    def committed(self, step: Step, event: Event[Any]) -> None:
        if step.dest is step.source:
            return
        if step.dest is S.LEADER:
            self.ctx.token, self.ctx.lease_deadline = event.token, event.deadline or 0.0
        elif step.source is S.LEADER:
            assert step.row is not None  # noqa: S101 - the table has a row with a cause for each exit from leader
            assert step.row.cause is not None  # noqa: S101 - as above
            self.office.end(step.row.cause, event)
            if event.now - self.since >= self.settings.ttl:
                self.failures = 0  # it led for a whole TTL: what comes now is a new trouble

    def record_facts(self, event: Event[Any], source: Any, dest: Any) -> tuple[int | None, float | None, str | None]:
        """
        A candidate's record carries its own term's token and deadline.
        """
        token = self.ctx.token if S.LEADER in (source, dest) or event.trigger is T.SETTLED else None
        deadline = self.ctx.lease_deadline if S.LEADER in (source, dest) else None
        reset = event.trigger is T.ACQUIRED and dest is S.LEADER and self.campaign.token_reset
        return token, deadline, "token_reset" if reset else event.reason

    def audit(self, audit: AuditLog, record: Transition) -> None:
        """
        Hand a record to an audit; where on_elected has to wait for it, publish the term when it is written.
        """
        if record.dest != S.LEADER.value or record.disposition != "go" or not audit.waits:
            audit.submit(record)
            return
        attempt = self.ctx.attempt
        self.office.await_audit()
        audit.submit(record, lambda error: self.engine.post(self.office.audited, attempt, error))

    # -- facts --------------------------------------------------------------------------------------------------

    def renewed(self, event: Event[Any]) -> None:
        """
        The session was renewed; one event serves all who share it.
        """
        if self.ctx.state is S.LEADER:
            self.fire(event)

    def lease_expired(self, error: LeadershipError) -> None:
        """
        The session's deadline has passed.
        """
        trigger = T.SESSION_LOST if self.ctx.state is S.CAMPAIGNING else T.LEASE_EXPIRED
        self.fire(Event(trigger, self.engine.now(), error=error))

    def session_fact(self, trigger: T, error: LeadershipError | None) -> None:
        """
        Something happened to the session that this candidate's entry belongs to.
        """
        if self.campaign.session is not None:
            self.fire(Event(trigger, self.engine.now(), error=error))

    def store_failed(self, error: LeadershipError | None, *, fatal: bool) -> None:
        """
        A renewal or the view failed. It concerns those who lead, and if it cannot be mended those who wait as well.
        """
        if self.ctx.state is S.LEADER or (fatal and self.ctx.state is S.CAMPAIGNING):
            self.fire(Event(T.STORE_ERROR, self.engine.now(), error=error, fatal=fatal))

    def turn(self) -> None:
        """
        The entry in front of ours is gone.
        """
        self.fire(Event(T.KEY_DELETED, self.engine.now()))

    def _observed(self, event: WatchEvent, confirmed: bool) -> None:
        """
        The embedded follower's facts, as they concern the candidate.
        """
        now, fact = self.engine.now(), event.fact
        if fact is Fact.LEADER_OBSERVED and event.holder is not None:
            holder = event.holder
            self.campaign.saw(holder, confirmed=confirmed)
            self.fire(Event(T.LEADER_OBSERVED, now, token=holder.token, session=holder.session, confirmed=confirmed))
        elif fact is Fact.LEASE_EXPIRED and event.token is not None and event.token == self.ctx.token:
            self.session_fact(T.SESSION_LOST, event.error)  # time's deed, not somebody's
        elif fact in (Fact.KEY_DELETED, Fact.LEASE_EXPIRED):
            self.fire(Event(T.KEY_DELETED, now, token=event.token, revision=event.revision))
        elif fact is Fact.VACANT_OBSERVED:
            self.campaign.saw_nobody(confirmed=confirmed)
        elif fact is Fact.RESIGN_REQUESTED and event.token != self.told_term:
            self.fire(Event(T.RESIGN, now, token=event.token, reason=event.reason))
        elif fact in (Fact.WATCH_CLOSED, Fact.SESSION_SUSPENDED):
            self.fire(Event(T(fact.value), now, error=event.error))
        elif fact is Fact.SESSION_RESTORED:
            self.fire(Event(T.SESSION_RESTORED, now))

    def _view_changed(self) -> None:
        self.announce_leader(self.follower.leader, known=not self.follower.is_stale)
        self.notify_changed()

    # -- what effects and helpers call --------------------------------------------------------------------------

    def callback_returned(self) -> None:
        """
        One of the term's callbacks is back.
        """
        if self.cleanup is not None:
            self.cleanup.step()
        if not self.office.running and self.callbacks_awaited:
            self.callbacks_awaited = False
            self.backoff_elapsed(self.ctx.attempt)
        self.notify_changed()

    def callback_failed(self, job: Job, error: BaseException) -> None:
        """
        Say so, and let the table decide; a failure of an earlier term's callback decides nothing.
        """
        super().callback_failed(job, error)
        current = job.kind != "on_elected" or job.args[0].token == self.ctx.token
        kind = job.kind if current else "earlier on_elected"
        self.fire(Event(T.CALLBACK_FAILED, self.engine.now(), callback=kind, error=error, said=job.said))

    def settled(self, cleanup: Cleanup) -> None:
        """
        The clean-up is over.
        """
        self.cleanup = None
        self.fire(Event(T.SETTLED, self.engine.now(), attempt=cleanup.attempt))
        self._tell_settled()

    def arm(self, when: float, then: Callable[[int], None]) -> None:
        """
        Call `then` with the present attempt at a moment; the one timer of campaigning and backoff.
        """
        if self.timer is not None:
            self.timer.cancel()
        self.timer = self.engine.call_at(when, then, self.ctx.attempt)

    def backoff_elapsed(self, attempt: int) -> None:
        """
        The wait is over.
        """
        self.fire(Event(T.BACKOFF_ELAPSED, self.engine.now(), attempt=attempt))

    def note_error(self, event: Event[Any]) -> None:
        """
        Remember and report the error that the event brings, if it brings one. A callback's was reported when it came.
        """
        if isinstance(event.error, LeadershipError):
            self.last_error = event.error
            if event.trigger is not T.CALLBACK_FAILED:
                self.report(event.error)

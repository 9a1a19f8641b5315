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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from leadership._runtime.changed import Changed
from leadership._runtime.driver import Driver, Function, Subscriptions
from leadership._runtime.follower import FollowerDriver
from leadership._runtime.jobs import Job
from leadership._runtime.keeper import SessionKeeper, keeper_for
from leadership.errors import LeadershipError, NotLeader, StoreUnavailable
from leadership.fsm import CANDIDATE, CandidateContext
from leadership.fsm.backoff import Backoff
from leadership.fsm.event import Event, Step
from leadership.fsm.record import Transition
from leadership.fsm.row import DemotionCause
from leadership.fsm.states import CandidateEffect as E
from leadership.fsm.states import CandidateState as S
from leadership.fsm.states import CandidateTrigger as T
from leadership.observers.audit import AuditLog
from leadership.observers.history import History
from leadership.store import Entry, Fact, Holder, Outcome, Reply, Session, Store, Timing, WatchEvent
from leadership.term import Term

if TYPE_CHECKING:
    from leadership._runtime.engine import Engine, Timer

WrapTerm = Callable[[Function, Term], Any]


@dataclass(slots=True)
class _Cleaning:
    """
    What stands between the end of a campaign or term and `settled`.
    """

    attempt: int
    entry: Entry | None
    session: Session | None
    until: float
    """When callbacks are waited for no longer."""
    deadline: float
    """When the release is waited for no longer."""
    releasing: bool = False
    released: bool = False
    timers: list[Timer] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CandidateSettings:
    """
    What the face was given, checked.
    """

    ttl: float
    grace: float | None
    backoff: Backoff
    cool_down: float
    on_callback_error: str
    metadata: Mapping[str, Any] | None
    timing: Timing


class CandidateDriver(Driver[CandidateContext]):
    """
    One candidate's life.
    """

    machine = CANDIDATE

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
        )
        self.follower = FollowerDriver(
            engine,
            store,
            election,
            node,
            Subscriptions(),
            backoff=settings.backoff,
            reread=settings.ttl,
            log=False,
            history=History(),
            changed=changed,
            listener=self._observed,
            own_session=lambda: self.ctx.session,
            on_view=self._view_changed,
        )
        self.term: Term | None = None
        """The present term, published when its callbacks may begin."""
        self.next_retry: float | None = None
        self.running: dict[Job, None] = {}
        """Callbacks of terms that have not returned."""
        self._wrap_term = wrap_term
        self._keeper: SessionKeeper | None = None
        self._entry: Entry | None = None
        self._entry_session: Session | None = None
        self._acquiring = False
        self._again = False
        self._highest = 0
        self._failures = 0
        self._cool_down: float | None = None
        self._unpublished: Term | None = None
        self._cleaning: _Cleaning | None = None
        self._timer: Timer | None = None
        self._callbacks_awaited = False
        self._restart = False
        self._reset = False
        self._suspended = False
        self._exiting = False
        self._awaited_audits = 0
        self._settling: list[threading.Event] = []

    # -- asked by any thread ------------------------------------------------------------------------------------

    @property
    def is_leader(self) -> bool:
        """
        Whether it leads at this very moment. Any thread.
        """
        term = self.term
        return term is not None and term.is_current

    @property
    def patience(self) -> float:
        """
        Grace (by default the longest that a local deadline can be ahead) and one TTL. Any thread.
        """
        grace = self.settings.ttl if self.settings.grace is None else self.settings.grace
        return grace + self.settings.ttl

    @property
    def renewal_overdue(self) -> bool:
        """
        It leads, and the last renewal was not acknowledged. Any thread.
        """
        return self._keeper is not None and self._keeper.overdue and self.is_leader

    @property
    def entry_key(self) -> str | None:
        """
        The name of this attempt's entry.
        """
        return None if self._entry is None else self._entry.key

    def liveness_fds(self) -> tuple[int, ...]:
        """
        Descriptors that attest this process's life to others. Any thread.
        """
        session = self._entry_session
        return () if session is None else session.liveness_fds()

    def request_start(self) -> None:
        """
        Ask it to stand. Any thread.
        """
        self.wanted = True
        self.engine.post(self.start)

    def request_stop(self, reason: str | None = None, *, exiting: bool = False) -> None:
        """
        Ask it to leave the contest. Any thread.
        """
        self.wanted = False
        self.engine.post(self.stop, reason, exiting)

    def request_resign(self, reason: str | None, cool_down: float | None, settled: threading.Event) -> None:
        """
        Ask it to step down and stand again; `settled` is set when its entry is released. Any thread.
        """
        self.engine.post(self._fire_resign, reason, cool_down, settled)

    # -- the engine's thread ------------------------------------------------------------------------------------

    def start(self) -> None:
        """
        Stand, unless it does already; a start made while stopping is remembered.
        """
        if not self.is_idle:
            self._restart = self.ctx.stopping
            return
        rivals = [
            driver
            for driver in self.engine.drivers
            if isinstance(driver, CandidateDriver)
            and driver.store is self.store
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
        self._keeper = keeper_for(self.engine, self.store, self.settings.ttl, self.election)
        self._keeper.attach(self)
        self.ctx.stopping = self.ctx.failed_for_good = False
        self.error, self._failures, self._cool_down = None, 0, None
        self._callbacks_awaited = self._exiting = self._restart = False
        self.follower.start()
        self.fire(Event(T.START, self.engine.now()))

    def stop(self, reason: str | None, exiting: bool) -> None:
        """
        Leave the contest. Idempotent.
        """
        self._restart = False
        self._exiting = self._exiting or exiting
        if not self.is_idle and not self.ctx.stopping:
            self.fire(Event(T.STOP, self.engine.now(), reason=reason))

    def _fire_resign(self, reason: str | None, cool_down: float | None, settled: threading.Event) -> None:
        self.fire(Event(T.RESIGN, self.engine.now(), reason=reason, cool_down=cool_down))
        self._settling.append(settled)
        self._tell_settled()

    def _tell_settled(self) -> None:
        """
        Release those who wait for a resignation, unless a clean-up is still outstanding.
        """
        if self._cleaning is None:
            for settled in self._settling:
                settled.set()
            self._settling.clear()
            self.notify_changed()

    def forked(self) -> None:
        """
        In a forked child: no term, and none of the parent's entries.
        """
        super().forked()
        term, self.term = self.term, None
        if term is not None:
            term._extend(0.0)  # noqa: SLF001 - the engine ends terms
        self.follower.forked()
        self._keeper = None
        self._entry_session = None

    def committed(self, step: Step, event: Event[Any]) -> None:
        if step.dest is step.source:
            return
        if step.dest is S.LEADER:
            self.ctx.token, self.ctx.lease_deadline = event.token, event.deadline or 0.0
        elif step.source is S.LEADER:
            self._end_term(step, event)

    def _end_term(self, step: Step, event: Event[Any]) -> None:
        row = step.row
        assert row is not None  # noqa: S101 - the table has a cause on each row that leaves leader
        assert row.cause is not None  # noqa: S101 - as above
        words = {
            DemotionCause.RESIGNED: "it resigned",
            DemotionCause.STOPPED: "it was stopped",
            DemotionCause.LEASE_EXPIRED: "its lease reached the local deadline",
            DemotionCause.SESSION_LOST: "its session has ended",
            DemotionCause.DELETED: "its entry was deleted by somebody else",
            DemotionCause.SUPERSEDED: "somebody else holds the election",
            DemotionCause.STORE_ERROR: "the store refuses it",
            DemotionCause.CALLBACK_FAILED: "a callback failed",
        }[row.cause]
        detail = words if event.error is None else f"{words}: {event.error}"
        term = self.term or self._unpublished
        if term is not None:
            term._end(row.cause, detail, event.reason)  # noqa: SLF001 - the engine ends terms
        if event.now - self.since >= self.settings.ttl:
            self._failures = 0  # it led for a whole TTL: what comes now is a new trouble

    def record_facts(self, event: Event[Any], source: Any, dest: Any) -> tuple[int | None, float | None, str | None]:
        """
        A candidate's record carries its own term's token and deadline.
        """
        token = self.ctx.token if S.LEADER in (source, dest) or event.trigger is T.SETTLED else None
        deadline = self.ctx.lease_deadline if S.LEADER in (source, dest) else None
        reset = event.trigger is T.ACQUIRED and dest is S.LEADER and self._reset
        return token, deadline, "token_reset" if reset else event.reason

    def audit(self, audit: AuditLog, record: Transition) -> None:
        """
        Hand a record to an audit; where on_elected has to wait for it, publish the term when it is written.
        """
        if record.dest != S.LEADER.value or record.disposition != "go" or not audit.waits:
            audit.submit(record)
            return
        attempt = self.ctx.attempt
        self._awaited_audits += 1
        audit.submit(record, lambda error: self.engine.post(self._audited, attempt, error))

    # -- facts --------------------------------------------------------------------------------------------------

    def renewed(self, deadline: float) -> None:
        """
        The session was renewed.
        """
        if self.ctx.state is S.LEADER:
            self.fire(Event(T.RENEWED, self.engine.now(), deadline=deadline))

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
        if self._entry_session is not None:
            self.fire(Event(trigger, self.engine.now(), error=error))

    def renewal_failed(self, error: LeadershipError | None, *, fatal: bool) -> None:
        """
        A renewal failed. It concerns those who lead; one that cannot be mended concerns those who wait as well.
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
        now = self.engine.now()
        fact = event.fact
        if fact is Fact.LEADER_OBSERVED and event.holder is not None:
            holder = event.holder
            if holder.session != self.ctx.session:
                self._highest = holder.token if confirmed else max(self._highest, holder.token)
            self.fire(
                Event(T.LEADER_OBSERVED, now, token=holder.token, session=holder.session, confirmed=confirmed)
            )
        elif fact in (Fact.KEY_DELETED, Fact.LEASE_EXPIRED):
            self.fire(Event(T.KEY_DELETED, now, token=event.token, revision=event.revision))
        elif fact is Fact.VACANT_OBSERVED:
            # A read that nothing has overtaken shows that nobody's entry stands, hence not ours either.
            self.fire(Event(T.KEY_DELETED, now, token=self.ctx.token if confirmed else None))
        elif fact is Fact.RESIGN_REQUESTED:
            self.fire(Event(T.RESIGN, now, token=event.token, reason=event.reason))
        elif fact is Fact.WATCH_CLOSED:
            self.fire(Event(T.WATCH_CLOSED, now, error=event.error))
        elif fact is Fact.SESSION_SUSPENDED:
            self.fire(Event(T.SESSION_SUSPENDED, now, error=event.error))
        elif fact is Fact.SESSION_RESTORED:
            self.fire(Event(T.SESSION_RESTORED, now))

    def _view_changed(self) -> None:
        self.announce_leader(self.follower.leader)
        self.notify_changed()

    # -- effects: campaigning -----------------------------------------------------------------------------------

    def _new_attempt(self, _event: Event[Any]) -> None:
        self.ctx.attempt += 1
        self.ctx.token = None
        self._entry = Entry(self.election, self.node, self.engine.new_id(), self.settings.metadata, self._highest)
        self._entry_session = None
        self._acquiring = self._again = False
        self.next_retry = None

    def _try_acquire(self, _event: Event[Any]) -> None:
        if self._acquiring:
            self._again = True
            return
        assert self._keeper is not None  # noqa: S101 - set by start
        self._acquiring, self._again = True, False
        self._keeper.ensure(partial(self._session_ready, self.ctx.attempt))

    def _session_ready(self, attempt: int, session: Session | None, reply: Reply) -> None:
        if attempt != self.ctx.attempt or self.ctx.state is not S.CAMPAIGNING:
            return
        if session is None:
            self._acquiring = False
            self._store_error(attempt, reply)
            return
        entry = self._entry
        assert entry is not None  # noqa: S101 - set by _new_attempt
        assert self._keeper is not None  # noqa: S101 - set by start
        self._entry_session = session
        self.ctx.session = session.id
        self.engine.request(
            "acquire",
            partial(session.acquire, entry),
            self._keeper.call_timeout,
            partial(self._acquire_done, attempt, session, entry),
        )

    def _acquire_done(self, attempt: int, session: Session, entry: Entry, reply: Reply, late: bool) -> None:
        assert self._keeper is not None  # noqa: S101 - set by start
        if attempt == self.ctx.attempt and not late:
            self._acquiring = False
        if reply.outcome is Outcome.DONE:
            alive = session is self._keeper.session
            self._reset = reply.token_reset or (reply.token or 0) <= self._highest
            if alive and attempt == self.ctx.attempt and self.ctx.state is S.CAMPAIGNING and reply.token is not None:
                self._highest = reply.token
            self.fire(
                Event(
                    T.ACQUIRED,
                    self.engine.now(),
                    attempt=attempt,
                    token=reply.token,
                    session=session.id,
                    deadline=self._keeper.deadline if alive else 0.0,
                    revision=reply.revision,
                    payload=(session, entry),
                )
            )
        elif late:
            return
        elif reply.outcome is Outcome.REFUSED and not reply.fatal:
            self.fire(Event(T.CONTENDED, self.engine.now(), attempt=attempt, payload=reply.holder))
        else:
            self._keeper.doubt(session, entry, outstanding=True)  # it may yet be carried out, after our release
            self._store_error(attempt, reply)

    def _store_error(self, attempt: int, reply: Reply) -> None:
        error = reply.error or StoreUnavailable("the store refused without a reason")
        self.fire(Event(T.STORE_ERROR, self.engine.now(), attempt=attempt, error=error, fatal=reply.fatal))

    def _await_vacancy(self, event: Event[Any]) -> None:
        holder = event.payload
        if isinstance(holder, Holder):
            self.follower.observe(WatchEvent(Fact.LEADER_OBSERVED, holder=holder))
        if self._again:
            self._try_acquire(event)
            return
        # Whatever the watch and the reads of the follower say: ask again before long.
        self._arm(self.engine.now() + self.settings.ttl * (1 + self.engine.random.random()), self._ask_again)

    def _ask_again(self, attempt: int) -> None:
        if attempt != self.ctx.attempt or self.ctx.state is not S.CAMPAIGNING:
            return
        if self.follower.is_fresh:
            self._arm(self.engine.now() + self.settings.ttl, self._ask_again)
        else:
            self.turn()

    def _cancel_attempt(self, _event: Event[Any]) -> None:
        self._again = False

    def _release_orphan(self, event: Event[Any]) -> None:
        session, entry = event.payload
        assert self._keeper is not None  # noqa: S101 - set by start
        keeper = self._keeper
        keeper.doubt(session, entry)
        keeper.release_doubts()

    # -- effects: in office -------------------------------------------------------------------------------------

    def _arm_lease_timer(self, event: Event[Any]) -> None:
        """
        The keeper's timer tells when the deadline passes; here the view learns who leads.
        """
        if self._timer is not None:
            self._timer.cancel()
        assert self._entry is not None  # noqa: S101 - set by _new_attempt
        holder = Holder(self.node, event.token or 0, event.session or "", self._entry.metadata or {})
        self.follower.observe(
            WatchEvent(Fact.LEADER_OBSERVED, holder=holder, revision=event.revision), confirmed=True
        )

    def _on_elected(self, event: Event[Any]) -> None:
        if self._reset:
            self.engine.say(
                logging.WARNING, "leadership.token_reset", election=self.election, node=self.node, token=event.token
            )
        self._unpublished = Term(
            self.election,
            self.node,
            event.token or 0,
            self.ctx.lease_deadline,
            clock=self.engine.now,
            elected_at=self.engine.utcnow(),
            wakeup=self.engine.wakeup(),
        )
        if self._awaited_audits == 0:
            self._publish_term()

    def _audited(self, attempt: int, error: BaseException | None) -> None:
        """
        An audit that the term waits for was written, or could not be.
        """
        self._awaited_audits -= 1
        if attempt != self.ctx.attempt or self._unpublished is None:
            return
        if error is not None:
            self.report(error)
            now = self.engine.now()
            self.fire(Event(T.CALLBACK_FAILED, now, attempt=attempt, callback="on_elected", error=error))
        elif self._awaited_audits == 0:
            self._publish_term()

    def _publish_term(self) -> None:
        term, self._unpublished = self._unpublished, None
        assert term is not None  # noqa: S101 - the callers have looked
        self.term = term
        self.notify_changed()
        for function in self.subscriptions.elected:
            self.begin_elected(function, term)

    def begin_elected(self, function: Function, term: Term) -> None:
        """
        Call one function of `on_elected` for the present term.
        """
        if term is not self.term or not term.is_current:
            return
        job = Job("on_elected", function, (self._wrap_term(function, term),), self, self._callback_done, self.user_loop)
        self._began(job)
        self.engine.run_user(job, self._callback_done)

    def _extend_lease(self, event: Event[Any]) -> None:
        self.renewals += 1
        self.ctx.lease_deadline = event.deadline or 0.0
        term = self.term or self._unpublished
        if term is not None:
            term._extend(self.ctx.lease_deadline)  # noqa: SLF001 - the engine extends terms

    def _retry_renew(self, event: Event[Any]) -> None:
        self._note_error(event)
        assert self._keeper is not None  # noqa: S101 - set by start
        self._keeper.retry_soon()

    def _verify_ownership(self, _event: Event[Any]) -> None:
        self._suspended = False
        self.follower.read_now()

    def _mark_suspended(self, event: Event[Any]) -> None:
        self._suspended = True
        self._note_error(event)

    # -- effects: leaving ---------------------------------------------------------------------------------------

    def _on_demoted(self, _event: Event[Any]) -> None:
        term, self.term, self._unpublished = self.term, None, None
        for job in self.running:
            job.cancel()
        if term is None:
            return  # it was never published: on_elected has not run
        for function in self.subscriptions.demoted:
            job = Job(
                "on_demoted", function, (self._wrap_term(function, term), term.cause), self, self._callback_done, self.user_loop
            )
            self._began(job)
            self.lane.put(job)

    def _began(self, job: Job) -> None:
        self.running[job] = None
        self.ctx.callbacks_running = len(self.running)

    def _callback_done(self, job: Job, error: BaseException | None) -> None:
        self.running.pop(job, None)
        self.ctx.callbacks_running = len(self.running)
        if error is not None:
            over = self.ctx.state is not S.LEADER or job.args[0].token != self.ctx.token
            if not (over and isinstance(error, NotLeader | asyncio.CancelledError)):
                self.callback_failed(job, error)
        self._step_cleaning()
        if not self.running and self._callbacks_awaited:
            self._callbacks_awaited = False
            self._backoff_elapsed(self.ctx.attempt)
        self.notify_changed()

    def callback_failed(self, job: Job, error: BaseException) -> None:
        """
        Say so, and let the table decide; a failure of an earlier term's callback decides nothing.
        """
        super().callback_failed(job, error)
        current = job.kind != "on_elected" or job.args[0].token == self.ctx.token
        kind = job.kind if current else "earlier on_elected"
        self.fire(Event(T.CALLBACK_FAILED, self.engine.now(), callback=kind, error=error))

    def _set_stop(self, _event: Event[Any]) -> None:
        self.ctx.stopping = True

    def _set_rejoin(self, event: Event[Any]) -> None:
        self._cool_down = self.settings.cool_down if event.cool_down is None else event.cool_down

    def _set_cool_down(self, event: Event[Any]) -> None:
        self._set_rejoin(event)

    def _cleanup(self, event: Event[Any]) -> None:
        now = self.engine.now()
        if self._timer is not None:
            self._timer.cancel()
        self._note_error(event)
        if self.ctx.state is S.ERROR or event.trigger is T.CALLBACK_FAILED:
            self._failures += 1
            if event.fatal or not self.settings.backoff.allows(self._failures):
                self.ctx.failed_for_good = True
                self.error = self.last_error
        deadline = self.ctx.lease_deadline if self.ctx.token is not None else now + self.settings.ttl
        until = deadline if self.settings.grace is None else now + self.settings.grace
        cleaning = _Cleaning(self.ctx.attempt, self._entry, self._entry_session, until, max(deadline, until))
        self._cleaning = cleaning
        if event.trigger in (T.LEASE_EXPIRED, T.SESSION_LOST):
            cleaning.released = True
        if self.running and until > now:
            cleaning.timers.append(self.engine.call_at(until, self._step_cleaning))
        # Not within the row that began it: settled may follow at once.
        self.engine.call_soon(self._step_cleaning)

    def _step_cleaning(self) -> None:
        cleaning = self._cleaning
        if cleaning is None or (self.running and self.engine.now() < cleaning.until):
            return
        keeper, session, entry = self._keeper, cleaning.session, cleaning.entry
        assert keeper is not None  # noqa: S101 - set by start
        if cleaning.released or session is None or entry is None or session is not keeper.session:
            self._settle(cleaning)  # it is released, was never asked for, or ended with its session
        elif not cleaning.releasing:
            cleaning.releasing = True
            self.engine.request(
                "release", partial(session.release, entry), keeper.call_timeout, partial(self._release_done, cleaning)
            )

    def _release_done(self, cleaning: _Cleaning, reply: Reply, late: bool) -> None:
        if cleaning is not self._cleaning:
            return
        if reply.outcome is Outcome.DONE:
            cleaning.released = True
            if self.ctx.token is not None:
                self.follower.observe(WatchEvent(Fact.KEY_DELETED, token=self.ctx.token, revision=reply.revision))
            self._settle(cleaning)
        elif not late:
            cleaning.releasing = False
            self._store_error(cleaning.attempt, reply)

    def _retry_release(self, event: Event[Any]) -> None:
        cleaning = self._cleaning
        self._note_error(event)
        if cleaning is None or cleaning.releasing or cleaning.released:
            return
        keeper, now = self._keeper, self.engine.now()
        assert keeper is not None  # noqa: S101 - set by start
        if event.fatal or now >= cleaning.deadline:
            self._give_up_release(cleaning)
            return
        when = min(now + keeper.retry_interval, cleaning.deadline)
        cleaning.timers.append(self.engine.call_at(when, self._retry_due, cleaning))

    def _retry_due(self, cleaning: _Cleaning) -> None:
        if cleaning is not self._cleaning:
            return
        if self.engine.now() >= cleaning.deadline:
            self._give_up_release(cleaning)
        else:
            self._step_cleaning()

    def _give_up_release(self, cleaning: _Cleaning) -> None:
        """
        The local deadline has passed: the keeper goes on asking, or replaces the session.
        """
        if cleaning.session is not None and cleaning.entry is not None and self._keeper is not None:
            self._keeper.doubt(cleaning.session, cleaning.entry)
        cleaning.released = True
        self._step_cleaning()

    def _mark_not_held(self, _event: Event[Any]) -> None:
        if self._cleaning is not None:
            self._cleaning.released = True
            self._step_cleaning()

    def _settle(self, cleaning: _Cleaning) -> None:
        for timer in cleaning.timers:
            timer.cancel()
        self._cleaning = None
        self.fire(Event(T.SETTLED, self.engine.now(), attempt=cleaning.attempt))
        self._tell_settled()

    # -- effects: waiting, ending -------------------------------------------------------------------------------

    def _arm(self, when: float, then: Callable[[int], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.engine.call_at(when, then, self.ctx.attempt)

    def _arm_backoff(self, event: Event[Any]) -> None:
        now = self.engine.now()
        delay = 0.0 if self._cool_down is None else self._cool_down
        if self._failures:
            delay = max(delay, self.settings.backoff.delay(self._failures, self.settings.ttl, self.engine.random.random()))
        if event.trigger is T.RESIGN and self.next_retry is not None:
            delay = max(delay, self.next_retry - now)
        self._cool_down = None
        self.next_retry = now + delay
        self._arm(self.next_retry, self._backoff_elapsed)

    def _backoff_elapsed(self, attempt: int) -> None:
        self.fire(Event(T.BACKOFF_ELAPSED, self.engine.now(), attempt=attempt))

    def _cancel_backoff(self, _event: Event[Any]) -> None:
        self.next_retry = None
        if self._timer is not None:
            self._timer.cancel()

    def _await_callbacks(self, _event: Event[Any]) -> None:
        self._callbacks_awaited = True
        self.engine.say(
            logging.WARNING,
            "leadership.callbacks_still_running",
            election=self.election,
            node=self.node,
            callbacks=[job.name for job in self.running],
        )

    def _note_error(self, event: Event[Any]) -> None:
        if isinstance(event.error, LeadershipError):
            self.last_error = event.error
            self.report(event.error)

    def _note_failure(self, _event: Event[Any]) -> None:
        """
        The callback's failure was logged and reported where it was met.
        """

    def _on_stopped(self, _event: Event[Any]) -> None:
        self.ctx.stopping = False
        self.follower.stop()
        if self._keeper is not None:
            self._keeper.detach(self)
        self.engine.drivers.discard(self)
        self._entry_session = None
        self.next_retry = None
        if self._restart:
            self._restart = False
            self.engine.call_soon(self.start)
        else:
            self.wanted = False

    def _on_gave_up(self, event: Event[Any]) -> None:
        self.engine.say(
            logging.ERROR, "leadership.gave_up", election=self.election, node=self.node, error=str(self.error)
        )
        self._on_stopped(event)

    effects: ClassVar[dict[Any, Callable[[Any, Event[Any]], None]]] = {
        E.NEW_ATTEMPT: _new_attempt,
        E.TRY_ACQUIRE: _try_acquire,
        E.AWAIT_VACANCY: _await_vacancy,
        E.CANCEL_ATTEMPT: _cancel_attempt,
        E.RELEASE_ORPHAN: _release_orphan,
        E.ARM_LEASE_TIMER: _arm_lease_timer,
        E.EXTEND_LEASE: _extend_lease,
        E.RETRY_RENEW: _retry_renew,
        E.VERIFY_OWNERSHIP: _verify_ownership,
        E.MARK_SUSPENDED: _mark_suspended,
        E.ON_ELECTED: _on_elected,
        E.ON_DEMOTED: _on_demoted,
        E.CLEANUP: _cleanup,
        E.MARK_NOT_HELD: _mark_not_held,
        E.RETRY_RELEASE: _retry_release,
        E.SET_REJOIN: _set_rejoin,
        E.SET_STOP: _set_stop,
        E.SET_COOL_DOWN: _set_cool_down,
        E.ARM_BACKOFF: _arm_backoff,
        E.CANCEL_BACKOFF: _cancel_backoff,
        E.AWAIT_CALLBACKS: _await_callbacks,
        E.NOTE_FAILURE: _note_failure,
        E.ON_STOPPED: _on_stopped,
        E.ON_GAVE_UP: _on_gave_up,
    }

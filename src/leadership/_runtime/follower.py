"""
Drives the follower's machine: alone in a `Follower`, and inside every candidate, where it alone feeds `leader`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from leadership._runtime.changed import Changed
from leadership._runtime.driver import Driver, Subscriptions
from leadership._runtime.jobs import Job
from leadership._runtime.why import Why
from leadership.errors import LeadershipError, StoreUnavailable
from leadership.fsm import FOLLOWER, FollowerContext
from leadership.fsm.backoff import Backoff
from leadership.fsm.event import Event, Step
from leadership.fsm.follower_table import remember
from leadership.fsm.row import Disposition
from leadership.fsm.states import FollowerEffect as E
from leadership.fsm.states import FollowerState as S
from leadership.fsm.states import FollowerTrigger as T
from leadership.observers.history import History
from leadership.store import Fact, Holder, Outcome, Reply, Store, Watch, WatchEvent
from leadership.term import Leader

if TYPE_CHECKING:
    from leadership._runtime.engine import Engine, Timer

REREAD = 15.0
"""
Seconds after which the truth is read again, whatever the watch says; a candidate uses its TTL.
"""

_FACTS = {fact: T(fact.value) for fact in Fact if fact.value in {trigger.value for trigger in T}}

Listener = Callable[[WatchEvent, bool], None]


class FollowerDriver(Driver[FollowerContext]):
    """
    One follower's life.
    """

    machine = FOLLOWER

    def __init__(
        self,
        engine: Engine,
        store: Store,
        election: str,
        node: str,
        subscriptions: Subscriptions,
        *,
        backoff: Backoff,
        reread: float = REREAD,
        log: bool = True,
        loop: asyncio.AbstractEventLoop | None = None,
        history: History | None,
        changed: Changed,
        listener: Listener | None = None,
        own_session: Callable[[], str | None] = lambda: None,
        on_view: Callable[[], None] | None = None,
        on_gave_up: Callable[[LeadershipError | None], None] = lambda _error: None,
    ) -> None:
        """
        Args:
            listener: For the candidate around it: told each fact, and whether a read that nothing overtook confirms it.
            own_session: The session of the candidate around it.
            on_view: Called after the view has changed, for the candidate around it.
            on_gave_up: Called after it has ended by itself, for the candidate around it, which must not go on blindly.
        """
        super().__init__(
            engine, store, election, node, subscriptions, log=log, loop=loop, history=history, changed=changed
        )
        self.ctx = FollowerContext()
        self.holder: Holder | None = None
        self.is_stale = True
        self._backoff = backoff
        self._reread = reread
        self._listener = listener
        self._own_session = own_session
        self._on_view = on_view
        self._gave_up = on_gave_up
        self._watch: Watch | None = None
        self._watch_number = self._watch_failures = self._failures = 0
        self.why_ended = Why()
        self._read_at = 0.0
        self._seen = 0
        """Counts observations, so that a read that one of them has overtaken is known."""
        self._announced: tuple[int | None, str | None, bool] | None = None
        self._timer: Timer | None = None
        self._reread_timer: Timer | None = None
        self._watch_timer: Timer | None = None

    # -- asked by any thread ------------------------------------------------------------------------------------

    @property
    def patience(self) -> float:
        """
        A follower holds nothing: it stops at once.
        """
        return 5.0

    @property
    def leader(self) -> Leader | None:
        """
        The present view of who leads. Any thread.
        """
        holder = self.holder
        if holder is None:
            return None
        own = self._own_session()
        metadata = MappingProxyType(dict(holder.metadata))
        return Leader(holder.node, holder.token, metadata, own is not None and holder.session == own)

    def request_stop(self) -> None:
        """
        Ask it to stop. Any thread.
        """
        self.wanted = False
        self.ask(self.stop)

    # -- the engine's thread ------------------------------------------------------------------------------------

    def start(self) -> None:
        """
        Follow, unless it does already.
        """
        if not self.is_idle:
            return
        if self._listener is None:  # one inside a candidate is started and stopped by it
            self.engine.drivers.add(self)
        self.error = None
        self.ctx.failed_for_good = False
        self._failures = self._watch_failures = 0
        self._announced = None
        self.why_ended.began()
        self.describe_to_audits()
        self.fire(Event(T.START, self.engine.now()))
        self._arm_reread()

    def stop(self) -> None:
        """
        Stop, unless it is idle.
        """
        if self.is_idle:
            self.own.ended()
        else:
            self.fire(Event(T.STOP, self.engine.now()))

    def forked(self) -> None:
        """
        In a forked child: no view.
        """
        super().forked()
        self.holder, self.is_stale, self._watch = None, True, None

    def observe(self, event: WatchEvent, *, confirmed: bool = False) -> None:
        """
        Take one fact about the election, from the watch, from a read, or from a reply to the candidate around it.
        """
        self._seen += 1
        self.why_ended.heard(event)
        trigger = _FACTS.get(event.fact)
        if trigger is not None:
            holder = event.holder
            self.fire(
                Event(
                    trigger,
                    self.engine.now(),
                    token=event.token if holder is None else holder.token,
                    session=None if holder is None else holder.session,
                    confirmed=confirmed,
                    error=event.error,
                    revision=event.revision,
                    payload=holder,
                )
            )
        if self._listener is not None:
            self._listener(event, confirmed)

    @property
    def is_fresh(self) -> bool:
        """
        The truth was read not long ago.
        """
        return self.engine.now() - self._read_at < 2 * self._reread

    def read_now(self) -> None:
        """
        Read the truth and observe it.
        """
        sent, seen, attempt = self.engine.now(), self._seen, self.ctx.attempt

        def done(reply: Reply) -> None:
            self._read_done(reply, sent, seen, attempt)

        self.engine.reader(self.store).read(self.election, done)

    def _read_done(self, reply: Reply, sent: float, seen: int, attempt: int) -> None:
        if self.is_idle or attempt != self.ctx.attempt:
            return
        now = self.engine.now()
        if reply.outcome is not Outcome.DONE:
            if self._read_at > sent and not reply.fatal:
                return  # a later read has been answered: this failure says nothing of now
            error = reply.error or StoreUnavailable("the read was refused without a reason")
            self.fire(Event(T.STORE_ERROR, now, attempt=attempt, error=error, fatal=reply.fatal))
            return
        self._read_at = now
        if seen != self._seen:
            if self.ctx.state is S.SYNCING:  # something happened during the read: what it says may be old
                self.read_now()
            return
        if reply.holder is None:
            self.observe(WatchEvent(Fact.VACANT_OBSERVED), confirmed=True)
        else:
            self.observe(WatchEvent(Fact.LEADER_OBSERVED, holder=reply.holder), confirmed=True)

    def _arm_reread(self) -> None:
        # At the same moments for all elections, so that one call of the store serves them all.
        when = (self.engine.now() // self._reread + 1) * self._reread
        if self._reread_timer is not None:
            self._reread_timer.cancel()
        self._reread_timer = self.engine.call_at(when, self._reread_due)

    def _reread_due(self) -> None:
        self._reread_timer = None
        if self.is_idle:
            return
        self._arm_reread()
        self.read_now()

    def committed(self, step: Step, event: Event[Any]) -> None:
        if step.row is not None:
            remember(self.ctx, event, heeded=step.row.disposition is not Disposition.IGNORE)
        if step.row is not None and step.row.dest is not None:
            self.ctx.token = event.token if step.dest == S.FOLLOWING else None
            self.why_ended.moved(step.dest, self.ctx.token)

    def record_facts(self, event: Event[Any], source: Any, dest: Any) -> tuple[int | None, float | None, str | None]:  # noqa: ARG002 - one signature
        """
        A follower's record carries the token that was observed, and where a term has ended what it was asked to for.
        """
        return event.token, None, self.why_ended.of_row

    def _view(self, holder: Holder | None, *, stale: bool) -> None:
        """
        Set the view, and announce it when who leads or whether that is known has changed.
        """
        self.holder, self.is_stale = holder, stale
        key = (None if holder is None else holder.token, None if holder is None else holder.session, stale)
        if key == self._announced:
            return
        self._announced = key
        if self._on_view is not None:
            self._on_view()
        else:
            self.announce_leader(self.leader, known=not stale)
        self.notify_changed()

    # -- effects ------------------------------------------------------------------------------------------------

    def _new_attempt(self, _event: Event[Any]) -> None:
        self.ctx.attempt += 1

    def _read_key(self, _event: Event[Any]) -> None:
        self.read_now()

    def _open_watch(self, event: Event[Any]) -> None:
        self._close_watch(event)
        if event.trigger is not T.WATCH_CLOSED:
            self._open_now()
            return
        self._watch_failures += 1  # a watch that closes again and again must not become a busy loop
        self._watch_timer = self.engine.call_at(self.engine.now() + self._delay(self._watch_failures), self._open_now)

    def _open_now(self) -> None:
        self._watch_timer = None
        self._watch_number += 1
        number = self._watch_number

        def notify(event: WatchEvent) -> None:
            if number == self._watch_number:
                if event.fact is not Fact.WATCH_CLOSED:
                    self._watch_failures = 0
                self.engine.deliver(self.observe, event)

        try:
            self._watch = self.store.watch(self.election, notify)
        except LeadershipError as error:
            self.engine.call_soon(self.observe, WatchEvent(Fact.WATCH_CLOSED, error=error))

    def _close_watch(self, _event: Event[Any]) -> None:
        self._watch_number += 1
        if self._watch_timer is not None:
            self._watch_timer.cancel()
            self._watch_timer = None
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

    def _mark_stale(self, _event: Event[Any]) -> None:
        self._view(self.holder, stale=True)

    def _on_leader_changed(self, event: Event[Any]) -> None:
        self._failures = 0
        self._view(event.payload, stale=False)

    def _on_leader_lost(self, _event: Event[Any]) -> None:
        self._failures = 0
        self._view(None, stale=False)

    def _refresh_leader(self, event: Event[Any]) -> None:
        if event.token == self.ctx.token:
            self._view(event.payload, stale=False)

    def _cleanup(self, event: Event[Any]) -> None:
        self.engine.call_soon(self._settle, self.ctx.attempt)  # before a start that on_error may ask for
        self._close_watch(event)
        self._failures += 1
        if isinstance(event.error, LeadershipError):
            self.last_error = event.error
            self.report(event.error)
        if event.fatal or not self._backoff.allows(self._failures):
            self.ctx.failed_for_good = True
            self.error = self.last_error

    def _settle(self, attempt: int) -> None:
        if self.ctx.state is S.ERROR:
            self.fire(Event(T.SETTLED, self.engine.now(), attempt=attempt))

    def _delay(self, failures: int) -> float:
        return self._backoff.delay(failures, self._reread, self.engine.random.random())

    def _arm_backoff(self, _event: Event[Any]) -> None:
        when = self.engine.now() + self._delay(self._failures)
        self._timer = self.engine.call_at(when, self._backoff_elapsed, self.ctx.attempt)

    def _backoff_elapsed(self, attempt: int) -> None:
        self.fire(Event(T.BACKOFF_ELAPSED, self.engine.now(), attempt=attempt))

    def _cancel_backoff(self, _event: Event[Any]) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _note_failure(self, event: Event[Any]) -> None:
        if isinstance(event.error, LeadershipError):
            self.last_error = event.error

    def _on_stopped(self, event: Event[Any]) -> None:
        if self._reread_timer is not None:
            self._reread_timer.cancel()
            self._reread_timer = None
        self._close_watch(event)
        self.holder, self.is_stale, self._announced = None, True, None
        self.engine.drivers.discard(self)
        self.own.ended()

    def _on_gave_up(self, event: Event[Any]) -> None:
        self.wanted = False
        self.engine.say(logging.ERROR, "leadership.gave_up", election=self.election, error=str(self.error))
        self._on_stopped(event)
        self.engine.call_soon(self._gave_up, self.error)

    effects: ClassVar[dict[Any, Callable[[Any, Event[Any]], None]]] = {
        E.NEW_ATTEMPT: _new_attempt,
        E.READ_KEY: _read_key,
        E.OPEN_WATCH: _open_watch,
        E.CLOSE_WATCH: _close_watch,
        E.MARK_STALE: _mark_stale,
        E.ON_LEADER_CHANGED: _on_leader_changed,
        E.ON_LEADER_LOST: _on_leader_lost,
        E.REFRESH_LEADER: _refresh_leader,
        E.CLEANUP: _cleanup,
        E.ARM_BACKOFF: _arm_backoff,
        E.CANCEL_BACKOFF: _cancel_backoff,
        E.NOTE_FAILURE: _note_failure,
        E.ON_STOPPED: _on_stopped,
        E.ON_GAVE_UP: _on_gave_up,
    }

    def callback_failed(self, job: Job, error: BaseException) -> None:
        """
        Say so; a follower's life does not depend on its callbacks.
        """
        super().callback_failed(job, error)
        self.fire(Event(T.CALLBACK_FAILED, self.engine.now(), callback=job.kind, error=error, said=job.said))

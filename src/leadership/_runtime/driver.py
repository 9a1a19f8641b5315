"""
What the two drivers have in common: who they are, whom they tell, how they are waited for.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from leadership._runtime import trace
from leadership._runtime.changed import Changed
from leadership._runtime.jobs import Job, is_inside, words_of
from leadership._runtime.own_store import OwnStore
from leadership.errors import IllegalTransition, LeadershipError
from leadership.fsm.event import Event, Step
from leadership.fsm.machine import Machine
from leadership.fsm.record import Transition
from leadership.fsm.row import Disposition
from leadership.observers.audit import AuditLog
from leadership.observers.history import History
from leadership.observers.log import LogObserver
from leadership.store import Store, Timing
from leadership.term import Leader

if TYPE_CHECKING:
    from leadership._runtime.engine import Engine
    from leadership._runtime.renewals import Listener

C = TypeVar("C", bound=Any)
Function = Callable[..., Any]

_UNKNOWN: Final = "unknown"


class Subscriptions:
    """
    The user's functions and observers. Changed by any thread, read by the engine's: tuples, swapped whole.
    """

    __slots__ = ("demoted", "elected", "errors", "leader_changed", "observers")

    def __init__(self, observers: tuple[Listener, ...] = ()) -> None:
        self.elected: tuple[Function, ...] = ()
        self.demoted: tuple[Function, ...] = ()
        self.leader_changed: tuple[Function, ...] = ()
        self.errors: tuple[Function, ...] = ()
        self.observers = observers

    @property
    def audits(self) -> tuple[AuditLog, ...]:
        """
        Those of the observers that are audits.
        """
        return tuple(told.audit for told in self.observers if told.audit is not None)


class Driver(Generic[C]):
    """
    Carries out one machine. Everything but what says otherwise runs on the engine's thread only.
    """

    machine: Machine[Any, Any, Any, Any]
    ctx: C
    effects: ClassVar[dict[Any, Callable[[Any, Event[Any]], None]]]

    def __init__(
        self,
        engine: Engine,
        store: Store,
        election: str,
        node: str,
        subscriptions: Subscriptions,
        *,
        log: bool,
        loop: asyncio.AbstractEventLoop | None,
        history: History | None,
        changed: Changed,
    ) -> None:
        self.engine = engine
        self.store = store
        self.election = election
        self.node = node
        self.subscriptions = subscriptions
        self.user_loop = loop
        self.log = LogObserver() if log else None
        self.history = history
        self.incarnation = engine.new_id()
        self.changed = changed
        """Notified after every change that somebody may wait for."""
        engine.all_drivers.add(self)
        self.own = OwnStore(self)
        self.wanted = False
        """Somebody asked it to run, and it has not come to its end. Any thread."""
        self.error: LeadershipError | None = None
        """What ended it for good."""
        self.last_error: LeadershipError | None = None
        self.why = ""
        self.since, self.since_utc = engine.now(), engine.utcnow()
        self.renewals = 0
        self.ignored = 0
        self._seq = 0
        self._audited_view: tuple[str, int] | str | None = _UNKNOWN
        """Who leads, as audits were told last since the start: node and token, or nobody."""
        self._asked: deque[None] = deque()
        """One for each request that has yet to be carried out; any thread appends and looks, which is atomic."""
        self.caller = trace.NONE
        """The span of the call that is being carried out."""
        self.lane = engine.lane()

    # -- asked by any thread ------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """
        Nothing is under way. Any thread.
        """
        return self.ctx.state is self.machine.initial

    @property
    def is_over(self) -> bool:
        """
        It came to its end, nobody wants it to go on, and no request is on its way. Any thread.
        """
        return self.is_idle and not self.wanted and not self._asked and not self.own.closing

    def ask(self, request: Callable[..., None], *args: Any) -> bool:
        """
        Have a call of the user's carried out on the engine's thread. Any thread. False in a forked child: nobody is
        left to ask.
        """
        if os.getpid() != self.engine.pid:
            return False
        caller = trace.present()
        self._asked.append(None)  # nothing may fail from here on: whoever waits for the end would wait for ever
        self.engine.post(self._carry_out, caller, request, *args)
        return True

    def _carry_out(self, caller: trace.Trace, request: Callable[..., None], *args: Any) -> None:
        try:
            self.within(caller, request, *args)
        finally:
            self._asked.popleft()
            self.notify_changed()

    def within(self, caller: trace.Trace, request: Callable[..., None], *args: Any) -> None:
        """
        Carry out what was asked for within a span, which its record will name.
        """
        self.caller = caller
        try:
            request(*args)
        finally:
            self.caller = trace.NONE

    @property
    @abstractmethod
    def patience(self) -> float:
        """
        Seconds within which a stop settles. Any thread.
        """

    def request_start(self, store: Store) -> None:
        """
        Ask it to run on a store; returns at once. Any thread.
        """
        self.wanted = True
        self.ask(self.own.start, store)

    @abstractmethod
    def start(self) -> None:
        """
        Run, unless it does already.
        """

    @abstractmethod
    def request_stop(self) -> None:
        """
        Ask it to stop; returns at once. Any thread.
        """

    def wait_idle(self, timeout: float | None) -> bool:
        """
        Wait until it is idle. From inside a callback of its own: answer at once. Any other thread.
        """
        if is_inside(self):
            return self.is_idle
        return self.engine.wait(self.changed, lambda: self.is_idle, timeout)

    def forked(self) -> None:
        """
        In a forked child: hold nothing, believe nothing, tell nobody.
        """
        self.ctx = type(self.ctx)()
        self.wanted = False
        self._asked.clear()
        self.own.closing.clear()
        self.changed.forked()

    # -- firing -------------------------------------------------------------------------------------------------

    def fire(self, event: Event[Any]) -> Step | None:
        """
        Apply one event, tell the observers, carry out the effects. None for what the table declares impossible.
        """
        try:
            step = self.machine.fire(self.ctx, event)
        except IllegalTransition as error:
            self.engine.say(logging.ERROR, "leadership.illegal", exc_info=sys.exc_info(), election=self.election)
            at, state = self.engine.utcnow(), self.ctx.state
            self._publish(self._record(event, at, state, state, None, Disposition.ILLEGAL, None, str(error)))
            return None
        self.committed(step, event)
        row = step.row
        if row is None or row.disposition is Disposition.IGNORE:
            self.ignored += 1
        elif row.disposition is Disposition.GO:
            self.why = event.trigger._value_
            at = self.engine.utcnow()
            if self.history is not None:  # a follower inside a candidate is watched by nobody
                self._publish(
                    self._record(event, at, step.source, step.dest, row.guard_name, row.disposition, row.cause)
                )
            self.since, self.since_utc, self.renewals = event.now, at, 0
        for effect in step.effects:
            try:
                self.effects[effect](self, event)
            except Exception:  # noqa: BLE001 - a bug must not leave the rest of the row undone
                self.engine.say(logging.ERROR, "leadership.engine_fault", exc_info=sys.exc_info(), effect=effect.value)
        if step.effects or step.source is not step.dest:
            self.notify_changed()
        return step

    def committed(self, step: Step, event: Event[Any]) -> None:
        """
        Right after the state has changed, before anybody is told.
        """

    def notify_changed(self) -> None:
        """
        Wake whoever waits for a change.
        """
        self.changed.notify()

    def _record(
        self,
        event: Event[Any],
        at: datetime,
        source: Any,
        dest: Any,
        guard: str | None,
        disposition: Disposition,
        cause: Any,
        error: str | None = None,
    ) -> Transition:
        self._seq += 1
        if error is None and event.error is not None:
            error = f"{type(event.error).__name__}: {words_of(event.error, event.said)}"
        token, deadline, reason = self.record_facts(event, source, dest)
        return Transition(
            seq=self._seq,
            at=at,
            monotonic=event.now,
            machine=self.machine.name,
            election=self.election,
            node=self.node,
            boot=self.engine.boot,
            incarnation=self.incarnation,
            trigger=event.trigger._value_,  # as `value`, which is a property and slow
            source=source._value_,
            dest=dest._value_,
            guard=guard,
            disposition=disposition._value_,
            cause=cause,
            reason=reason,
            error=error,
            term=None if token is None else f"{self.election}/{self.node}/{token}",
            token=token,
            attempt=self.ctx.attempt,
            revision=event.revision,
            lease_deadline=deadline,
            duration=max(0.0, event.now - self.since),
            renewals=self.renewals,
            trace_id=self.caller.trace_id,
            span_id=self.caller.span_id,
        )

    @abstractmethod
    def record_facts(self, event: Event[Any], source: Any, dest: Any) -> tuple[int | None, float | None, str | None]:
        """
        Token, lease deadline and reason for a record.
        """

    def _publish(self, record: Transition) -> None:
        if self.history is not None:
            self.history.add(record)
        for told in self.subscriptions.observers:
            if told.audit is not None:
                self.audit(told.audit, record)
            else:
                self.engine.dispatcher.put(told.observer, record, on_dropped=told.on_dropped)
        if self.log is not None and self.log.wants(record):  # else it is not worth waking a thread
            self.engine.dispatcher.put(self.log, record)

    def audit(self, audit: AuditLog, record: Transition) -> None:
        """
        Hand a record to an audit, which never drops one.
        """
        audit.submit(record)

    @property
    def timing(self) -> Timing | None:
        """
        What its TTL means; None for a follower.
        """
        return None

    def describe(self, audit: AuditLog) -> None:
        """
        Tell an audit whose records will come.
        """
        timing = {} if self.timing is None else self.timing.as_dict()
        audit.header(
            boot=self.engine.boot,
            clock=self.engine.clock,
            incarnation=self.incarnation,
            election=self.election,
            node=self.node,
            timing=timing,
        )

    def describe_to_audits(self) -> None:
        """
        Tell all audits, before the first record after a start.
        """
        self._audited_view = _UNKNOWN
        for audit in self.subscriptions.audits:
            self.describe(audit)

    def report(self, error: BaseException) -> None:
        """
        Tell `on_error`.
        """
        for function in self.subscriptions.errors:
            self.engine.dispatcher.put(function, error)

    # -- callbacks ----------------------------------------------------------------------------------------------

    def announce_leader(self, leader: Leader | None, *, known: bool) -> None:
        """
        Queue `on_leader_changed`, and tell audits who leads where that is known and new to them.
        """
        view = None if leader is None else (leader.node, leader.token)
        if known and view != self._audited_view:
            self._audited_view = view
            for audit in self.subscriptions.audits:
                self._audit_view(audit, view)
        for function in self.subscriptions.leader_changed:
            self.queue_leader_changed(function, leader)

    def _audit_view(self, audit: AuditLog, view: tuple[str, int] | None) -> None:
        audit.leader(
            at=self.engine.utcnow(),
            monotonic=self.engine.now(),
            boot=self.engine.boot,
            incarnation=self.incarnation,
            election=self.election,
            node=self.node,
            leader=view,
        )

    def queue_leader_changed(self, function: Function, leader: Leader | None) -> None:
        """
        Queue one function of `on_leader_changed`.
        """
        self.lane.put(Job("on_leader_changed", function, (leader,), self, self._leader_changed_done, self.user_loop))

    def _leader_changed_done(self, job: Job, error: BaseException | None) -> None:
        if error is not None:
            self.callback_failed(job, error)

    def callback_failed(self, job: Job, error: BaseException) -> None:
        """
        Say that a callback raised, and let the table decide.
        """
        self.engine.say(
            logging.ERROR,
            "leadership.callback_failed",
            exc_info=(type(error), error, error.__traceback__),
            election=self.election,
            node=self.node,
            callback=job.name,
        )
        self.report(error)

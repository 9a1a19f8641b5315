"""
A candidate in office: its term, the term's callbacks, and the audits that the term waits for.

Law 1: the term ends before anybody is told of the demotion.
Law 2: `on_demoted` is queued exactly once for each term that was published, and for no other.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from leadership._runtime.driver import Function
from leadership._runtime.jobs import Job, words_of
from leadership.errors import NotLeader
from leadership.fsm.event import Event
from leadership.fsm.row import DemotionCause
from leadership.fsm.states import CandidateState as S
from leadership.fsm.states import CandidateTrigger as T
from leadership.term import Term

if TYPE_CHECKING:
    from leadership._runtime.candidate import CandidateDriver

_WORDS = {
    DemotionCause.RESIGNED: "it resigned",
    DemotionCause.STOPPED: "it was stopped",
    DemotionCause.LEASE_EXPIRED: "its lease reached the local deadline",
    DemotionCause.SESSION_LOST: "its session has ended",
    DemotionCause.DELETED: "its entry was deleted by somebody else",
    DemotionCause.SUPERSEDED: "somebody else holds the election",
    DemotionCause.STORE_ERROR: "the store refuses it",
    DemotionCause.CALLBACK_FAILED: "a callback failed",
}


class Office:
    """
    The term of one candidate. On the engine's thread only, but for what is read.
    """

    def __init__(self, driver: CandidateDriver) -> None:
        self._driver = driver
        self.term: Term | None = None
        """The present term, published when its callbacks may begin. Any thread reads it."""
        self.running: dict[Job, None] = {}
        """Callbacks of terms that have not returned. Any thread may copy it."""
        self._unpublished: Term | None = None
        self._awaited = 0
        """Audits that have yet to say that they wrote the election down."""

    # -- taking it ----------------------------------------------------------------------------------------------

    def await_audit(self) -> None:
        """
        Do not publish the term before one more audit has written it down.
        """
        self._awaited += 1

    def take(self, token: int, deadline: float) -> None:
        """
        Begin a term.
        """
        driver = self._driver
        self._unpublished = Term(
            driver.election,
            driver.node,
            token,
            deadline,
            clock=driver.engine.now,
            elected_at=driver.engine.utcnow(),
            wakeup=driver.engine.wakeup(),
        )
        if self._awaited == 0:
            self._publish()

    def audited(self, attempt: int, error: BaseException | None) -> None:
        """
        An audit that the term waits for was written, or could not be.
        """
        driver = self._driver
        self._awaited -= 1
        if attempt != driver.ctx.attempt or self._unpublished is None:
            return
        if error is not None:
            driver.report(error)
            now = driver.engine.now()
            driver.fire(Event(T.CALLBACK_FAILED, now, attempt=attempt, callback="audit", error=error))
        elif self._awaited == 0:
            self._publish()

    def _publish(self) -> None:
        term = self._unpublished
        assert term is not None  # noqa: S101 - the callers have looked
        if not term.is_current:
            return  # its deadline has passed already, the process stood still: nobody is told of it
        self.term, self._unpublished = term, None
        self._driver.notify_changed()
        for function in self._driver.subscriptions.elected:
            self.begin(function, term)

    def begin(self, function: Function, term: Term) -> None:
        """
        Call one function of `on_elected` for the present term.
        """
        if term is not self.term or not term.is_current:
            return
        driver = self._driver
        job = Job("on_elected", function, (driver.wrap_term(function, term),), driver, self._returned, driver.user_loop)
        self._began(job)
        driver.engine.run_user(job, self._returned)

    def extend(self, deadline: float) -> None:
        """
        The lease was renewed.
        """
        term = self.term or self._unpublished
        if term is not None:
            term._extend(deadline)  # noqa: SLF001 - the engine extends terms

    # -- leaving it ---------------------------------------------------------------------------------------------

    def end(self, cause: DemotionCause, event: Event[Any]) -> None:
        """
        End the term: it is not current from now on.
        """
        words = _WORDS[cause]
        detail = words if event.error is None else f"{words}: {words_of(event.error, event.said)}"
        term = self.term or self._unpublished
        if term is not None:
            term._end(cause, detail, event.reason)  # noqa: SLF001 - the engine ends terms

    def leave(self) -> None:
        """
        Tell the callbacks of the term that has ended.
        """
        term, self.term, self._unpublished = self.term, None, None
        for job in self.running:
            job.cancel()
        if term is None:
            return  # it was never published: on_elected has not run
        driver = self._driver
        for function in driver.subscriptions.demoted:
            arguments = (driver.wrap_term(function, term), term.cause)
            job = Job("on_demoted", function, arguments, driver, self._returned, driver.user_loop)
            self._began(job)
            driver.lane.put(job)

    def forked(self) -> None:
        """
        In a forked child: the term is the parent's.
        """
        term, self.term = self.term, None
        if term is not None:
            term._extend(0.0)  # noqa: SLF001 - the engine ends terms
        self.running.clear()

    # -- callbacks ----------------------------------------------------------------------------------------------

    def _began(self, job: Job) -> None:
        self.running[job] = None
        self._driver.ctx.callbacks_running = len(self.running)

    def _returned(self, job: Job, error: BaseException | None) -> None:
        driver = self._driver
        self.running.pop(job, None)
        driver.ctx.callbacks_running = len(self.running)
        if error is not None:  # a user sees a term end by the clock, maybe before its timer: the cause comes first
            driver.campaign.keeper.check_expiry()
        over = driver.ctx.state is not S.LEADER or job.args[0].token != driver.ctx.token
        if error is not None and not (over and isinstance(error, NotLeader | asyncio.CancelledError)):
            driver.callback_failed(job, error)
        driver.callback_returned()

"""
What the effects of the candidate's table come to: each is carried out after its row was committed, on the engine's
thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from leadership._runtime.cleanup import Cleanup
from leadership._runtime.jobs import words_of
from leadership._runtime.trace import Trace
from leadership.fsm.event import Event
from leadership.fsm.states import CandidateEffect as E
from leadership.fsm.states import CandidateState as S
from leadership.fsm.states import CandidateTrigger as T
from leadership.store import Fact, Holder, WatchEvent

if TYPE_CHECKING:
    from leadership._runtime.candidate import CandidateDriver


def _new_attempt(driver: CandidateDriver, _event: Event[Any]) -> None:
    driver.ctx.attempt += 1
    driver.ctx.token = None
    driver.next_retry = None
    driver.follower.start()  # where a refusal has ended it between two attempts
    driver.campaign.begin()


def _try_acquire(driver: CandidateDriver, _event: Event[Any]) -> None:
    driver.campaign.ask()


def _await_vacancy(driver: CandidateDriver, event: Event[Any]) -> None:
    driver.campaign.contended(event)


def _cancel_attempt(driver: CandidateDriver, _event: Event[Any]) -> None:
    driver.campaign.cancel()


def _release_orphan(driver: CandidateDriver, event: Event[Any]) -> None:
    driver.campaign.release_orphan(event)


def _arm_lease_timer(driver: CandidateDriver, event: Event[Any]) -> None:
    """
    The keeper's timer tells when the deadline passes; here the view learns who leads.
    """
    if driver.timer is not None:
        driver.timer.cancel()
    holder = Holder(driver.node, event.token or 0, event.session or "", driver.settings.metadata or {})
    driver.follower.observe(WatchEvent(Fact.LEADER_OBSERVED, holder=holder, revision=event.revision), confirmed=True)


def _on_elected(driver: CandidateDriver, event: Event[Any]) -> None:
    if driver.campaign.token_reset:
        driver.engine.say(
            logging.WARNING, "leadership.token_reset", election=driver.election, node=driver.node, token=event.token
        )
    driver.office.take(event.token or 0, driver.ctx.lease_deadline)


def _extend_lease(driver: CandidateDriver, event: Event[Any]) -> None:
    driver.renewals += 1
    driver.ctx.lease_deadline = event.deadline or 0.0
    driver.office.extend(driver.ctx.lease_deadline)


def _retry_renew(driver: CandidateDriver, event: Event[Any]) -> None:
    driver.note_error(event)
    driver.campaign.keeper.retry_soon()


def _verify_ownership(driver: CandidateDriver, _event: Event[Any]) -> None:
    driver.follower.read_now()


def _mark_suspended(driver: CandidateDriver, event: Event[Any]) -> None:
    driver.note_error(event)


def _on_demoted(driver: CandidateDriver, _event: Event[Any]) -> None:
    driver.office.leave()


def _set_stop(driver: CandidateDriver, _event: Event[Any]) -> None:
    driver.ctx.stopping = True


def _set_rejoin(driver: CandidateDriver, event: Event[Any]) -> None:
    driver.cool_down = driver.settings.cool_down if event.cool_down is None else event.cool_down


def _set_cool_down(driver: CandidateDriver, event: Event[Any]) -> None:
    _set_rejoin(driver, event)


def _cleanup(driver: CandidateDriver, event: Event[Any]) -> None:
    now = driver.engine.now()
    if driver.timer is not None:
        driver.timer.cancel()
    driver.note_error(event)
    driver.failed_exit = driver.ctx.state is S.ERROR or event.trigger is T.CALLBACK_FAILED
    if driver.failed_exit:
        driver.failures += 1
        if event.fatal or not driver.settings.backoff.allows(driver.failures):
            driver.ctx.failed_for_good = True
            driver.error = driver.last_error
    deadline = driver.ctx.lease_deadline if driver.ctx.token is not None else now + driver.settings.ttl
    until = deadline if driver.settings.grace is None else now + driver.settings.grace
    campaign = driver.campaign
    driver.cleanup = Cleanup(
        driver,
        campaign.keeper,
        campaign.session,
        campaign.entry,
        until=until,
        deadline=max(deadline, until),
        held=event.trigger not in (T.LEASE_EXPIRED, T.SESSION_LOST),
        reason=event.payload if event.trigger in (T.RESIGN, T.STOP) else None,
    )


def _retry_release(driver: CandidateDriver, event: Event[Any]) -> None:
    driver.note_error(event)
    if driver.cleanup is not None:
        driver.cleanup.retry(event)


def _mark_not_held(driver: CandidateDriver, _event: Event[Any]) -> None:
    if driver.cleanup is not None:
        driver.cleanup.not_held()


def _arm_backoff(driver: CandidateDriver, event: Event[Any]) -> None:
    now = driver.engine.now()
    delay = 0.0 if driver.cool_down is None else driver.cool_down
    if driver.failed_exit:
        draw = driver.engine.random.random()
        delay = max(delay, driver.settings.backoff.delay(driver.failures, driver.settings.ttl, draw))
    if event.trigger is T.RESIGN and driver.next_retry is not None:
        delay = max(delay, driver.next_retry - now)
    driver.cool_down = None
    driver.callbacks_awaited = False  # whoever resigns meanwhile stays out for as long as was asked
    driver.next_retry = now + delay
    driver.arm(driver.next_retry, driver.backoff_elapsed)


def _cancel_backoff(driver: CandidateDriver, _event: Event[Any]) -> None:
    driver.next_retry = None
    if driver.timer is not None:
        driver.timer.cancel()


def _await_callbacks(driver: CandidateDriver, _event: Event[Any]) -> None:
    driver.callbacks_awaited = True
    driver.engine.say(
        logging.WARNING,
        "leadership.callbacks_still_running",
        election=driver.election,
        node=driver.node,
        callbacks=[job.name for job in driver.office.running],
    )


def _note_failure(driver: CandidateDriver, _event: Event[Any]) -> None:
    """
    The callback's failure was logged and reported where it was met.
    """


def _on_stopped(driver: CandidateDriver, _event: Event[Any]) -> None:
    driver.ctx.stopping = False
    driver.follower.stop()
    driver.campaign.keeper.detach(driver)
    driver.campaign.session = None
    driver.engine.drivers.discard(driver)
    driver.next_retry = None
    driver.own.ended()
    caller, driver.restart = driver.restart, None
    if caller is not None:
        driver.error = None  # of the life before
        driver.engine.call_soon(_start_again, driver, caller)
    else:
        driver.wanted = False


def _start_again(driver: CandidateDriver, caller: Trace) -> None:
    if driver.wanted:  # else another stop has come in between
        driver.within(caller, driver.own.start, driver.store)


def _on_gave_up(driver: CandidateDriver, event: Event[Any]) -> None:
    error = None if driver.error is None else words_of(driver.error)
    driver.engine.say(logging.ERROR, "leadership.gave_up", election=driver.election, node=driver.node, error=error)
    _on_stopped(driver, event)


EFFECTS: Final[dict[Any, Callable[[Any, Event[Any]], None]]] = {
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

"""
Who is told what: an observer with the methods that it may have besides, and the renewals that it hears of by one.

Law 1: an observer is the user's code, and so is the look-up of its attributes. They are looked up once, on the thread
that gives the observer; on the engine's thread nothing of an observer is touched.

A renewal is no transition and has no record of its own in history, log and audit: there are too many of them. An
observer that has a method `on_renewal` is told each; where none has, a renewal costs a look at the observers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from leadership._runtime.jobs import check_callback
from leadership.errors import ConfigError, LeadershipError
from leadership.fsm.record import Renewal
from leadership.fsm.states import CandidateState as S
from leadership.observers.audit import AuditLog

if TYPE_CHECKING:
    from leadership._runtime.candidate import CandidateDriver


class Listener(NamedTuple):
    """
    An observer, as the engine knows it.
    """

    observer: Callable[..., Any]
    audit: AuditLog | None
    on_renewal: Callable[..., Any] | None
    on_dropped: Callable[..., Any] | None


def listener(observer: Callable[..., Any]) -> Listener:
    """
    Check an observer, and look its methods up. On the thread of whoever gives it.

    Raises:
        ConfigError: It, or a method of it, could not be called, or raises when it is looked up.
    """
    check_callback("an observer", observer, ("transition",), coroutines=False)
    on_renewal, on_dropped = (_method(observer, *of) for of in (("on_renewal", "renewal"), ("on_dropped", "count")))
    audit = observer if isinstance(observer, AuditLog) else None
    return Listener(observer, audit, on_renewal, on_dropped)


def _method(observer: Callable[..., Any], name: str, argument: str) -> Callable[..., Any] | None:
    try:
        method = getattr(observer, name, None)
    except Exception as error:
        msg = f"an observer's {name} raises {type(error).__name__} when it is looked up: {error}"
        raise ConfigError(msg) from error
    if method is not None:
        check_callback(f"an observer's {name}", method, (argument,), coroutines=False)
    return method


def tell_renewal(driver: CandidateDriver, sent: float, headroom: float, error: LeadershipError | None = None) -> None:
    """
    Tell the observers of one who leads that a renewal was acknowledged, or failed by an error. On the engine's thread.
    """
    if driver.ctx.state is not S.LEADER:
        return
    renewal: Renewal | None = None
    for told in driver.subscriptions.observers:
        if told.on_renewal is None:
            continue
        if renewal is None:
            renewal = _renewal(driver, sent, headroom, error)
        driver.engine.dispatcher.put(told.on_renewal, renewal, on_dropped=told.on_dropped)


def _renewal(driver: CandidateDriver, sent: float, headroom: float, error: LeadershipError | None) -> Renewal:
    engine = driver.engine
    now = engine.now()
    return Renewal(
        election=driver.election,
        node=driver.node,
        boot=engine.boot,
        incarnation=driver.incarnation,
        at=engine.utcnow(),
        monotonic=now,
        token=driver.ctx.token or 0,
        latency=max(0.0, now - sent),
        headroom=max(0.0, headroom),
        lease_deadline=driver.ctx.lease_deadline,
        error=None if error is None else f"{type(error).__name__}: {error}",
    )

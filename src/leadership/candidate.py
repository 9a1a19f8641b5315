"""
The candidate: one who stands in an election.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from leadership._face import Face, default_node
from leadership._runtime.candidate import CandidateDriver
from leadership._runtime.engine import Engine
from leadership._runtime.jobs import check_callback, is_inside
from leadership._runtime.settings import CandidateSettings
from leadership.checks import check_metadata, check_name, check_number, check_reason, check_timeout
from leadership.errors import ConfigError
from leadership.fsm.backoff import Backoff
from leadership.fsm.record import Transition
from leadership.fsm.row import DemotionCause
from leadership.fsm.states import CandidateState
from leadership.store import Store, Timing
from leadership.term import Leader, Term

OnElected = TypeVar("OnElected", bound=Callable[[Term], Any])
OnDemoted = TypeVar("OnDemoted", bound=Callable[[Term, DemotionCause], Any])
CALLBACK_ERRORS = ("resign", "keep", "stop")


@dataclass(frozen=True, slots=True)
class CandidateStatus:
    """
    A candidate at one moment. Immutable.
    """

    election: str
    node: str | None
    """None before the first start when none was given."""
    state: CandidateState
    since: str | None
    """When the state was entered, RFC 3339, UTC."""
    why: str
    """The trigger that led into the state."""
    is_leader: bool
    token: int | None
    lease_remaining: float | None
    """Seconds until the local deadline, while it leads."""
    leader: str | None
    """The node that leads, as last seen."""
    is_stale: bool
    last_error: str | None
    attempts: int
    """Campaigns so far."""
    next_retry: float | None
    """Seconds until the next campaign, in backoff."""
    renewal_overdue: bool
    """It leads, and its last renewal was not acknowledged."""
    running_callbacks: tuple[str, ...]
    timing: Timing

    def as_dict(self) -> dict[str, Any]:
        """
        JSON-able values.
        """
        out = {name: getattr(self, name) for name in self.__slots__}
        out["state"] = self.state.value
        out["running_callbacks"] = list(self.running_callbacks)
        out["timing"] = self.timing.as_dict()
        return out


class Candidate(Face[CandidateDriver]):
    """
    One who stands in an election. Any thread may use it.

    What it promises, and what it does not: at most one candidate of an election believes that it leads, as long as the
    store is linearizable, the local clock runs at most 10 % slower than the store's, and nobody ends the leader's entry
    before its time. Work that outlives `Term.is_current` is not stopped by anybody: hand `Term.token` to what the work
    touches and let it refuse older ones.
    """

    _kind = "candidate"

    def __init__(
        self,
        store: Store | str,
        election: str,
        node: str | None = None,
        *,
        ttl: float = 15.0,
        grace: float | None = None,
        backoff: Backoff | None = None,
        cool_down: float = 1.0,
        on_callback_error: str = "resign",
        observers: Iterable[Callable[[Transition], Any]] = (),
        metadata: Mapping[str, Any] | None = None,
        log: bool = True,
    ) -> None:
        """
        Args:
            store: From `connect()`, never closed by the candidate; or a URL, of which it opens and closes its own.
            election: The name that all its candidates share.
            node: Who this is; None for `host:pid`, resolved at `start()`.
            ttl: Seconds that the lease outlives its last renewal.
            grace: Seconds that callbacks may take at a demotion before the entry is released all the same; None for
                until the local deadline.
            backoff: The waits after failures.
            cool_down: Seconds to stay out after a resignation.
            on_callback_error: What follows when `on_elected` raises: `resign` and stand again, `keep` leading, `stop`.
            observers: Told each transition; an `AuditLog`, say.
            metadata: JSON, up to 4 KiB, published beside the entry: an address, say.
            log: Whether transitions go to the log.

        Raises:
            ConfigError: An argument cannot be used; nothing has started.
        """
        super().__init__(store, election, observers=observers, log=log)
        self._node = None if node is None else check_name("node", node)
        if on_callback_error not in CALLBACK_ERRORS:
            msg = f"on_callback_error must be one of {', '.join(CALLBACK_ERRORS)}, not {on_callback_error!r}"
            raise ConfigError(msg)
        if backoff is not None and not isinstance(backoff, Backoff):
            msg = f"backoff must be a Backoff, not {backoff!r}"
            raise ConfigError(msg)
        timing = self._seen_store().timing(ttl)
        self._settings = CandidateSettings(
            ttl=timing.ttl,
            grace=None if grace is None else check_number("grace", grace, least=0.0),
            backoff=backoff or Backoff(),
            cool_down=check_number("cool_down", cool_down, least=0.0),
            on_callback_error=on_callback_error,
            metadata=check_metadata(metadata),
            timing=timing,
        )

    def _seen_store(self) -> Store:
        return self._store if self._node is None else self._store.seen_by(self._node)

    def _make_driver(self, engine: Engine, store: Store, loop: asyncio.AbstractEventLoop | None) -> CandidateDriver:
        return CandidateDriver(
            engine,
            store,
            self._election,
            self._node or default_node(),
            self._settings,
            self._subscriptions,
            log=self._log,
            loop=loop,
            history=self._history,
            changed=self._changed,
            wrap_term=self._wrap_term,
        )

    def _wrap_term(self, _function: Callable[..., Any], term: Term) -> Any:
        return term

    # -- life ---------------------------------------------------------------------------------------------------

    def _request_stop(self, driver: CandidateDriver, reason: str | None, *, publish: bool = False) -> None:
        driver.request_stop(reason, publish=publish)

    def resign(
        self,
        reason: str | None = None,
        *,
        rejoin: bool = True,
        cool_down: float | None = None,
        timeout: float | None = None,
    ) -> bool:
        """
        Step down, or withdraw when it does not lead, and stand again after a cool-down.

        Args:
            reason: The operator's words, at most 1 KiB on one line; they go to the log, the audit, `Term.reason`, and
                through the store to all who follow.
            rejoin: False to leave the contest: `stop` with a reason.
            cool_down: Seconds to stay out, in which it still follows; None for the candidate's own.
            timeout: Seconds to wait until the entry is released; None for its grace and TTL.

        Returns:
            True when that was settled in time. From inside a callback it only asks, and returns False.

        Raises:
            ConfigError: An argument cannot be used.
        """
        timeout = check_timeout(timeout)
        settled = self._ask_to_resign(reason, cool_down, rejoin=rejoin)
        if settled is None:
            return self._stop(timeout, reason)
        driver = self._driver
        if driver is None:
            return True
        if is_inside(driver):
            return False
        return driver.engine.wait(self._changed, settled.is_set, driver.patience if timeout is None else timeout)

    def _ask_to_resign(self, reason: str | None, cool_down: float | None, *, rejoin: bool) -> threading.Event | None:
        """
        Check the arguments and ask; what is returned is set when it is settled. None: it is a stop that is wanted.
        """
        check_reason(reason)
        pause = None if cool_down is None else check_number("cool_down", cool_down, least=0.0)
        if not rejoin:
            return None
        settled = threading.Event()
        if self._driver is not None:
            self._driver.request_resign(reason, pause, settled)
        return settled

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # -- what it knows ------------------------------------------------------------------------------------------

    @property
    def node(self) -> str | None:
        """
        Its name; None before the first start when none was given.
        """
        return self._node if self._driver is None else self._driver.node

    @property
    def timing(self) -> Timing:
        """
        What its TTL means on its store.
        """
        return self._settings.timing

    @property
    def state(self) -> CandidateState:
        """
        Where it is in its life. For whether it leads now, ask `is_leader`.
        """
        return CandidateState.IDLE if self._driver is None else self._driver.ctx.state

    @property
    def is_leader(self) -> bool:
        """
        Whether it leads at this very moment: evaluated at the call, False at and after the lease's local deadline.

        It does not say that it will lead a moment later, and does not stop anybody: that takes the fencing token.
        """
        return self._driver is not None and self._driver.is_leader

    @property
    def term(self) -> Term | None:
        """
        The present term; None whenever `is_leader` is False.
        """
        term = None if self._driver is None else self._driver.office.term
        return term if term is not None and term.is_current else None

    @property
    def leader(self) -> Leader | None:
        """
        Who leads, as last seen; None for nobody, and for not known yet (ask `is_stale`).
        """
        return None if self._driver is None else self._driver.follower.leader

    @property
    def is_stale(self) -> bool:
        """
        True while it is not known who leads.
        """
        return self._driver is None or self._driver.follower.is_stale

    def status(self) -> CandidateStatus:
        """
        Everything at one moment.
        """
        driver = self._driver
        term = self.term
        leader = self.leader
        error = None if driver is None else driver.last_error
        waiting = driver is not None and driver.next_retry is not None and self.state is CandidateState.BACKOFF
        return CandidateStatus(
            election=self._election,
            node=self.node,
            state=self.state,
            since=None if driver is None else driver.since_utc.isoformat(),
            why="" if driver is None else driver.why,
            is_leader=term is not None,
            token=None if term is None else term.token,
            lease_remaining=None if term is None else term.remaining(),
            leader=None if leader is None else leader.node,
            is_stale=self.is_stale,
            last_error=None if error is None else f"{type(error).__name__}: {error}",
            attempts=0 if driver is None else driver.ctx.attempt,
            next_retry=max(0.0, (driver.next_retry or 0.0) - driver.engine.now()) if waiting and driver else None,
            renewal_overdue=driver is not None and driver.renewal_overdue,
            running_callbacks=() if driver is None else tuple(job.name for job in tuple(driver.office.running)),
            timing=self.timing,
        )

    def liveness_fds(self) -> tuple[int, ...]:
        """
        Descriptors that a guard process may inherit: while one is open, others take this process for alive.

        Empty where the store does not attest deaths, and while it does not campaign.
        """
        return () if self._driver is None else self._driver.liveness_fds()

    # -- waiting and telling ------------------------------------------------------------------------------------

    def wait_elected(self, timeout: float | None = None) -> Term | None:
        """
        Wait until it leads.

        Args:
            timeout: Seconds; None for no limit.

        Returns:
            The term; None when the time was up or it was stopped.

        Raises:
            LeadershipError: What ended it for good.
        """
        self._wait(lambda: self.is_leader, timeout)
        self._raise_fatal()
        return self.term

    def elections(self) -> Iterator[bool]:
        """
        Iterate False, then the present if it differs, then each change of `is_leader`; ends when it has stopped.

        Every call has a queue of its own, and a slow reader sees the latest.

        Raises:
            LeadershipError: What ended it for good.
        """
        return self._changes(lambda: self.is_leader, False)  # noqa: FBT003 - the first value

    def on_elected(self, fn: OnElected) -> OnElected:
        """
        Have `fn(term)` called at each election, in a daemon thread of its own; it may last as long as the term.

        At once if it leads already. Returning does not end the term; raising does, by `on_callback_error`.
        Returns `fn`.
        """
        check_callback("on_elected", fn, ("term",), coroutines=self._coroutines)
        driver = self._driver

        def add() -> None:
            with self._subscribing:
                self._subscriptions.elected = (*self._subscriptions.elected, fn)
            if driver is not None and driver.office.term is not None:
                driver.office.begin(fn, driver.office.term)

        if driver is None or driver.engine.pid != os.getpid():  # a forked child's, of which the engine runs no more
            add()
        else:
            driver.engine.post(add)
        return fn

    def on_demoted(self, fn: OnDemoted) -> OnDemoted:
        """
        Have `fn(term, cause)` called once for each election, when its term has ended; never without one. Returns `fn`.
        """
        check_callback("on_demoted", fn, ("term", "cause"), coroutines=self._coroutines)
        with self._subscribing:
            self._subscriptions.demoted = (*self._subscriptions.demoted, fn)
        return fn

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._election!r} node={self.node!r} {self.state.value}>"

"""
The asyncio faces: adapters over the same engine thread.

A blocked loop of the user's cannot stop a renewal, and a slow store cannot block the loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, TypeVar

from leadership._aio import AsyncFace, AsyncTerm
from leadership._runtime.jobs import is_coroutine_function, is_inside
from leadership.candidate import Candidate, CandidateStatus
from leadership.checks import check_timeout
from leadership.follower import Follower, FollowerStatus
from leadership.fsm.backoff import Backoff
from leadership.fsm.record import Transition
from leadership.fsm.states import CandidateState, FollowerState
from leadership.store import Store, Timing
from leadership.term import Leader, Term

F = TypeVar("F", bound=Callable[..., Any])


class _LoopCandidate(Candidate):
    _coroutines = True

    def _wrap_term(self, function: Callable[..., Any], term: Term) -> Any:
        return AsyncTerm(term) if is_coroutine_function(function) else term


class _LoopFollower(Follower):
    _coroutines = True


class AsyncCandidate(AsyncFace[_LoopCandidate]):
    """
    A `Candidate` for asyncio: the same words, awaited.

    Coroutine callbacks run on the loop that was running at `start()`; the task of a coroutine `on_elected` is cancelled
    when its term ends. Plain functions run in a thread and take a `Term`; coroutine functions take an `AsyncTerm`.
    """

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
            store: See `Candidate`, as for the rest.
            election: The name that all its candidates share.
            node: Who this is.
            ttl: Seconds that the lease outlives its last renewal.
            grace: Seconds that callbacks may take at a demotion.
            backoff: The waits after failures.
            cool_down: Seconds to stay out after a resignation.
            on_callback_error: `resign`, `keep` or `stop`.
            observers: Told each transition.
            metadata: JSON published beside the entry.
            log: Whether transitions go to the log.

        Raises:
            ConfigError: An argument cannot be used.
        """
        super().__init__(
            _LoopCandidate(
                store,
                election,
                node,
                ttl=ttl,
                grace=grace,
                backoff=backoff,
                cool_down=cool_down,
                on_callback_error=on_callback_error,
                observers=observers,
                metadata=metadata,
                log=log,
            )
        )

    @property
    def node(self) -> str | None:
        """
        Its name; None before the first start when none was given.
        """
        return self._face.node

    @property
    def timing(self) -> Timing:
        """
        What its TTL means on its store.
        """
        return self._face.timing

    @property
    def state(self) -> CandidateState:
        """
        Where it is in its life.
        """
        return self._face.state

    @property
    def is_leader(self) -> bool:
        """
        Whether it leads at this very moment; see `Candidate.is_leader`.
        """
        return self._face.is_leader

    @property
    def term(self) -> AsyncTerm | None:
        """
        The present term; None whenever `is_leader` is False.
        """
        term = self._face.term
        return None if term is None else AsyncTerm(term)

    def status(self) -> CandidateStatus:
        """
        Everything at one moment.
        """
        return self._face.status()

    async def resign(
        self,
        reason: str | None = None,
        *,
        rejoin: bool = True,
        cool_down: float | None = None,
        timeout: float | None = None,
    ) -> bool:
        """
        Step down and stand again after a cool-down; see `Candidate.resign`.

        Raises:
            ConfigError: An argument cannot be used.
        """
        timeout = check_timeout(timeout)
        settled = self._face._ask_to_resign(reason, cool_down, rejoin=rejoin)  # noqa: SLF001 - one library
        if settled is None:
            return await self._stop(timeout, reason)
        driver = self._face._driver  # noqa: SLF001 - one library
        if driver is None:
            return True
        if is_inside(driver):
            return False
        await self._wait(settled.is_set, driver.patience if timeout is None else timeout)
        return settled.is_set()

    async def wait_elected(self, timeout: float | None = None) -> AsyncTerm | None:
        """
        Wait until it leads; None when `timeout` seconds have passed or it was stopped.

        Raises:
            LeadershipError: What ended it for good.
        """
        await self._wait(lambda: self.is_leader, timeout)
        self._face._raise_fatal()  # noqa: SLF001 - one library
        return self.term

    def elections(self) -> AsyncIterator[bool]:
        """
        Iterate False, then the present if it differs, then each change; see `Candidate.elections`.
        """
        return self._changes(lambda: self.is_leader, False)  # noqa: FBT003 - the first value

    def on_elected(self, fn: F) -> F:
        """
        Have `fn(term)` called in a thread, or awaited on the loop, at each election. Returns `fn`.
        """
        return self._face.on_elected(fn)

    def on_demoted(self, fn: F) -> F:
        """
        Have `fn(term, cause)` called in a thread, or awaited on the loop, once for each election. Returns `fn`.
        """
        return self._face.on_demoted(fn)


class AsyncFollower(AsyncFace[_LoopFollower]):
    """
    A `Follower` for asyncio: the same words, awaited.
    """

    def __init__(
        self,
        store: Store | str,
        election: str,
        *,
        backoff: Backoff | None = None,
        observers: Iterable[Callable[[Transition], Any]] = (),
        log: bool = True,
    ) -> None:
        """
        Args:
            store: See `Follower`, as for the rest.
            election: The name that its candidates share.
            backoff: The waits after failures.
            observers: Told each transition.
            log: Whether transitions go to the log.

        Raises:
            ConfigError: An argument cannot be used.
        """
        super().__init__(_LoopFollower(store, election, backoff=backoff, observers=observers, log=log))

    @property
    def state(self) -> FollowerState:
        """
        What it knows.
        """
        return self._face.state

    def status(self) -> FollowerStatus:
        """
        Everything at one moment.
        """
        return self._face.status()

    async def leaders(self) -> AsyncIterator[Leader | None]:
        """
        Iterate the present leader, then each change; None for nobody. Ends when it has stopped.

        Raises:
            LeadershipError: What ended it for good.
        """
        await self._wait(lambda: not self.is_stale, None)
        if self.is_stale:
            self._face._raise_fatal()  # noqa: SLF001 - one library
            return
        async for leader in self._changes(lambda: self.leader):
            yield leader


__all__ = ["AsyncCandidate", "AsyncFollower", "AsyncTerm"]

"""
The follower: one who only watches who leads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from leadership._face import Face, default_node
from leadership._runtime.engine import Engine
from leadership._runtime.follower import FollowerDriver
from leadership.errors import ConfigError
from leadership.fsm.backoff import Backoff
from leadership.fsm.record import Transition
from leadership.fsm.states import FollowerState
from leadership.store import Store
from leadership.term import Leader


@dataclass(frozen=True, slots=True)
class FollowerStatus:
    """
    A follower at one moment. Immutable.
    """

    election: str
    state: FollowerState
    since: str | None
    """When the state was entered, RFC 3339, UTC."""
    why: str
    """The trigger that led into the state."""
    leader: str | None
    token: int | None
    is_stale: bool
    reason: str | None
    """
    Why the last term ended that was followed: the words of who asked for it. None: nobody said, or none has ended since
    the start.
    """
    last_error: str | None

    def as_dict(self) -> dict[str, Any]:
        """
        JSON-able values.
        """
        out = {name: getattr(self, name) for name in self.__slots__}
        out["state"] = self.state.value
        return out


class Follower(Face[FollowerDriver]):
    """
    One who only watches who leads. Any thread may use it.

    What it says is what was last seen: between the end of a term and its sight lies the watch's latency, and `is_stale`
    says when not even that is known.
    """

    _kind = "follower"

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
            store: From `connect()`, never closed by the follower; or a URL, of which it opens and closes its own.
            election: The name that its candidates share.
            backoff: The waits after failures.
            observers: Told each transition.
            log: Whether transitions go to the log.

        Raises:
            ConfigError: An argument cannot be used; nothing has started.
        """
        super().__init__(store, election, observers=observers, log=log)
        if backoff is not None and not isinstance(backoff, Backoff):
            msg = f"backoff must be a Backoff, not {backoff!r}"
            raise ConfigError(msg)
        self._backoff = backoff or Backoff()

    def _make_driver(self, engine: Engine, store: Store, loop: asyncio.AbstractEventLoop | None) -> FollowerDriver:
        return FollowerDriver(
            engine,
            store,
            self._election,
            default_node(),
            self._subscriptions,
            backoff=self._backoff,
            log=self._log,
            loop=loop,
            history=self._history,
            changed=self._changed,
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def state(self) -> FollowerState:
        """
        What it knows.
        """
        return FollowerState.IDLE if self._driver is None else self._driver.ctx.state

    @property
    def leader(self) -> Leader | None:
        """
        Who leads, as last seen; None for nobody, and for not known yet (ask `is_stale`).
        """
        return None if self._driver is None else self._driver.leader

    @property
    def is_stale(self) -> bool:
        """
        True while it is not known who leads.
        """
        return self._driver is None or self._driver.is_stale

    def leaders(self) -> Iterator[Leader | None]:
        """
        Iterate the present leader, then each change; None for nobody. Ends when it has stopped.

        Nothing is yielded before the truth is known. A slow reader sees the latest.

        Raises:
            LeadershipError: What ended it for good.
        """
        self._wait(lambda: not self.is_stale, None)
        if self.is_stale:
            self._raise_fatal()
            return
        yield from self._changes(lambda: self.leader)

    def status(self) -> FollowerStatus:
        """
        Everything at one moment.
        """
        driver = self._driver
        leader = self.leader
        error = None if driver is None else driver.last_error
        return FollowerStatus(
            election=self._election,
            state=self.state,
            since=None if driver is None else driver.since_utc.isoformat(),
            why="" if driver is None else driver.why,
            leader=None if leader is None else leader.node,
            token=None if leader is None else leader.token,
            is_stale=self.is_stale,
            reason=None if driver is None else driver.why_ended.reason,
            last_error=None if error is None else f"{type(error).__name__}: {error}",
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._election!r} {self.state.value}>"

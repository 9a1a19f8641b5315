"""
Tries everything that an election needs of a store, one thing after the other, in an election of its own.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from leadership import _clock
from leadership._runtime.api import ask
from leadership.errors import LeadershipError, StoreRefused, StoreUnavailable
from leadership.store import MARGIN, Entry, Fact, Outcome, Reply, Session, Store, WatchEvent

T = TypeVar("T")

LOOK: Final = 0.25
"""Seconds over which two clocks are compared."""
NODE: Final = "leadership-doctor"


class Unsound(LeadershipError):
    """
    The store would do as it is asked, and no election should rely on it.
    """


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What one check has come to.
    """

    check: str
    words: str
    error: LeadershipError | None = None


class Examination:
    """
    The checks of one store. Blocks; any thread but the engine's.
    """

    def __init__(self, store: Store, election: str, ttl: float, timeout: float) -> None:
        self._store = store
        self._election = election
        self._ttl = ttl
        self._timeout = timeout

    def findings(self) -> Iterator[Finding]:
        """
        One finding a check; the first that fails for want of the store, or of what later ones need, is the last.
        """
        checks: tuple[tuple[str, Callable[[], str]], ...] = (
            ("ttl", self._check_ttl),
            ("clock", self._check_clock),
            ("server", self._check_server),
            ("election", self._check_election),
        )
        for name, check in checks:
            try:
                yield Finding(name, check())
            except LeadershipError as error:
                yield Finding(name, str(error), error)
                if name != "clock":
                    return

    def _ask(self, what: str, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return ask(self._store, what, call, self._timeout)

    def _check_ttl(self) -> str:
        timing = self._store.timing(self._ttl)
        return (
            f"{timing.effective_ttl:g} s: renewed every {timing.renew_interval:.3g} s, stepped down after"
            f" {timing.steps_down_after:.3g} s, a crashed leader replaced within {timing.crash_takeover:.3g} s"
        )

    def _check_clock(self) -> str:
        began, other = _clock.now(), time.monotonic()
        time.sleep(LOOK)
        drift = abs((_clock.now() - began) / (time.monotonic() - other) - 1)
        if drift > MARGIN / 2:
            msg = f"two clocks of this machine differ by {drift:.0%}: a lease allows for {MARGIN:.0%}"
            raise Unsound(msg)
        through = "runs" if hasattr(time, "CLOCK_BOOTTIME") else "may not run"
        return f"deadlines are on a clock that {through} through a suspend, and no wall clock is asked"

    def _check_server(self) -> str:
        about = self._ask("ask for the version", self._store.about)
        began = _clock.now()
        self._ask("read", partial(self._store.read, (self._election,)))
        return f"{about}, a read takes {1000 * (_clock.now() - began):.1f} ms"

    def _check_election(self) -> str:
        return self._ask("hold an election", self._hold)

    async def _hold(self) -> str:
        """
        A whole term: session, renewal, entry, watch, the request to resign, release.
        """
        heard: asyncio.Queue[WatchEvent] = asyncio.Queue()
        now = asyncio.get_running_loop().time
        session = await self._store.open_session(self._ttl, heard.put_nowait)
        entry = Entry(self._election, NODE, uuid.uuid4().hex, {"examines": "leadership doctor"}, number=1)
        watch = self._store.watch(self._election, heard.put_nowait)
        try:
            began = now()
            _done(await session.renew(), "a renewal")
            renewal = now() - began
            token = await self._acquire(session, entry)
            await _hear(heard, Fact.LEADER_OBSERVED)
            _done(await self._store.request_resign(self._election, token, "examined"), "a request to resign")
            await _hear(heard, Fact.RESIGN_REQUESTED)
            _done(await session.release(entry), "a release")
            # What a term was asked for goes with the next one that nobody asks: nothing is left behind.
            last = Entry(self._election, NODE, uuid.uuid4().hex, number=2, above=token)
            await self._acquire(session, last)
            await _hear(heard, Fact.LEADER_OBSERVED)
            _done(await session.release(last), "a release")
        finally:
            watch.close()
            await session.end()
        if renewal > self._ttl / 12:
            sound = self._ttl / 12
            msg = f"a renewal took {renewal:.3g} s: with a TTL of {self._ttl:g} s at most {sound:.3g} s is sound"
            raise Unsound(msg)
        return (
            f"{self._election!r} was led with token {token}: session, entry, watch, request to resign and release are"
            f" permitted; a renewal takes {1000 * renewal:.1f} ms"
        )

    async def _acquire(self, session: Session, entry: Entry) -> int:
        reply = await session.acquire(entry)
        if reply.holder is not None and reply.outcome is Outcome.REFUSED:
            await session.release(entry)
            msg = f"{reply.holder.node} leads {self._election!r}: name one where nobody stands with --election"
            raise Unsound(msg)
        _done(reply, "an acquire")
        return reply.token or 0


def _done(reply: Reply, what: str) -> None:
    if reply.outcome is not Outcome.DONE:
        raise reply.error or StoreRefused(f"{what} was refused without a reason")


async def _hear(heard: asyncio.Queue[WatchEvent], fact: Fact) -> None:
    while True:
        event = await heard.get()
        if event.fact is fact:
            return
        if event.fact is Fact.WATCH_CLOSED:
            raise event.error or StoreUnavailable("the watch was closed without a reason")

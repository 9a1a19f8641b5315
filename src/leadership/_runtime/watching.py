"""
A follower's watch, which is opened anew from time to time.

Law: what a watch tells after its end is not heard, and what was to be opened before the end is not opened after it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from leadership.errors import LeadershipError
from leadership.store import Fact, Watch, WatchEvent

if TYPE_CHECKING:
    from leadership._runtime.engine import Engine, Timer
    from leadership._runtime.follower import FollowerDriver


BREATH = 0.003
"""
Seconds by which a candidate's follower gives way to the asking for the election, which would share threads and
connections with its first look.
"""
SOON = 0.1
"""
Seconds within which a grant that came after the watch's first word is looked into, together with those of all other
elections of the process: it may begin a thousand at once.
"""


class Watching:
    """
    One follower's. On the engine's thread only.
    """

    def __init__(self, engine: Engine, follower: FollowerDriver) -> None:
        self.failures = 0
        """Watches that have closed one after the other without a word."""
        self._engine = engine
        self._follower = follower
        self._watch: Watch | None = None
        self._number = 0
        self._timer: Timer | None = None

    @property
    def is_due(self) -> bool:
        """
        It is to be opened later.
        """
        return self._timer is not None

    def open(self) -> None:
        """
        Begin to watch; there is no other watch.
        """
        self._timer = None
        self._number += 1
        number, follower = self._number, self._follower

        def notify(event: WatchEvent) -> None:
            if number == self._number:
                if event.fact is not Fact.WATCH_CLOSED:
                    self.failures = 0
                self._engine.deliver(follower.observe, event)

        try:
            self._watch = follower.store.watch(follower.election, notify)
        except LeadershipError as error:
            self._engine.call_soon(follower.observe, WatchEvent(Fact.WATCH_CLOSED, error=error))

    def open_after(self, seconds: float, then: Callable[[], None] = lambda: None) -> None:
        """
        Begin to watch later, and do what is to be done then; unless it is closed before.
        """
        number = self._number

        def due() -> None:
            if number == self._number:
                self.open()
                then()

        self._timer = self._engine.call_at(self._engine.now() + seconds, due)

    def close(self) -> None:
        """
        End it. Idempotent.
        """
        self._number += 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

"""
Reads who leads: one call of the store for all who ask at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from leadership.store import Holder, Outcome, Reply, Store

if TYPE_CHECKING:
    from leadership._runtime.engine import Engine

TIMEOUT = 5.0
"""
Seconds; nothing is believed on the strength of a read, so it need not be tied to a lease.
"""

OnRead = Callable[[Reply], None]


class Reader:
    """
    Batches reads. On the engine's thread only.
    """

    def __init__(self, engine: Engine, store: Store) -> None:
        self._engine = engine
        self._store = store
        self._asked: dict[str, list[OnRead]] = {}

    def read(self, election: str, done: OnRead) -> None:
        """
        Read who leads; `done` is told `DONE` with the holder or None, or why it is not known.
        """
        if not self._asked:
            self._engine.call_soon(self._send)
        self._asked.setdefault(election, []).append(done)

    def _send(self) -> None:
        asked, self._asked = self._asked, {}
        found: Mapping[str, Holder | None] = {}

        async def call() -> Reply:
            nonlocal found
            found = await self._store.read(tuple(asked))
            return Reply(Outcome.DONE)

        def answered(reply: Reply, late: bool) -> None:
            if late:
                return
            for election, waiting in asked.items():
                one = Reply(Outcome.DONE, holder=found.get(election)) if reply.outcome is Outcome.DONE else reply
                for done in waiting:
                    self._engine.deliver(done, one)

        self._engine.request("read", call, TIMEOUT, answered)

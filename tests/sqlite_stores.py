"""
Embedded stores in the test's own process.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from leadership._clock import now
from leadership.backends.sqlite import SqliteSession, SqliteStore
from leadership.store import Entry, Fact, WatchEvent

TTL = 5.0


class Heard:
    """
    What a watch told, and when.
    """

    def __init__(self) -> None:
        self.events: list[WatchEvent] = []
        self.at: list[float] = []
        self._more = asyncio.Event()

    def __call__(self, event: WatchEvent) -> None:
        self.events.append(event)
        self.at.append(now())
        self._more.set()

    @property
    def facts(self) -> list[Fact]:
        return [event.fact for event in self.events]

    async def until(self, fact: Fact, timeout: float = 5.0) -> WatchEvent:
        async with asyncio.timeout(timeout):
            while fact not in self.facts:
                self._more.clear()
                await self._more.wait()
        return self.events[self.facts.index(fact)]


@asynccontextmanager
async def opened(path: Path, ttl: float = TTL) -> AsyncIterator[tuple[SqliteStore, SqliteSession]]:
    store = SqliteStore(str(path))
    try:
        session = await store.open_session(ttl, Heard())
        assert isinstance(session, SqliteSession)
        yield store, session
    finally:
        await store.aclose()


def entry(key: str = "k", election: str = "e", node: str = "n", **more: Any) -> Entry:
    return Entry(election, node, key, **more)


def operate(path: Path, statement: str, *arguments: object) -> list[Any]:
    """
    What an operator does with the `sqlite3` command.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement, arguments).fetchall()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))

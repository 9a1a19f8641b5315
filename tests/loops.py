"""
Tests that are coroutines, with an asyncio candidate.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import wraps
from typing import Any, TypeVar

from leadership import (
    AsyncCandidate,
    AsyncTerm,
    Store,
)

TTL = 2.0
SOON = 10.0
"""Seconds for what takes milliseconds on an idle machine."""
V = TypeVar("V")


def on_a_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """
    Run a coroutine as a test.
    """

    @wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


async def soon(condition: Callable[[], object]) -> None:
    """
    Wait until something holds.
    """
    async with asyncio.timeout(SOON):
        while not condition():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def elected(store: Store | str = "memory://", **settings: Any) -> AsyncIterator[tuple[AsyncCandidate, AsyncTerm]]:
    async with AsyncCandidate(store, "jobs", "a", **{"ttl": TTL, **settings}) as candidate:
        term = await candidate.wait_elected(SOON)
        assert term is not None
        yield candidate, term


async def first(values: AsyncIterator[V], number: int) -> list[V]:
    """
    The first values of an iteration.
    """
    return [await asyncio.wait_for(anext(values), SOON) for _ in range(number)]

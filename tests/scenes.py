"""
What the tests of stores share that run on a loop: what was told, new attempts, and calls that end as they must.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, TypeVar

from leadership.store import Entry, Fact, Outcome, Session, WatchEvent

SOON = 15.0
"""Seconds for what takes milliseconds on an idle machine."""
_numbers = itertools.count(1)
F = TypeVar("F", bound=Callable[..., Coroutine[Any, Any, None]])


def on_a_loop(test: F) -> Callable[..., None]:
    """
    Run a coroutine as a test; its arguments are fixtures.
    """

    @wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))

    return run


class Told(list[WatchEvent]):
    """
    What a watch or a session has told.
    """

    def __call__(self, event: WatchEvent) -> None:
        self.append(event)

    @property
    def facts(self) -> list[Fact]:
        """
        Without the details.
        """
        return [event.fact for event in self]

    async def until(self, fact: Fact, within: float = SOON, **also: Any) -> WatchEvent:
        """
        The first event of a kind, with these attributes.
        """
        async with asyncio.timeout(within):
            while True:
                for event in self:
                    if event.fact is fact and all(getattr(event, name) == value for name, value in also.items()):
                        return event
                await asyncio.sleep(0.005)


def entry(election: str = "job", node: str = "ann", **more: Any) -> Entry:
    """
    A new attempt.
    """
    return Entry(election, node, uuid.uuid4().hex, number=next(_numbers), **more)


async def taken(session: Session, claim: Entry) -> int:
    """
    The token of an acquire that is done.
    """
    reply = await session.acquire(claim)
    assert Outcome.DONE is reply.outcome, reply
    assert reply.token is not None
    return reply.token


async def refused(session: Session, claim: Entry) -> None:
    """
    An acquire that finds another leading.
    """
    reply = await session.acquire(claim)
    assert Outcome.REFUSED is reply.outcome, reply


async def released(session: Session, claim: Entry) -> None:
    """
    A release that is done.
    """
    reply = await session.release(claim)
    assert Outcome.DONE is reply.outcome, reply

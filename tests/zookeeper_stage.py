"""
What the tests of the ZooKeeper store share: a loop on the clock of deadlines, what was told, entries.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from leadership import _clock
from leadership.backends.zookeeper import ZooKeeperStore
from leadership.store import Entry, Fact, Holder, Outcome, Session, WatchEvent

T = TypeVar("T")
LEASE = 5.0
"""Seconds: the TTL of a session that outlasts its test."""

_numbers = itertools.count(1)


class _Loop(asyncio.SelectorEventLoop):
    def time(self) -> float:
        return _clock.now()


def run(main: Callable[[], Coroutine[Any, Any, T]], timeout: float = 50.0) -> T:
    """
    Run a scenario on a loop of its own, in bounded time; nothing that it leaves to the loop may fail.
    """
    faults: list[dict[str, Any]] = []

    async def bounded() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context))
        async with asyncio.timeout(timeout):
            result = await main()
        await asyncio.sleep(0)
        return result

    with asyncio.Runner(loop_factory=_Loop) as runner:
        result = runner.run(bounded())
    assert [] == faults
    return result


class Heard:
    """
    What a watch or a session has told.
    """

    def __init__(self) -> None:
        self.events: list[WatchEvent] = []

    def __call__(self, event: WatchEvent) -> None:
        self.events.append(event)

    @property
    def facts(self) -> list[Fact]:
        return [event.fact for event in self.events]

    async def until(self, fact: Fact, *, seconds: float = 5.0, token: int | None = None) -> WatchEvent:
        """
        Wait to be told a fact, past ones included.
        """
        end = time.monotonic() + seconds
        while True:
            for event in self.events:
                told = event.token if event.holder is None else event.holder.token
                if event.fact is fact and token in (None, told):
                    return event
            assert time.monotonic() < end, f"{fact} was not told within {seconds:g} s: {self.events}"
            await asyncio.sleep(0.005)


def entry(election: str = "job", node: str = "ann", **more: Any) -> Entry:
    """
    A new attempt.
    """
    return Entry(election, node, uuid.uuid4().hex, number=next(_numbers), **more)


async def take(session: Session, wanted: Entry) -> int:
    """
    Acquire what is vacant; the token.
    """
    reply = await session.acquire(wanted)
    assert Outcome.DONE is reply.outcome, reply
    assert reply.token is not None
    return reply.token


async def holder(store: ZooKeeperStore, election: str = "job") -> Holder | None:
    """
    Who leads.
    """
    return (await store.read([election]))[election]


async def eventually(true: Callable[[], Awaitable[bool]], what: str, seconds: float = 10.0) -> None:
    """
    Wait for a condition.
    """
    end = time.monotonic() + seconds
    while not await true():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.02)

"""
How what a client library's thread has found out comes to the engine's loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def post(loop: asyncio.AbstractEventLoop, fn: Callable[..., object], *args: Any) -> None:
    """
    Have `fn` called on the loop. Any thread may call it; a loop that is closed has nobody left to tell.
    """
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(fn, *args)


class Pending(Generic[T]):
    """
    The answer that a coroutine waits for and a thread gives. Made on the loop.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[T] = self._loop.create_future()

    def give(self, result: T) -> None:
        """
        Answer. Any thread may call it; only the first answer counts.
        """
        post(self._loop, self._settle, result, None)

    def fail(self, error: BaseException) -> None:
        """
        Answer with an error. Any thread may call it; only the first answer counts.
        """
        post(self._loop, self._settle, None, error)

    def _settle(self, result: Any, error: BaseException | None) -> None:
        if self._future.done():
            return  # cancelled, or answered: nobody waits
        if error is None:
            self._future.set_result(result)
        else:
            self._future.set_exception(error)

    async def wait(self, timeout: float | None = None) -> T:
        """
        The answer.

        Raises:
            TimeoutError: It did not come within so many seconds.
        """
        async with asyncio.timeout(timeout):
            return await self._future

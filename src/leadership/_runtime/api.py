"""
One call of a store, for those who stand on no machine: the command.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from leadership._runtime.process import engine_for
from leadership._runtime.reader import TIMEOUT
from leadership.checks import check_reason
from leadership.errors import StoreUnavailable
from leadership.store import Holder, Outcome, Reply, Store

T = TypeVar("T")


def request_resign(store: Store, election: str, token: int, reason: str | None, timeout: float = TIMEOUT) -> Reply:
    """
    Ask the leader of a term to resign. Blocks; any thread but the engine's.

    Raises:
        ConfigError: The reason cannot be used.
        StoreUnavailable: No answer within `timeout` seconds.
        StoreRefused: It is not allowed.
    """
    call = partial(store.request_resign, election, token, check_reason(reason))
    return ask(store, "request resignation", call, timeout)


def read_leader(store: Store, election: str, timeout: float = TIMEOUT) -> Holder | None:
    """
    Who leads, by one linearizable read. Blocks; any thread but the engine's.

    Raises:
        StoreUnavailable: No answer within `timeout` seconds.
        StoreRefused: It is not allowed.
    """
    store.check_election(election)
    return ask(store, "read", partial(store.read, (election,)), timeout).get(election)


def ask(store: Store, what: str, call: Callable[[], Coroutine[Any, Any, T]], timeout: float) -> T:
    """
    What a coroutine of the store comes to on the engine's loop. Blocks; any thread but the engine's.

    Raises:
        StoreUnavailable: No answer within `timeout` seconds, or whatever it met.
        StoreRefused: It is not allowed.
        ConfigError: The store cannot be used so.
    """
    engine = engine_for(store)
    answer: concurrent.futures.Future[Reply] = concurrent.futures.Future()
    results: list[T] = []

    async def run() -> Reply:
        result = await call()
        results.append(result)
        return result if isinstance(result, Reply) else Reply(Outcome.DONE)

    def done(reply: Reply, late: bool) -> None:
        if not late:
            answer.set_result(reply)

    engine.post(engine.request, what, run, timeout, done)
    try:
        reply = answer.result(timeout + 1.0)
    except TimeoutError:
        msg = f"{what}: the engine did not answer within {timeout + 1.0:g} s"
        raise StoreUnavailable(msg) from None
    if reply.error is not None:
        raise reply.error
    return results[0]

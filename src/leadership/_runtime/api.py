"""
One call of a store, for those who stand on no machine: the command.
"""

from __future__ import annotations

import concurrent.futures
from functools import partial

from leadership._runtime.engine import Call
from leadership._runtime.process import engine_for
from leadership._runtime.reader import TIMEOUT
from leadership.errors import LeadershipError, StoreUnavailable
from leadership.store import Holder, Outcome, Reply, Store


def request_resign(store: Store, election: str, token: int, reason: str | None, timeout: float = TIMEOUT) -> Reply:
    """
    Ask the leader of a term to resign. Blocks; any thread but the engine's.

    Raises:
        StoreUnavailable: No answer within `timeout` seconds.
        StoreRefused: It is not allowed.
    """
    return _ask(store, "request resignation", partial(store.request_resign, election, token, reason), timeout)


def read_leader(store: Store, election: str, timeout: float = TIMEOUT) -> Holder | None:
    """
    Who leads, by one linearizable read. Blocks; any thread but the engine's.

    Raises:
        StoreUnavailable: No answer within `timeout` seconds.
        StoreRefused: It is not allowed.
    """
    store.check_election(election)

    async def call() -> Reply:
        return Reply(Outcome.DONE, holder=(await store.read((election,))).get(election))

    return _ask(store, "read", call, timeout).holder


def _ask(store: Store, what: str, call: Call, timeout: float) -> Reply:
    engine = engine_for(store)
    answer: concurrent.futures.Future[Reply] = concurrent.futures.Future()

    def done(reply: Reply, late: bool) -> None:
        if not late:
            answer.set_result(reply)

    engine.post(engine.request, what, call, timeout, done)
    try:
        reply = answer.result(timeout + 1.0)
    except TimeoutError:
        msg = f"{what}: the engine did not answer within {timeout + 1.0:g} s"
        raise StoreUnavailable(msg) from None
    if reply.error is not None and isinstance(reply.error, LeadershipError):
        raise reply.error
    return reply

"""
What the tests of `consul://` share: stores and sessions on a real server.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

from scenes import Told
from servers import Consul

from leadership.backends.consul import ConsulStore
from leadership.store import Session

TTL = 5.0


@contextlib.asynccontextmanager
async def opened(server: Consul | str, path: str = "", **options: Any) -> AsyncIterator[ConsulStore]:
    """
    A store on a path of its own.
    """
    host = server if isinstance(server, str) else server.host
    store = ConsulStore(f"{host}/{path or uuid.uuid4().hex}", **({"least_ttl": 1.0} | options))
    try:
        yield store
    finally:
        await store.aclose()


async def granted(store: ConsulStore, told: Told | None = None, ttl: float = TTL) -> Session:
    """
    A session.
    """
    return await store.open_session(ttl, told if told is not None else Told())

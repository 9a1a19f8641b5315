"""
What the tests of `etcd://` share: stores on a real server, and their keys.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

from servers import Etcd

from leadership.backends.etcd import EtcdStore
from leadership.store import Session

TTL = 2.0


@contextlib.asynccontextmanager
async def opened(server: Etcd | str, prefix: str = "", **options: Any) -> AsyncIterator[EtcdStore]:
    """
    A store on a prefix.
    """
    host = server if isinstance(server, str) else server.host
    store = EtcdStore(f"{host}/{prefix or uuid.uuid4().hex}", **options)
    try:
        yield store
    finally:
        await store.aclose()


def key_of(store: EtcdStore, session: Session, election: str = "job") -> str:
    """
    The key of a session's claim.
    """
    return f"{store.prefix}{election}/{session.id}"

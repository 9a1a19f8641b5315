"""
How a store with one fault is put together from the memory store, and judged.
"""

from __future__ import annotations

from leadership.backends.memory import MemoryServer, MemorySession, MemoryStore
from leadership.store import Notify, Session, Store
from leadership.testing.conformance import StoreConformance


class PlantedStore(MemoryStore):
    """
    A memory store on a given server, with sessions of a given type.
    """

    def __init__(self, server: MemoryServer | None = None, session_type: type[MemorySession] = MemorySession) -> None:
        super().__init__()
        self.server = server or MemoryServer()
        self._session_type = session_type

    async def open_session(self, ttl: float, notify: Notify) -> Session:
        """
        Begin a lease.
        """
        if self._session_type is MemorySession:
            return await super().open_session(ttl, notify)
        session = self._session_type(self.server, ttl, notify)
        self._sessions.append(session)
        return session


Part = type[MemoryServer] | type[MemorySession] | type[PlantedStore]


class Planted(StoreConformance):
    """
    The suite for a memory store in which one part is replaced.
    """

    ttl = 0.2
    tick = 0.2

    def __init__(self, part: Part) -> None:
        self._server = part() if issubclass(part, MemoryServer) else MemoryServer()
        self._session_type = part if issubclass(part, MemorySession) else MemorySession
        self._store_type = part if issubclass(part, PlantedStore) else PlantedStore

    def make_store(self) -> Store:
        """
        One more store on the same server.
        """
        return self._store_type(self._server, self._session_type)

"""
The store that a face has opened for itself: closed when it has been stopped, and replaced when it starts again.

Law 1: a stop marks the store as closed before it asks, so that a later start brings another.
Law 2: what was stopped comes to its end on the store that it began with; then that one is closed, whoever asked and
whether or not anybody waits.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from leadership.store import Store

if TYPE_CHECKING:
    from leadership._runtime.driver import Driver

PATIENCE = 5.0
"""
Seconds for which the closing of a store is waited for.
"""


class OwnStore:
    """
    Which store a driver runs on. On the engine's thread only, but for what is read.
    """

    def __init__(self, driver: Driver[Any]) -> None:
        self._driver = driver
        self.is_owned = False
        """Nobody else uses the driver's stores. Set before the first start."""
        self.closing: set[Store] = set()
        """Any thread looks into it."""
        self._next: Store | None = None
        self._passed_over: list[Store] = []
        """Those that were to be started on, and were not."""

    def start(self, store: Store) -> None:
        """
        Start the driver on a store, or have it start there when it has come to its end on another.
        """
        driver = self._driver
        if self.is_owned and (store.closer is None or (store.closed and not driver.is_idle)):
            self._passed_over.append(store)
            return  # a stop came in between: nothing begins on a store that is closed, or will be
        if store is not driver.store:
            if self._next is not None:
                self._passed_over.append(self._next)
            self._next = store
            if driver.is_idle:
                self.ended()
        driver.start()

    def ended(self) -> None:
        """
        The driver is idle: close its store if that is its own and was stopped, and go over to the next.
        """
        driver, store = self._driver, self._driver.store
        if self.is_owned and store.closer is not None and (store.closed or self._next is not None):
            self.closing.add(store)
            store.closed, store.closer = True, None
            driver.engine.spawn(self._close(store))
        for each in self._passed_over:
            if each is not store:
                each.closed, each.closer = True, None
        self._passed_over.clear()
        if self._next is not None:
            driver.store, self._next = self._next, None

    def has_closed(self, store: Store) -> bool:
        """
        The life on that store is over, and the store closed, whatever was begun since. Any thread.
        """
        return self.is_owned and store.closer is None and store not in self.closing

    async def _close(self, store: Store) -> None:
        engine = self._driver.engine
        closing = engine.spawn(engine.close_store(store))
        await asyncio.wait((closing,), timeout=PATIENCE)
        if not closing.done():
            engine.say(logging.WARNING, "leadership.store_close_timeout", store=store.url)
        elif (error := closing.exception()) is not None:
            engine.say(logging.ERROR, "leadership.engine_fault", exc_info=error, during=f"closing {store.url}")
        self.closing.discard(store)
        self._driver.notify_changed()

"""
The store conformance suite: what the engine relies on, as tests that any store can run.
"""

from __future__ import annotations

from leadership.testing._conformance_calls import CallFacts
from leadership.testing._conformance_entries import EntryFacts
from leadership.testing._conformance_sessions import SessionFacts
from leadership.testing._conformance_watches import WatchFacts


class StoreConformance(EntryFacts, SessionFacts, WatchFacts, CallFacts):
    """
    The facts of the contract in `leadership.store`, each a test method, for pytest and unittest alike.

        class TestMyStore(StoreConformance):  # with unittest: (StoreConformance, unittest.TestCase)
            ttl = 0.5
            tick = 0.3

            @pytest.fixture(autouse=True)
            def place(self, tmp_path):  # or setup_method, or setUp
                self.path = tmp_path / "elections"

            def make_store(self):
                return MyStore(path=self.path)

    `make_store` is called several times in a test and returns a new store object each time, all on the same data; each
    test has data of its own. It may be a store with or without a queue.

    `ttl` is the shortest lease (seconds) that the store keeps; it must keep one of max(5 × ttl, 10 s) too. `tick` is
    how long (seconds) the store may take beyond a lease's end to free what it held, and a watch to tell. On a machine
    that is slow to wake up, longer ones make the suite slower and steadier.

    A test runs on a new event loop, in bounded time, and closes all stores that it made. It fails with an
    `AssertionError` that says what the contract demands and what was seen.
    """


__all__ = ["StoreConformance"]

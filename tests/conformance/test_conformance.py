"""
The stores that come with the library keep the contract, and so does one with a queue; the suite runs wherever a user's
tests do.
"""

from __future__ import annotations

import subprocess
import sys
import unittest
import uuid
from pathlib import Path

import pytest
from conformance.planted import PlantedStore
from conformance.queue_store import QueueServer

from leadership.backends.memory import MemoryStore
from leadership.backends.sqlite import SqliteStore
from leadership.store import Store
from leadership.testing.conformance import StoreConformance


class TestMemory(StoreConformance):
    """
    `memory://name`.
    """

    ttl = 1.0
    tick = 0.5

    @pytest.fixture(autouse=True)
    def _place(self) -> None:
        self.name = uuid.uuid4().hex

    def make_store(self) -> Store:
        return MemoryStore(self.name)


class TestSqlite(StoreConformance):
    """
    `sqlite:///path`.
    """

    ttl = 1.0
    tick = 0.5

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "elections.db"

    def make_store(self) -> Store:
        return SqliteStore(str(self.path))


class TestQueue(StoreConformance):
    """
    A store that keeps those it refuses in a queue.
    """

    ttl = 1.0
    tick = 0.5

    def setup_method(self) -> None:
        self.server = QueueServer()

    def make_store(self) -> Store:
        return PlantedStore(self.server)


def test_suite_runs_under_unittest() -> None:
    """
    `unittest` finds every test of a subclass, calls its `setUp`, and reports a broken contract as a failure.
    """

    class Memory(StoreConformance, unittest.TestCase):
        ttl = 0.2

        def setUp(self) -> None:
            self.name = uuid.uuid4().hex

        def make_store(self) -> Store:
            return MemoryStore(self.name)

    found = unittest.defaultTestLoader.getTestCaseNames(Memory)
    assert [name for name in dir(StoreConformance) if name.startswith("test_")] == list(found)
    result = unittest.TestResult()
    Memory("test_vacant_election_is_granted").run(result)
    assert (1, True) == (result.testsRun, result.wasSuccessful())

    class Same(Memory):
        store = MemoryStore()

        def make_store(self) -> Store:
            return self.store

    Same("test_vacant_election_is_granted").run(result)
    ((_, failure),) = result.failures
    assert "a new object at each call" in failure


def test_suite_needs_no_test_framework() -> None:
    """
    Importing the suite imports neither pytest nor unittest.
    """
    program = "import sys, leadership.testing.conformance; print({'pytest', 'unittest'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "set()" == done.stdout.strip()


def test_suite_says_what_a_subclass_owes() -> None:
    """
    Without `make_store` the error says what to define.
    """
    with pytest.raises(NotImplementedError, match="StoreConformance must define make_store"):
        StoreConformance().test_vacant_election_is_granted()

"""
Virtual time for unit tests.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leadership.testing import Simulation


@pytest.fixture
def sim() -> Iterator[Simulation]:
    """
    A store and its candidates in virtual time; nothing waits for real.
    """
    with Simulation(seed=1) as simulation:
        yield simulation

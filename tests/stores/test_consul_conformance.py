"""
Consul keeps the contract.
"""

from __future__ import annotations

import uuid

import pytest
from servers import Consul

from leadership.backends.consul import ConsulStore
from leadership.store import Store
from leadership.testing.conformance import StoreConformance


class TestConsul(StoreConformance):
    """
    `consul://host:port/path`, a path for each test. A session of 1 s lasts for 2 s.
    """

    ttl = 1.0
    tick = 1.5

    @pytest.fixture(autouse=True)
    def _place(self, consul: Consul) -> None:
        self.address = f"{consul.host}/{uuid.uuid4().hex}"

    def make_store(self) -> Store:
        return ConsulStore(self.address, least_ttl=1.0)

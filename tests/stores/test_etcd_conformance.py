"""
`etcd://` keeps the contract, on a real server.
"""

from __future__ import annotations

import uuid

import pytest
from servers import Etcd

from leadership.backends.etcd import EtcdStore
from leadership.store import Store
from leadership.testing.conformance import StoreConformance


class TestEtcd(StoreConformance):
    """
    One member, each test below a prefix of its own.
    """

    ttl = 2.0
    tick = 1.0

    @pytest.fixture(autouse=True)
    def _place(self, etcd: Etcd) -> None:
        self.address = f"{etcd.host}/{uuid.uuid4().hex}"

    def make_store(self) -> Store:
        return EtcdStore(self.address)

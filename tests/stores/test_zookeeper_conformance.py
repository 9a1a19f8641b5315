"""
ZooKeeper keeps the contract of `leadership.store`.
"""

from __future__ import annotations

import uuid

import pytest
from servers import ZooKeeper

from leadership.backends.zookeeper import ZooKeeperStore
from leadership.store import Store
from leadership.testing.conformance import StoreConformance


class TestZooKeeper(StoreConformance):
    """
    `zookeeper://host:port/chroot`.
    """

    ttl = 1.0
    tick = 1.0

    @pytest.fixture(autouse=True)
    def _place(self, zookeeper: ZooKeeper) -> None:
        self.address = f"{zookeeper.host}/conformance/{uuid.uuid4().hex}"

    def make_store(self) -> Store:
        return ZooKeeperStore(self.address)


class TestZooKeeperAsItIs(StoreConformance):
    """
    With the servers' tick given, credentials, and servers that cannot read several nodes in one request.
    """

    ttl = 1.0
    tick = 1.0

    @pytest.fixture(autouse=True)
    def _place(self, zookeeper: ZooKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
        from leadership.backends import _zookeeper_link

        monkeypatch.setattr(_zookeeper_link, "MULTI_READ", False)
        self.address = f"ann:secret@{zookeeper.host}/conformance/{uuid.uuid4().hex}"

    def make_store(self) -> Store:
        return ZooKeeperStore(self.address, tick=0.5)

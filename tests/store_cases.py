"""
What the tests that every store with a network must pass need to know of each: its server, a TTL, its promises.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers import Consul, ConsulCluster, Etcd, EtcdCluster, Server, ZooKeeper, ZooKeeperCluster

TICK = 500
"""ZooKeeper's tick in milliseconds."""


@dataclass(frozen=True)
class Case:
    """
    One store in tests. Its servers are made in a folder, and run inside `with`.
    """

    name: str
    server: Callable[[Path], Server]
    cluster: Callable[[Path], Any]
    """Three members."""
    ttl: float
    """Seconds: short, and long enough for a machine with more work than cores."""
    takeover: float
    """Seconds from the death of a leader's process to the next term, at most."""
    options: str = ""
    """What the URL says of servers that were made for tests."""

    def url(self, hosts: str, prefix: str = "") -> str:
        """
        A store on these servers, on a prefix that no other test has.
        """
        return f"{self.name}://{hosts}/{prefix or uuid.uuid4().hex}{self.options}"


CASES = [
    Case("etcd", Etcd, EtcdCluster, ttl=2.0, takeover=2.0 + 1.0),
    Case("consul", Consul, ConsulCluster, ttl=2.0, takeover=2 * 2.0 + 1.0, options="?least_ttl=1"),
    Case(
        "zookeeper",
        lambda folder: ZooKeeper(folder, tick=TICK),
        lambda folder: ZooKeeperCluster(folder, tick=TICK),
        ttl=2.0,
        takeover=2.0 + TICK / 1000 + 0.5,
        options=f"?tick={TICK / 1000}",
    ),
]


@contextlib.contextmanager
def served(case: Case, folder: Path) -> Iterator[Server]:
    """
    A server of this test's own, to be hurt.
    """
    with case.server(folder / case.name) as server:
        yield server

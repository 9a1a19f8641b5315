"""
The stores before the court: their servers, their TTL in a round, and the times within which there must be a leader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from servers import (
    Cluster,
    Consul,
    ConsulCluster,
    Etcd,
    EtcdCluster,
    Server,
    ZooKeeper,
    ZooKeeperCluster,
)

TICK: Final = 200
"""ZooKeeper's tick in milliseconds."""
SLOW: Final = 5.0
"""The TTL where the network is bad: ten of the longest round trips."""


@dataclass(frozen=True)
class Bounds:
    """
    Seconds to the next leader, at most.
    """

    crash: float
    """After a leader has died, hangs or is cut off."""
    hand_over: float
    """After a leader was asked to resign."""
    heal: float
    """After the store is whole again."""
    deaf: float
    """After a leader has ceased to hear the store, which goes on hearing its renewals until it steps down."""
    refused: float
    """After a leader may do nothing any more, which it learns when it reads the truth again, at the latest."""
    both: float
    """After the store is whole again, where the leader has died meanwhile: its lease may begin anew."""

    @property
    def calm(self) -> float:
        """
        After several faults have ended at once, or the server that leads the store was cut off: the next one renews all
        sessions.
        """
        return self.crash + self.heal


def bounds(ttl: float, crash: float, heal: float, *, deaf: float = 0.9) -> Bounds:
    """
    Those of a store; a leader that hears nothing keeps its session alive for `deaf` TTLs.
    """
    return Bounds(crash, 0.25, heal, deaf * ttl + crash, ttl + crash, heal + ttl)


@dataclass(frozen=True)
class Case:
    """
    One store.
    """

    name: str
    ttl: float
    bounds: Bounds
    query: str = ""
    """What the URL says of servers that were made for tests."""
    single: Callable[[Path], Server] | None = None
    """None: it has no server."""
    cluster: Callable[[Path], Cluster[Any]] | None = None
    variant: str = ""
    """What is special about the stage, where something is."""
    admit: Callable[[Any, str], tuple[str, str]] | None = None
    """Lets a node in at a server: what its URL says before the hosts, and at its end."""
    disk: int = 0
    """Megabytes that the data have, where that is little."""
    dead: bool = False
    """The URL names hosts that do not answer, and a name that has dead addresses."""

    @property
    def needs_root(self) -> bool:
        """
        Whether the stage mounts something.
        """
        return bool(self.disk or self.dead)

    def database(self, folder: Path) -> Path:
        """
        The file of a store that has no server, in a stage's folder.
        """
        return folder / "servers" / "data" / "court.db" if self.disk else folder / "court.db"

    def url(self, hosts: str, folder: Path, who: tuple[str, str] = ("", "")) -> str:
        """
        The store at some addresses, or in a folder where it has no server.
        """
        if self.single is None:
            return f"sqlite:///{self.database(folder)}"
        return f"{self.name}://{who[0]}{hosts}/court{self.query}{who[1]}"


CASES: Final = {
    case.name: case
    for case in (
        Case("sqlite", 1.0, bounds(1.0, 1.0 + 0.3, 1.0 + 0.5 + 0.3)),  # a look of the watch, the longest pause
        Case("etcd", 2.0, bounds(2.0, 2.0 + 1.0, 2.5 + 1.0), "", Etcd, EtcdCluster),
        Case("consul", 1.0, bounds(1.0, 2 * 1.0 + 1.0, 3.0 + 1.0), "?least_ttl=1", Consul, ConsulCluster),
        Case(
            "zookeeper",
            1.0,
            bounds(1.0, 1.0 + TICK / 1000 + 0.5, 2.5 + 0.5, deaf=2.5),
            f"?tick={TICK / 1000}",
            lambda folder: ZooKeeper(folder, tick=TICK),
            lambda folder: ZooKeeperCluster(folder, tick=TICK, options={"initLimit": 25, "maxSessionTimeout": 10_000}),
        ),
    )
}

ADMITTED: Final = 'key_prefix "court/" { policy = "write" } session_prefix "" { policy = "write" }'
"""What a token of Consul allows: what the documentation asks for, and no more."""
LOCK_DELAY: Final = 2.0
"""Consul's, in seconds, where there is one."""
SPACE: Final = 24 * 2**20
"""Bytes that etcd keeps, where that is little."""


def admit_to_etcd(server: Etcd, node: str) -> tuple[str, str]:
    """
    A user of its own.
    """
    server.add_user(node, f"of-{node}", "court/")
    return f"{node}:of-{node}@", ""


def admit_to_consul(server: Consul, _node: str) -> tuple[str, str]:
    """
    A token of its own.
    """
    return "", f"&token={server.make_token(ADMITTED)}"


def admit_to_zookeeper(server: ZooKeeper, _node: str) -> tuple[str, str]:
    """
    The user that all share, who may do all below the chroot.
    """
    with server.client() as client:
        client.ensure_path("/court")
        client.set_acls("/court", [owner()])
    return "court:of-the-court@", ""


def owner() -> Any:
    """
    All permissions of that user, as kazoo has them.
    """
    from kazoo.security import make_digest_acl

    return make_digest_acl("court", "of-the-court", all=True)


def _variants() -> Iterator[Case]:
    sqlite, etcd, consul, zookeeper = CASES.values()
    slow = {
        "etcd": bounds(SLOW, SLOW + 1.0, 2.5 + 1.0),
        "consul": bounds(SLOW, 2 * SLOW + 1.0, 3.0 + 1.0),
        "zookeeper": bounds(SLOW, SLOW + TICK / 1000 + 0.5, 2.5 + 0.5),
    }
    yield replace(sqlite, variant="disk", disk=1)
    yield replace(etcd, variant="disk", disk=160)  # of which its log takes 128 beforehand
    yield replace(zookeeper, variant="disk", disk=8)
    yield replace(etcd, variant="space", single=lambda folder: Etcd(folder, options=[f"--quota-backend-bytes={SPACE}"]))
    yield replace(
        consul,
        variant="lock-delay",
        query=f"?least_ttl=1&lock_delay={LOCK_DELAY:g}",
        bounds=bounds(1.0, 2 * 1.0 + LOCK_DELAY + 1.0, 3.0 + 1.0),
    )
    yield replace(
        etcd, variant="access", single=lambda folder: Etcd(folder, auth=True, token_ttl=1), admit=admit_to_etcd
    )
    yield replace(consul, variant="access", single=lambda folder: Consul(folder, auth=True), admit=admit_to_consul)
    yield replace(zookeeper, variant="access", admit=admit_to_zookeeper)
    for case in (etcd, consul, zookeeper):
        yield replace(case, variant="addresses", dead=True)
        yield replace(case, variant="slow", ttl=SLOW, bounds=slow[case.name])


VARIANTS: Final = {(case.name, case.variant): case for case in _variants()}
"""Stages that some faults need."""


def case_of(store: str, variant: str) -> Case:
    """
    The stage of a store for a fault that may need another than the usual one.
    """
    return VARIANTS[store, variant] if variant else CASES[store]

"""
Clusters of three servers of a test.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from servers._net import Refused
from servers._process import ATTEMPTS, SOON, PortTaken, Server, ServerFailed, until
from servers.consul import Consul
from servers.etcd import Etcd
from servers.network import Network
from servers.proxy import Proxy
from servers.zookeeper import ZooKeeper

AnyServer = TypeVar("AnyServer", bound=Server)


class Cluster(Generic[AnyServer]):
    """
    Servers that know each other, each of which can be hurt by itself.
    """

    members: Sequence[AnyServer]

    def __init__(self, make: Callable[[int], AnyServer], size: int) -> None:
        self.members = [make(number) for number in range(1, size + 1)]

    @property
    def hosts(self) -> str:
        """
        The addresses of all members, parted by commas.
        """
        return ",".join(each.host for each in self.members)

    @property
    def url(self) -> str:
        """
        What `leadership.connect` is given: `etcd://host:port,host:port,host:port`.
        """
        return f"{self.members[0].SCHEME}://{self.hosts}"

    def start(self) -> Self:
        """
        Start all members at once, and return when each answers.
        """
        new = not any(each.data.exists() for each in self.members)
        for attempt in range(1, ATTEMPTS + 1):
            self.prepare()
            try:
                for each in self.members:
                    each.launch()
                for each in self.members:
                    each.wait()
            except PortTaken:
                self.kill()
                if attempt == ATTEMPTS or not new:
                    raise
                for each in self.members:
                    each.wipe()
                    each.take_ports()
            except ServerFailed:
                self.kill()
                raise
            else:
                break
        return self

    def move(self, network: Network) -> None:
        """
        Run on a network, each member on a host of its own, from the next start on.
        """
        for each in self.members:
            each.move(network.host(each.name))

    def prepare(self) -> None:
        """
        What the members need beside their ports, before they start.
        """

    def leader(self) -> AnyServer:
        """
        The member that leads now; waited for while there is none.
        """
        end = time.monotonic() + SOON
        while True:
            for each in self.members:
                if each.running and not each.frozen and each.leads():
                    return each
            if time.monotonic() > end:
                msg = f"no member of {self.hosts} leads"
                raise ServerFailed(msg)
            time.sleep(0.05)

    def followers(self) -> list[AnyServer]:
        """
        The members that do not lead.
        """
        leader = self.leader()
        return [each for each in self.members if each is not leader]

    def rolling_restart(self) -> None:
        """
        Restart each member gently, the next one when the cluster is whole again.
        """
        for each in self.members:
            each.restart()
            until(self.whole, f"all members of {self.hosts} answer")

    def whole(self) -> bool:
        """
        Whether every member answers.
        """
        try:
            return all(each.running and each.answers() for each in self.members)
        except (OSError, ValueError, LookupError):
            return False

    def requests(self) -> int:
        """
        The requests of clients to all members.
        """
        return sum(each.requests() for each in self.members)

    def terminate(self) -> None:
        """
        End all members gently.
        """
        for each in self.members:
            each.terminate()

    stop = terminate

    def kill(self) -> None:
        """
        End all members by SIGKILL.
        """
        for each in self.members:
            each.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()


class EtcdCluster(Cluster[Etcd]):
    """
    Members of etcd; the keywords are `Etcd`'s.
    """

    def __init__(self, folder: str | os.PathLike[str], size: int = 3, **keywords: Any) -> None:
        base = Path(folder)
        super().__init__(lambda number: Etcd(base / str(number), name=f"etcd-{number}-{base.name}", **keywords), size)
        for each in self.members:
            each.peers = self.members


class ConsulCluster(Cluster[Consul]):
    """
    Consul servers; the keywords are `Consul`'s.
    """

    def __init__(self, folder: str | os.PathLike[str], size: int = 3, **keywords: Any) -> None:
        base = Path(folder)
        super().__init__(lambda number: Consul(base / str(number), **keywords), size)
        for each in self.members:
            each.peers = self.members
            each.master_token = self.members[0].master_token

    def whole(self) -> bool:
        """
        Whether every member answers, is known to be alive by each, and votes: one that was away may be removed though
        it answers again, and then votes 10 s after its return.
        """
        if not super().whole():
            return False
        try:
            alive = [each["Status"] == 1 for member in self.members for each in member.call("GET", "agent/members")]
            servers = self.members[0].call("GET", "operator/raft/configuration")["Servers"]
        except (OSError, Refused):
            return False
        size = len(self.members)
        return [True] * size**2 == alive and [True] * size == [each["Voter"] for each in servers]


class ZooKeeperCluster(Cluster[ZooKeeper]):
    """
    ZooKeeper servers; the keywords are `ZooKeeper`'s. With `links`, a member can be isolated from the others.
    """

    def __init__(self, folder: str | os.PathLike[str], size: int = 3, *, links: bool = False, **keywords: Any) -> None:
        base = Path(folder)
        super().__init__(lambda number: ZooKeeper(base / str(number), **keywords), size)
        for number, each in enumerate(self.members, 1):
            each.number = number
            each.peers = self.members
        self._links = links

    def prepare(self) -> None:
        """
        Link the members, if they are to be linked.
        """
        for each in self.members:
            if self._links and not each.links:
                others = [other for other in self.members if other is not each]
                each.links = {other.number: Proxy(other.ports["quorum"]) for other in others}

    def isolate(self, member: ZooKeeper) -> None:
        """
        Let nothing pass between a member and a leader; it still answers its clients until it notices.
        """
        for link in self._of(member):
            link.cut()

    def join(self, member: ZooKeeper) -> None:
        """
        Let an isolated member find the others again.
        """
        for link in self._of(member):
            link.reset()
            link.heal()

    def _of(self, member: ZooKeeper) -> list[Proxy]:
        if not self._links:
            msg = "this cluster has no links that can be cut: make it with links=True"
            raise RuntimeError(msg)
        return [*member.links.values(), *(each.links[member.number] for each in self.members if each is not member)]

    def kill(self) -> None:
        """
        End all members by SIGKILL, and close their links.
        """
        super().kill()
        for each in self.members:
            for link in each.links.values():
                link.close()
            each.links = {}

"""
Faults of the network between the hosts of a cluster: packets that are lost or refused.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import Final

from servers import Host, Server
from servers._net import sockets
from servers._process import until

from court.actors import Actor
from court.clock import now
from court.fault import SERVED, Fault, Injection
from court.faults_of_stores import cluster_of
from court.observer import wait_for
from court.stage import Stage

ANSWERED: Final = 1.0
"""Seconds within which a leader asks for something and is answered: a third of the longest TTL of these rounds."""

MOMENT: Final = 0.2
"""Seconds in which the observer of the store finishes what it has asked."""

WHOLE: Final = 120.0
"""Seconds in which the servers find each other again: Consul may look for one that was lost each 30 s."""


class NetworkFault(Fault):
    """
    A fault of the hosts of a network; its proof is that the packet filters have met packets.
    """

    stores = SERVED
    waits = True
    single = False
    network = True

    def shown(self, host: Host) -> str:
        """
        The packets that were met, in words; nothing where there were none.
        """
        sent, came = host.hits()
        return f"{sent} packets sent and {came} received" if sent or came else ""

    def heal(self, injection: Injection) -> None:
        """
        Let everything pass.
        """
        host = host_of(injection.stage, injection.leader)
        injection.proof = self.shown(host)
        host.heal()


class HostFault(NetworkFault):
    """
    One thing that is done to the leader's host.
    """

    @abstractmethod
    def harm(self, host: Host) -> None:
        """
        Do it.
        """

    def inject(self, injection: Injection) -> None:
        """
        Do it there.
        """
        injection.at = now()
        self.harm(host_of(injection.stage, injection.leader))


class Drop(HostFault):
    """
    No packet passes between the leader's host and the servers.
    """

    name = "F4 packets dropped"

    def harm(self, host: Host) -> None:
        """
        Drop them.
        """
        host.drop()


class DropRequests(HostFault):
    """
    What the leader's host sends does not arrive; what it is sent does, but it cannot acknowledge that.
    """

    name = "F5 outgoing packets dropped"

    def harm(self, host: Host) -> None:
        """
        Drop them.
        """
        host.drop(incoming=False)


class DropReplies(HostFault):
    """
    What the leader's host is sent does not arrive, acknowledgements included.
    """

    name = "F5 incoming packets dropped"
    bound = "deaf"

    def harm(self, host: Host) -> None:
        """
        Drop them.
        """
        host.drop(outgoing=False)


class Refuse(HostFault):
    """
    All connections of the leader are reset, and new ones are refused, until another leads.
    """

    name = "F7 connections refused"

    def harm(self, host: Host) -> None:
        """
        Refuse them.
        """
        host.refuse()


class Reset(NetworkFault):
    """
    The connections of the leader are reset as soon as it sends something on them; others may be made.
    """

    name = "F7 connections reset"
    moves = "may"
    since = "healed"

    def inject(self, injection: Injection) -> None:
        """
        Refuse what passes on those that there are.
        """
        stage, pid = injection.stage, injection.leader.process.pid
        servers = [each.port for each in stage.members]
        ports = [here for here, there, _ in sockets("01", pid) if there in servers]
        injection.at = now()
        self.end(host_of(stage, injection.leader), ports or [0])  # which is nobody's: the round is void

    def end(self, host: Host, ports: Sequence[int]) -> None:
        """
        End some connections of a host.
        """
        host.refuse(ports=ports)

    def hold(self, injection: Injection) -> float | None:
        """
        A TTL, to see whether it leads on.
        """
        return injection.stage.case.ttl


class LoseReply(Reset):
    """
    What the leader asks for is done, the reply is lost, and then its connections are reset.
    """

    name = "F7 reply lost, connections reset"

    def end(self, host: Host, ports: Sequence[int]) -> None:
        """
        Drop what is answered until something was, and reset.
        """
        host.drop(outgoing=False, data_of=ports)
        wait_for(lambda: host.hits()[1] > 0, ANSWERED)
        super().end(host, ports)

    def shown(self, host: Host) -> str:
        """
        As it says, if both was done.
        """
        return super().shown(host) if all(host.hits()) else ""


class Isolate(NetworkFault):
    """
    The server that leads the store is cut off from the other servers, but not from the contenders.
    """

    name = "F8 store leader isolated"
    moves = "may"
    splits = True
    bound = "calm"

    def inject(self, injection: Injection) -> None:
        """
        Cut it off.
        """
        cluster = cluster_of(injection.stage)
        server = injection.facts["server"] = cluster.leader()
        others = [host_of(injection.stage, each) for each in cluster.members if each is not server]
        self.prepare(injection, server, others)
        injection.stage.isolated = server
        time.sleep(MOMENT)
        injection.at = now()
        host_of(injection.stage, server).drop(others=others)

    def prepare(self, injection: Injection, server: Server, others: Sequence[Host]) -> None:
        """
        What comes before.
        """

    def hold(self, injection: Injection) -> float | None:
        """
        Two TTLs, and longer than any of the stores takes to elect another server.
        """
        return 2 * injection.stage.case.ttl + 5.0

    def heal(self, injection: Injection) -> None:
        """
        See who leads the store instead, join the servers, and wait until they are whole.
        """
        cluster, server = cluster_of(injection.stage), injection.facts["server"]
        leading = [each.name for each in cluster.members if each is not server and each.leads()]
        shown = self.shown(host_of(injection.stage, server))
        host_of(injection.stage, server).heal()
        host_of(injection.stage, injection.leader).heal()
        injection.stage.isolated = None
        since = now()
        until(cluster.whole, "the cluster is whole", WHOLE)
        whole = now() - since
        if shown and leading:
            injection.proof = f"{leading[0]} leads instead of {server.name}; {shown}; whole after {whole:.2f} s"


class IsolateWithLeader(Isolate):
    """
    The election's leader reaches only the server that leads the store, and that one no other server.
    """

    name = "F8 leader with the isolated server"
    moves = "must"

    def prepare(self, injection: Injection, server: Server, others: Sequence[Host]) -> None:
        """
        Have the leader go to that server, and wait until it has renewed there.
        """
        host_of(injection.stage, injection.leader).refuse(others=others)
        pid = injection.leader.process.pid
        until(lambda: any(there == server.port for _, there, _ in sockets("01", pid)), "the leader has gone there")
        time.sleep(injection.stage.case.ttl / 3)

    def hold(self, injection: Injection) -> float | None:
        """
        Until another leads.
        """
        del injection
        return None


def host_of(stage: Stage, whose: Actor | Server) -> Host:
    """
    The host on which a contender or a server runs.
    """
    if stage.network is None:
        msg = "this fault needs a network of namespaces"
        raise TypeError(msg)
    return stage.network.host(whose.node if isinstance(whose, Actor) else whose.name)


PACKET_FAULTS: Final = (
    Drop(),
    DropRequests(),
    DropReplies(),
    Refuse(),
    Reset(),
    LoseReply(),
    Isolate(),
    IsolateWithLeader(),
)

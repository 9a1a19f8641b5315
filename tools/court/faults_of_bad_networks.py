"""
Networks that are bad for everybody, but not so bad that a leader may be lost.
"""

from __future__ import annotations

from typing import Final

from servers import Host

from court.clock import now
from court.fault import SERVED, Fault, Injection
from court.faults_of_networks import HostFault, host_of

LATE: Final = (0.025, 0.25)
"""Seconds in each direction, the least and the most: round trips of 50 to 500 ms."""


class BadNetwork(HostFault):
    """
    All contenders have a bad network, for two TTLs of at least ten round trips.
    """

    moves = "never"
    since = "healed"
    variant = "slow"

    def inject(self, injection: Injection) -> None:
        """
        Make it bad.
        """
        injection.at = now()
        for actor in injection.stage.actors:
            self.harm(host_of(injection.stage, actor))

    def hold(self, injection: Injection) -> float | None:
        """
        Two TTLs.
        """
        return 2 * injection.stage.case.ttl

    def heal(self, injection: Injection) -> None:
        """
        Make it good.
        """
        injection.proof = self.shown(host_of(injection.stage, injection.leader))
        for actor in injection.stage.actors:
            host_of(injection.stage, actor).heal()


class Lossy(BadNetwork):
    """
    Of all packets, 30 % are lost in each direction.

    The leader may lose its office by that: TCP sends again after 0.2, 0.4, 0.8 seconds and so on, so that four losses
    in a row, of a renewal or of its answer, cost more than the half of its lease.
    """

    name = "F6 30 % of packets lost"
    moves = "may"

    def harm(self, host: Host) -> None:
        """
        Lose them.
        """
        host.drop(share=0.3)


class Narrow(BadNetwork):
    """
    A contender has 64 kbit/s in each direction, and another program of its host uses 56 of them.
    """

    name = "F6 64 kbit a second"

    def harm(self, host: Host) -> None:
        """
        Make the wire narrow.
        """
        host.narrow("64kbit", every=3 / 7)

    def shown(self, host: Host) -> str:
        """
        The packets that had to wait.
        """
        queued = host.queued()
        return f"{queued} packets had to wait" if queued else ""


class Late(Fault):
    """
    Between each contender and the store, a round trip takes 50 to 500 ms more, each time another.
    """

    name = "F6 50 to 500 ms later"
    stores = SERVED
    single = False
    cluster = True
    moves = "never"
    since = "healed"
    variant = "slow"

    def inject(self, injection: Injection) -> None:
        """
        Delay what passes.
        """
        injection.facts["delayed"] = sum(proxy.delayed for proxy in injection.leader.proxies)
        injection.at = now()
        for actor in injection.stage.actors:
            for proxy in actor.proxies:
                proxy.delay(*LATE)

    def hold(self, injection: Injection) -> float | None:
        """
        Two TTLs.
        """
        return 2 * injection.stage.case.ttl

    def heal(self, injection: Injection) -> None:
        """
        Let it pass at once.
        """
        delayed = sum(proxy.delayed for proxy in injection.leader.proxies) - injection.facts["delayed"]
        injection.proof = f"delayed {delayed} times" if delayed else ""
        for actor in injection.stage.actors:
            for proxy in actor.proxies:
                proxy.heal()


BAD_NETWORKS: Final = (Lossy(), Narrow(), Late())

"""
Faults of many candidates.
"""

from __future__ import annotations

import time

from servers import Consul, Etcd, Server, ZooKeeper

from court.clock import now
from court.fault import Fault, Injection
from court.stage import Stage

OFTEN = 3
"""Writes to the store that a candidate may need to stand, or to be elected."""


def writes(stage: Stage) -> int | None:
    """
    The changes that a store has seen, as it counts itself; None where it does not.
    """
    if not stage.members:
        return None
    return changes(stage.answering(), stage.election)


def changes(server: Server, election: str) -> int:
    """
    Those of one server: etcd's revision, writes and sessions of Consul, nodes made and removed in an election of
    ZooKeeper, where each renewal is a write of its own.
    """
    if isinstance(server, Etcd):
        return int(server.admin("kv/range", key="AA==")["header"]["revision"])
    if isinstance(server, Consul):
        text = server.raw("GET", "agent/metrics", format="prometheus").decode()
        names = ("consul_kvs_apply_count", "consul_session_apply_count", "consul_txn_apply_count")
        return sum(int(float(line.rpartition(" ")[2])) for line in text.splitlines() if line.startswith(names))
    if isinstance(server, ZooKeeper):
        with server.client() as client:
            return int(client.exists(f"/court/{election}").cversion)
    msg = f"{server.name} does not count its writes"
    raise TypeError(msg)


class MassKill(Fault):
    """
    Of twenty candidates the leader and nine others are killed at once, and started again at once when another leads.
    """

    name = "F18 half of 20 killed"
    waits = True
    setting = "many"

    def inject(self, injection: Injection) -> None:
        """
        Kill them.
        """
        stage = injection.stage
        others = [actor for actor in stage.actors if actor is not injection.leader]
        chosen = [injection.leader, *others[injection.number % 2 :: 2][: len(stage.actors) // 2 - 1]]
        injection.facts["killed"] = chosen
        injection.facts["writes"] = writes(stage)
        injection.at = now()
        for actor in chosen:
            actor.process.kill()
        for actor in chosen:
            actor.kill()
        injection.proof = f"{len(chosen)} of {len(stage.actors)} processes ended"

    def heal(self, injection: Injection) -> None:
        """
        Start them again, and count what was written meanwhile.
        """
        stage, killed = injection.stage, injection.facts["killed"]
        alive = len(stage.actors) - len(killed)
        # The store itself writes once for each session that ends.
        self.count(injection, f"writes to the store by {alive} survivors", OFTEN * alive + len(killed))
        stage.replace(*killed)
        time.sleep(stage.case.ttl)  # they stand by then
        self.count(injection, f"writes to the store by {len(killed)} new processes", OFTEN * len(killed) + len(killed))

    def count(self, injection: Injection, what: str, most: int) -> None:
        """
        Note the writes since the last count.
        """
        before = injection.facts["writes"]
        after = injection.facts["writes"] = writes(injection.stage)
        if before is not None and after is not None:
            injection.notes.setdefault("counted", []).append((what, after - before, most))

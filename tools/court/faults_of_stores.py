"""
Faults of the store: an operator's edits, and what happens to its servers.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

from servers import Cluster, Consul, Server, ZooKeeper

from court.clock import now
from court.fault import SERVED, Fault, Injection
from court.stage import Stage


class Edit(Fault):
    """
    An operator deletes the leader's entry.

    The leader has the right to believe until it is told, so that S1 is not judged.
    """

    name = "F12 entry deleted"
    spared = frozenset({"S1", "S1-store"})

    def inject(self, injection: Injection) -> None:
        """
        Find the entry, and edit it.
        """
        stage = injection.stage
        server = None if stage.servers is None else stage.answering()
        injection.at = now()
        if server is None:
            with contextlib.closing(sqlite3.connect(stage.folder / "court.db", timeout=5.0)) as connection, connection:
                edited = connection.execute(self.statement(), (stage.election,)).rowcount
            injection.proof = f"{edited} row edited" if edited == 1 else ""
            return
        key = self.entry(server, stage.election, injection.leader.node)
        if key is not None:
            self.edit(server, key)
            injection.proof = f"{key} was edited"

    def entry(self, server: Any, election: str, node: str) -> str | None:
        """
        The key by which a node stands.
        """
        if isinstance(server, Consul):
            return f"court/{election}" if server.entry(f"court/{election}") is not None else None
        top = "/court" if isinstance(server, ZooKeeper) else "court"
        for key in server.keys(f"{top}/{election}"):
            if key.startswith(f"{top}/{election}/") and server.get(key) == node.encode():
                return str(key)
        return None

    def edit(self, server: Server, key: str) -> None:
        """
        What is done to the entry.
        """
        server.delete(key)

    def statement(self) -> str:
        """
        What is done to the row of an election.
        """
        return "DELETE FROM elections WHERE name = ?"


class Overwrite(Edit):
    """
    An operator writes another name over the leader's entry, and removes it a TTL later.
    """

    name = "F12 entry overwritten"
    stores = SERVED
    since = "healed"

    def edit(self, server: Server, key: str) -> None:
        """
        Put it.
        """
        server.put(key, "intruder")

    def hold(self, injection: Injection) -> float | None:
        """
        A TTL.
        """
        return injection.stage.case.ttl

    def heal(self, injection: Injection) -> None:
        """
        Remove what stands there in the intruder's name, if anything does.
        """
        server: Any = injection.stage.answering()
        key = self.entry(server, injection.stage.election, "intruder")
        if key is not None and server.get(key) == b"intruder":
            server.delete(key)


class StoreHang(Fault):
    """
    The store, or the majority of its servers, is stopped by SIGSTOP for two TTLs.
    """

    name = "F9 store hangs"
    stores = SERVED
    cluster = True
    since = "healed"
    bound = "heal"

    def inject(self, injection: Injection) -> None:
        """
        Stop two of three, or the one.
        """
        members = injection.stage.members
        chosen = members[: len(members) // 2 + 1]
        injection.facts["frozen"] = chosen
        injection.at = now()
        for each in chosen:
            each.freeze()
        injection.proof = f"{len(chosen)} of {len(members)} stopped"

    def hold(self, injection: Injection) -> float | None:
        """
        Two TTLs.
        """
        return 2 * injection.stage.case.ttl

    def heal(self, injection: Injection) -> None:
        """
        Let them go on.
        """
        for each in injection.facts["frozen"]:
            each.thaw()


class KillStoreLeader(Fault):
    """
    The server that leads the store is killed, and started again two TTLs later.
    """

    name = "F8 store leader killed"
    stores = SERVED
    single = False
    cluster = True
    moves = "may"
    since = "healed"
    bound = "heal"

    def inject(self, injection: Injection) -> None:
        """
        Kill it.
        """
        cluster = cluster_of(injection.stage)
        injection.facts["server"] = cluster.leader()
        injection.at = now()
        injection.facts["server"].kill()
        injection.proof = f"{injection.facts['server'].name} was killed"

    def hold(self, injection: Injection) -> float | None:
        """
        Two TTLs.
        """
        return 2 * injection.stage.case.ttl

    def heal(self, injection: Injection) -> None:
        """
        Start it again.
        """
        injection.facts["server"].start()


class FreezeStoreLeader(KillStoreLeader):
    """
    The server that leads the store is stopped by SIGSTOP, and goes on when another leads.
    """

    name = "F8 store leader frozen"

    def inject(self, injection: Injection) -> None:
        """
        Stop it.
        """
        server = injection.facts["server"] = cluster_of(injection.stage).leader()
        injection.at = now()
        server.freeze()

    def hold(self, injection: Injection) -> float | None:
        """
        Two TTLs, and longer than any of the stores takes to notice and to elect another server.
        """
        return 2 * injection.stage.case.ttl + 5.0

    def heal(self, injection: Injection) -> None:
        """
        See who leads instead, and let it go on.
        """
        server = injection.facts["server"]
        others = [each.name for each in injection.stage.members if each is not server and each.leads()]
        injection.proof = f"{others[0]} leads instead of {server.name}" if others else ""
        server.thaw()


class RollingRestart(Fault):
    """
    The servers are restarted gently, one after the other.
    """

    name = "F10 rolling restart"
    stores = SERVED
    single = False
    cluster = True
    moves = "may"
    since = "healed"
    bound = "heal"

    def inject(self, injection: Injection) -> None:
        """
        Restart them.
        """
        cluster = cluster_of(injection.stage)
        before = [each.pid for each in cluster.members]
        injection.at = now()
        cluster.rolling_restart()
        changed = sum(each.pid != pid for each, pid in zip(cluster.members, before, strict=True))
        injection.proof = f"{changed} of {len(before)} restarted" if changed == len(before) else ""


def cluster_of(stage: Stage) -> Cluster[Any]:
    """
    The cluster of a stage.
    """
    if not isinstance(stage.servers, Cluster):
        msg = "this fault needs three servers"
        raise TypeError(msg)
    return stage.servers

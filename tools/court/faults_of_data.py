"""
Faults of what a store keeps: data that are lost, put back from an older copy, compacted, or too many for the disk.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any, Final

from servers import Etcd, ZooKeeper
from servers._net import Refused

from court.actors import PATIENCE, Actor
from court.clock import now
from court.fault import ALL, Fault, Injection
from court.machine import run
from court.observer import wait_for
from court.stage import NODES, Stage

BURNT: Final = 100
"""Writes by which the store's counter is ahead of what it has after a loss."""
CHANGES: Final = len(NODES)
"""Of the leader: as many as stand, because entries may wait in a queue."""
MARK: Final = "lost"
"""A key below which an operator writes, outside the court's."""


def burn(stage: Stage) -> None:
    """
    Have the store's counter rise, as other users of it do.
    """
    server = stage.answering()
    if isinstance(server, ZooKeeper):
        with server.client() as client:
            client.ensure_path(f"/{MARK}")
            for number in range(BURNT):
                client.set(f"/{MARK}", str(number).encode())
    else:
        for number in range(BURNT):
            server.put(MARK, str(number))


def advance(injection: Injection, *, changes: int, but: Actor | None = None) -> None:
    """
    Have the counter rise, and then the leader change so often that the entry of each who stands is newer; at last
    another leads than somebody.
    """
    stage = injection.stage
    if stage.servers is not None:
        burn(stage)
    while changes > 0 or injection.leader is but:
        changes -= 1
        injection.leader.ask("resign")
        if not wait_for(lambda: stage.leader(other_than=injection.leader) is not None, PATIENCE):
            msg = f"nobody leads after the resignation of {injection.leader.node}"
            raise RuntimeError(msg)
        injection.leader = stage.leader(other_than=injection.leader) or injection.leader
    time.sleep(1.0)  # those who have resigned stand again
    injection.token = injection.leader.token


def burnt(stage: Stage) -> bool:
    """
    Whether the store still has what was written then.
    """
    server = stage.answering()
    return server.get(f"/{MARK}" if isinstance(server, ZooKeeper) else MARK) is not None


class Wipe(Fault):
    """
    The store is killed, loses its data, and is started again; a database is removed while it is used.

    Sessions and entries end with the data before their time, so that S1 is not judged, and tokens begin again.
    """

    name = "F11 store wiped"
    stores = ALL
    since = "healed"
    bound = "heal"
    resets = True
    spared = frozenset({"S1", "S1-store", "S2"})

    def inject(self, injection: Injection) -> None:
        """
        Lose everything.
        """
        stage = injection.stage
        if stage.servers is None:
            path = stage.case.database(stage.folder)
            before = path.stat().st_ino
            injection.at = now()
            for suffix in ("", "-wal", "-shm"):
                path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)
            injection.proof = f"the file with inode {before} was removed"
            return
        advance(injection, changes=CHANGES)
        server = stage.answering()
        injection.at = now()
        server.kill()
        server.wipe()
        server.start()
        injection.proof = "" if burnt(stage) else f"{server.name} has lost what was written before"


class Restore(Fault):
    """
    The store is stopped, and started again with an older copy of its data: of a time when another led, and the same
    sessions had other entries.
    """

    name = "F11 older copy"
    stores = frozenset({"etcd", "zookeeper", "sqlite"})
    since = "healed"
    bound = "heal"
    resets = True
    spared = frozenset({"S1", "S1-store", "S2"})

    def inject(self, injection: Injection) -> None:
        """
        Copy, let others lead, put the copy back.
        """
        stage = injection.stage
        copy = stage.folder / f"copy-{stage.rounds}"
        self.save(stage, copy)
        advance(injection, changes=CHANGES, but=injection.leader)
        injection.at = now()
        injection.proof = self.put_back(stage, copy)
        if copy.is_dir():
            shutil.rmtree(copy)
        else:
            copy.unlink()

    def save(self, stage: Stage, copy: Path) -> None:
        """
        Make the copy.
        """
        if stage.servers is None:
            copy_database(stage.case.database(stage.folder), copy)
            return
        server = stage.answering()
        if isinstance(server, Etcd):
            server.save(copy)
            return
        server.freeze()
        try:
            run("cp", "-r", "--sparse=always", str(server.data), str(copy))
        finally:
            server.thaw()

    def put_back(self, stage: Stage, copy: Path) -> str:
        """
        Put the copy in the place of the data; what shows that it was done.
        """
        if stage.servers is None:
            copy_database(copy, stage.case.database(stage.folder))
            return "the database was restored in place"
        server = stage.answering()
        server.kill()
        if isinstance(server, Etcd):
            server.restore(copy)
        else:
            server.wipe()
            shutil.copytree(copy, server.data)
        server.start()
        return "" if burnt(stage) else f"{server.name} has lost what was written after the copy"


class RestoreSnapshot(Restore):
    """
    A snapshot of Consul, of a time before the leader's term, is restored while Consul runs. Its index goes back, and
    what is written then has a higher one than all before.
    """

    name = "F11 snapshot restored"
    stores = frozenset({"consul"})

    def save(self, stage: Stage, copy: Path) -> None:
        """
        Ask Consul for it.
        """
        server: Any = stage.answering()
        copy.write_bytes(server.raw("GET", "snapshot"))

    def put_back(self, stage: Stage, copy: Path) -> str:
        """
        Give it back.
        """
        server: Any = stage.answering()
        server.raw("PUT", "snapshot", copy.read_bytes())
        return "" if burnt(stage) else f"{server.name} has lost what was written after the snapshot"


def copy_database(source: Path, target: Path) -> None:
    """
    Copy a database of SQLite into another, whoever uses them.
    """
    with contextlib.closing(sqlite3.connect(source)) as one, contextlib.closing(sqlite3.connect(target)) as other:
        one.backup(other)


class Compact(Fault):
    """
    The others than the leader are cut off; what was written meanwhile is compacted away before they come back, and the
    leader is killed then: they are told of its end only if they have noticed that they missed something.
    """

    name = "F13 history compacted"
    waits = True
    stores = frozenset({"etcd"})

    def inject(self, injection: Injection) -> None:
        """
        Cut, write, compact, heal, kill.
        """
        stage = injection.stage
        server: Any = stage.answering()
        others = [proxy for actor in stage.actors if actor is not injection.leader for proxy in actor.proxies]
        for each in others:
            each.cut()
        before = self.revision(server)
        for number in range(20):
            server.put(f"court/{stage.election}/noise", str(number))
        server.compact()
        compacted = self.revision(server)
        try:
            server.call("kv/range", key="YQ==", revision=before)
        except Refused as error:
            injection.proof = f"revisions {before} to {compacted}: {error}" if "compacted" in str(error) else ""
        for each in others:
            each.reset()
            each.heal()
        injection.at = injection.leader.kill()

    @staticmethod
    def revision(server: Etcd) -> int:
        """
        The store's present revision.
        """
        return int(server.call("kv/range", key="YQ==")["header"]["revision"])

    def heal(self, injection: Injection) -> None:
        """
        Start another process of that node.
        """
        injection.stage.replace(injection.leader)


class NoSpace(Fault):
    """
    etcd runs out of its quota and raises the alarm NOSPACE; then the leader is killed. Who waits has its entry already,
    and leads; who comes anew can only stand when there is room again.
    """

    name = "F13 out of quota"
    waits = True
    stores = frozenset({"etcd"})
    variant = "space"

    def inject(self, injection: Injection) -> None:
        """
        Write until it is refused, and kill.
        """
        server: Any = injection.stage.answering()
        for number in range(100):
            try:
                server.put(f"{MARK}/{number}", b"x" * 2**20)
            except Refused as error:
                alarms = server.alarms()
                injection.proof = f"{alarms}: {error}" if alarms else ""
                break
        injection.at = injection.leader.kill()

    def heal(self, injection: Injection) -> None:
        """
        Start the killed one again, and make room for it a moment later.
        """
        server: Any = injection.stage.answering()
        injection.stage.replace(injection.leader)
        time.sleep(1.0)
        server.delete_all(f"{MARK}/")
        server.make_room()
        if left := server.alarms():
            msg = f"etcd does not get well: {left}"
            raise RuntimeError(msg)


class DiskFull(Fault):
    """
    The disk of the data is full, and the leader is killed; two TTLs later there is room, and a server that has ended
    for it is started again.
    """

    name = "F13 disk full"
    stores = frozenset({"etcd", "zookeeper", "sqlite"})
    variant = "disk"
    since = "healed"
    bound = "both"

    def inject(self, injection: Injection) -> None:
        """
        Fill it, and write on.
        """
        stage = injection.stage
        folder = stage.folder / "servers" / "data"
        filler = injection.facts["filler"] = folder / "filler"
        injection.at = now()
        with open(filler, "wb", buffering=0) as file:
            for size in (2**20, 2**12, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
        injection.leader.kill()
        if stage.servers is None:
            injection.proof = self.refused_by_database(folder)
            return
        server = stage.answering()
        top = "/" if isinstance(server, ZooKeeper) else ""
        try:
            for number in range(400):
                server.put(f"{top}{MARK}-{number}", b"x" * 2**17)
        except (OSError, LookupError, Refused) as error:
            injection.proof = f"a write was refused: {error}"

    @staticmethod
    def refused_by_database(folder: Path) -> str:
        """
        Whether another database of that disk takes no write.
        """
        try:
            with contextlib.closing(sqlite3.connect(folder / "other.db")) as connection, connection:
                connection.execute("CREATE TABLE other (data)")
        except sqlite3.OperationalError as error:
            return str(error)
        return ""

    def hold(self, injection: Injection) -> float | None:
        """
        Two TTLs.
        """
        return 2 * injection.stage.case.ttl

    def heal(self, injection: Injection) -> None:
        """
        Make room.
        """
        stage = injection.stage
        injection.facts["filler"].unlink()
        for server in stage.members:
            if not server.running or not self.answers(server):
                server.terminate()
                server.start()
        injection.healed = now()
        stage.replace(injection.leader)

    @staticmethod
    def answers(server: Any) -> bool:
        """
        Whether it does a write.
        """
        with contextlib.suppress(OSError, LookupError, ValueError):
            return wait_for(server.answers, 1.0)
        return False

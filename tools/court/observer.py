"""
An observer of the store that does not use the library: it polls, and writes down each change of the holder.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from servers import Consul, Etcd, Server, ZooKeeper
from servers.consul import LOCK_FLAGS
from servers.zookeeper import SUPER

from court.clock import now

POLL: Final = 0.025
READ: Final = 2.0
"""Seconds that a read may take."""
Truth = tuple[str, int] | None
"""Whose entry leads, and its token."""
Read = Callable[[], Truth]


class Observer:
    """
    Polls on a thread, and writes a line where the holder is another than before, or the store stops answering.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._log: int | None = None
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._last: Any = ""
        self.polls = 0
        self.truth: Truth = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="observer")
        self._thread.start()

    def turn(self, folder: Path) -> None:
        """
        Go on in the folder of another round, with what is true now.
        """
        new = os.open(folder / "store.log.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        with self._lock:
            old, self._log = self._log, new
            self._last = ""
            self.polls = 0
            if old is not None:
                os.close(old)

    def _run(self) -> None:
        while not self._end.wait(POLL):
            before = now()
            found: Any
            try:
                found = self.truth = self._read()
            except Exception as error:  # noqa: BLE001 - a store that is hurt may answer with anything
                found = repr(error)
            after = now()
            with self._lock:
                self.polls += not isinstance(found, str)
                if found == self._last or self._log is None:
                    continue
                self._last = found
                record: dict[str, Any] = {"b": before, "a": after}
                if isinstance(found, str):
                    record["error"] = found[:200]
                else:
                    record["node"], record["token"] = found or (None, None)
                os.write(self._log, f"{json.dumps(record)}\n".encode())

    def close(self) -> None:
        """
        End it.
        """
        self._end.set()
        self._thread.join(6.0)
        if self._log is not None:
            os.close(self._log)
            self._log = None


# -- how each store is read -------------------------------------------------------------------------------------------


def sqlite_reader(path: Path, election: str) -> Read:
    """
    The row of an election.
    """

    def read() -> Truth:
        if not path.exists():
            return None
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1.0)) as connection:
            row = connection.execute(
                "SELECT node, token FROM elections WHERE name = ? AND session IS NOT NULL", (election,)
            ).fetchone()
        return None if row is None else (row[0], row[1])

    return read


def etcd_reader(server: Callable[[], Etcd], election: str) -> Read:
    """
    The oldest key of a lease below an election.
    """
    claim = re.compile(re.escape(f"court/{election}/") + "[0-9a-f]{1,16}")

    def read() -> Truth:
        for each in server().entries(f"court/{election}/"):
            if claim.fullmatch(each["key"]):
                return base64.b64decode(each.get("value", "")).decode(), int(each["create_revision"])
        return None

    return read


def consul_reader(server: Callable[[], Consul], election: str) -> Read:
    """
    The lock's key.
    """

    def read() -> Truth:
        entry = server().entry(f"court/{election}")
        if entry is None or (entry["Flags"] == LOCK_FLAGS and not entry.get("Session")):
            return None
        return base64.b64decode(entry["Value"] or "").decode(), int(entry["ModifyIndex"])

    return read


class ZooKeeperReader:
    """
    The first of the candidates' nodes, through a client that stays connected to whichever member answers.
    """

    def __init__(self, hosts: str, election: str) -> None:
        logging.getLogger("kazoo").setLevel(logging.CRITICAL)
        self._hosts = hosts
        self._path = f"/court/{election}"
        self._client = self._connected(20.0)

    def _connected(self, seconds: float) -> Any:
        from kazoo.client import KazooClient

        client = KazooClient(hosts=self._hosts, timeout=2.0, read_only=False, auth_data=[("digest", ":".join(SUPER))])
        try:
            client.start(timeout=seconds)
        except BaseException:
            client.stop()
            client.close()
            raise
        return client

    def __call__(self) -> Truth:
        """
        Read it, after what the leader of the ensemble has.
        """
        from kazoo.exceptions import NoNodeError
        from kazoo.handlers.threading import KazooTimeoutError

        if self._client is None:
            self._client = self._connected(2.0)
        try:
            self._client.sync_async(self._path).get(timeout=READ)
            children = self._client.get_children_async(self._path).get(timeout=READ)
            names = [name for name in children if re.search("__lock__[0-9]{10}$", name)]
            if not names:
                return None
            first = f"{self._path}/{min(names, key=lambda name: name[-10:])}"
            value, stat = self._client.get_async(first).get(timeout=READ)
            return value.decode(), int(stat.czxid)
        except NoNodeError:
            return None
        except KazooTimeoutError:
            # A server that has lost its data refuses who has seen more than it has, for ever.
            self.close()
            raise

    @property
    def session(self) -> str:
        """
        Its own, in hex.
        """
        return f"{self._client.client_id[0]:#x}"

    def close(self) -> None:
        """
        End its session.
        """
        client, self._client = self._client, None
        if client is not None:
            client.stop()
            client.close()


def reader(server: Callable[[], Server], hosts: str, path: Path, election: str) -> Read:
    """
    How to read the store of some servers; of a file, where there is none.
    """
    if not hosts:
        return sqlite_reader(path, election)
    first = server()
    if isinstance(first, ZooKeeper):
        return ZooKeeperReader(hosts, election)

    def typed() -> Any:
        return server()

    return etcd_reader(typed, election) if isinstance(first, Etcd) else consul_reader(typed, election)


def wait_for(true: Callable[[], bool], seconds: float) -> bool:
    """
    Wait until something holds, and whether it did in time.
    """
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.003)
    return True

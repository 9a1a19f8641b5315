"""
Negative controls: locks as they are often written, each of which must be condemned by the court that acquits us.
"""

from __future__ import annotations

import http.client
import json
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

from court.clock import now
from court.contender import Role, Say
from court.evidence import Look

TRIES: Final = 500
"""Of a control to have its database in the mode that it needs."""
PAUSE: Final = 0.01
"""Seconds between them."""


class Control(ABC):
    """
    A contender whose loop runs on a thread of its own.
    """

    def __init__(self, role: Role, say: Say) -> None:
        self.role = role
        self.say = say
        self.token: int | None = None

    def start(self) -> None:
        """
        Stand.
        """
        threading.Thread(target=self.stand, daemon=True).start()

    def look(self) -> Look:
        """
        What it believes.
        """
        token = self.token
        before = now()
        leads = self.believes()
        return Look(before, now(), leads, token if leads else None, None)

    def resign(self) -> bool:
        """
        No control can: its faults do not ask for it.
        """
        return False

    def stop(self) -> bool:
        """
        Its process is ended as it is.
        """
        return False

    def hang(self, seconds: float) -> bool:
        """
        Nor is it asked to stand still.
        """
        del seconds
        return False

    @abstractmethod
    def stand(self) -> None:
        """
        Its loop.
        """

    @abstractmethod
    def believes(self) -> bool:
        """
        Whether it takes itself for the leader.
        """


class NoDeadline(Control):
    """
    A lock of Consul that is believed in until Consul says that the session is gone, however long that takes.
    """

    leads = False

    def stand(self) -> None:
        """
        Take the lock, renew the session, and start again when Consul says no.
        """
        session = ""
        while True:
            try:
                if not session:
                    wanted = {"TTL": f"{self.role.ttl:g}s", "LockDelay": "0s", "Behavior": "release"}
                    session = self._call("/v1/session/create", wanted)["ID"]
                if not self.leads:
                    self.leads = bool(self._call(f"/v1/kv/{self.role.election}?acquire={session}", self.role.node))
                if self._call(f"/v1/session/renew/{session}", None) is None:
                    session, self.leads = "", False
            except (OSError, http.client.HTTPException) as error:
                self.say("error", text=repr(error))  # and goes on leading: nobody has told it otherwise
            time.sleep(self.role.ttl / 3)

    def believes(self) -> bool:
        """
        What the last answer said.
        """
        return self.leads

    def _call(self, path: str, body: Any) -> Any:
        connection = http.client.HTTPConnection(self.role.url.partition("://")[2].split("/")[0], timeout=60.0)
        try:
            connection.request("PUT", path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            text = response.read()
            return None if response.status == 404 else json.loads(text)
        finally:
            connection.close()


class KazooElection(Control):
    """
    kazoo's `Election`, as its documentation shows it: who is inside the function leads.
    """

    leads = False

    def stand(self) -> None:
        """
        Run for election, again and again.
        """
        from kazoo.client import KazooClient
        from kazoo.exceptions import KazooException

        hosts = self.role.url.partition("://")[2].split("/")[0]
        client = KazooClient(hosts=hosts, timeout=self.role.ttl)
        client.start(timeout=20.0)
        while True:
            try:
                client.Election(f"/controls/{self.role.election}", self.role.node).run(self._lead)
            except KazooException as error:
                self.say("error", text=repr(error))
                time.sleep(0.1)

    def _lead(self) -> None:
        self.leads = True
        threading.Event().wait()

    def believes(self) -> bool:
        """
        Whether it is inside the function.
        """
        return self.leads


class _Table(Control):
    """
    A lock in a table of SQLite: a holder, and when it ends by some clock.
    """

    def connect(self) -> sqlite3.Connection:
        """
        A connection with the table in place.
        """
        path = self.role.url.removeprefix("sqlite:///")
        connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
        for left in reversed(range(TRIES)):
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError:  # another changes it just now: SQLite does not wait for that
                if not left:
                    raise
                time.sleep(PAUSE)
        connection.execute("CREATE TABLE IF NOT EXISTS control (name TEXT PRIMARY KEY, holder, ends, term)")
        return connection

    def claim(self, connection: sqlite3.Connection, moment: float) -> float | None:
        """
        Take or renew the lock at a moment of its clock: when it ends; None where another holds it.
        """
        connection.execute("BEGIN IMMEDIATE")
        name, me = self.role.election, self.role.node
        row = connection.execute("SELECT holder, ends, term FROM control WHERE name = ?", (name,)).fetchone()
        ends = moment + self.role.ttl
        free = row is None or row[1] < moment
        if free or row[0] == me:
            term = 1 if row is None else row[2] + (row[0] != me)
            connection.execute("INSERT OR REPLACE INTO control VALUES (?, ?, ?, ?)", (name, me, ends, term))
            self.token = term
        connection.execute("COMMIT")
        return ends if free or row[0] == me else None


class WallClock(_Table):
    """
    A lease that ends by the wall clock, which somebody may set.
    """

    ends = 0.0

    def stand(self) -> None:
        """
        Take or renew the lock, five times a TTL.
        """
        connection = self.connect()
        while True:
            self.ends = self.claim(connection, time.time()) or self.ends  # not renewed: it lasts a while yet
            time.sleep(self.role.ttl / 5)

    def believes(self) -> bool:
        """
        Whether its lease lasts, by the wall clock.
        """
        return time.time() < self.ends


class StaleRead(_Table):
    """
    A leader that asks its database whether it still leads, within the transaction that it began at its election.
    """

    def __init__(self, role: Role, say: Say) -> None:
        super().__init__(role, say)
        self._lock = threading.Lock()
        self._reader: sqlite3.Connection | None = None

    def stand(self) -> None:
        """
        Take or renew the lock, three times a TTL.
        """
        connection = self.connect()
        while True:
            if self.claim(connection, now()) is not None and self._reader is None:
                reader = self.connect()
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM control").fetchone()
                self._reader = reader
            time.sleep(self.role.ttl / 3)

    def believes(self) -> bool:
        """
        What the database says, as it was when the transaction began.
        """
        with self._lock:
            if self._reader is None:
                return False
            row = self._reader.execute("SELECT holder FROM control WHERE name = ?", (self.role.election,)).fetchone()
            return row is not None and row[0] == self.role.node


CONTROLS: Final[dict[str, Callable[[Role, Say], Control]]] = {
    "no-deadline": NoDeadline,
    "kazoo-election": KazooElection,
    "wall-clock": WallClock,
    "stale-read": StaleRead,
}
CONDEMNED_BY: Final = {**dict.fromkeys(CONTROLS, "S1"), "watch-from-now": "O2"}
"""The law that each control breaks; those of followers (`watcher`) too."""

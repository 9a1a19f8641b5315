"""
The connection to the database file, as one thread uses it.

Law 1: the file is ours, or nothing is written to it: another program's database is refused, an unlinked or replaced
one gives no belief (its inode is compared within every transaction).
Law 2: a transaction is never held across a wait; who waits for another's is told so in bounded time.
Law 3: a commit that is not `durable` may be lost with the power, as its processes are.

Law 4: no connection crosses a fork (see `_sqlite_fork`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from typing import TypeVar

from leadership._clock import now
from leadership.backends._sqlite_fork import close_before_fork, forget
from leadership.backends._sqlite_liveness import here, identity
from leadership.backends._sqlite_wake import Ringer
from leadership.errors import LeadershipError, StoreRefused, StoreUnavailable

T = TypeVar("T")

APPLICATION_ID = 0x4C454144  # "LEAD"
SCHEMA_VERSION = 1
TABLES = ("meta", "sessions", "elections")
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    token INTEGER NOT NULL,         -- the newest of all elections; never goes back, even if an election is deleted
    reserved INTEGER NOT NULL,      -- tokens up to this one may be granted in this boot; it is on the disk
    boot TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY,
    pid INTEGER NOT NULL,
    pid_namespace TEXT NOT NULL,
    boot TEXT NOT NULL,             -- the deadline is comparable in this boot and time namespace only
    time_namespace TEXT NOT NULL,
    deadline REAL NOT NULL,         -- CLOCK_BOOTTIME, seconds
    renewals INTEGER NOT NULL,
    ttl REAL NOT NULL,
    lock TEXT NOT NULL,             -- device and inode of the file that the holder has locked while it lives
    bell TEXT NOT NULL              -- the socket at which its store is told to look, if it is there
);
CREATE TABLE IF NOT EXISTS elections (
    name TEXT PRIMARY KEY,
    token INTEGER NOT NULL,         -- of the newest term
    session TEXT,                   -- NULL: vacant
    key TEXT,
    number INTEGER,                 -- of the attempt of its session: a later one is not taken away by an earlier
    node TEXT,
    metadata TEXT,                  -- JSON
    resign_token INTEGER,           -- the term that an operator asks to end
    resign_reason TEXT
);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""


def complaint(connection: sqlite3.Connection, path: str) -> str | None:
    """
    Why the database is none of ours; None if it is, or is empty.
    """
    application, version, tables = connection.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master)"
        " FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if application == APPLICATION_ID and version == SCHEMA_VERSION:
        return None
    if application == APPLICATION_ID:
        return (
            f"{path} was written by another version of leadership (schema {version}, this one knows {SCHEMA_VERSION}):"
            " let all processes use the same version, and a new file if need be"
        )
    if application == 0 and version == 0 and not tables:
        return None
    return f"{path} is a database of another program (application id {application}): name a file of its own"


def is_busy(error: sqlite3.Error) -> bool:
    """
    Another process holds what is needed.
    """
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def explain(error: sqlite3.Error, path: str) -> LeadershipError:
    """
    What an error of SQLite means to the caller.
    """
    code = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
    if is_busy(error):
        return StoreUnavailable(
            f"{path}: another process holds a write transaction, and has not ended it in time; if it is stopped or"
            f" hangs (`fuser -v {path}` names it), continue or end it"
        )
    if code == sqlite3.SQLITE_NOTADB:
        return StoreRefused(f"{path} is not an SQLite database: name another file, or move it away")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return StoreRefused(f"{path} cannot be written ({error}): change its permissions, or name another file")
    remedy = {
        sqlite3.SQLITE_FULL: "free some space",
        sqlite3.SQLITE_CORRUPT: "move it away, and a new one is made",
        sqlite3.SQLITE_CANTOPEN: "see that its folder exists and can be written",
    }.get(code, "see that the file is in place and its disk works")
    return StoreUnavailable(f"{path}: {error}: {remedy}")


def explain_system(error: OSError, path: str) -> LeadershipError:
    """
    What an error at the files beside the database means to the caller.
    """
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return StoreRefused(f"{path}: {error}: change the permissions, or name a file in another folder")
    return StoreUnavailable(f"{path}: {error}: see that its folder is in place and has room")


def patiently(action: Callable[[], T], until: float) -> T:
    """
    Do what another process may be in the way of, again until it succeeds or the time is up.

    SQLite's own busy handler is not asked to: it sleeps for whole seconds in some builds, and not at all where the
    journal mode is set.
    """
    pause = 0.0005
    while True:
        try:
            return action()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or now() + pause > until:
                raise
        time.sleep(pause)
        pause = min(2 * pause, 0.01)


class Database:
    """
    A connection that is opened when it is needed, and again after an error. Used with its gate locked.
    """

    def __init__(self, path: str, folder: str) -> None:
        self.path = path
        self.folder = folder
        self.place = here()
        self.operations = 0
        """Transactions and reads."""
        self.highest = 0
        """The newest token seen in any election; a database that knows less has lost its data."""
        self.unmoved: dict[str, tuple[int, float]] = {}
        """By session of another place: its renewals, and since when they have not changed on our clock."""
        self.bell: str | None = None
        """The path of the socket at which this very store is told to look."""
        self.ringer = Ringer(folder)
        self.data_version: int | None = None
        """Of the last look at everything that is watched."""
        self.swept = False
        self._connection: sqlite3.Connection | None = None
        self._identity = ""
        self._durable: bool = False
        self.gate = threading.Lock()
        close_before_fork(self)

    @property
    def is_connected(self) -> bool:
        """
        It has a connection.
        """
        return self._connection is not None

    @contextlib.contextmanager
    def reading(self, until: float) -> Generator[sqlite3.Connection, None, None]:
        """
        For one statement that reads the newest commit.

        Raises:
            StoreUnavailable, StoreRefused: The database cannot be read.
        """
        with self._explained():
            connection = self._connected(until)
            self._check_in_place()
            self.operations += 1
            yield connection

    @contextlib.contextmanager
    def writing(self, until: float, *, durable: bool = False) -> Generator[sqlite3.Connection, None, None]:
        """
        A transaction that nobody else's comes between; `durable`: on the disk when it ends.

        Raises:
            StoreUnavailable, StoreRefused: It cannot be had now, or its outcome is unknown.
        """
        with self._explained():
            connection = self._connected(until)
            if durable is not self._durable:
                connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._durable = durable
            patiently(lambda: connection.execute("BEGIN IMMEDIATE"), until)
            try:
                self._check_in_place()
                self.operations += 1
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """
        Close the connection; the next call opens another.
        """
        connection, self._connection = self._connection, None
        self.data_version = None
        if connection is not None:
            # SQLite cannot do more about a file that is out of order than leave it.
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def discard(self) -> None:
        """
        Close it for good.
        """
        self.close()
        forget(self)

    @contextlib.contextmanager
    def _explained(self) -> Generator[None, None, None]:
        try:
            yield
        except sqlite3.Error as error:
            if not is_busy(error):
                self.close()
            raise explain(error, self.path) from error
        except StoreUnavailable:
            self.close()
            raise

    def _check_in_place(self) -> None:
        if self._look() == self._identity:
            return
        msg = f"{self.path} was removed or replaced while it was in use: what it said is void"
        raise StoreUnavailable(msg)

    def _connected(self, until: float) -> sqlite3.Connection:
        if self._connection is None:
            before = self._look_at("")
            connection = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False)
            try:
                patiently(lambda: self._prepare(connection), until)
                self._identity = self._look()
                if not self._identity or before not in ("", self._look_at("")):
                    msg = f"{self.path} was replaced while it was opened"
                    raise StoreUnavailable(msg)
            except BaseException:
                connection.close()
                raise
            self._connection, self._durable, self.swept = connection, False, False
        return self._connection

    def _look_at(self, suffix: str) -> str:
        try:
            return identity(os.stat(self.path + suffix))
        except FileNotFoundError:
            return ""

    def _look(self) -> str:
        """
        The file, and the log and index that all who use it must share.
        """
        try:
            return " ".join(identity(os.stat(self.path + suffix)) for suffix in ("", "-wal", "-shm"))
        except FileNotFoundError:
            return ""

    def _prepare(self, connection: sqlite3.Connection) -> None:
        problem = complaint(connection, self.path)
        if problem is not None:
            raise StoreRefused(problem)
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            msg = f"{self.path} cannot have a write-ahead log (its journal mode stays {mode!r}): name a local file"
            raise StoreRefused(msg)
        connection.execute("PRAGMA synchronous = NORMAL")
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()}
        if not names.issuperset(TABLES):
            connection.execute("BEGIN IMMEDIATE")
            try:
                if complaint(connection, self.path) is None:
                    for statement in SCHEMA.split(";\n"):
                        connection.execute(statement)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

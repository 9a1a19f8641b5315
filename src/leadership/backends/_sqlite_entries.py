"""
Each change that can be made to the database, as a function of a `Database`.

Law 1: every change compares: it is one transaction that reads what it changes.
Law 2: whoever takes over removes the row of the session that is over in the same transaction, so that no renewal can
revive it.
Law 3: a token rises above every other of the file: one counter serves all elections, so that it survives the deletion
of an election's row. It survives the loss of power too, though a commit is not waited for until it is on the disk:
tokens are reserved in blocks, which are on the disk before the first of them is granted, and each boot begins with the
next block.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
from collections.abc import Sequence

from leadership._clock import now
from leadership.backends import _sqlite_liveness as liveness
from leadership.backends._sqlite_database import Database
from leadership.backends._sqlite_view import VACANT, Seen, View, judge, look, read
from leadership.backends._sqlite_wake import Bell
from leadership.errors import LeadershipError, StoreUnavailable
from leadership.store import Entry, Holder, Outcome, Reply

BLOCK = 1000
"""Tokens that are reserved at a time."""
LOW = 100
"""A block with fewer left is not begun: others may take some before we do."""

_SESSIONS = "SELECT id, pid, pid_namespace, boot, time_namespace, deadline, renewals, ttl, lock FROM sessions"
_VACATE = "UPDATE elections SET session = NULL, key = NULL, node = NULL, metadata = NULL"
_TAKE = """
INSERT INTO elections (name, token, session, key, number, node, metadata) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET token = excluded.token, session = excluded.session, key = excluded.key,
    number = excluded.number, node = excluded.node, metadata = excluded.metadata
"""


def open_session(database: Database, ttl: float, until: float) -> liveness.LivenessLock:
    """
    The lock of a new session, which also names it.
    """
    lock = liveness.LivenessLock(database.folder)
    try:
        swept: list[str] = []
        bells: list[str] = []
        with database.writing(until) as connection:
            if not database.swept:
                swept, bells = _sweep(database, connection), _bells(database, connection)
            place = database.place
            where = (os.getpid(), place.pid_namespace, place.boot, place.time_namespace)
            connection.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, ?)",
                (lock.session, *where, now() + ttl, ttl, lock.identity, database.ringer.own),
            )
    except BaseException:
        lock.close()
        _forget(database, lock.session)
        raise
    if not database.swept:
        _sweep_files(database)
        database.swept = True
    if swept:
        database.ringer.tell_vacant(swept, bells)
    return lock


def _sweep(database: Database, connection: sqlite3.Connection) -> list[str]:
    """
    Remove the rows of sessions that are over; the elections that they held are returned.
    """
    held: list[str] = []
    for columns in connection.execute(_SESSIONS).fetchall():
        session, boot, lock = columns[0], columns[3], columns[8]
        is_idle = not _held(connection, session)
        # To remove one that holds nothing takes no proof: at worst it asks for another session.
        is_gone = boot != database.place.boot or liveness.is_free(database.folder, session, lock)
        if (is_idle and is_gone) or judge(database, columns) is None:
            held += _remove(connection, session)
    return held


def _sweep_files(database: Database) -> None:
    """
    Remove the locks of dead processes to which no row refers any more.
    """
    with database.reading(now()) as connection:
        alive = {row[0] for row in connection.execute("SELECT id FROM sessions").fetchall()}
    for name in os.listdir(database.folder):
        session, suffix = os.path.splitext(name)
        if suffix == liveness.SUFFIX and session not in alive and liveness.is_free(database.folder, session):
            _forget(database, session)


def _forget(database: Database, session: str) -> None:
    """
    Remove what is left of a session that has no row.
    """
    liveness.remove(liveness.lock_path(database.folder, session))
    database.unmoved.pop(session, None)


def _held(connection: sqlite3.Connection, session: str) -> list[str]:
    rows = connection.execute("SELECT name FROM elections WHERE session = ?", (session,)).fetchall()
    return [name for (name,) in rows]


def _remove(connection: sqlite3.Connection, session: str) -> list[str]:
    """
    Remove the row of a session that is over; what it held is returned.
    """
    held = _held(connection, session)
    connection.execute("DELETE FROM sessions WHERE id = ?", (session,))
    return held


def _bells(database: Database, connection: sqlite3.Connection) -> list[str]:
    """
    Where other candidates are told to look.
    """
    rows = connection.execute("SELECT DISTINCT bell FROM sessions WHERE bell <> ?", (database.ringer.own,)).fetchall()
    return [bell for (bell,) in rows]


def ring(database: Database, *, everything: bool = False) -> None:
    """
    Tell other stores what is due, or all that they would be told later.
    """

    def still_vacant(elections: Sequence[str]) -> Sequence[str]:
        try:
            return [name for name, seen in read(database, elections, now()).items() if seen.holder is None]
        except (LeadershipError, OSError):
            return elections  # let them find out; whoever calls next is told of an error that lasts

    database.ringer.work(still_vacant, until=math.inf if everything else now())


def renew(database: Database, session: str, ttl: float, until: float) -> tuple[Reply, float]:
    """
    Another TTL for a session that is not over; and its deadline.
    """
    with database.writing(until) as connection:
        time = now()
        changed = connection.execute(
            "UPDATE sessions SET deadline = ?, renewals = renewals + 1 WHERE id = ? AND deadline > ?",
            (time + ttl, session, time),
        ).rowcount
    return (Reply(Outcome.DONE) if changed else _over(session)), time + ttl


def _over(session: str) -> Reply:
    return Reply(Outcome.REFUSED, error=StoreUnavailable(f"session {session} has ended"))


def acquire(database: Database, session: str, entry: Entry, until: float) -> tuple[Reply, View]:
    """
    Claim an election; and the election as it is then.

    A refusal needs no transaction that writes, so a crowd of candidates does not queue for one.
    """
    name = entry.election
    with database.reading(until) as connection:
        view = look(database, connection, [name])
        block_begins = _Counter(database, connection).left(entry.above) < LOW
    if _is_anothers(view[name], session):
        return Reply(Outcome.REFUSED, holder=view[name].holder), view
    removed: list[str] = []
    with database.writing(until, durable=block_begins) as connection:
        own = connection.execute(f"{_SESSIONS} WHERE id = ?", (session,)).fetchone()
        tenure = None if own is None or own[5] <= now() else judge(database, own)
        if tenure is None:
            return _over(session), {}
        view = look(database, connection, [name])
        if _is_anothers(view[name], session):
            return Reply(Outcome.REFUSED, holder=view[name].holder), view
        row = connection.execute("SELECT token, session, key, number FROM elections WHERE name = ?", (name,)).fetchone()
        newest, before, key, number = (0, None, None, 0) if row is None else row
        request = view[name].request
        if (before, key) == (session, entry.key):
            return Reply(Outcome.DONE, token=newest), view
        if before == session and number > entry.number:
            return Reply(Outcome.REFUSED, holder=view[name].holder), view  # this call was held up on its way
        changed = [name]
        if before not in (None, session):
            removed.append(before)
            changed = _remove(connection, before)
        counter = _Counter(database, connection)
        lost = counter.has_lost(entry.above)
        token = counter.next(entry.above, block_begins=block_begins)
        metadata = json.dumps(dict(entry.metadata or {}))
        connection.execute(_TAKE, (name, token, session, entry.key, entry.number, entry.node, metadata))
    for other in removed:
        _forget(database, other)
    database.highest = token
    database.ringer.tell(changed)
    held = Holder(entry.node, token, session, dict(entry.metadata or {}))
    return Reply(Outcome.DONE, token=token, token_reset=lost), {name: Seen(held, request=request, tenure=tenure)}


def _is_anothers(seen: Seen, session: str) -> bool:
    return seen.holder is not None and seen.holder.session != session


class _Counter:
    """
    The newest token of all elections. What this process has seen, in the file or before it was lost, counts too.
    """

    def __init__(self, database: Database, connection: sqlite3.Connection) -> None:
        self._database = database
        self._connection = connection
        row = connection.execute("SELECT token, reserved, boot FROM meta").fetchone()
        token, reserved, boot = (0, 0, "") if row is None else row
        self._reserved: int = reserved
        self._same_boot = boot == database.place.boot != ""
        self._token: int = max(token, 0 if self._same_boot else self._reserved)

    def left(self, above: int) -> int:
        """
        How many tokens may be granted before a block must be reserved.
        """
        return self._reserved - self._known(above) if self._same_boot else 0

    def has_lost(self, above: int) -> bool:
        """
        This process knows of a newer token: the database has lost its data.
        """
        return self._known(above) > self._token

    def next(self, above: int, *, block_begins: bool) -> int:
        """
        A token that no term has had.
        """
        token = self._known(above) + 1
        if block_begins:
            self._reserved = token + (BLOCK if self._database.place.boot else 0)
        elif token > self._reserved or not self._same_boot:
            msg = "others took the tokens that were reserved: try again"
            raise StoreUnavailable(msg)
        self._connection.execute(
            "INSERT OR REPLACE INTO meta (one, token, reserved, boot) VALUES (1, ?, ?, ?)",
            (token, self._reserved, self._database.place.boot),
        )
        return token

    def _known(self, above: int) -> int:
        return max(self._token, above, self._database.highest)


def release(database: Database, session: str, entry: Entry, until: float) -> tuple[Reply, View]:
    """
    Remove an entry, if the session still has it; or one of an earlier attempt, which a restored file has again.
    """
    with database.writing(until) as connection:
        changed = connection.execute(
            f"{_VACATE} WHERE name = ? AND session = ? AND (key = ? OR number < ?)",
            (entry.election, session, entry.key, entry.number),
        ).rowcount
        bells = _bells(database, connection)
    if not changed:
        return Reply(Outcome.DONE), {}
    database.ringer.tell_vacant([entry.election], bells)
    return Reply(Outcome.DONE), {entry.election: VACANT}


def end_sessions(database: Database, sessions: Sequence[str], until: float) -> tuple[Reply, View]:
    """
    Remove sessions and their entries.
    """
    changed: list[str] = []
    with database.writing(until) as connection:
        for session in sessions:
            changed += _held(connection, session)
            connection.execute(f"{_VACATE} WHERE session = ?", (session,))
            connection.execute("DELETE FROM sessions WHERE id = ?", (session,))
        bells = _bells(database, connection)
    for session in sessions:
        _forget(database, session)
    if changed:
        database.ringer.tell_vacant(changed, bells)
    return Reply(Outcome.DONE), dict.fromkeys(changed, VACANT)


def request_resign(
    database: Database, election: str, token: int, reason: str | None, until: float
) -> tuple[Reply, View]:
    """
    Leave a request beside the entry of a term, if it still leads. The first words for a term stand.
    """
    with database.writing(until) as connection:
        seen = look(database, connection, [election])[election]
        if seen.holder is None or seen.holder.token != token:
            return Reply(Outcome.REFUSED, holder=seen.holder), {election: seen}
        if seen.request is not None and seen.request[0] == token and seen.request[1] is not None:
            return Reply(Outcome.DONE), {election: seen}
        connection.execute(
            "UPDATE elections SET resign_token = ?, resign_reason = ? WHERE name = ?", (token, reason, election)
        )
    database.ringer.tell([election])
    return Reply(Outcome.DONE), {election: Seen(seen.holder, request=(token, reason), tenure=seen.tenure)}


def open_bell(database: Database) -> Bell | None:
    """
    Make the socket at which this store is told to look; None where it cannot be had, and polling must do.
    """
    try:
        liveness.remove(os.path.join(database.folder, database.ringer.own))
        bell = Bell(database.folder, database.ringer.own)
    except OSError:
        return None
    database.bell = bell.path
    return bell


def close_bell(database: Database) -> None:
    """
    Remove the name of the socket, which is closed.
    """
    if database.bell is not None:
        liveness.remove(database.bell)
        database.bell = None

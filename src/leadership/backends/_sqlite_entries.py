"""
What can be asked of the database: who leads, and each change of it, as functions of a `Database`.

Law 1: every change compares: it is one transaction that reads what it changes.
Law 2: a holder holds nothing when its session's row is gone, its deadline has passed on a clock that is ours too, its
renewals have stood still for a whole TTL on our clock, or the kernel attests its death. Whoever takes over removes the
session's row in the same transaction, so that no renewal can revive it.
Law 3: the token counter is one for all elections and is never deleted, so that a token rises over the deletion of an
election's row too.

Time is the clock of deadlines, which every process of one boot and time namespace shares.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from leadership._clock import now
from leadership.backends import _sqlite_liveness as liveness
from leadership.backends._sqlite_database import Database
from leadership.backends._sqlite_wake import Bell, ring
from leadership.errors import StoreUnavailable
from leadership.store import Entry, Holder, Outcome, Reply


@dataclass(frozen=True, slots=True)
class Tenure:
    """
    How long a holder may be believed to hold, as far as its session's row tells.
    """

    session: str
    until: float
    """The moment of `now()` at which to look again."""
    pid: int | None
    """The holder's process, where it is another one and can be watched from here."""
    lock: str | None
    """The identity of the file whose lock attests the death of another process; None where it cannot."""


@dataclass(frozen=True, slots=True)
class Seen:
    """
    An election at one moment.
    """

    holder: Holder | None = None
    lapsed: int | None = None
    """The token of an entry that stands, and whose session is over."""
    request: tuple[int, str | None] | None = None
    """The term that an operator asks to end, and why."""
    tenure: Tenure | None = None


View = Mapping[str, Seen]
VACANT = Seen()

_SELECT = """
SELECT e.name, e.token, e.session, e.node, e.metadata, e.resign_token, e.resign_reason,
       s.id, s.pid, s.pid_namespace, s.boot, s.time_namespace, s.deadline, s.renewals, s.ttl, s.lock
FROM elections e LEFT JOIN sessions s ON s.id = e.session
WHERE e.name IN (SELECT value FROM json_each(?))
"""
_SESSIONS = "SELECT id, pid, pid_namespace, boot, time_namespace, deadline, renewals, ttl, lock FROM sessions"
_VACATE = """
UPDATE elections
SET session = NULL, key = NULL, node = NULL, metadata = NULL, resign_token = NULL, resign_reason = NULL
"""
_TAKE = """
INSERT INTO elections (name, token, session, key, node, metadata) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET token = excluded.token, session = excluded.session, key = excluded.key,
    node = excluded.node, metadata = excluded.metadata, resign_token = NULL, resign_reason = NULL
"""


def look(database: Database, connection: sqlite3.Connection, elections: Sequence[str]) -> dict[str, Seen]:
    """
    Each election as it is now. One statement, so one moment.
    """
    view = dict.fromkeys(elections, VACANT)
    tenures: dict[str, Tenure | None] = {}
    for row in connection.execute(_SELECT, (json.dumps(list(elections)),)).fetchall():
        name, token, session, node, metadata, resign_token, resign_reason, *columns = row
        database.highest = max(database.highest, token)
        if session is None:
            continue
        if session not in tenures:
            tenures[session] = _judge(database, columns)
        tenure = tenures[session]
        if tenure is None:
            view[name] = Seen(lapsed=token)
            continue
        holder = Holder(str(node), token, session, _metadata(metadata))
        request = (resign_token, resign_reason) if resign_token == token else None
        view[name] = Seen(holder, request=request, tenure=tenure)
    return view


def _judge(database: Database, columns: Sequence[Any]) -> Tenure | None:
    """
    Until when the session of a row may be believed to last; None when it is over.
    """
    session, pid, pid_namespace, boot, time_namespace, deadline, renewals, ttl, lock = columns
    if session is None:
        return None
    place, time = database.place, now()
    same_boot = boot == place.boot != ""
    if not (same_boot and time_namespace == place.time_namespace):
        count, since = database.unmoved.get(session, (None, time))
        if count != renewals:
            since = time
            database.unmoved[session] = (renewals, since)
        deadline = since + ttl
    if time >= deadline or (same_boot and liveness.is_free(database.folder, session, lock)):
        return None
    visible = same_boot and pid_namespace == place.pid_namespace
    if visible and pid == os.getpid():
        return Tenure(session, deadline, None, None)
    return Tenure(session, deadline, pid if visible else None, lock if same_boot else None)


def _metadata(text: object) -> Mapping[str, Any]:
    if text is None:
        return {}
    try:
        value: object = json.loads(str(text))
    except ValueError:
        value = None
    # Anything else is an operator's edit, which must not keep anybody from seeing who leads.
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def read(database: Database, elections: Sequence[str], until: float) -> dict[str, Seen]:
    """
    Who leads each.
    """
    with database.reading(until) as connection:
        return look(database, connection, elections)


def probe(database: Database, tenure: Tenure, elections: Sequence[str], until: float) -> View:
    """
    Each election, if the holder's death is attested; else nothing.
    """
    return read(database, elections, until) if _is_dead(database, tenure) else {}


def _is_dead(database: Database, tenure: Tenure) -> bool:
    return tenure.lock is not None and liveness.is_free(database.folder, tenure.session, tenure.lock)


def poll(database: Database, elections: Sequence[str], unwatched: Sequence[Tenure], until: float) -> View:
    """
    Each election, if another process has changed anything since the last poll, or one of the holders whose process
    cannot be watched has died; else nothing.
    """
    with database.reading(until) as connection:
        if database.bell is not None and not os.path.exists(os.path.join(database.folder, database.bell)):
            msg = f"{database.folder} was removed or replaced while it was in use: what was heard there may be old"
            raise StoreUnavailable(msg)
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if version == database.data_version and not any(_is_dead(database, tenure) for tenure in unwatched):
            return {}
        view = look(database, connection, elections)
        database.data_version = version
        return view


def open_session(database: Database, ttl: float, until: float) -> liveness.LivenessLock:
    """
    The lock of a new session, which also names it.
    """
    lock = liveness.LivenessLock(database.folder)
    try:
        swept: list[str] = []
        with database.writing(until) as connection:
            if not database.swept:
                swept = _sweep(database, connection)
            place = database.place
            where = (os.getpid(), place.pid_namespace, place.boot, place.time_namespace)
            connection.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?)",
                (lock.session, *where, now() + ttl, ttl, lock.identity),
            )
    except BaseException:
        lock.close()
        _forget(database, lock.session)
        raise
    if not database.swept:
        _sweep_files(database)
        database.swept = True
    if swept:
        ring(database.folder, swept, database.bell, vacant=True)
    return lock


def _sweep(database: Database, connection: sqlite3.Connection) -> list[str]:
    """
    Remove the rows of sessions that are over; the elections that they held are returned.
    """
    held: list[str] = []
    for columns in connection.execute(_SESSIONS).fetchall():
        elections = _held(connection, columns[0])
        # One of another boot that holds nothing keeps nobody waiting for its counter.
        if _judge(database, columns) is None or (columns[3] != database.place.boot and not elections):
            connection.execute("DELETE FROM sessions WHERE id = ?", (columns[0],))
            held.extend(elections)
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
    holder = view[name].holder
    if holder is not None and holder.session != session:
        return Reply(Outcome.REFUSED, holder=holder), view
    changed = [name]
    removed: str | None = None
    with database.writing(until, durable=True) as connection:
        own = connection.execute(f"{_SESSIONS} WHERE id = ?", (session,)).fetchone()
        tenure = None if own is None or own[5] <= now() else _judge(database, own)
        if tenure is None:
            return _over(session), {}
        view = look(database, connection, [name])
        row = connection.execute("SELECT token, session, key FROM elections WHERE name = ?", (name,)).fetchone()
        token, before, key = (0, None, None) if row is None else row
        holder = view[name].holder
        if holder is not None and holder.session != session:
            return Reply(Outcome.REFUSED, holder=holder), view
        if holder is not None and key == entry.key:
            return Reply(Outcome.DONE, token=token), view
        if before is not None and before != session:
            removed = before
            changed = _held(connection, before)
            connection.execute("DELETE FROM sessions WHERE id = ?", (before,))
        token, lost = _next_token(database, connection, token, entry.above)
        metadata = None if entry.metadata is None else json.dumps(dict(entry.metadata))
        connection.execute(_TAKE, (name, token, session, entry.key, entry.node, metadata))
    database.highest = token
    if removed is not None:
        _forget(database, removed)
    ring(database.folder, changed, database.bell)
    held = Holder(entry.node, token, session, dict(entry.metadata or {}))
    return Reply(Outcome.DONE, token=token, token_reset=lost), {name: Seen(held, tenure=tenure)}


def _next_token(database: Database, connection: sqlite3.Connection, newest: int, above: int) -> tuple[int, bool]:
    """
    A token that no term has had, and whether the database has lost some that this process knows of.
    """
    row = connection.execute("SELECT token FROM meta").fetchone()
    stored = max(newest, 0 if row is None else row[0])
    known = max(above, database.highest)
    token = max(stored, known) + 1
    connection.execute("INSERT OR REPLACE INTO meta (one, token) VALUES (1, ?)", (token,))
    return token, known > stored


def release(database: Database, session: str, entry: Entry, until: float) -> tuple[Reply, View]:
    """
    Remove an entry, if the session still has it.
    """
    with database.writing(until) as connection:
        changed = connection.execute(
            f"{_VACATE} WHERE name = ? AND session = ? AND key = ?", (entry.election, session, entry.key)
        ).rowcount
    if not changed:
        return Reply(Outcome.DONE), {}
    ring(database.folder, [entry.election], database.bell, vacant=True)
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
    for session in sessions:
        _forget(database, session)
    if changed:
        ring(database.folder, changed, database.bell, vacant=True)
    return Reply(Outcome.DONE), dict.fromkeys(changed, VACANT)


def request_resign(
    database: Database, election: str, token: int, reason: str | None, until: float
) -> tuple[Reply, View]:
    """
    Leave a request beside the entry of a term, if it still leads.
    """
    with database.writing(until) as connection:
        seen = look(database, connection, [election])[election]
        if seen.holder is None or seen.holder.token != token:
            return Reply(Outcome.REFUSED, holder=seen.holder), {election: seen}
        connection.execute(
            "UPDATE elections SET resign_token = ?, resign_reason = ? WHERE name = ?", (token, reason, election)
        )
    ring(database.folder, [election], database.bell)
    return Reply(Outcome.DONE), {election: Seen(seen.holder, request=(token, reason), tenure=seen.tenure)}


def open_bell(database: Database) -> Bell | None:
    """
    Make the socket at which this store is told to look; None where it cannot be had, and polling must do.
    """
    try:
        bell = Bell(database.folder)
    except OSError:
        return None
    database.bell = bell.name
    return bell


def close_bell(database: Database, bell: Bell) -> None:
    """
    Remove the name of a socket that is closed.
    """
    liveness.remove(bell.path)
    if database.bell == bell.name:
        database.bell = None

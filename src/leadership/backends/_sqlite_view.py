"""
Who leads, as the database and the kernel tell.

Law: a holder holds nothing when its session's row is gone, its deadline has passed on a clock that is ours too, its
renewals have stood still for a whole TTL on our clock, or the kernel attests its death.

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
from leadership.errors import StoreUnavailable
from leadership.store import Holder


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
    """The term that was asked to end last, and why; it may be over."""
    tenure: Tenure | None = None


View = Mapping[str, Seen]
VACANT = Seen()

_SELECT = """
SELECT e.name, e.token, e.session, e.node, e.metadata, e.resign_token, e.resign_reason,
       s.id, s.pid, s.pid_namespace, s.boot, s.time_namespace, s.deadline, s.renewals, s.ttl, s.lock
FROM elections e LEFT JOIN sessions s ON s.id = e.session
WHERE e.name IN (SELECT value FROM json_each(?))
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
        request = None if resign_token is None else (resign_token, resign_reason)
        if session is None:
            view[name] = Seen(request=request)
            continue
        if session not in tenures:
            tenures[session] = judge(database, columns)
        tenure = tenures[session]
        if tenure is None:
            view[name] = Seen(lapsed=token, request=request)
            continue
        holder = Holder(str(node), token, session, _metadata(metadata))
        view[name] = Seen(holder, request=request, tenure=tenure)
    return view


def judge(database: Database, columns: Sequence[Any]) -> Tenure | None:
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
        if database.bell is not None and not os.path.exists(database.bell):
            msg = f"{database.folder} was removed or replaced while it was in use: what was heard there may be old"
            raise StoreUnavailable(msg)
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if version == database.data_version and not any(_is_dead(database, tenure) for tenure in unwatched):
            return {}
        database.operations += 1
        view = look(database, connection, elections)
        database.data_version = version
        return view

"""
Where a ZooKeeper store keeps what: the names of nodes, whose turn it is by them, and what stands in them.

    <chroot>/<election>/<attempt's key>__lock__<10 digits>     ephemeral, sequential: a candidate; its data: the node
    <chroot>/<election>.leadership/<attempt's key>             ephemeral: the candidate's metadata, where it has any
    <chroot>/<election>.leadership/resign                      what a term was asked for, by an operator or its leader

A request names its term, and is removed with the end of the next term that was not asked: those who watch see that a
node is gone after it has gone, and look then why.

The order is that of the numbers, which the server gives. They count by parent and restart when the parent is made anew;
a parent with children cannot be removed, so that numbers of two lives never meet. The token is the node's czxid, which
is the whole ensemble's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from leadership.checks import check_name
from leadership.errors import ConfigError
from leadership.store import Holder

SIDE: Final = ".leadership"
MARK: Final = "__lock__"
RESIGN: Final = "resign"
MOST_NAME: Final = 1024
CONTENDER: Final = re.compile(r"(?:__lock__|lock-|latch-)(-?[0-9]{10})")
"""
kazoo's Lock and Election; Curator's mutex and leader selector, Go's lock; Curator's leader latch. Readers of a
read-write lock (`__rlock__`, `__READ__`) lead nothing.
"""
_WRAP: Final = 2**32


def check_election(election: str, base: str) -> None:
    """
    Refuse a name that ZooKeeper or this layout cannot keep.

    Raises:
        ConfigError: The name is not usable; the message says why.
    """
    check_name("election", election)
    parts = election.split("/")
    fault = None
    if any(part in (".", "..") for part in parts):
        fault = "has a part that is `.` or `..`, which no path of ZooKeeper may have"
    elif base == "" and parts[0] == "zookeeper":
        fault = "begins with `zookeeper`, which is the server's own: use another name, or a chroot in the URL"
    elif any(part.endswith(SIDE) for part in parts):
        fault = f"has a part that ends with {SIDE!r}, where the store keeps metadata"
    elif any(_sequence(part) is not None for part in parts):
        fault = "has a part that looks like a candidate's node of the election above it"
    elif any(not _is_plain(character) for character in election):
        fault = "has a character that ZooKeeper does not allow in paths (beyond U+D7FF, except U+F900 to U+FFEF)"
    elif len(election.encode()) > MOST_NAME:
        fault = f"is longer than {MOST_NAME} bytes"
    if fault is not None:
        msg = f"the election name {election!r} {fault}"
        raise ConfigError(msg)


def _is_plain(character: str) -> bool:
    return character <= "\ud7ff" or "\uf900" <= character <= "\uffef"


def _sequence(name: str) -> int | None:
    # From the end, where the server wrote it: names like `x__lock__1-lock-0000000002` have two.
    found = None if len(name) < 11 else re.search(CONTENDER.pattern + r"\Z", name)
    return None if found is None else int(found[1])


def contenders(names: Iterable[str]) -> list[str]:
    """
    The candidates' nodes among a path's children, the one that leads first.
    """
    found: list[tuple[int, str]] = []
    for name in names:
        number = _sequence(name)
        if number is not None:
            found.append((number, name))
    if found and max(found)[0] - min(found)[0] > _WRAP // 2:  # the counter, signed and of 32 bits, has run over
        found = [(number + _WRAP if number < 0 else number, name) for number, name in found]
    return [name for _, name in sorted(found)]


def key_of(name: str) -> str:
    """
    The attempt's key in a node's name; empty where it is another recipe's.
    """
    key, mark, _number = name.rpartition(MARK)
    return key if mark else ""


@dataclass(frozen=True, slots=True)
class Head:
    """
    The node that leads an election.
    """

    name: str
    owner: int
    """The session that it ends with; 0: none."""
    holder: Holder
    overwritten: bool = False
    """Somebody has written to it: the token is that of the writing, greater than those of some who wait behind it."""


def session_id(owner: int) -> str:
    """
    A session's number as text.
    """
    return f"{owner % 2**64:x}"


def head_of(name: str, data: bytes | None, stat: Any, side: tuple[bytes, Any] | None) -> Head:
    """
    Who leads, by the first node's data and stat.

    Nobody writes to a candidate's node after it was made: one that was written to names another holder, of whom no
    session is known, from the moment of the writing on.
    """
    node = (data or b"").decode(errors="replace") or name
    owner = session_id(stat.ephemeralOwner) if stat.ephemeralOwner else name
    if stat.version != 0:
        holder = Holder(node, stat.mzxid, f"{owner}/{stat.mzxid:x}", {})
        return Head(name, stat.ephemeralOwner, holder, overwritten=True)
    metadata: Mapping[str, Any] = {}
    if side is not None and side[1].ephemeralOwner == stat.ephemeralOwner:
        metadata = _as_object(side[0]) or {}
    return Head(name, stat.ephemeralOwner, Holder(node, stat.czxid, owner, metadata))


def metadata_of(metadata: Mapping[str, Any] | None) -> bytes | None:
    """
    What a side entry says; None: there is nothing to say.
    """
    return json.dumps(dict(metadata)).encode() if metadata else None


def request_of(token: int, reason: str | None) -> bytes:
    """
    What an operator's request says.
    """
    return json.dumps({"token": token, "reason": reason}).encode()


def parse_request(data: bytes | None) -> tuple[int, str | None] | None:
    """
    Token and reason of a request; None: it is none.
    """
    asked = _as_object(data)
    if asked is None:
        return None
    token, reason = asked.get("token"), asked.get("reason")
    if not isinstance(token, int) or isinstance(token, bool) or not isinstance(reason, str | None):
        return None
    return token, reason


def _as_object(data: bytes | None) -> dict[str, Any] | None:
    try:
        found = json.loads(data or b"")
    except (ValueError, RecursionError):
        return None
    return {**found} if isinstance(found, dict) else None


def parents(path: str) -> list[str]:
    """
    A path and all above it, the highest first.
    """
    parts = path.strip("/").split("/")
    return ["/" + "/".join(parts[: count + 1]) for count in range(len(parts)) if parts[0]]

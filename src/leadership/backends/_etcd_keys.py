"""
What is written where: the layout of clientv3's `concurrency.Election`, and beside it what its values cannot carry.

    <election>/<lease in hex>              value: the node's name; attached to the lease; the oldest one leads
    <election>.leadership/<lease in hex>   value: the attempt and its metadata, as JSON; attached to the same lease
    <election>.leadership/resign           value: an operator's request, as JSON; attached to the leader's lease

One range covers all three, because `.` comes right before `/`. Other keys in that range (elections below this one, keys
of others) are nobody's claim. Clientv3 counts whatever stands below `<election>/`, and so waits for more, never less.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from leadership.errors import ConfigError
from leadership.store import Entry, Holder

SIDE: Final = ".leadership"
MOST_NAME: Final = 1024
"""Bytes of an election's name with its prefix."""
_CLAIM: Final = re.compile(rb"[0-9a-f]{1,16}")


@dataclass(frozen=True, slots=True)
class Claim:
    """
    The key of one who stands, as it is at some revision.
    """

    name: bytes
    """The lease, in hex, as the key has it."""
    created: int
    modified: int
    lease: int
    value: bytes

    @property
    def taken(self) -> bool:
        """
        Somebody else has put it: it does not belong to the lease that its name says.
        """
        return self.lease != int(self.name, 16)

    @property
    def untouched(self) -> bool:
        """
        It is as a candidate of this library has put it.
        """
        return not self.taken and self.modified == self.created


class Keys:
    """
    The keys of one election.
    """

    __slots__ = ("base", "claims", "end", "resign", "sides", "start")

    def __init__(self, prefix: str, election: str) -> None:
        self.base = f"{prefix}{election}".encode()
        self.claims = self.base + b"/"
        self.sides = self.base + SIDE.encode() + b"/"
        self.resign = self.sides + b"resign"
        self.start = self.sides
        self.end = self.base + b"0"  # what comes after the slash

    def __str__(self) -> str:
        return f"the keys below {self.claims.decode()!r} and {self.sides.decode()!r}"

    def claim(self, kv: Any) -> Claim | None:
        """
        The claim that a key is, if it is one.
        """
        name = self.name_of(kv.key)
        if name is None:
            return None
        return Claim(name, kv.create_revision, kv.mod_revision, kv.lease, kv.value)

    def name_of(self, key: bytes) -> bytes | None:
        """
        The lease that a claim's key names.
        """
        name = key[len(self.claims) :] if key.startswith(self.claims) else b""
        return name if _CLAIM.fullmatch(name) else None

    def side_of(self, key: bytes) -> bytes | None:
        """
        The lease that a side entry's key names.
        """
        name = key[len(self.sides) :] if key.startswith(self.sides) else b""
        return name if _CLAIM.fullmatch(name) else None

    def first(self, kvs: Iterable[Any]) -> Claim | None:
        """
        The oldest claim among keys.
        """
        claims = [claim for kv in kvs if (claim := self.claim(kv)) is not None]
        return min(claims, key=_created, default=None)


def _created(claim: Claim) -> int:
    return claim.created


def side(entry: Entry) -> bytes:
    """
    The side entry of an attempt.
    """
    what = {"key": entry.key, "number": entry.number, "metadata": dict(entry.metadata or {})}
    return json.dumps(what, separators=(",", ":"), sort_keys=True).encode()


def _object(value: bytes) -> Mapping[str, Any]:
    try:
        return _mapping(json.loads(value))
    except (ValueError, RecursionError):
        return {}


def _mapping(found: Any) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        return {}
    given: dict[str, Any] = {**found}
    return given


def attempt_of(value: bytes) -> tuple[str, int] | None:
    """
    Whose attempt a side entry is of.
    """
    found = _object(value)
    key, number = found.get("key"), found.get("number")
    return (key, number) if isinstance(key, str) and isinstance(number, int) else None


def holder(claim: Claim, beside: bytes | None) -> Holder:
    """
    Who leads by a claim and what stands beside it.

    One that somebody else has put over a claim is a holder of its own, later than the one it replaces. A candidate of
    this library never changes its claim; one of clientv3 may proclaim another value, and goes on with its term.
    """
    name = claim.name.decode()
    node = claim.value.decode(errors="replace") or name
    if claim.taken or (beside is not None and claim.modified != claim.created):
        return Holder(node, claim.modified, f"{name}@{claim.modified}")
    metadata = None if beside is None else _object(beside).get("metadata")
    return Holder(node, claim.created, name, _mapping(metadata))


def is_taken(found: Holder) -> bool:
    """
    Whether a holder is one that was put over a claim.
    """
    return "@" in found.session


def request(token: int, reason: str | None) -> bytes:
    """
    An operator's request to resign.
    """
    return json.dumps({"token": token, "reason": reason}, separators=(",", ":")).encode()


def requested(value: bytes) -> tuple[int, str | None] | None:
    """
    What an operator asks for: the token of the term that is to end, and why.
    """
    found = _object(value)
    token, reason = found.get("token"), found.get("reason")
    if not isinstance(token, int) or not (reason is None or isinstance(reason, str)):
        return None
    return token, reason


def check_path(what: str, name: str, prefix: str = "") -> None:
    """
    Refuse a name whose keys would be another election's side entries, or that is too long.

    Raises:
        ConfigError: It is.
    """
    if any(part.endswith(SIDE) for part in name.split("/")):
        msg = f"the {what} {name!r} has a part that ends in {SIDE!r}, which the library uses itself: choose another"
        raise ConfigError(msg)
    size = len(f"{prefix}{name}".encode())
    if size > MOST_NAME:
        msg = f"the {what} {name!r} has {size} bytes with its prefix, and etcd:// keeps {MOST_NAME}: shorten it"
        raise ConfigError(msg)

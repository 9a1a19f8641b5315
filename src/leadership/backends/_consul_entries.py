"""
What stands at Consul for an election, as the lock of Consul's own clients has it, and how it is changed.

* `<prefix>/<election>`: the lock. Held by the leader's session, flags 0x2ddccbc058a50c18, the value is the node's name.
* `<prefix>/<election>.leadership/<session>`: beside it, written in the same transaction and held by the same session:
  which attempt took the lock, and its metadata. Other clients have none.
* `<prefix>/<election>.leadership/resign`: what a term was asked for, by an operator or by its own leader. It names the
  term, and is removed with the end of the next one that was not asked.

The token is the ModifyIndex of the transaction that took the lock, and the side entry has it too: nobody has a reason
to write that one. A lock whose index is higher has been written since, by somebody who needed no session for that:
whoever held it leads no more, and the overwriting counts as a term of its own, with a token of its own.

A key without a session that has the lock's flags was left behind by a client that unlocks without deleting: vacant.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from leadership.backends._consul_http import denied, is_denial
from leadership.backends._consul_workers import Caller
from leadership.errors import StoreRefused, StoreUnavailable
from leadership.store import Entry, Holder

LOCK_FLAGS: Final = 0x2DDCCBC058A50C18
SIDE: Final = ".leadership"
RESIGN: Final = "resign"
MOST_OPERATIONS: Final = 64
"""Of one transaction."""

Pairs = Mapping[str, Mapping[str, Any]]
"""Keys, with all that Consul tells of each."""
Operation = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """
    What an operator asks of a term.
    """

    token: int
    reason: str | None
    index: int


@dataclass(frozen=True, slots=True)
class View:
    """
    What the keys of an election say.
    """

    holder: Holder | None = None
    index: int = 0
    """The ModifyIndex of the lock; 0: there is none."""
    flags: int = LOCK_FLAGS
    side: bool = False
    """The holder has a side entry: it is one of this library."""
    request: Request | None = None
    """The latest; the term that it names may be over."""

    @property
    def is_lock(self) -> bool:
        """
        Nothing foreign stands where the lock should.
        """
        return self.flags == LOCK_FLAGS or self.side


def side_of(key: str, session: str) -> str:
    """
    The key of a session's side entry.
    """
    return f"{key}{SIDE}/{session}"


def resign_of(key: str) -> str:
    """
    The key of an operator's request.
    """
    return f"{key}{SIDE}/{RESIGN}"


def value_of(pair: Mapping[str, Any]) -> bytes:
    """
    A key's value.
    """
    return base64.b64decode(pair.get("Value") or "")


def parsed(pair: Mapping[str, Any] | None) -> dict[str, Any]:
    """
    The JSON object of a side entry; an empty one if it is none.
    """
    if pair is None:
        return {}
    try:
        return as_object(json.loads(value_of(pair)))
    except ValueError:
        return {}


def as_object(found: Any) -> dict[str, Any]:
    """
    A JSON object; an empty one if it is none.
    """
    return dict(found) if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownArgumentType] - JSON


def signature(pairs: Pairs, key: str) -> tuple[Any, ...]:
    """
    What changes whenever the view of an election does.
    """
    lock, request = pairs.get(key), pairs.get(resign_of(key))
    asked = None if request is None else request["ModifyIndex"]
    if lock is None:
        return (asked,)
    session = lock.get("Session") or ""
    side = pairs.get(side_of(key, session))
    return (lock["ModifyIndex"], session, None if side is None else side["ModifyIndex"], asked)


def look(pairs: Pairs, key: str) -> View:
    """
    What the keys of an election say.
    """
    lock, request = pairs.get(key), _requested(pairs.get(resign_of(key)))
    if lock is None:
        return View(request=request)
    session, index, flags = lock.get("Session") or "", int(lock["ModifyIndex"]), int(lock["Flags"])
    if not session:
        return View(None, index, flags, request=request)
    beside = pairs.get(side_of(key, session))
    side = parsed(beside if beside is not None and beside.get("Session") == session else None)
    node = value_of(lock).decode(errors="replace") or key.rpartition("/")[2]
    if side and beside is not None and index > int(beside["ModifyIndex"]):
        return View(Holder(node, index, f"{session}#{index}", {}), index, flags, side=True, request=request)
    holder = Holder(node, index, session, as_object(side.get("metadata")))
    return View(holder, index, flags, side=bool(side), request=request)


def _requested(pair: Mapping[str, Any] | None) -> Request | None:
    wish = parsed(pair)
    token, reason = wish.get("token"), wish.get("reason")
    if pair is None or not isinstance(token, int):
        return None
    return Request(token, reason if isinstance(reason, str) else None, int(pair["ModifyIndex"]))


def index_of(answer: Iterable[Mapping[str, Any]]) -> Pairs:
    """
    Keys by their names.
    """
    return {pair["Key"]: pair for pair in answer}


# -- transactions ---------------------------------------------------------------------------------------------------


class Conflict(Exception):
    """
    The state was not as the transaction demands.
    """

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.is_held = "already held" in words
        """Another session has the lock."""
        self.is_delayed = "lock delay" in words
        """Nobody has it, and for a while nobody gets it."""
        self.is_over = "invalid session" in words.lower()
        """The session that asks has ended."""


def operation(verb: str, key: str, **more: Any) -> Operation:
    """
    One step of a transaction.
    """
    return {"KV": {"Verb": verb, "Key": key, **more}}


def transact(caller: Caller, operations: list[Operation], what: str, *, until: float) -> list[Mapping[str, Any]]:
    """
    All of it or nothing. The keys that it tells of.

    Raises:
        Conflict: Nothing: a demand of it does not hold.
        StoreUnavailable: All or nothing; which is not known.
        StoreRefused: Nothing, and trying again cannot help.
    """
    namespace = caller.settings.namespace
    if namespace is not None:
        for each in operations:
            each["KV"]["Namespace"] = namespace
    answer = caller.call("PUT", "txn", operations, until=until, consistent=1).check(what, 409)
    data = answer.data
    if answer.status == 409:
        words = "; ".join(f"{error.get('What')}" for error in data.get("Errors") or ())
        if is_denial(words):
            raise denied(answer.host, what, words)
        raise Conflict(words)
    return [result["KV"] for result in data.get("Results") or () if result.get("KV")]


def read(caller: Caller, roots: Iterable[str], *, until: float) -> Pairs:
    """
    All keys that begin with one of the roots, by a linearizable read.

    Raises:
        StoreUnavailable: It cannot be had now.
        StoreRefused: It will not be had.
    """
    found: dict[str, Mapping[str, Any]] = {}
    asked = [operation("get-tree", root) for root in roots]
    for start in range(0, len(asked), MOST_OPERATIONS):
        try:
            answer = transact(caller, asked[start : start + MOST_OPERATIONS], "reading", until=until)
        except Conflict as conflict:
            raise StoreUnavailable(str(conflict)) from None
        found.update(index_of(answer))
    return found


def probe(caller: Caller, key: str, *, until: float) -> None:
    """
    Ask for one key: Consul shows what one may not read as absent, unless one asks for it by its name.

    Raises:
        StoreRefused: It may not be read.
    """
    caller.call("GET", f"kv/{key}", until=until, consistent=1).check(f"reading the key {key!r} (key:read)", 404)


def encoded(value: str) -> str:
    """
    A value as a transaction has it.
    """
    return base64.b64encode(value.encode()).decode()


def claim(key: str, session: str, entry: Entry, lock: int, side: int, *, mine: bool) -> list[Operation]:
    """
    Take a lock that nobody holds, or that an earlier attempt of the same session does.

    Args:
        lock: The ModifyIndex of the key that stands there; 0: there must be none.
        side: The same of the session's side entry.
    """
    beside = side_of(key, session)
    attempt = {"key": entry.key, "number": entry.number, "metadata": dict(entry.metadata or {})}
    first: list[Operation] = []
    for name, index in ((key, lock), (beside, side)):
        if index:
            first.append(operation("check-index", name, Index=index))
        else:
            first.append(operation("check-not-exists", name))
    if mine:  # a session's second lock with the same value changes no index
        first.append(operation("delete", key))
    if side:
        first.append(operation("delete", beside))
    return [
        *first,
        operation("lock", key, Value=encoded(entry.node), Flags=LOCK_FLAGS, Session=session),
        operation("lock", beside, Value=encoded(json.dumps(attempt)), Session=session),
    ]


def give_up(key: str, session: str, side: int, *, mine: bool, tidy: bool = False) -> list[Operation]:
    """
    Remove a session's entry. What its own term was asked for stays: watches may see the two changes as one.

    Args:
        side: The ModifyIndex of its side entry; 0: there is none.
        mine: The session holds the lock.
        tidy: Remove the request to an earlier term, too.
    """
    operations: list[Operation] = []
    if side:
        operations.append(operation("check-index", side_of(key, session), Index=side))
    if mine:
        operations += [operation("check-session", key, Session=session), operation("delete", key)]
        if tidy:
            operations.append(operation("delete", resign_of(key)))
    if side:
        operations.append(operation("delete", side_of(key, session)))
    return operations


def not_a_lock(key: str, view: View, host: str) -> StoreRefused:
    """
    Something else stands where the lock should.
    """
    return StoreRefused(
        f"{host}: a key with flags {view.flags:#x} stands at {key!r}: it is not a lock (flags {LOCK_FLAGS:#x});"
        " remove it, or choose another name"
    )

"""
The changes of an election: acquire, release, a request to resign. Each settles what it can, in bounded time.

A transaction whose answer was lost is looked at once more, where time is left; otherwise its outcome is unknown.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from leadership._clock import now
from leadership.backends import _consul_entries as entries
from leadership.backends._consul_entries import Conflict, Pairs, View
from leadership.backends._consul_workers import Caller
from leadership.errors import StoreRefused, StoreUnavailable
from leadership.store import Entry, Outcome, Reply

TRIES = 4
"""Of a change that others are in the way of."""
ENOUGH = 0.02
"""Seconds that a second look needs."""
SHARE = 0.6
"""Of the time that is left: what a transaction may take, so that a second look is possible."""


@dataclass(frozen=True, slots=True)
class Acquired:
    """
    What came of an acquire.
    """

    reply: Reply
    delayed: bool = False
    """Nobody holds the lock, and Consul gives it to nobody yet."""
    over: bool = False
    """The session has ended."""


def acquire(
    caller: Caller, key: str, session: str, entry: Entry, *, left: int, trusted: bool, newest: int, until: float
) -> Acquired:
    """
    Claim an election.

    Args:
        left: The ModifyIndex of the vacant key that stands there, as far as is known; 0: none.
        trusted: The election is watched and was vacant: that another was quicker need not be read.
        newest: The number of the latest attempt of the session in this election.

    Raises:
        StoreUnavailable: It is not known what came of it.
        StoreRefused: A permission is missing, or something else than a lock stands there.
    """
    operations = entries.claim(key, session, entry, left, 0, mine=False)
    for _ in range(TRIES):
        lost: StoreUnavailable | None = None
        try:
            answer = entries.transact(caller, operations, f"locking the key {key!r} (key:write)", until=_share(until))
        except Conflict as conflict:
            if conflict.is_over:
                error = StoreUnavailable(f"the session {session} has ended at the store")
                return Acquired(Reply(Outcome.REFUSED, error=error), over=True)
            if conflict.is_held and trusted:
                return Acquired(Reply(Outcome.REFUSED))
            if conflict.is_delayed and not conflict.is_held:
                return Acquired(Reply(Outcome.REFUSED), delayed=True)
        except StoreUnavailable as error:
            if until - now() < ENOUGH:
                raise
            lost = error
        else:
            return Acquired(_granted(int(answer[-2]["ModifyIndex"]), entry))
        pairs = entries.read(caller, [key], until=until)
        settled = _standing(caller, pairs, key, session, entry, newest)
        if settled is not None:
            return Acquired(settled)
        if lost is not None:
            raise lost
        lock, side = pairs.get(key), pairs.get(entries.side_of(key, session))
        operations = entries.claim(
            key,
            session,
            entry,
            0 if lock is None else int(lock["ModifyIndex"]),
            0 if side is None else int(side["ModifyIndex"]),
            mine=lock is not None and lock.get("Session") == session,
        )
    msg = f"{key!r} changes too quickly to be locked"
    raise StoreUnavailable(msg)


def _share(until: float) -> float:
    return now() + SHARE * (until - now())


def _granted(token: int, entry: Entry) -> Reply:
    return Reply(Outcome.DONE, token=token, token_reset=token <= entry.above, revision=token)


def _standing(caller: Caller, pairs: Pairs, key: str, session: str, entry: Entry, newest: int) -> Reply | None:
    """
    The answer to an acquire, if what stands there gives one; None: it may be asked for.
    """
    view = entries.look(pairs, key)
    if not view.is_lock:
        raise entries.not_a_lock(key, view, caller.settings.url)
    lock, attempt = pairs.get(key), entries.parsed(pairs.get(entries.side_of(key, session)))
    number = attempt.get("number")
    if max(newest, number if isinstance(number, int) else 0) > entry.number:
        return Reply(Outcome.REFUSED, holder=view.holder)  # held up on its way
    if lock is None or not lock.get("Session"):
        return None
    if lock["Session"] != session:
        return Reply(Outcome.REFUSED, holder=view.holder)
    if attempt.get("key") != entry.key:
        return None  # an earlier attempt's: never adopted
    if view.holder is not None and view.holder.session != session:
        return Reply(Outcome.REFUSED, holder=view.holder)  # ours, and overwritten since
    return _granted(view.index, entry)


def release(
    caller: Caller, key: str, session: str, entry: Entry, *, token: int, newest: int, tidy: bool, until: float
) -> Reply:
    """
    Remove the entry, if this session still has it.

    Args:
        token: Of the term that the entry stands for, if that is known; else 0.
        newest: The number of the latest attempt of the session in this election.
        tidy: A request stands that was made to an earlier term.

    Raises:
        StoreUnavailable: It is not known whether it is gone.
        StoreRefused: A permission is missing.
    """
    operations = entries.give_up(key, session, token, mine=True, tidy=tidy) if token else []
    for _ in range(TRIES):
        if not operations:
            pairs = entries.read(caller, [key], until=until)
            operations = _leaving(pairs, key, session, entry, newest)
            if not operations:
                return Reply(Outcome.DONE)
        try:
            entries.transact(caller, operations, f"deleting the key {key!r} (key:write)", until=_share(until))
        except Conflict:
            operations = []
        except StoreUnavailable:
            if until - now() < ENOUGH:
                raise
            operations = []
        else:
            return Reply(Outcome.DONE)
    msg = f"{key!r} changes too quickly to be released"
    raise StoreUnavailable(msg)


def _leaving(pairs: Pairs, key: str, session: str, entry: Entry, newest: int) -> list[entries.Operation]:
    """
    What has to be removed of an entry.
    """
    lock, side = pairs.get(key), pairs.get(entries.side_of(key, session))
    mine = lock is not None and lock.get("Session") == session
    if side is None:  # a lock of ours without an owner is nobody else's
        return entries.give_up(key, session, 0, mine=True) if mine and newest <= entry.number else []
    attempt = entries.parsed(side)
    number = attempt.get("number")
    is_earlier = isinstance(number, int) and number < entry.number  # a restored store has it again
    if attempt.get("key") != entry.key and not is_earlier:
        return []
    return entries.give_up(key, session, int(side["ModifyIndex"]), mine=mine)


def request_resign(caller: Caller, key: str, token: int, reason: str | None, *, until: float) -> Reply:
    """
    Ask the leader of a term to resign. The first words for a term stand.

    Raises:
        StoreUnavailable: It is not known whether it was asked.
        StoreRefused: A permission is missing.
    """
    wish = entries.encoded(json.dumps({"token": token, "reason": reason}))
    for _ in range(TRIES):
        view: View = entries.look(entries.read(caller, [key], until=until), key)
        holder = view.holder
        if holder is None or holder.token != token:
            return Reply(Outcome.REFUSED, holder=holder)
        if not view.side or "#" in holder.session:
            msg = f"{holder.node!r} leads {key!r} by another tool, which reads no requests: ask it there"
            return Reply(Outcome.REFUSED, holder=holder, error=StoreRefused(msg))
        if view.request is not None and view.request.token == token and view.request.reason is not None:
            return Reply(Outcome.DONE)
        operations = [
            entries.operation("check-index", key, Index=view.index),
            entries.operation("set", entries.resign_of(key), Value=wish),
        ]
        try:
            entries.transact(caller, operations, f"writing beside the key {key!r} (key:write)", until=until)
        except Conflict:
            continue
        return Reply(Outcome.DONE)
    msg = f"{key!r} changes too quickly to be asked"
    raise StoreUnavailable(msg)

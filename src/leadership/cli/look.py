"""
`leadership status`, `follow` and `resign`: who leads, and the request to stop leading.
"""

from __future__ import annotations

import argparse
import queue
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TypeAlias, TypeVar

from leadership import ConfigError, Follower, Leader, StoreRefused, StoreUnavailable, Transition, _clock
from leadership._runtime.api import read_leader, request_resign
from leadership.checks import check_name, check_reason
from leadership.cli._common import Exit, leader_dict, put, put_json, say
from leadership.cli._store import reach
from leadership.store import Outcome, Store

T = TypeVar("T")
_ENDS = (signal.SIGINT, signal.SIGTERM)


class Look:
    """
    News: the view may have changed.
    """


News: TypeAlias = Look | Transition | BaseException | signal.Signals


def main(args: argparse.Namespace) -> int:
    """
    Run the subcommand.
    """
    subcommands: dict[str, Callable[[Store, argparse.Namespace], int]] = {
        "status": status,
        "follow": follow,
        "resign": resign,
    }
    with reach(args.store) as store:
        return subcommands[args.subcommand](store, args)


def status(store: Store, args: argparse.Namespace) -> int:
    """
    One linearizable read.
    """
    if args.node is not None:
        check_name("node", args.node)
    holder = _answer(lambda: read_leader(store, args.election, args.timeout), args.timeout)
    leader = None if holder is None else Leader(holder.node, holder.token, MappingProxyType(dict(holder.metadata)))
    if args.json:
        put_json({"election": args.election, "leader": leader_dict(leader)})
    elif leader is None:
        put(f"{args.election}: nobody leads")
    else:
        other = "" if args.node in (None, leader.node) else f", not {args.node}"
        put(f"{args.election}: {leader.node} leads with token {leader.token}{other}")
    return Exit.YES if leader is not None and args.node in (None, leader.node) else Exit.NO


def _answer(call: Callable[[], T], timeout: float) -> T:
    """
    A store that says nothing is not one that says that it cannot serve.

    Raises:
        TimeoutError: No answer within `timeout` seconds.
    """
    began = _clock.now()
    try:
        return call()
    except StoreUnavailable as error:
        if _clock.now() - began < timeout:
            raise
        raise TimeoutError(*error.args) from None


def follow(store: Store, args: argparse.Namespace) -> int:
    """
    Each change of leader, until interrupted.
    """
    with _following(store, args.election) as (follower, inbox):
        shown: tuple[Leader | None, bool] | None = None
        trouble, met = False, ""
        while True:
            news = inbox.get()
            if isinstance(news, signal.Signals):
                return Exit.YES
            if isinstance(news, StoreRefused | ConfigError):
                raise news
            if isinstance(news, Transition) and news.dest == "error":
                trouble, met = True, news.error or ""
            elif isinstance(news, Transition):
                say(f"{args.election}: {met}; trying again")
            view = (follower.leader, follower.is_stale)
            before_the_first_read = shown is None and view == (None, True) and not trouble
            if view != shown and not before_the_first_read:
                shown = view
                _show(args.election, view[0], stale=view[1], as_json=args.json)


def _show(election: str, leader: Leader | None, *, stale: bool, as_json: bool) -> None:
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    if as_json:
        put_json({"at": at, "election": election, "leader": leader_dict(leader), "stale": stale})
        return
    words = "nobody leads" if leader is None else f"{leader.node} leads with token {leader.token}"
    if stale:
        words = "unknown" if leader is None else f"unknown; when last seen, {words}"
    put(f"{at}  {election}: {words}")


def resign(store: Store, args: argparse.Namespace) -> int:
    """
    Ask the present term to end, and wait until it is over.
    """
    check_reason(args.reason)
    give_up = _clock.now() + args.timeout
    holder = _answer(lambda: read_leader(store, args.election, args.timeout), args.timeout)
    if holder is None:
        say(f"resign: nobody leads {args.election!r}: there is nothing to resign from")
        return Exit.NO
    token, left = holder.token, max(0.0, give_up - _clock.now())
    reply = _answer(lambda: request_resign(store, args.election, token, args.reason, left), left)
    if reply.outcome is Outcome.REFUSED:
        say(f"resign: the term of {holder.node} with token {holder.token} was over already: ask again if need be")
        return Exit.NO
    if _wait_until_over(store, args.election, holder.token, give_up):
        if args.json:
            put_json({"election": args.election, "node": holder.node, "token": holder.token, "reason": args.reason})
        else:
            put(f"{args.election}: {holder.node} has resigned, its term with token {holder.token} is over")
        return Exit.YES
    say(f"resign: {holder.node} was asked and still led after {args.timeout:g} s: its callbacks may need longer")
    return Exit.UNKNOWN


def _wait_until_over(store: Store, election: str, token: int, give_up: float) -> bool:
    with _following(store, election) as (follower, inbox):
        while True:
            leader = follower.leader
            if not follower.is_stale and (leader is None or leader.token != token):
                return True
            try:
                news = inbox.get(timeout=max(0.0, give_up - _clock.now()))
            except queue.Empty:
                return False
            if isinstance(news, signal.Signals):
                raise KeyboardInterrupt
            if isinstance(news, StoreRefused | ConfigError):
                raise news


@contextmanager
def _following(store: Store, election: str) -> Generator[tuple[Follower, queue.SimpleQueue[News]]]:
    """
    A follower, and what there is to say about it and to us.
    """
    inbox: queue.SimpleQueue[News] = queue.SimpleQueue()
    before = {number: signal.signal(number, lambda n, _: inbox.put(signal.Signals(n))) for number in _ENDS}
    follower = Follower(store, election, log=False)

    def look(_: Leader | None) -> None:
        inbox.put(Look())

    def trouble(record: Transition) -> None:
        if record.dest == "error" or (record.source == "error" and record.dest == "backoff"):
            inbox.put(record)

    follower.on_leader_changed(look)
    follower.on_transition(trouble)
    follower.on_error(inbox.put)
    try:
        with follower:
            yield follower, inbox
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

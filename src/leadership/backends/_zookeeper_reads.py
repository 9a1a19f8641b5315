"""
Who leads, read from ZooKeeper: many elections in few requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from leadership.backends import _zookeeper_wire as wire
from leadership.backends._zookeeper_folders import Folders, not_permitted
from leadership.backends._zookeeper_layout import (
    RESIGN,
    SIDE,
    Head,
    contenders,
    head_of,
    key_of,
    parse_request,
    request_of,
)
from leadership.backends._zookeeper_link import Link
from leadership.backends._zookeeper_wire import Fault, Request, WireError
from leadership.errors import StoreUnavailable
from leadership.store import Outcome, Reply

BYTES: Final = 200_000
"""Of paths in one request; a server takes 1 MB (jute.maxbuffer) unless it was told otherwise."""
ONE_BY_ONE: Final = 64
"""Requests sent at a time to servers that cannot read several nodes in one."""
ROUNDS: Final = 8


async def read_all(link: Link, requests: Sequence[Request], timeout: float, *, newest: bool = False) -> list[Any]:
    """
    The results of reads of data and children, together where the server can.

    Args:
        newest: Read what the leader knew when this was called, or newer.

    Raises:
        StoreUnavailable: The server did not answer.
    """
    results: list[Any] = []
    before = [wire.sync("/")] if newest else []
    for part in _parts(requests) if link.multi_read else ():
        together = wire.multi_read([wire.plain(each) for each in part])
        *synced, found = await link.ask("read", *before, together, timeout=timeout)
        _check(link, synced)
        before = []
        if isinstance(found, WireError):
            if found.fault is not Fault.UNIMPLEMENTED:
                raise link.explain(found, "read")
            link.multi_read = False
            break
        results += found
    while len(results) < len(requests):
        few = requests[len(results) : len(results) + ONE_BY_ONE]
        answers = await link.ask("read", *before, *few, timeout=timeout)
        _check(link, answers[: len(before)])
        results += answers[len(before) :]
        before = []
    return results


def _check(link: Link, synced: Sequence[Any]) -> None:
    for answer in synced:
        if isinstance(answer, WireError):
            raise link.explain(answer, "read")


def _parts(requests: Sequence[Request]) -> Iterator[list[Request]]:
    part: list[Request] = []
    size = 0
    for request in requests:
        part.append(request)
        size += len(request.path) + 20
        if size > BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


async def read_heads(
    link: Link, paths: Sequence[str], guesses: Mapping[str, str], timeout: float
) -> dict[str, Head | None]:
    """
    Who leads each election now.

    Args:
        guesses: The names of the nodes that led when last seen; where they still do, one request is saved.

    Raises:
        StoreUnavailable: The server did not answer.
        StoreRefused: A node may not be read.
    """
    found: dict[str, Head | None] = {}
    names = dict(guesses)
    left = list(paths)
    for round_ in range(ROUNDS if left else 0):
        requests: list[Request] = []
        for path in left:
            requests.append(wire.children(path))
            if path in names:
                requests += head_requests(path, names[path])
        results = iter(await read_all(link, requests, timeout, newest=round_ == 0))
        again: list[str] = []
        for path in left:
            first = next(iter(queue_from(link, next(results), "read")[0]), None)
            guess = names.pop(path, None)
            data, side = (next(results), next(results)) if guess is not None else (None, None)
            if first is None:
                found[path] = None
            elif first == guess and (head := head_from(link, first, data, side)) is not None:
                found[path] = head
            else:
                names[path] = first
                again.append(path)
        left = again
        if not left:
            return found
    if not left:
        return found
    msg = f"read: {len(left)} elections changed too fast to be read, {left[0]} among them"
    raise StoreUnavailable(msg)


def queue_from(link: Link, answer: Any, what: str) -> tuple[list[str], bool]:
    """
    The candidates' nodes in their order, by the answer to `wire.children`; whether the election's path is there.

    Raises:
        StoreUnavailable: The children were not read.
        StoreRefused: They may not be read.
    """
    if not isinstance(answer, WireError):
        return contenders(answer), True
    if answer.fault is Fault.NO_NODE:
        return [], False
    raise link.explain(answer, what)


def head_requests(path: str, name: str, trigger: wire.Trigger | None = None) -> list[Request]:
    """
    What shows a leading node whole: itself, and its metadata.
    """
    return [wire.get(f"{path}/{name}", trigger), wire.get(f"{path}{SIDE}/{key_of(name) or name}")]


def head_from(link: Link, name: str, data: Any, side: Any) -> Head | None:
    """
    The leader by the answers to `head_requests`; None: the node is gone.

    Raises:
        StoreUnavailable: The node was not read.
        StoreRefused: The node may not be read.
    """
    if isinstance(data, WireError):
        if data.fault is Fault.NO_NODE:
            return None
        raise link.explain(data, "read")
    return head_of(name, data[0], data[1], None if isinstance(side, WireError) else side)


async def ask_to_resign(
    link: Link, path: str, token: int, reason: str | None, folders: Folders, timeout: float
) -> Reply:
    """
    Write a request down beside the election, in one transaction with a look at the entry that it is meant for. The
    first words for a term stand.

    Raises:
        StoreUnavailable: The server did not answer.
        StoreRefused: It is not permitted.
    """
    side = f"{path}{SIDE}"
    data = request_of(token, reason)
    for _ in range(ROUNDS):
        head = (await read_heads(link, [path], {}, timeout))[path]
        if head is None or head.holder.token != token:
            return Reply(Outcome.REFUSED, holder=None if head is None else head.holder)
        stands = wire.check(f"{path}/{head.name}")
        made = wire.create(f"{side}/{RESIGN}", data, folders.acl, wire.PERSISTENT)
        answers = await link.ask(
            "request_resign", *folders.missing([side]), wire.multi([stands, wire.plain(made)]), timeout=timeout
        )
        fault = _fault(link, answers[-1])
        if fault is not None and fault.fault is Fault.NODE_EXISTS:
            (before,) = await link.ask("request_resign", wire.get(f"{side}/{RESIGN}"), timeout=timeout)
            asked, words = (None if isinstance(before, WireError) else parse_request(before[0])) or (0, None)
            if asked == token and words is not None:
                return Reply(Outcome.DONE)
            again = wire.multi([stands, wire.set_data(f"{side}/{RESIGN}", data)])
            fault = _fault(link, (await link.ask("request_resign", again, timeout=timeout))[0])
        if fault is None:
            folders.made([side])
            return Reply(Outcome.DONE)
        denied = not_permitted(answers[:-1])
        if denied is not None:
            raise link.explain(denied, "request_resign")
        folders.forget(path)
    msg = f"request_resign: {path} changed too fast"
    raise StoreUnavailable(msg)


def _fault(link: Link, answer: Any) -> WireError | None:
    """
    What a transaction failed by; None: it is done.
    """
    if isinstance(answer, WireError):
        raise link.explain(answer, "request_resign")
    faults = [each for each in answer if isinstance(each, WireError)]
    first = next((each for each in faults if each.fault is not Fault.ROLLED_BACK), None)
    if first is not None and first.fault not in (Fault.NO_NODE, Fault.NODE_EXISTS):
        raise link.explain(first, "request_resign")
    return first

"""
The store of the two-node model: what it does with a call, at once and for good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from model.election_words import ME, At, Call, Entries, Entry, Kind, Node, Rail, Rules


def remove(entries: Entries, goes: Callable[[Entry], bool], rules: Rules) -> Entries:
    """
    The entries without some of them; the one behind such a one has its turn.
    """
    rest: list[Entry] = []
    gap = False
    for entry in entries:
        if goes(entry):
            gap = True
            continue
        rest.append(entry._replace(turn=True) if gap and rules.without is Rail.HEAD else entry)
        gap = False
    return tuple(rest)


def mine(entries: Entries, attempt: int | None = None) -> Iterator[Entry]:
    """
    The node's own entries, of one attempt or of all.
    """
    return (e for e in entries if e.owner == ME and (attempt is None or e.attempt == attempt))


def at_store(node: Node, entries: Entries, call: Call, rules: Rules) -> tuple[Call, int, Entries]:
    """
    The store carries out a call at once: the call on its way back, how long the session lasts, what stands.
    """
    if call.release:
        return call._replace(at=At.DONE), node.server, release(entries, call, rules)
    if rules.shares and node.server == 0:
        return call._replace(at=At.GONE, age=0), 0, entries
    at, entries = acquire(entries, call, rules)
    server = rules.ttl if at is At.DONE and not rules.shares else node.server
    if at is At.REFUSED:
        call = call._replace(age=0)
    return call._replace(at=at), server, entries


def release(entries: Entries, call: Call, rules: Rules) -> Entries:
    """
    Remove the attempt's own entry and no other, unless that rail is missing.
    """
    blind, by_session = rules.without is Rail.COMPARE, rules.without is Rail.TOKEN

    def goes(entry: Entry) -> bool:
        if blind:
            return entry is entries[0]
        return entry.owner == ME and (by_session or entry.attempt == call.attempt)

    return remove(entries, goes, rules)


def acquire(entries: Entries, call: Call, rules: Rules) -> tuple[At, Entries]:
    """
    Claim the entry: the store's answer, and what stands then.
    """
    own = tuple(mine(entries))
    same = Entry(ME, call.attempt)
    other_attempts = tuple(entry for entry in own if entry.attempt != call.attempt)
    if other_attempts and rules.shares:
        if rules.without is Rail.FRESH:
            return At.DONE if entries[0].owner == ME else At.REFUSED, entries
        if rules.kind is Kind.REENTRANT:
            return At.DONE, (same,)
        if call.attempt == 0:  # what an earlier attempt has left is removed first, then it asks again
            return At.SENT, remove(entries, lambda entry: entry in other_attempts, rules)
        if rules.kind is Kind.SESSION:
            return At.REFUSED, entries
    if rules.kind is Kind.QUEUE:
        if not any(mine(entries, call.attempt)):
            entries = (*entries, same)
        first = entries[0]
        return At.DONE if (first.owner, first.attempt) == same[:2] else At.REFUSED, entries
    if not entries:
        return At.DONE, (same,)
    return At.DONE if entries[0] == same else At.REFUSED, entries

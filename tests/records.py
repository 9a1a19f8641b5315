"""
Records of transitions, for tests of what receives them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from leadership.fsm.record import Renewal, Transition

_LIFE = (
    ("idle", "start", "campaigning"),
    ("campaigning", "acquired", "leader"),
    ("leader", "lease_expired", "error"),
    ("error", "settled", "backoff"),
    ("backoff", "backoff_elapsed", "campaigning"),
)


def a_record(**changes: Any) -> Transition:
    """
    A record of a candidate that is elected, with changes.
    """
    fields: dict[str, Any] = {
        "seq": 1,
        "at": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        "monotonic": 12.5,
        "machine": "candidate",
        "election": "service/leader",
        "node": "underwood",
        "boot": "boot-1",
        "incarnation": "incarnation-1",
        "trigger": "acquired",
        "source": "campaigning",
        "dest": "leader",
        "guard": "lease_valid",
        "disposition": "go",
        "cause": None,
        "reason": None,
        "error": None,
        "term": "service/leader/underwood/3",
        "token": 3,
        "attempt": 2,
        "revision": 41,
        "lease_deadline": 27.5,
        "duration": 0.25,
        "renewals": 0,
        "trace_id": None,
        "span_id": None,
    }
    assert fields.keys() >= changes.keys()
    return Transition(**(fields | changes))


def a_life(**changes: Any) -> Iterator[Transition]:
    """
    The records of a candidate that is elected, loses its lease and stands again, for ever; one a second.
    """
    begin = a_record().at
    steps = itertools.chain(_LIFE[:1], itertools.cycle(_LIFE[1:]))
    for seq, (source, trigger, dest) in enumerate(steps, 1):
        at = begin + timedelta(seconds=seq)
        yield a_record(seq=seq, at=at, source=source, trigger=trigger, dest=dest, **changes)


def some_records(number: int, **changes: Any) -> list[Transition]:
    """
    The beginning of such a life.
    """
    return list(itertools.islice(a_life(**changes), number))


def a_renewal(**changes: Any) -> Renewal:
    """
    A renewal of the leader of `a_record` that was acknowledged, with changes.
    """
    fields: dict[str, Any] = {
        "election": "service/leader",
        "node": "underwood",
        "boot": "boot-1",
        "incarnation": "incarnation-1",
        "at": datetime(2026, 1, 2, 3, 4, 9, tzinfo=UTC),
        "monotonic": 17.5,
        "token": 3,
        "latency": 0.25,
        "headroom": 10.0,
        "lease_deadline": 30.75,
        "error": None,
    }
    assert fields.keys() >= changes.keys()
    return Renewal(**(fields | changes))

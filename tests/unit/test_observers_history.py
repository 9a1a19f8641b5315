"""
The history: the last 256 records, and how often each edge was taken.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Iterator

from records import a_record, some_records

from leadership.fsm.record import Transition
from leadership.observers import History


def test_keeps_the_last_256_records() -> None:
    """
    A history keeps the newest 256 records, in order, and forgets the older ones.
    """
    history = History()
    for record in some_records(300):
        history.add(record)

    assert list(range(45, 301)) == [record.seq for record in history.snapshot()]


def test_snapshot_does_not_change_later() -> None:
    """
    What was handed out stays as it is when more records come.
    """
    history = History()
    history.add(a_record(seq=1))
    snapshot = history.snapshot()
    history.add(a_record(seq=2))

    assert (1,) == tuple(record.seq for record in snapshot)


def test_counts_each_edge_that_was_taken() -> None:
    """
    Edges are counted over the whole life, not only over the records that are kept.
    """
    history = History()
    for record in some_records(1 + 4 * 100):
        history.add(record)

    assert {
        ("idle", "start", "campaigning"): 1,
        ("campaigning", "acquired", "leader"): 100,
        ("leader", "lease_expired", "error"): 100,
        ("error", "settled", "backoff"): 100,
        ("backoff", "backoff_elapsed", "campaigning"): 100,
    } == history.edges("candidate")


def test_counts_only_rows_that_went_somewhere() -> None:
    """
    An event that was refused or ignored has taken no edge.
    """
    history = History()
    for disposition in ("stay", "ignore", "illegal", "stale"):
        history.add(a_record(disposition=disposition))

    assert {} == history.edges("candidate")


def test_counts_the_machines_apart() -> None:
    """
    Edges of the two machines that have the same names are not mixed up.
    """
    history = History()
    history.add(a_record(machine="candidate", source="error", trigger="settled", dest="backoff"))
    history.add(a_record(machine="follower", source="error", trigger="settled", dest="backoff"))

    assert {("error", "settled", "backoff"): 1} == history.edges("candidate") == history.edges("follower")


def test_counts_renewals_from_the_record_that_tells_of_them() -> None:
    """
    Renewals have no records; the record that leaves the state says how many there were.
    """
    history = History()
    history.add(a_record(source="leader", trigger="resign", dest="resigning", renewals=7))

    assert {("leader", "resign", "resigning"): 1, ("leader", "renewed", "leader"): 7} == history.edges("candidate")


class Moving(deque[Transition]):
    """
    Raises once what a deque raises when it was changed while it was copied.
    """

    still = False

    def __iter__(self) -> Iterator[Transition]:
        if not self.still:
            self.still = True
            raise RuntimeError("deque mutated during iteration")  # noqa: EM101, TRY003 - as Python says it
        return super().__iter__()


def test_looks_again_when_a_record_comes_meanwhile() -> None:
    """
    A copy that was disturbed is made again: without a lock, and without an error for who asks.
    """
    history = History()
    history._records = Moving([a_record()], 256)

    assert (a_record(),) == history.snapshot()


def test_may_be_asked_while_another_thread_adds() -> None:
    """
    A snapshot taken while records come in is a run of consecutive records.
    """
    history = History()
    records = some_records(20_000)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:

        def add() -> None:
            for record in records:
                history.add(record)

        writer = threading.Thread(target=add)
        writer.start()
        while writer.is_alive():
            seqs = [record.seq for record in history.snapshot()]
            assert list(range(seqs[0], seqs[0] + len(seqs))) == seqs if seqs else True
            history.edges("candidate")
        writer.join()
    finally:
        sys.setswitchinterval(interval)

    assert 20_000 == sum(history.edges("candidate").values())

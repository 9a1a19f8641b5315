"""
What the user's code does to its own threads and loops does nothing to the renewals.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from leadership import AsyncCandidate, AsyncTerm, Candidate, Term, Transition, connect
from leadership.store import Store

TTL = 2.0
"""Seconds, of which a busy machine may stand still for one."""
LONG = 2 * TTL


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """
    A store of either kind.
    """
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'stalls.db'}"
    with connect(url) as store:
        yield store


@contextmanager
def watched(is_leader: Callable[[], bool]) -> Iterator[list[float]]:
    """
    The moments at which a thread that looks every 5 ms saw that `is_leader` is false.
    """
    doubts: list[float] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.005):
            if not is_leader():
                doubts.append(time.monotonic())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield doubts
    finally:
        over.set()
        thread.join()


def leads_on(candidate: Candidate) -> None:
    """
    For two TTLs it never ceases to lead, and its renewals are never overdue.
    """
    assert candidate.wait_elected(5.0) is not None
    with watched(lambda: candidate.is_leader) as doubts:
        time.sleep(LONG)
        assert not candidate.status().renewal_overdue
    assert [] == doubts
    assert 1 == candidate.status().attempts


def test_a_callback_that_sleeps(store: Store) -> None:
    """
    An on_elected that sleeps for two TTLs misses no renewal, nor does an on_leader_changed.
    """
    candidate = Candidate(store, "stalls", ttl=TTL, log=False)
    candidate.on_elected(lambda term: time.sleep(LONG))
    candidate.on_leader_changed(lambda leader: time.sleep(LONG))
    with candidate:
        leads_on(candidate)


def test_an_observer_that_sleeps_or_raises(store: Store) -> None:
    """
    Observers that sleep and raise are told of, and hurt neither renewals nor each other.
    """
    told: list[str] = []

    def sleeps(transition: Transition) -> None:
        time.sleep(1.0)

    def fails(transition: Transition) -> None:
        raise RuntimeError(transition.trigger)

    observers = [sleeps, fails, lambda transition: told.append(transition.dest)]
    candidate = Candidate(store, "stalls", ttl=TTL, log=False, observers=observers)
    with candidate:
        leads_on(candidate)
    give_up = time.monotonic() + 20.0
    while len(told) < 4 and time.monotonic() < give_up:
        time.sleep(0.01)  # all observers of the process share a thread, which those of the test before may have kept
    assert ["campaigning", "leader", "resigning", "idle"] == told


def test_a_log_handler_that_raises_or_sleeps(store: Store) -> None:
    """
    A handler of the host that raises, and one that sleeps, miss no renewal.
    """

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            time.sleep(0.5)
            raise RuntimeError(record.getMessage())

    logger = logging.getLogger("leadership")
    handler, level = Broken(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        candidate = Candidate(store, "stalls", ttl=TTL)
        with candidate:
            leads_on(candidate)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def test_a_blocked_loop(store: Store) -> None:
    """
    A coroutine that blocks the user's loop for two TTLs misses no renewal.
    """
    doubts: list[float] = []

    async def main() -> None:
        candidate = AsyncCandidate(store, "stalls", ttl=TTL, log=False)

        @candidate.on_elected
        async def lead(term: AsyncTerm) -> None:
            time.sleep(LONG)  # noqa: ASYNC251 - that is the offence

        async with candidate:
            assert await candidate.wait_elected(5.0) is not None
            with watched(lambda: candidate.is_leader) as seen:
                await asyncio.sleep(0.1)
                time.sleep(LONG / 2)  # noqa: ASYNC251 - as above
                doubts.extend(seen)
            assert 1 == candidate.status().attempts

    asyncio.run(main())
    assert [] == doubts


def test_a_raising_on_elected_gives_up_and_is_logged(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """
    An on_elected that raises ends the term, and its traceback is in the log.
    """
    candidate = Candidate(store, "stalls", ttl=TTL, cool_down=30.0)
    demoted = threading.Event()
    causes: list[str] = []

    @candidate.on_elected
    def lead(term: Term) -> None:
        msg = "the disk is upside down"
        raise OSError(msg)

    @candidate.on_demoted
    def stand_down(term: Term, cause: str) -> None:
        causes.append(str(cause))
        demoted.set()

    with caplog.at_level(logging.ERROR, logger="leadership"), candidate:
        assert demoted.wait(5.0)
        candidate.stop()
        deadline = time.monotonic() + 5.0
        while "the disk is upside down" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)  # until it is written: the record is kept before its traceback is put into words
    assert ["callback_failed"] == causes
    assert "leadership.callback_failed" in caplog.text
    assert "Traceback" in caplog.text
    assert "the disk is upside down" in caplog.text

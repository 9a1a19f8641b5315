"""
User code in real threads: whatever it does, no renewal is missed and nobody else waits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import pytest

from leadership import Candidate, DemotionCause, Store, Term, Transition, connect
from leadership._runtime.dispatch import CAPACITY, Dispatcher
from leadership._runtime.process import engine_for

TTL = 1.2
"""Seconds, of which a busy machine may stand still for two thirds of one."""
SOON = 10.0


@pytest.fixture
def store() -> Iterator[Store]:
    with connect("memory://") as store:
        yield store


def leads_on(candidate: Candidate, term: Term, seconds: float = 2 * TTL) -> bool:
    """
    Whether it leads the same term all the time, by 100 looks a second.
    """
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if not (candidate.is_leader and term.is_current):
            return False
        time.sleep(0.01)
    return True


def elected(candidate: Candidate) -> Term:
    candidate.start()
    term = candidate.wait_elected(SOON)
    assert term is not None
    return term


def test_a_callback_that_sleeps(store: Store) -> None:
    """
    on_elected sleeps for four TTLs: the term goes on, and has been renewed all the time.
    """
    candidate = Candidate(store, "jobs", "a", ttl=TTL, grace=0.1)
    candidate.on_elected(lambda _term: time.sleep(4 * TTL))
    assert leads_on(candidate, elected(candidate))
    candidate.stop()
    assert candidate.history[2].renewals >= 3


def test_a_callback_that_computes(store: Store) -> None:
    """
    A callback that never leaves the interpreter's lock by itself costs no term.
    """
    candidate = Candidate(store, "jobs", "a", ttl=TTL)

    @candidate.on_elected
    def compute(term: Term) -> None:
        number = 0
        while term.is_current:
            number += 1

    assert leads_on(candidate, elected(candidate))


def test_an_observer_that_sleeps(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """
    An observer that sleeps for four TTLs delays other observers only, and is warned about.
    """
    told: list[str] = []

    def sleeps(record: Transition) -> None:
        if record.dest == "leader":
            time.sleep(4 * TTL)

    candidate = Candidate(store, "jobs", "a", ttl=TTL, observers=[sleeps])
    candidate.on_transition(lambda record: told.append(record.dest))
    with caplog.at_level(logging.WARNING, "leadership"):
        assert leads_on(candidate, elected(candidate), 3 * TTL)
        assert ["campaigning"] == told
        candidate.stop()
        store.close()
        give_up = time.monotonic() + SOON
        while len(told) < 4 and time.monotonic() < give_up:
            time.sleep(0.01)

    assert ["campaigning", "leader", "resigning", "idle"] == told
    assert any(record.getMessage().startswith("leadership.observer_slow ") for record in caplog.records)


def test_a_log_handler_that_sleeps_and_raises(store: Store) -> None:
    """
    A host's handler that takes two TTLs and then raises costs nothing.
    """

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            time.sleep(2 * TTL)
            raise OSError(record.msg)

    logger, handler = logging.getLogger("leadership"), Broken()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        candidate = Candidate(store, "jobs", "a", ttl=TTL)
        assert leads_on(candidate, elected(candidate))
        candidate.stop()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def test_a_log_handler_that_exits(store: Store) -> None:
    """
    A host's handler ends the program at an error, by SystemExit, which ends a thread only: an observer raises, and a
    fault is met on the engine's thread; observers are told of what follows, and the engine renews.
    """
    told: list[str] = []
    seen = threading.Event()

    class Exits(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.set()
            raise SystemExit(record.msg)

    def broken(_record: Transition) -> None:
        raise ZeroDivisionError

    logger, handler = logging.getLogger(), Exits(logging.ERROR)
    logger.addHandler(handler)
    try:
        candidate = Candidate(store, "jobs", "a", ttl=TTL, observers=[broken])
        candidate.on_transition(lambda record: told.append(record.dest))
        term = elected(candidate)
        assert seen.wait(SOON)
        engine_for(store).loop.call_soon_threadsafe(divmod, 1, 0)
        assert leads_on(candidate, term)
        candidate.stop()
        give_up = time.monotonic() + SOON
        while len(told) < 4 and time.monotonic() < give_up:
            time.sleep(0.01)
    finally:
        logger.removeHandler(handler)

    assert ["campaigning", "leader", "resigning", "idle"] == told


def test_a_blocked_main_thread(store: Store) -> None:
    """
    The thread that started the candidate does nothing for four TTLs: it leads on.
    """
    candidate = Candidate(store, "jobs", "a", ttl=TTL)
    term = elected(candidate)
    time.sleep(4 * TTL)
    assert term.is_current


def test_a_callback_of_one_election_delays_no_other(store: Store) -> None:
    """
    Each election has its own lane: one whose on_demoted hangs does not hold up another's.
    """
    release = threading.Event()
    hangs, other = Candidate(store, "jobs", ttl=TTL, grace=0.0), Candidate(store, "mail", ttl=TTL)
    told = threading.Event()
    hangs.on_demoted(lambda _term, _cause: release.wait(SOON))

    @other.on_demoted
    def demoted(_term: Term, _cause: DemotionCause) -> None:
        told.set()

    elected(hangs)
    elected(other)
    try:
        assert hangs.stop()
        assert other.stop()
        assert told.wait(SOON)
        assert 1 == len(hangs.status().running_callbacks)
    finally:
        release.set()


def test_what_an_observer_cannot_take_is_counted() -> None:
    """
    The observers' queue is bounded: what does not fit is dropped, counted, and said; nothing blocks.
    """
    release, entered = threading.Event(), threading.Event()
    dispatcher = Dispatcher()
    told: list[int] = []

    def hang() -> None:
        entered.set()
        release.wait(SOON)

    dispatcher.put(hang)
    assert entered.wait(SOON)
    for number in range(CAPACITY + 5):
        dispatcher.put(told.append, number)
    assert 5 == dispatcher.dropped
    release.set()
    dispatcher.drain(SOON)

    assert list(range(CAPACITY)) == told


def test_threads_that_all_ask_at_once(store: Store) -> None:
    """
    Eight threads start, stop and resign one candidate at random: it is never in doubt, and ends as the last one asks.
    """
    candidate = Candidate(store, "jobs", "a", ttl=5.0, cool_down=0.0, log=False)
    led: list[int] = []
    lost: list[int] = []
    candidate.on_elected(lambda term: led.append(term.token))

    @candidate.on_demoted
    def demoted(term: Term, _cause: DemotionCause) -> None:
        lost.append(term.token)

    def ask(number: int) -> None:
        for round_ in range(60):
            match (number + round_) % 3:
                case 0:
                    candidate.start()
                case 1:
                    candidate.stop(timeout=0.01)
                case _:
                    candidate.resign(timeout=0.01)

    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
        assert not thread.is_alive()
    assert candidate.stop()
    assert "idle" == candidate.state
    candidate.start()
    assert candidate.wait_elected(SOON) is not None
    assert candidate.stop()

    assert sorted(set(lost)) == sorted(lost)
    assert set(lost) >= set(led)
    assert [] == [record for record in candidate.history if record.disposition == "illegal"]

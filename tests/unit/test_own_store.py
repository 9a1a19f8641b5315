"""
The store that a face opens for itself, given a URL: whoever stops it has it closed, and a new start has another.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from loops import on_a_loop, soon

from leadership import AsyncCandidate, AsyncFollower, Candidate, Follower, Leader, Store, StoreRefused, Term
from leadership._face import Face
from leadership._runtime.candidate_effects import EFFECTS
from leadership._runtime.engine import Engine
from leadership.backends.memory import MemoryStore
from leadership.fsm.states import CandidateEffect

URL = "memory://own-store"
SOON = 10.0


def wait(face: Face[Any], condition: Callable[[], bool]) -> bool:
    """
    Wait for something that the engine brings about.
    """
    return face._changed.wait_for(condition, SOON)


def is_gone(face: Face[Any], store: Store) -> bool:
    """
    It is closed at the server too, and the engine has forgotten it.
    """
    assert isinstance(store, MemoryStore)
    return store.closed and store._ended and store not in [keeper.store for keeper in engine(face).keepers]


def engine(face: Face[Any]) -> Engine:
    assert face._driver is not None
    return cast("Engine", face._driver.engine)


@pytest.fixture(params=[Candidate, Follower])
def face(request: pytest.FixtureRequest) -> Iterator[Candidate | Follower]:
    made: Candidate | Follower = request.param(URL, "jobs", log=False)
    yield made
    made.stop()


def test_does_not_stand_again_while_its_old_callback_runs() -> None:
    """
    Stopped after its grace and started again, a candidate with a URL waits for the on_elected that still runs, as one
    with a store does, and names it.
    """
    candidate = Candidate(URL, "jobs", ttl=60.0, grace=0.0, log=False)
    let_go, began, returned = threading.Event(), threading.Semaphore(0), threading.Semaphore(0)

    @candidate.on_elected
    def lead(_term: Term) -> None:
        began.release()
        let_go.wait(SOON)
        returned.release()

    candidate.start()
    assert began.acquire(timeout=SOON)
    first = candidate._store
    assert candidate.stop()
    candidate.start()
    assert wait(candidate, lambda: candidate.state == "backoff")
    assert is_gone(candidate, first)
    assert 1 == len(candidate.status().running_callbacks)
    assert not began.acquire(blocking=False)

    let_go.set()
    assert returned.acquire(timeout=SOON)
    assert began.acquire(timeout=SOON)
    assert candidate.stop()


def test_keeps_its_entry_until_its_old_callback_is_back() -> None:
    """
    Stopped and started again within its grace, a candidate has another store already; the one that its entry stands in
    is closed when on_elected has returned, and not before: others would be elected beside it.
    """
    candidate = Candidate(URL, "jobs", ttl=60.0, grace=60.0, log=False)
    let_go, began = threading.Event(), threading.Semaphore(0)

    @candidate.on_elected
    def lead(_term: Term) -> None:
        began.release()
        let_go.wait(SOON)

    candidate.start()
    assert began.acquire(timeout=SOON)
    first, driver = candidate._store, candidate._driver
    assert driver is not None
    assert not candidate.stop(timeout=0.0)
    candidate.start()
    begun = threading.Event()
    engine(candidate).post(begun.set)
    assert begun.wait(SOON)
    assert candidate._store is not first is driver.store
    assert not driver.own.closing

    let_go.set()
    assert began.acquire(timeout=SOON)
    assert wait(candidate, lambda: is_gone(candidate, first))
    assert candidate.stop()


def test_asks_inside_its_old_callback() -> None:
    """
    stop() from a callback of the life before is one from inside: it only asks.
    """
    candidate = Candidate(URL, "jobs", ttl=60.0, grace=0.0, log=False)
    again, answers = threading.Event(), [True]

    @candidate.on_elected
    def lead(_term: Term) -> None:
        again.wait(SOON)
        answers.append(candidate.stop())

    candidate.start()
    assert candidate.wait_elected(SOON) is not None
    assert candidate.stop()
    candidate.start()
    again.set()
    assert wait(candidate, lambda: candidate._over() and is_gone(candidate, candidate._store) and len(answers) > 1)
    assert [True, False] == answers[:2]


def test_a_stop_that_is_carried_out_at_once_closes(face: Candidate | Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A stop from a callback, of which the engine has made an end before stop() goes on, closes the store.
    """
    request = face._request_stop
    done = threading.Event()

    def request_and_wait(driver: Any, reason: str | None, *, publish: bool = False) -> None:
        request(driver, reason, publish=publish)
        wait(face, lambda: driver.is_idle)

    monkeypatch.setattr(face, "_request_stop", request_and_wait)

    @face.on_leader_changed
    def stop(_leader: Leader | None) -> None:
        if not done.is_set():
            face.stop()
            done.set()

    face.start()
    assert done.wait(SOON)
    assert wait(face, lambda: is_gone(face, face._store))


def test_a_stop_that_does_not_wait_closes(face: Candidate | Follower) -> None:
    """
    stop(0) closes the store, when it has come to its end.
    """
    face.start()
    face.stop(0)
    assert wait(face, lambda: face._over() and is_gone(face, face._store))


@pytest.mark.parametrize("made", [AsyncCandidate, AsyncFollower])
@pytest.mark.parametrize("inside", [True, False])
def test_an_asyncio_stop_that_does_not_wait_closes(made: type[AsyncCandidate | AsyncFollower], inside: bool) -> None:
    """
    So does a stop() of the asyncio faces, from inside a callback or with a time-out of 0.
    """

    @on_a_loop
    async def stop() -> None:
        face = made(URL, "jobs", log=False)
        answers: list[bool] = []

        @face.on_leader_changed
        async def changed(_leader: Leader | None) -> None:
            if inside:
                answers.append(await face.stop())

        await face.start()
        if not inside:
            answers.append(await face.stop(0))
        await soon(lambda: answers and face.history[-1:] and face.history[-1].dest == "idle")
        await soon(lambda: is_gone(face._face, face._face._store))
        assert not (inside and any(answers))

    stop()


def test_a_start_while_another_thread_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Started by one thread when another's stop() has just ended its life, it stands on a store that is not closed, and
    the stop is settled all the same.
    """
    candidate = Candidate(URL, "jobs", ttl=60.0, log=False)
    close, stopped = MemoryStore.aclose, threading.Event()

    async def close_and_tell(store: MemoryStore) -> None:
        await close(store)
        stopped.set()

    monkeypatch.setattr(MemoryStore, "aclose", close_and_tell)
    first = candidate._store

    def start_when_stopped() -> None:
        stopped.wait(SOON)
        candidate.start()

    thread = threading.Thread(target=start_when_stopped)
    thread.start()
    candidate.start()
    assert candidate.wait_elected(SOON) is not None
    assert candidate.stop(SOON)
    thread.join()
    assert candidate.wait_elected(SOON) is not None
    assert is_gone(candidate, first)
    assert not candidate._store.closed
    assert candidate.stop()


def test_a_start_inside_while_stopping() -> None:
    """
    stop() and start() from a callback: the term ends on the store that it began with, the next is on another.
    """
    candidate = Candidate(URL, "jobs", ttl=60.0, log=False)
    stores: list[Store] = []

    @candidate.on_elected
    def lead(_term: Term) -> None:
        stores.append(candidate._store)
        candidate.stop()
        if len(stores) == 1:
            candidate.start()

    candidate.start()
    assert wait(candidate, lambda: candidate._over() and len(stores) == 2)
    assert stores[0] is not stores[1]
    assert [True, True] == [is_gone(candidate, store) for store in stores]


@pytest.mark.parametrize("when", ["_seen_store", "_make_driver"])
def test_a_signal_handler_that_stops_within_a_start(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A stop() by a signal handler that comes in between a start() leaves it stopped, without an error, and closed.
    """
    candidate = Candidate(URL, "jobs", ttl=60.0, log=False)
    if when == "_seen_store":  # not the first start
        candidate.start()
        assert candidate.stop()
    real = getattr(candidate, when)

    def interrupted(*args: Any) -> Any:
        monkeypatch.undo()
        if when == "_make_driver":
            candidate.start()
        candidate.stop(0)
        return real(*args)

    monkeypatch.setattr(candidate, when, interrupted)
    candidate.start()
    assert wait(candidate, candidate._over)
    assert candidate.wait_elected(SOON) is None
    assert candidate._store.closed


def test_a_close_that_fails_or_hangs(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """
    A store that cannot be closed is complained of, or waited for no longer than five seconds, and stop() returns True.
    """

    async def fail(_store: MemoryStore) -> None:
        msg = "no"
        raise StoreRefused(msg)

    async def hang(_store: MemoryStore) -> None:
        await asyncio.sleep(3600.0)

    monkeypatch.setattr("leadership._runtime.own_store.PATIENCE", 0.0)
    for aclose in (fail, hang):
        monkeypatch.setattr(MemoryStore, "aclose", aclose)
        follower = Follower("memory://", "jobs")
        follower.start()
        assert follower.stop()
        engine(follower).dispatcher.drain(SOON)
    assert "closing memory://" in caplog.text
    assert "leadership.store_close_timeout" in caplog.text


def test_a_stop_is_settled_with_the_life_that_it_ended() -> None:
    """
    Stopped, started, stopped and started again while the first life's callback runs: the second stop waits for the end
    of that life, and not for the end of the third, which stands on.
    """
    candidate = Candidate(URL, "jobs", ttl=60.0, cool_down=0.0, log=False)
    let_go, began, stopped = threading.Event(), threading.Event(), []

    @candidate.on_elected
    def lead(term: Term) -> None:
        began.set()
        if term.token == 1:
            let_go.wait()

    candidate.start()
    assert began.wait(SOON)
    candidate.stop(0)
    candidate.start()
    store = candidate._store
    other = threading.Thread(target=lambda: stopped.append(candidate.stop(SOON)))
    other.start()
    assert wait(candidate, lambda: store.closed)
    candidate.start()
    let_go.set()
    other.join()
    assert [True] == stopped
    assert candidate.wait_elected(SOON)
    assert candidate.stop()


def test_a_start_that_is_half_made_as_a_life_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    As one life ends, another thread has stopped the next, and is about to start a third: nothing stands on the closed
    store in between, and the third does.
    """
    candidate = Candidate(URL, "jobs", ttl=60.0, cool_down=0.0, log=False)
    let_go = threading.Event()
    ended = EFFECTS[CandidateEffect.ON_STOPPED]

    @candidate.on_elected
    def lead(_term: Term) -> None:
        let_go.wait()

    def halfway(driver: Any, event: Any) -> None:
        monkeypatch.undo()
        candidate._ask_to_stop(driver, None)
        driver.wanted = True
        ended(driver, event)

    candidate.start()
    assert candidate.wait_elected(SOON)
    candidate.stop(0)
    candidate.start()
    monkeypatch.setitem(EFFECTS, CandidateEffect.ON_STOPPED, halfway)
    let_go.set()
    driver = candidate._driver
    assert driver is not None
    assert wait(candidate, lambda: driver.is_idle and not driver._asked)
    candidate.start()
    assert candidate.wait_elected(SOON)
    assert [None, candidate._store] == [driver.last_error, driver.store]
    assert candidate.stop()

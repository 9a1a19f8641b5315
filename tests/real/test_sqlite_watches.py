"""
The embedded store's watches on a real file, operators' edits, and what all of it costs.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlite_stores import Heard, entry, opened, operate, run

from leadership._clock import now
from leadership.backends import _sqlite_entries as entries
from leadership.backends._sqlite_database import Database
from leadership.backends._sqlite_wake import QUEUE, Bell
from leadership.store import Fact, Outcome


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "e.db"


def test_a_watch_begins_with_the_truth_and_tells_each_change(path: Path) -> None:
    """
    A first look, the other store's terms, its releases, and a change of holder as a deletion and a new leader.
    """

    async def test() -> None:
        heard, late = Heard(), Heard()
        async with opened(path) as (_, one), opened(path) as (store, other):
            watch = store.watch("e", heard)
            await heard.until(Fact.VACANT_OBSERVED)
            await one.acquire(entry())
            observed = await heard.until(Fact.LEADER_OBSERVED)
            assert observed.holder is not None
            assert 1 == observed.holder.token
            store.watch("e", late)
            await late.until(Fact.LEADER_OBSERVED)
            await one.release(entry())
            assert 1 == (await heard.until(Fact.KEY_DELETED)).token
            await other.acquire(entry())
            assert [Fact.VACANT_OBSERVED, Fact.LEADER_OBSERVED, Fact.KEY_DELETED, Fact.LEADER_OBSERVED] == heard.facts
            assert heard.facts[1:] == late.facts
            watch.close()
            watch.close()
            await other.release(entry())
            await late.until(Fact.KEY_DELETED)
            assert 4 == len(heard.events)

    run(test)


def test_another_store_is_told_within_milliseconds(path: Path) -> None:
    """
    A change wakes the stores that watch, also where the path is longer than a socket's address may be.
    """

    async def test() -> None:
        long = path.parent / ("long" * 40)
        long.mkdir()
        delays = []
        async with opened(long / "e.db") as (_, one), opened(long / "e.db") as (store, _):
            for number in range(20):
                heard = Heard()
                watch = store.watch("e", heard)
                await heard.until(Fact.VACANT_OBSERVED)
                await asyncio.sleep(0.01)
                began = now()
                await one.acquire(entry(str(number)))
                await heard.until(Fact.LEADER_OBSERVED)
                delays.append(now() - began)
                watch.close()
                await one.release(entry(str(number)))
        assert sorted(delays)[10] <= 0.05

    run(test)


def test_an_operators_edits_are_seen_within_a_poll(path: Path) -> None:
    """
    What is changed with the `sqlite3` command rings no bell; the poll sees it, and a leader learns that it is none.
    """

    async def test() -> None:
        heard = Heard()
        async with opened(path) as (store, session):
            await session.acquire(entry())
            store.watch("e", heard)
            await heard.until(Fact.LEADER_OBSERVED)
            operate(path, "UPDATE elections SET metadata = 'not JSON'")
            began = now()
            operate(path, "DELETE FROM elections")
            assert 1 == (await heard.until(Fact.KEY_DELETED)).token
            assert heard.at[-1] - began <= 1.7

    run(test)


def test_a_request_to_resign_reaches_the_watch_of_that_term(path: Path) -> None:
    """
    It names the term and the reason; one for another term, or for nobody, is refused; the next term does not see it.
    """

    async def test() -> None:
        heard = Heard()
        async with opened(path) as (store, session), opened(path) as (operator, _):
            assert Outcome.REFUSED is (await operator.request_resign("e", 1, None)).outcome
            await session.acquire(entry())
            store.watch("e", heard)
            await heard.until(Fact.LEADER_OBSERVED)
            await asyncio.sleep(0.05)
            assert Outcome.REFUSED is (await operator.request_resign("e", 2, None)).outcome
            requested = now()
            assert Outcome.DONE is (await operator.request_resign("e", 1, "maintenance")).outcome
            request = await heard.until(Fact.RESIGN_REQUESTED)
            assert (1, "maintenance") == (request.token, request.reason)
            assert heard.at[-1] - requested <= 0.5
            await session.release(entry())
            await session.acquire(entry("b"))
            assert [(1, "maintenance")] == operate(path, "SELECT resign_token, resign_reason FROM elections")
            fresh = Heard()
            operator.watch("e", fresh)
            await fresh.until(Fact.LEADER_OBSERVED)
            await asyncio.sleep(0.05)
            assert [Fact.LEADER_OBSERVED] == fresh.facts

    run(test)


def test_an_error_after_a_release_keeps_nobody_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The disk has a bad moment when others are told of a vacancy: they hear of it all the same, it is no fault of the
    store's, and the store goes on.
    """
    look, release = Database._look, entries.release
    ill: list[Database] = []

    def looks(database: Database) -> str:
        if database in ill:
            raise OSError(errno.EIO, "Input/output error", database.path)
        return look(database)

    def released(database: Database, *about: Any) -> Any:
        done = release(database, *about)
        ill.append(database)
        return done

    monkeypatch.setattr(Database, "_look", looks)
    monkeypatch.setattr(entries, "release", released)

    async def test() -> None:
        heard, faults = Heard(), list[object]()
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context))
        async with opened(path) as (_, one), opened(path) as (store, _):
            store.watch("e", heard)
            await one.acquire(entry())
            await heard.until(Fact.LEADER_OBSERVED)
            await one.release(entry())
            await asyncio.sleep(0.1)
            ill.clear()
            await heard.until(Fact.KEY_DELETED)
            async with asyncio.timeout(5.0):
                assert 2 == (await one.acquire(entry("k2"))).token
        assert [] == faults

    run(test)


def test_a_fault_while_others_are_told_is_said_and_survived(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whatever was not foreseen there: the store's thread goes on, and the loop's handler is told.
    """
    ring = entries.ring
    faults: list[dict[str, Any]] = []

    def rings(database: Database, *, everything: bool = False) -> None:
        if not everything and not faults:
            raise ZeroDivisionError
        ring(database, everything=everything)

    monkeypatch.setattr(entries, "ring", rings)

    async def test() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context))
        async with asyncio.timeout(5.0), opened(path) as (_, one):
            assert 1 == (await one.acquire(entry())).token
            while not faults:
                await asyncio.sleep(0.01)
            assert Outcome.DONE is (await one.release(entry())).outcome

    run(test)
    assert {ZeroDivisionError} == {type(fault["exception"]) for fault in faults}


def test_a_bell_whose_queue_was_full_says_to_look_at_everything(tmp_path: Path) -> None:
    """
    Datagrams that found no room may have named elections that nobody would hear of otherwise.
    """
    bell = Bell(str(tmp_path), "b.sock")
    with closing(bell), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(0)
        sender.sendto(b"one\ntwo", bell.path)
        assert {"one", "two"} == bell.heard()
        for number in range(QUEUE):
            sender.sendto(b"%d" % number, bell.path)
        assert {""} == bell.heard()


# -- cost -----------------------------------------------------------------------------------------------------------


def test_a_thousand_elections_cost_one_thread_and_two_operations_a_second(path: Path) -> None:
    """
    All held and watched by one store, idle for three seconds, renewals included.
    """

    async def test() -> None:
        threads = threading.active_count()
        heard = Heard()
        async with opened(path, 3.0) as (store, session):
            for number in range(1000):
                store.watch(str(number), heard)
                assert Outcome.DONE is (await session.acquire(entry(election=str(number)))).outcome
                if number % 100 == 0:
                    await session.renew()
            assert threads + 1 == threading.active_count()
            await session.renew()  # before a lapse, which would be looked into
            await asyncio.sleep(1.2)  # the first poll reads everything
            before, began = store.operations, now()
            for _ in range(3):
                await asyncio.sleep(1.0)
                await session.renew()
            assert store.operations - before <= 2 * (now() - began) + 1  # a busy machine takes longer than it sleeps
            assert 1000 == heard.facts.count(Fact.LEADER_OBSERVED)

    run(test)


def test_nothing_is_left_after_fifty_cycles(path: Path) -> None:
    """
    Opening, leading, watching and closing leaks no thread, descriptor, file or row.
    """

    async def test() -> None:
        async with opened(path):
            pass
        threads, fds = threading.active_count(), len(os.listdir("/proc/self/fd"))
        for _ in range(50):
            async with opened(path) as (store, session):
                store.watch("e", Heard())
                await session.acquire(entry())
        assert threads == threading.active_count()
        assert fds == len(os.listdir("/proc/self/fd"))
        assert [] == os.listdir(f"{path}-leadership")
        assert [(0,)] == operate(path, "SELECT count(*) FROM sessions")
        assert [path.name, f"{path.name}-leadership"] == sorted(os.listdir(path.parent))

    run(test)


def test_a_lapse_is_seen_though_its_timer_is_late(path: Path) -> None:
    """
    Timers stand still while the machine is suspended, and the deadline does not: the next poll compares them.
    """

    async def test() -> None:
        heard = Heard()
        async with opened(path, 1.5) as (_, session), opened(path) as (store, _):
            await session.acquire(entry())
            store.watch("e", heard)
            await heard.until(Fact.LEADER_OBSERVED)
            due = store._watcher._vigils[session.id]._due
            assert due is not None
            due.cancel()
            assert 1 == (await heard.until(Fact.LEASE_EXPIRED, 3.0)).token

    run(test)

"""
The embedded store against its contract, on a real file: entries, sessions, tokens, watches, operators' edits.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from leadership._clock import now
from leadership.backends._sqlite_wake import Bell
from leadership.backends.sqlite import SqliteSession, SqliteStore
from leadership.errors import ConfigError, StoreRefused, StoreUnavailable
from leadership.store import Entry, Fact, Outcome, Reply, WatchEvent

TTL = 5.0


class Heard:
    """
    What a watch told, and when.
    """

    def __init__(self) -> None:
        self.events: list[WatchEvent] = []
        self.at: list[float] = []
        self._more = asyncio.Event()

    def __call__(self, event: WatchEvent) -> None:
        self.events.append(event)
        self.at.append(now())
        self._more.set()

    @property
    def facts(self) -> list[Fact]:
        return [event.fact for event in self.events]

    async def until(self, fact: Fact, timeout: float = 5.0) -> WatchEvent:
        async with asyncio.timeout(timeout):
            while fact not in self.facts:
                self._more.clear()
                await self._more.wait()
        return self.events[self.facts.index(fact)]


@asynccontextmanager
async def opened(path: Path, ttl: float = TTL) -> AsyncIterator[tuple[SqliteStore, SqliteSession]]:
    store = SqliteStore(str(path))
    try:
        session = await store.open_session(ttl, Heard())
        assert isinstance(session, SqliteSession)
        yield store, session
    finally:
        await store.aclose()


def entry(key: str = "k", election: str = "e", node: str = "n", **more: Any) -> Entry:
    return Entry(election, node, key, **more)


def operate(path: Path, statement: str, *arguments: object) -> list[Any]:
    """
    What an operator does with the `sqlite3` command.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement, arguments).fetchall()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "e.db"


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


# -- entries and tokens ---------------------------------------------------------------------------------------------


def test_two_stores_alternate_and_tokens_rise(path: Path) -> None:
    """
    What one has released the other acquires, with a higher token each time.
    """

    async def test() -> None:
        async with opened(path) as (_, one), opened(path) as (_, other):
            tokens = []
            for session in (one, other) * 3:
                reply = await session.acquire(entry())
                assert Outcome.DONE is reply.outcome
                tokens.append(reply.token)
                await session.release(entry())
            assert [1, 2, 3, 4, 5, 6] == tokens

    run(test)


def test_a_held_election_is_refused_and_its_holder_named(path: Path) -> None:
    """
    The holder comes with its node, token, session and metadata, and is what a read says too.
    """

    async def test() -> None:
        async with opened(path) as (_, one), opened(path) as (store, other):
            await one.acquire(entry(node="underwood", metadata={"port": 80}))
            reply = await other.acquire(entry())
            assert Outcome.REFUSED is reply.outcome
            holder = reply.holder
            assert holder is not None
            assert ("underwood", 1, one.id, {"port": 80}) == (
                holder.node,
                holder.token,
                holder.session,
                holder.metadata,
            )
            assert {"e": holder, "another": None} == await store.read(["e", "another"])

    run(test)


def test_the_same_entry_is_answered_alike_and_another_of_the_session_is_not_adopted(path: Path) -> None:
    """
    Acquiring again repeats the token; an entry of a later attempt replaces the earlier one with a new token.
    """

    async def test() -> None:
        async with opened(path) as (_, session):
            assert [1, 1, 2] == [(await session.acquire(entry(key))).token for key in ("a", "a", "b")]
            assert Reply(Outcome.DONE) == await session.release(entry("a"))
            assert 2 == (await session.acquire(entry("b"))).token

    run(test)


def test_a_release_touches_only_its_own_entry(path: Path) -> None:
    """
    Releasing what another holds is done, because one's own entry is absent, and leaves the other's.
    """

    async def test() -> None:
        async with opened(path) as (store, one), opened(path) as (_, other):
            await one.acquire(entry())
            assert Outcome.DONE is (await other.release(entry())).outcome
            holder = (await store.read(["e"]))["e"]
            assert holder is not None
            assert one.id == holder.session

    run(test)


def test_two_candidates_of_one_store_have_a_session_each(path: Path) -> None:
    """
    Of two sessions of one store only one is granted an election.
    """

    async def test() -> None:
        async with opened(path) as (store, one):
            other = await store.open_session(TTL, Heard())
            assert Outcome.DONE is (await one.acquire(entry())).outcome
            assert Outcome.REFUSED is (await other.acquire(entry())).outcome

    run(test)


def test_tokens_rise_over_an_operators_deletions(path: Path) -> None:
    """
    Deleting the election's row does not set its token back, nor does setting the counter back.
    """

    async def test() -> None:
        async with opened(path) as (_, session):
            for number in range(1, 4):
                assert number == (await session.acquire(entry(str(number)))).token
            operate(path, "DELETE FROM elections")
            async with opened(path) as (_, other):
                assert 4 == (await other.acquire(entry())).token
                operate(path, "UPDATE meta SET token = 1")
                await other.release(entry())
            async with opened(path) as (_, other):
                assert 5 == (await other.acquire(entry())).token

    run(test)


def test_tokens_rise_over_a_reopened_file_and_a_new_boot(path: Path) -> None:
    """
    The counter is in the file; tokens that a lost commit may have granted before a power cut are skipped.
    """

    async def test() -> None:
        async with opened(path) as (_, session):
            assert 1 == (await session.acquire(entry())).token
        async with opened(path) as (_, session):
            assert 2 == (await session.acquire(entry())).token
            ((reserved,),) = operate(path, "SELECT reserved FROM meta")
            operate(path, "UPDATE meta SET boot = 'the one before', token = 1")
            await session.release(entry())
        async with opened(path) as (_, session):
            assert reserved < ((await session.acquire(entry())).token or 0)

    run(test)


def test_a_block_of_tokens_is_followed_by_the_next(path: Path) -> None:
    """
    Tokens rise by one, also where a block of reserved ones comes to its end.
    """

    async def test() -> None:
        async with opened(path) as (_, session):
            await session.acquire(entry())
            operate(path, "UPDATE meta SET token = 900")
            assert [901, 902, 903] == [(await session.acquire(entry(str(n)))).token for n in range(3)]
            assert [(903, 1903)] == operate(path, "SELECT token, reserved FROM meta")

    run(test)


def test_a_store_that_lost_its_data_says_so(path: Path) -> None:
    """
    A token above the newest that this process has seen is granted, and marked as reset.
    """

    async def test() -> None:
        async with opened(path) as (_, session):
            reply = await session.acquire(entry(above=41))
            assert (42, True) == (reply.token, reply.token_reset)
            assert (43, False) == ((await session.acquire(entry("b"))).token, False)

    run(test)


# -- sessions -------------------------------------------------------------------------------------------------------


def test_a_session_that_is_not_renewed_is_taken_over_and_never_revived(path: Path) -> None:
    """
    Its deadline frees the election for others, told as a lapse; its own renewals, claims and releases change nothing.
    """

    async def test() -> None:
        heard = Heard()
        async with opened(path, 0.5) as (_, one), opened(path) as (store, other):
            began = now()
            await one.acquire(entry())
            store.watch("e", heard)
            assert 1 == (await heard.until(Fact.LEASE_EXPIRED)).token
            assert 0.3 <= heard.at[-1] - began <= 0.8
            assert {"e": None} == await store.read(["e"])
            assert Outcome.REFUSED is (await one.renew()).outcome
            assert 2 == (await other.acquire(entry())).token
            assert Outcome.REFUSED is (await one.renew()).outcome
            assert Outcome.DONE is (await one.release(entry())).outcome
            assert 2 == (await other.acquire(entry())).token
            await other.release(entry())
            lost = await one.acquire(entry())
            assert Outcome.REFUSED is lost.outcome
            assert isinstance(lost.error, StoreUnavailable)

    run(test)


def test_renewals_keep_a_session(path: Path) -> None:
    """
    A session that is renewed in time outlasts its first TTL several times, and its entry with it.
    """

    async def test() -> None:
        async with opened(path, 0.5) as (_, one), opened(path) as (_, other):
            await one.acquire(entry())
            for _ in range(8):
                await asyncio.sleep(0.15)
                assert Outcome.DONE is (await one.renew()).outcome
            assert Outcome.REFUSED is (await other.acquire(entry())).outcome

    run(test)


def test_the_rows_deadline_is_never_before_the_holders(path: Path) -> None:
    """
    Others may take over a TTL after the grant or renewal was carried out, which is not before it was sent.
    """

    async def test() -> None:
        async with opened(path) as (_, session):
            for _ in range(3):
                sent = now()
                assert Outcome.DONE is (await session.renew()).outcome
                ((deadline,),) = operate(path, "SELECT deadline FROM sessions")
                assert sent + TTL <= deadline <= now() + TTL

    run(test)


def test_the_end_of_a_session_removes_all_that_it_held(path: Path) -> None:
    """
    Entries, row, lock file and descriptor go; a second end is done too.
    """

    async def test() -> None:
        async with opened(path) as (store, session):
            await session.acquire(entry())
            await session.acquire(entry(election="another"))
            (fd,) = session.liveness_fds()
            assert [f"{session.id}.lock"] == [
                name for name in os.listdir(f"{path}-leadership") if not name.endswith(".sock")
            ]
            for _ in range(2):
                assert Outcome.DONE is (await session.end()).outcome
            assert () == session.liveness_fds()
            with pytest.raises(OSError, match="descriptor"):
                os.fstat(fd)
            assert [] == os.listdir(f"{path}-leadership")
            assert [] == operate(path, "SELECT * FROM sessions")
            assert {"e": None, "another": None} == await store.read(["e", "another"])

    run(test)


def test_a_session_that_an_operator_removed_is_reported_lost(path: Path) -> None:
    """
    Its renewal is refused, its claims are refused with SESSION_LOST, and a watch tells that its entry lapsed.
    """

    async def test() -> None:
        heard, lost = Heard(), Heard()
        async with opened(path) as (store, _):
            session = await store.open_session(TTL, lost)
            await session.acquire(entry())
            store.watch("e", heard)
            await heard.until(Fact.LEADER_OBSERVED)
            operate(path, "DELETE FROM sessions")
            assert 1 == (await heard.until(Fact.LEASE_EXPIRED, 1.2)).token
            assert Outcome.REFUSED is (await session.renew()).outcome
            assert Outcome.REFUSED is (await session.acquire(entry())).outcome
            assert [Fact.SESSION_LOST] == lost.facts

    run(test)


# -- watches --------------------------------------------------------------------------------------------------------


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
            assert heard.at[-1] - began <= 1.2

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
            assert Outcome.REFUSED is (await operator.request_resign("e", 2, None)).outcome
            assert Outcome.DONE is (await operator.request_resign("e", 1, "maintenance")).outcome
            request = await heard.until(Fact.RESIGN_REQUESTED)
            assert (1, "maintenance") == (request.token, request.reason)
            await session.release(entry())
            await session.acquire(entry("b"))
            fresh = Heard()
            store.watch("e", fresh)
            await fresh.until(Fact.LEADER_OBSERVED)
            await asyncio.sleep(0.05)
            assert [Fact.LEADER_OBSERVED] == fresh.facts

    run(test)


def test_a_bell_whose_queue_was_full_says_to_look_at_everything(tmp_path: Path) -> None:
    """
    Datagrams that found no room named elections that nobody will hear of otherwise.
    """
    import socket

    bell = Bell(str(tmp_path), "b.sock")
    with closing(bell), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(0)
        sender.sendto(b"one\ntwo", bell.path)
        assert {"one", "two"} == bell.heard()
        with pytest.raises(BlockingIOError):
            for number in range(10_000):
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
            assert threads + 1 == threading.active_count()
            await asyncio.sleep(0.1)  # for the last of the first looks
            before = store.operations
            for _ in range(3):
                await asyncio.sleep(1.0)
                await session.renew()
            assert store.operations - before <= 6
            assert 1000 == heard.facts.count(Fact.LEADER_OBSERVED)

    run(test)


def test_nothing_is_left_after_two_hundred_cycles(path: Path) -> None:
    """
    Opening, leading, watching and closing leaks no thread, descriptor, file or row.
    """

    async def test() -> None:
        async with opened(path):
            pass
        threads, fds = threading.active_count(), len(os.listdir("/proc/self/fd"))
        for _ in range(200):
            async with opened(path) as (store, session):
                store.watch("e", Heard())
                await session.acquire(entry())
        assert threads == threading.active_count()
        assert fds == len(os.listdir("/proc/self/fd"))
        assert [] == os.listdir(f"{path}-leadership")
        assert [(0,)] == operate(path, "SELECT count(*) FROM sessions")
        assert [path.name, f"{path.name}-leadership"] == sorted(os.listdir(path.parent))

    run(test)


def test_a_closed_store_refuses_everything(path: Path) -> None:
    """
    It says to connect again; closing twice is fine, and one that was never used closes too.
    """

    async def test() -> None:
        await SqliteStore(str(path)).aclose()
        async with opened(path) as (store, session):
            pass
        await store.aclose()
        for call in (lambda: store.read(["e"]), lambda: store.open_session(TTL, Heard()), session.renew):
            with pytest.raises(ConfigError, match="call connect\\(\\) again"):
                await call()
        with pytest.raises(ConfigError, match="call connect\\(\\) again"):
            store.watch("e", Heard())

    run(test)


def test_a_database_that_turns_foreign_is_refused_at_the_first_call(path: Path) -> None:
    """
    What was not there when the store was made is looked at again when it is opened.
    """

    async def test() -> None:
        store = SqliteStore(str(path))
        operate(path, "CREATE TABLE invoices (id)")
        try:
            with pytest.raises(StoreRefused, match="another program"):
                await store.read(["e"])
        finally:
            await store.aclose()
        assert [("invoices",)] == operate(path, "SELECT name FROM sqlite_master")

    run(test)


def test_metadata_goes_through_json(path: Path) -> None:
    """
    The file keeps it readable for other tools.
    """

    async def test() -> None:
        async with opened(path) as (_, session):
            await session.acquire(entry(metadata={"address": "ä:80"}))
            ((text,),) = operate(path, "SELECT metadata FROM elections")
            assert {"address": "ä:80"} == json.loads(text)

    run(test)

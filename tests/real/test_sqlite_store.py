"""
The embedded store against its contract, on a real file: entries, sessions, tokens.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from sqlite_stores import TTL, Heard, entry, opened, operate, run

from leadership._clock import now
from leadership.backends._sqlite_database import Database
from leadership.backends.sqlite import SqliteStore
from leadership.errors import ConfigError, StoreRefused, StoreUnavailable
from leadership.store import Fact, Outcome, Reply


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "e.db"


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


def test_a_writer_that_is_soon_done_is_waited_for(path: Path) -> None:
    """
    Another's transaction delays a claim, it does not fail it.
    """

    async def test() -> None:
        async with opened(path) as (_, session):
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                asyncio.get_running_loop().call_later(0.1, connection.execute, "COMMIT")
                began = now()
                assert 1 == (await session.acquire(entry())).token
                assert 0.09 <= now() - began <= 0.9

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


def test_a_reservation_is_on_the_disk_before_its_first_token(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The transaction that reserves tokens waits for the disk (`synchronous` is FULL, 2); those that grant more do not.
    """
    waits: list[int] = []
    writing = Database.writing

    @contextmanager
    def watched(database: Database, until: float, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        with writing(database, until, durable=durable) as connection:
            yield connection
            waits.append(connection.execute("PRAGMA synchronous").fetchone()[0])

    async def test() -> None:
        async with opened(path) as (_, session):
            monkeypatch.setattr(Database, "writing", watched)
            for name in ("first", "second", "third"):
                assert Outcome.DONE is (await session.acquire(entry(name))).outcome
            assert [2, 1, 1] == waits

    run(test)


def test_a_lock_file_that_was_removed_ends_no_term(path: Path) -> None:
    """
    Whoever tidies up the folder of locks makes nobody dead: the holder lives, leads, and is seen to.
    """

    async def test() -> None:
        async with opened(path) as (_, leads), opened(path) as (store, other):
            token = (await leads.acquire(entry())).token
            os.unlink(leads.lock._path)
            assert Outcome.REFUSED is (await other.acquire(entry())).outcome
            holder = (await store.read(["e"]))["e"]
            assert holder is not None
            assert (token, leads.id) == (holder.token, holder.session)

    run(test)


def test_a_deadline_of_another_boot_is_not_believed(path: Path) -> None:
    """
    A row of an earlier boot may have a deadline that this boot's clock reaches in weeks: it is waited for by its
    counter, for one TTL.
    """

    async def test() -> None:
        async with opened(path) as (_, left), opened(path) as (_, session):
            assert Outcome.DONE is (await left.acquire(entry())).outcome
            operate(path, "UPDATE sessions SET boot = 'another', deadline = deadline + 1e6 WHERE id = ?", left.id)
            claim = entry()
            assert Outcome.REFUSED is (await session.acquire(claim)).outcome
            async with asyncio.timeout(20 * TTL):
                while (await session.acquire(claim)).outcome is not Outcome.DONE:
                    await asyncio.sleep(TTL / 10)
                    assert Outcome.DONE is (await session.renew()).outcome

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
        async with opened(path) as (store, other), opened(path, 2.0) as (_, one):
            began = now()
            await one.acquire(entry())
            store.watch("e", heard)
            assert 1 == (await heard.until(Fact.LEASE_EXPIRED)).token
            assert 1.0 <= heard.at[-1] - began <= 3.0
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
        async with opened(path, 2.0) as (_, one), opened(path) as (_, other):
            await one.acquire(entry())
            for _ in range(8):
                await asyncio.sleep(0.5)
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
            lock = os.readlink(f"/proc/self/fd/{fd}")
            assert lock.endswith(f"/{session.id}.lock")
            assert [f"{session.id}.lock"] == [
                name for name in os.listdir(f"{path}-leadership") if not name.endswith(".sock")
            ]
            for _ in range(2):
                assert Outcome.DONE is (await session.end()).outcome
            assert () == session.liveness_fds()
            with suppress(FileNotFoundError):  # another thread may have the number for a file of its own
                assert lock not in os.readlink(f"/proc/self/fd/{fd}")
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
            assert 1 == (await heard.until(Fact.LEASE_EXPIRED, 5.0)).token
            assert Outcome.REFUSED is (await session.renew()).outcome
            assert Outcome.REFUSED is (await session.acquire(entry())).outcome
            assert [Fact.SESSION_LOST] == lost.facts

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

"""
Watches at Consul: few connections for many elections, what breaks them, and what merely disturbs them.
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid

import pytest
from consul_scenes import granted, opened
from scenes import SOON, Told, entry, on_a_loop, released, taken
from servers import Consul

from leadership.backends._consul_query import WAIT
from leadership.backends._consul_roots import plain, roots
from leadership.backends.consul import ConsulStore
from leadership.errors import ConfigError, StoreUnavailable
from leadership.store import Fact, Session

WATCH = "leadership-consul-watch"


def watching() -> int:
    """
    Threads that wait for changes.
    """
    return sum(thread.name == WATCH for thread in threading.enumerate())


@on_a_loop
async def test_elections_of_a_path_share_one_query(consul: Consul) -> None:
    """
    Under a path a hundred watches, opened one after another, take one connection; each is told of its own election.
    """
    async with opened(consul) as store, opened(consul, store.settings.address.path) as other:
        session, told = await granted(other), {f"{index}/job": Told() for index in range(100)}
        for name, heard in told.items():
            store.watch(name, heard)
            if name < "3":
                await asyncio.sleep(0.002)
        for heard in told.values():
            await heard.until(Fact.VACANT_OBSERVED)
        assert 1 == watching()
        for name in ("7/job", "70/job"):
            token = await taken(session, entry(name))
            event = await told[name].until(Fact.LEADER_OBSERVED)
            assert event.holder is not None
            assert token == event.holder.token
        assert 2 == sum(Fact.LEADER_OBSERVED in heard.facts for heard in told.values())


@on_a_loop
async def test_few_queries_without_a_path(consul: Consul) -> None:
    """
    Without a path up to four elections are watched by themselves and more of them together, never all keys; where the
    names have nothing in common, an error says what to do.
    """
    mark = uuid.uuid4().hex
    store = ConsulStore(consul.host, least_ttl=1.0)
    try:
        told = [Told() for _ in range(30)]
        for index, heard in enumerate(told[:3]):
            store.watch(f"{mark}/{index}/job", heard)
            await heard.until(Fact.VACANT_OBSERVED)
            assert index + 1 == watching()
        for index, heard in enumerate(told[3:], 3):
            store.watch(f"{mark}/{index}/job", heard)
        for heard in told:
            await heard.until(Fact.VACANT_OBSERVED)
        assert watching() <= 4
        session, claim = await granted(store), entry(f"{mark}/17/job")
        await taken(session, claim)
        await told[17].until(Fact.LEADER_OBSERVED)
        await released(session, claim)
        strangers = [Told() for _ in range(20)]
        for index, heard in enumerate(strangers):
            store.watch(f"{chr(ord('A') + index)}{mark}", heard)
        closed = await strangers[-1].until(Fact.WATCH_CLOSED)
        assert isinstance(closed.error, ConfigError)
        assert "give the URL a path" in str(closed.error)
    finally:
        await store.aclose()


@on_a_loop
async def test_unrelated_writes_cost_few_requests(own_consul: Consul) -> None:
    """
    An absent key wakes its query at any write of the whole store: a pause keeps that to a few requests a second.
    """
    async with opened(own_consul) as store:
        told = Told()
        store.watch("job", told)
        await told.until(Fact.VACANT_OBSERVED)
        await asyncio.sleep(0.5)
        before, writes, end = own_consul.requests(), 0, time.monotonic() + 3.0
        while time.monotonic() < end:
            await asyncio.to_thread(own_consul.put, "unrelated", str(writes))
            writes += 1
            await asyncio.sleep(0.005)
        asked = own_consul.requests() - before - writes
        assert writes > 50
        assert asked < 20
        session = await granted(store)
        await taken(session, entry())
        await told.until(Fact.LEADER_OBSERVED, within=2.0)


@on_a_loop
async def test_index_that_goes_backwards_is_no_end(own_consul: Consul) -> None:
    """
    A snapshot of the past is restored: the watch goes on, tells the truth, and does not spin.

    It once waited for up to ten seconds for the old index to be passed, and by then the lock of the past had expired.
    """
    path = uuid.uuid4().hex
    async with opened(own_consul, path) as store:
        session, claim, told = await granted(store, ttl=60.0), entry(), Told()
        await taken(session, claim)
        store.watch("job", told)
        await told.until(Fact.LEADER_OBSERVED)
        past = own_consul.raw("GET", "snapshot")
        await released(session, claim)
        await told.until(Fact.KEY_DELETED)
        token = await taken(session, entry(node="bob"))
        await told.until(Fact.LEADER_OBSERVED)
        for number in range(30):
            own_consul.put(f"{path}/noise", str(number))
        told.clear()
        await asyncio.to_thread(own_consul.raw, "PUT", "snapshot", past)
        async with asyncio.timeout(WAIT - 1):  # before a query ends by itself
            while not any(event.holder is not None and event.holder.node == "ann" for event in told):
                if Fact.WATCH_CLOSED in told.facts:  # the server may end the query; who watches begins anew
                    told.clear()
                    store.watch("job", told)
                await asyncio.sleep(0.05)
        last = [event.holder for event in told if event.holder is not None][-1]
        assert last.token < token
        before = own_consul.requests()
        await asyncio.sleep(2.0)
        assert own_consul.requests() - before < 12


@on_a_loop
async def test_restart_breaks_watches_and_no_session(own_consul: Consul) -> None:
    """
    A server that is killed closes watches with a typed error; started again with its data, the same session is renewed
    however often, and leads with the same token.
    """
    async with opened(own_consul) as store:
        told, lost = Told(), Told()
        session = await granted(store, lost, ttl=20.0)
        token = await taken(session, entry())
        for _ in range(3):
            told.clear()
            store.watch("job", told)
            await told.until(Fact.LEADER_OBSERVED)
            await asyncio.to_thread(own_consul.kill)
            closed = await told.until(Fact.WATCH_CLOSED)
            assert own_consul.host in str(closed.error)
            start = asyncio.create_task(asyncio.to_thread(own_consul.start))
            renewed = 0
            async with asyncio.timeout(40.0):
                while renewed < 20:
                    reply = await _renewed(session)
                    assert reply != "refused"
                    renewed += reply == "done"
            await start
            holder = (await store.read(["job"]))["job"]
            assert holder is not None
            assert (token, session.id) == (holder.token, holder.session)
        assert [] == lost


async def _renewed(session: Session) -> str:
    try:
        return str((await session.renew()).outcome.value)
    except StoreUnavailable:
        await asyncio.sleep(0.01)
        return "unknown"


@on_a_loop
async def test_restart_without_data_is_said(own_consul: Consul) -> None:
    """
    A server that has lost its data refuses the session, and the next token says that the store was reset.
    """
    async with opened(own_consul) as store:
        session, noisy = await granted(store), uuid.uuid4().hex
        for number in range(50):
            own_consul.put(noisy, str(number))
        token = await taken(session, entry())
        await asyncio.to_thread(own_consul.restart, wipe=True)
        async with asyncio.timeout(SOON):
            while (renewal := await _renewed(session)) != "refused":
                assert renewal == "unknown"
        later = await granted(store)
        reply = await later.acquire(entry(above=token))
        assert reply.token is not None
        assert (True, True) == (reply.token < token, reply.token_reset)


@on_a_loop
async def test_hung_server_holds_nobody(own_consul: Consul) -> None:
    """
    While the server is stopped, calls end in bounded time with a typed error, and so does closing the store.
    """
    async with opened(own_consul, timeout=0.5) as store:
        session, told = await granted(store, ttl=2.0), Told()
        store.watch("job", told)
        await told.until(Fact.VACANT_OBSERVED)
        own_consul.freeze()
        try:
            for call, most in (
                (session.renew, 1.2),
                (lambda: session.acquire(entry()), 1.2),
                (lambda: store.read(["job"]), 2.0),
            ):
                begun = time.monotonic()
                with pytest.raises(StoreUnavailable, match=r"no answer|no time"):
                    await call()
                assert time.monotonic() - begun < most
            begun = time.monotonic()
            await store.aclose()
            assert time.monotonic() - begun < 2.5
            assert 0 == watching()
        finally:
            own_consul.thaw()


def test_roots_are_few_and_long() -> None:
    """
    Beginnings of names cover all of them, are as long as can be, and stay below the path.
    """
    assert ["p/job"] == roots(["p/job"], 1, "p/")
    assert ["p/job-"] == roots([f"p/job-{number}" for number in range(1000)], 1, "p/")
    assert ["p/"] == roots(["p/a", "p/b"], 1, "p/")
    assert ["a/x", "b/x"] == roots(["b/x", "a/x", "a/x/y", "a/xy"], 4)
    assert ["a/", "b"] == roots(["a/1", "a/2", "a/3", "a/4", "b"], 4)
    assert 26 == len(roots([chr(97 + number) for number in range(26)], 4))
    assert ["p/"] == roots(["p/.hidden", "p/..x"], 1, "p/")
    assert ["p/a", "p/é/"] == [plain("p/a\u200bb"), plain("p/é/.")]

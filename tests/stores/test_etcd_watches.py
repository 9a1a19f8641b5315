"""
What breaks a watch of etcd and what does not, and a store's life: forks, hangs, ends.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from etcd_scenes import TTL, key_of, opened
from scenes import SOON, Told, entry, on_a_loop, refused, taken
from servers import Etcd, EtcdCluster

from leadership.backends.etcd import EtcdStore
from leadership.errors import StoreUnavailable
from leadership.store import Fact, Outcome

TESTS = Path(__file__).parents[1]
PATHS = [path for path in [os.environ.get("PYTHONPATH")] if path]


@on_a_loop
async def test_a_compacted_history_loses_nothing(own_etcd: Etcd) -> None:
    """
    A watch whose next revision was compacted away reads the truth anew and goes on: the end of the old term and the
    begin of the new one are told, and no break.
    """
    async with opened(own_etcd) as store, opened(own_etcd, store.prefix.strip("/")) as other:
        told = Told()
        session, rival = await other.open_session(10.0, Told()), await other.open_session(10.0, Told())
        claim, later = entry(), entry(node="bob")
        token = await taken(session, claim)
        store.watch("job", told)
        await told.until(Fact.LEADER_OBSERVED)
        view = store.watches.known("job")
        stream = store.watches._stream
        assert view is not None
        assert stream is not None
        async with asyncio.timeout(SOON):
            while view.number is None:
                await asyncio.sleep(0.01)
        store.watches._unwatch(view.number)  # what happens now is not told
        del store.watches._numbered[view.number]
        await session.release(claim)
        newer = await taken(rival, later)
        own_etcd.compact()
        store.watches._created.append(view)
        stream.send(store.messages.watch(view.keys, view.revision + 1))
        async with asyncio.timeout(SOON):
            while newer not in [event.holder.token for event in told if event.holder is not None]:
                await asyncio.sleep(0.01)
        assert [Fact.LEADER_OBSERVED, Fact.KEY_DELETED, Fact.LEADER_OBSERVED] == told.facts
        assert token == told[1].token
        await rival.release(later)
        await told.until(Fact.KEY_DELETED)
        async with asyncio.timeout(SOON):
            while newer not in [event.token for event in told]:
                await asyncio.sleep(0.01)


@on_a_loop
async def test_what_happens_between_the_read_and_the_watch_is_told(etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A term that ends after the truth was read and before the server has heard of the watch is told to have ended.
    """
    async with opened(etcd) as store, opened(etcd, store.prefix.strip("/")) as other:
        told, session = Told(), await other.open_session(10.0, Told())
        token = await taken(session, entry())
        messages = store.watches._messages
        make = messages.watch

        def watch(*of: Any) -> Any:
            etcd.delete(key_of(store, session))
            return make(*of)

        monkeypatch.setattr(messages, "watch", watch)
        store.watch("job", told)
        assert token == (await told.until(Fact.KEY_DELETED)).token
        assert [Fact.LEADER_OBSERVED, Fact.KEY_DELETED] == told.facts


@on_a_loop
async def test_a_watch_that_the_server_ends_says_so(etcd: Etcd) -> None:
    """
    A watch that is cancelled without being asked ends with WATCH_CLOSED and the server's reason; its neighbours go on.
    """
    async with opened(etcd) as store:
        told, neighbour = Told(), Told()
        store.watch("job", told)
        store.watch("another", neighbour)
        view = store.watches.known("job")
        async with asyncio.timeout(SOON):
            while view is None or view.number is None:
                view = store.watches.known("job")
                await asyncio.sleep(0.01)
        store.watches._unwatch(view.number)
        assert "ended the watch" in str((await told.until(Fact.WATCH_CLOSED)).error)
        session = await store.open_session(10.0, Told())
        await taken(session, entry("another"))
        await neighbour.until(Fact.LEADER_OBSERVED)
        again = Told()
        store.watch("job", again)
        await again.until(Fact.VACANT_OBSERVED)


@on_a_loop
async def test_one_stream_serves_all_watches(own_etcd: Etcd) -> None:
    """
    300 watches of 300 elections, and of one election by many: one connection, no thread more than for one watch, and
    few requests to begin with.
    """
    async with opened(own_etcd) as store:
        told = [Told() for _ in range(300)]
        store.watch("0", Told())
        await asyncio.sleep(0.5)
        threads, before = threading.active_count(), own_etcd.requests()
        watches = [store.watch(str(index), each) for index, each in enumerate(told)]
        for each in told:
            await each.until(Fact.VACANT_OBSERVED)
        assert threads == threading.active_count()
        assert 1 == len(own_etcd.connections())
        async with asyncio.timeout(SOON):
            while own_etcd.requests() - before < 299 + 3:
                await asyncio.sleep(0.05)
        assert 299 + 3 == own_etcd.requests() - before
        session = await store.open_session(10.0, Told())
        await taken(session, entry("299"))
        await told[299].until(Fact.LEADER_OBSERVED)
        for watch in watches:
            watch.close()
        async with asyncio.timeout(SOON):
            while len(store.watches._numbered) > 1:
                await asyncio.sleep(0.05)


@on_a_loop
async def test_a_server_that_goes_away_closes_the_watches(own_etcd: Etcd) -> None:
    """
    The watch ends with a typed error, the session is unavailable and not over, and all goes on when the server is back.
    """
    async with opened(own_etcd) as store:
        told, again, claim = Told(), Told(), entry()
        session = await store.open_session(20.0, Told())
        token = await taken(session, claim)
        store.watch("job", told)
        await told.until(Fact.LEADER_OBSERVED)
        own_etcd.kill()
        assert isinstance((await told.until(Fact.WATCH_CLOSED)).error, StoreUnavailable)
        with pytest.raises(StoreUnavailable, match=f"etcd at {own_etcd.host}"):
            await session.renew()
        store.watch("job", again)
        assert isinstance((await again.until(Fact.WATCH_CLOSED)).error, StoreUnavailable)
        own_etcd.start()
        async with asyncio.timeout(SOON):
            while True:
                try:
                    assert Outcome.DONE is (await session.renew()).outcome
                    break
                except StoreUnavailable:
                    await asyncio.sleep(0.1)
        assert token == await taken(session, claim)


@on_a_loop
async def test_a_server_that_hangs(own_etcd: Etcd) -> None:
    """
    Every call of a session ends within a quarter of its TTL and a read within its time-out, with an error that names
    the host; a silent stream is noticed; the end of the store is bounded.
    """
    store = EtcdStore(own_etcd.host, timeout=1.0)
    told = Told()
    session, claim = await store.open_session(TTL, Told()), entry()
    await taken(session, claim)
    store.watch("job", told)
    await told.until(Fact.LEADER_OBSERVED)
    own_etcd.freeze()
    for call, most in (
        (session.renew(), TTL / 4),
        (session.release(claim), TTL / 4),
        (store.read(["job"]), 1.1),
    ):
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=f"etcd at {own_etcd.host} (did not answer|is unavailable)"):
            await call
        assert time.monotonic() - began < most + 0.6  # this machine may be busy
    assert isinstance((await told.until(Fact.WATCH_CLOSED, within=20.0)).error, StoreUnavailable)
    began = time.monotonic()
    await store.aclose()
    assert time.monotonic() - began < 2.0
    own_etcd.thaw()


@on_a_loop
async def test_the_next_host_is_asked(own_etcd: Etcd) -> None:
    """
    Of several hosts, one that refuses connections, has no address or hangs is passed over.
    """
    for others in ("127.0.0.1:1", "no.such.host.invalid:2379", "[::1]:1"):
        async with opened(f"{others},{own_etcd.host}") as store:
            store.client._index = 0
            session = None
            async with asyncio.timeout(SOON):
                while session is None:
                    try:
                        session = await store.open_session(10.0, Told())
                    except StoreUnavailable:
                        await asyncio.sleep(0.01)
            assert own_etcd.host == store.client.host
            await taken(session, entry())


@pytest.mark.timeout(120)
def test_a_session_outlives_a_member_that_hangs(tmp_path_factory: pytest.TempPathFactory) -> None:
    """
    The member that is talked to hangs: the first call fails in time, the next one goes to another
    member, the lease lives on, and watches begin again there.
    """

    @on_a_loop
    async def scene() -> None:
        with EtcdCluster(tmp_path_factory.mktemp("cluster")) as cluster:
            async with opened(cluster.hosts) as store:
                told, again, claim = Told(), Told(), entry()
                session = await store.open_session(5.0, Told())
                token = await taken(session, claim)
                store.watch("job", told)
                await told.until(Fact.LEADER_OBSERVED)
                (talked_to,) = [each for each in cluster.members if each.host == store.client.host]
                talked_to.freeze()
                with pytest.raises(StoreUnavailable):
                    await session.renew()
                assert talked_to.host != store.client.host
                await told.until(Fact.WATCH_CLOSED)
                deadline = time.monotonic() + 3.0
                while True:
                    try:
                        assert Outcome.DONE is (await session.renew()).outcome
                        break
                    except StoreUnavailable:  # it had led the cluster
                        assert time.monotonic() < deadline
                        await asyncio.sleep(0.2)
                assert token == await taken(session, claim)
                store.watch("job", again)
                assert token == (await again.until(Fact.LEADER_OBSERVED)).holder.token  # type: ignore[union-attr]
                talked_to.thaw()

    scene()


@on_a_loop
async def test_what_waits_when_the_stream_breaks_asks_again(own_etcd: Etcd) -> None:
    """
    A claim that waits, and that nobody watches for, is told to ask again when it can hear no more.
    """
    async with opened(own_etcd) as store:
        told = Told()
        leader, waits = await store.open_session(20.0, Told()), await store.open_session(20.0, told)
        await taken(leader, entry())
        claim = entry(node="bob")
        await refused(waits, claim)
        async with asyncio.timeout(SOON):
            while store.watches.known("job") is None:
                await asyncio.sleep(0.01)
        own_etcd.kill()
        assert claim.key == (await told.until(Fact.TURN)).key


@on_a_loop
async def test_two_hundred_sessions_leave_nothing(own_etcd: Etcd) -> None:
    """
    Neither leases nor threads nor tasks are left of stores that were opened and closed, used or cut off in the middle.
    """
    threads = threading.active_count()
    for index in range(200):
        store = EtcdStore(f"{own_etcd.host}/{index % 7}")
        session, told = await store.open_session(20.0, Told()), Told()
        store.watch("job", told)
        if index % 3:
            await taken(session, entry())
        if index % 3 == 1:
            await session.end()
        await store.aclose()
    assert 1 == len(asyncio.all_tasks())
    async with asyncio.timeout(SOON):
        while threading.active_count() > threads or own_etcd.leases() or own_etcd.connections():
            await asyncio.sleep(0.05)
    assert [] == own_etcd.keys("")


FORK = """
import asyncio, os, sys
from etcd_scenes import opened
from scenes import Told, entry, taken
from leadership import ConfigError

async def calls(store, session):
    for call in (
        lambda: store.read(["job"]),
        lambda: store.open_session(10.0, Told()),
        lambda: session.renew(),
        lambda: session.acquire(entry()),
        lambda: session.end(),
    ):
        try:
            await call()
        except ConfigError as error:
            assert "before this process was forked" in str(error)
        else:
            return 3
    await store.aclose()
    return 0

def child(store, session):
    asyncio._set_running_loop(None)
    try:
        return asyncio.new_event_loop().run_until_complete(calls(store, session))
    except BaseException as error:
        print(repr(error))
        return 4

async def main():
    async with opened(sys.argv[1]) as store:
        session, claim = await store.open_session(10.0, Told()), entry()
        token = await taken(session, claim)
        store.watch("job", Told())
        await asyncio.sleep(0.5)
        pid = os.fork()
        if pid == 0:
            os._exit(child(store, session))
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0, status
        assert (await session.renew()).outcome == "done"
        assert token == await taken(session, claim)
        print("went on")

asyncio.run(main())
"""


def test_a_forked_child_is_told_to_connect_again(etcd: Etcd) -> None:
    """
    In the child every call is a ConfigError, and closing touches nothing; the parent's session goes on.
    """
    done = subprocess.run(
        # Since 3.12 a fork beside threads warns.
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK, etcd.host],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent / "tools"), *PATHS])},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (0, "went on") == (done.returncode, done.stdout.strip()), done.stderr


def test_nothing_is_imported_before_it_is_needed() -> None:
    """
    The module is imported without gRPC and protobuf, with warnings as errors; without python-etcd3 a store is a
    ConfigError that says what to install.
    """
    program = """
import sys, leadership.backends.etcd
assert not {"grpc", "google.protobuf", "etcd3"} & set(sys.modules)
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "etcd3":
            raise ImportError("No module named 'etcd3'")
sys.meta_path.insert(0, Missing())
from leadership import ConfigError, connect
try:
    connect("etcd://127.0.0.1")
except ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.strip().endswith(": pip install leadership[etcd]")


@pytest.mark.parametrize("order", ["ours first", "theirs first"])
def test_other_messages_of_the_process_are_not_disturbed(order: str) -> None:
    """
    Definitions by the same names in protobuf's common pool, as another etcd client or a host's own have them, live
    beside ours, whichever come first; with warnings as errors.
    """
    theirs = """
from google.protobuf import descriptor_pb2, descriptor_pool, timestamp_pb2
for name, package in (("kv.proto", "mvccpb"), ("rpc.proto", "etcdserverpb"), ("auth.proto", "authpb")):
    file = descriptor_pb2.FileDescriptorProto(name=name, package=package)
    file.message_type.add(name="KeyValue")
    file.message_type.add(name="RangeRequest")
    descriptor_pool.Default().Add(file)
    assert descriptor_pool.Default().FindMessageTypeByName(f"{package}.KeyValue")
assert timestamp_pb2.Timestamp.FromString(timestamp_pb2.Timestamp(seconds=7).SerializeToString()).seconds == 7
"""
    ours = """
from leadership.backends.etcd import EtcdStore
rpc = EtcdStore("127.0.0.1:1").client.rpc
asked = rpc.RangeRequest(key=b"a", sort_target=rpc.RangeRequest.CREATE)
assert rpc.RangeRequest.FromString(asked.SerializeToString()).key == b"a"
import etcd3
assert etcd3.Etcd3Client
"""
    program = ours + theirs if order == "ours first" else theirs + ours
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)

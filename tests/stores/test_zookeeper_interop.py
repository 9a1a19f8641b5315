"""
kazoo's own recipes and ours in one election: they take turns, never overlap, and are named by our follower.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from servers import ZooKeeper
from zookeeper_stage import Heard, entry, holder, run, take

from leadership import Candidate, Follower, connect
from leadership.backends.zookeeper import ZooKeeperStore
from leadership.store import Fact, Outcome

KAZOO = """
import sys, time
from kazoo.client import KazooClient
host, path, name, recipe, rounds = sys.argv[1:]
client = KazooClient(hosts=host, timeout=5.0)
client.start()

def work():
    print("begin", time.clock_gettime(time.CLOCK_BOOTTIME), flush=True)
    time.sleep(0.25)
    print("end", time.clock_gettime(time.CLOCK_BOOTTIME), flush=True)

for _ in range(int(rounds)):
    if recipe == "Election":
        client.Election(path, name).run(work)
    else:
        with client.Lock(path, name):
            work()
client.stop()
client.close()
"""


def peer(host: str, path: str, recipe: str, rounds: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", KAZOO, host, path, "kazoo-peer", recipe, str(rounds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def spans(said: str) -> list[tuple[float, float]]:
    """
    From when until when the peer led.
    """
    times = [float(line.split()[1]) for line in said.splitlines()]
    return list(zip(times[::2], times[1::2], strict=True))


@pytest.mark.parametrize("recipe", ["Election", "Lock"])
def test_kazoo_takes_turns_with_us(zookeeper: ZooKeeper, recipe: str) -> None:
    """
    A candidate of ours and a contender of kazoo's in another process, who each give way after a moment: they alternate
    and never lead at a time; the follower names both.
    """
    path, rounds = f"interop/{uuid.uuid4().hex}", 6
    ours: list[tuple[float, float]] = []
    named: list[str] = []

    def now() -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    with (
        connect(f"zookeeper://{zookeeper.host}/{path}") as store,
        connect(f"zookeeper://{zookeeper.host}/{path}") as own,
    ):
        follower = Follower(own, "job")
        follower.on_leader_changed(lambda leader: named.append(leader.node))
        follower.start()
        candidate = Candidate(store, "job", node="ours", ttl=5.0, log=False)
        begun = threading.Event()

        def elected(_term: Any) -> None:
            begin = now()
            begun.set()
            time.sleep(0.05)
            ours.append((begin, now()))
            threading.Thread(target=candidate.resign, kwargs={"cool_down": 0.02}).start()

        candidate.on_elected(elected)
        candidate.start()
        assert begun.wait(10.0)
        with peer(zookeeper.host, f"/{path}/job", recipe, rounds) as process:
            said, _ = process.communicate(timeout=40.0)
        assert 0 == process.returncode
        candidate.stop(5.0)
        follower.stop(5.0)
    theirs = spans(said)
    assert rounds == len(theirs)
    everything = sorted([(*span, "ours") for span in ours] + [(*span, "theirs") for span in theirs])
    for (_, end, _who), (begin, _, _next) in itertools.pairwise(everything):
        assert end <= begin, everything
    within = [who for begin, _, who in everything if theirs[0][0] <= begin <= theirs[-1][0]]
    assert within.count("ours") >= rounds // 2
    assert {"ours", "kazoo-peer"} <= set(named)


def with_kazoo(host: str, use: Callable[[Any], None]) -> None:
    from kazoo.client import KazooClient

    client = KazooClient(hosts=host)
    client.start()
    try:
        use(client)
    finally:
        client.stop()
        client.close()


@pytest.mark.parametrize("name", ["_c_{0}-lock-", "_c_{0}-latch-", "lock-", "{0}__lock__"])
def test_other_recipes_candidates_count(zookeeper: ZooKeeper, name: str) -> None:
    """
    Nodes named as by Curator's mutex and latch, Go's lock and kazoo's: who is there before us is waited for, and is the
    leader by its data.
    """

    async def scenario() -> None:
        path = f"/interop/{uuid.uuid4().hex}"
        store, told, watched = ZooKeeperStore(f"{zookeeper.host}{path}"), Heard(), Heard()
        with zookeeper.client() as client:
            client.ensure_path(f"{path}/job")
            theirs = client.create(
                f"{path}/job/{name.format(uuid.uuid4())}", b"other-tool", ephemeral=True, sequence=True
            )
            store.watch("job", watched)
            session = await store.open_session(5.0, told)
            assert Outcome.REFUSED is (await session.acquire(claim := entry())).outcome
            leads = await holder(store)
            assert leads is not None
            assert ("other-tool", client.get(theirs)[1].czxid) == (leads.node, leads.token)
            assert leads == (await watched.until(Fact.LEADER_OBSERVED)).holder
            client.delete(theirs)
            await told.until(Fact.TURN)
            assert await take(session, claim) > leads.token
        await store.aclose()

    run(scenario)


def test_kazoo_names_us(zookeeper: ZooKeeper) -> None:
    """
    kazoo's `contenders()` lists our node by its bare name, in its order.
    """
    path = f"interop/{uuid.uuid4().hex}"
    with connect(f"zookeeper://{zookeeper.host}/{path}") as store:
        candidate = Candidate(store, "job", node="näve", ttl=5.0, metadata={"a": 1}, log=False)
        candidate.start()
        assert candidate.wait_elected(10.0) is not None
        listed: list[list[str]] = []
        with_kazoo(zookeeper.host, lambda client: listed.append(client.Election(f"/{path}/job").contenders()))
        assert [["näve"]] == listed
        candidate.stop(5.0)

"""
Requests to resign, as ZooKeeper tells of them.
"""

from __future__ import annotations

import asyncio

from servers import Proxy, ZooKeeper
from zookeeper_stage import LEASE, Heard, entry, run, take

from leadership.backends.zookeeper import ZooKeeperStore
from leadership.store import Fact, Outcome


def test_request_that_is_read_before_its_leader_is_known(zookeeper: ZooKeeper) -> None:
    """
    A term ends, another begins and is asked to resign, and all of it is told at once: the request was read first, meant
    nobody then, and was never told. It is told when its term is.
    """

    async def scenario() -> None:
        with Proxy(zookeeper.port) as proxy:
            there, here = (
                ZooKeeperStore(f"{zookeeper.host}/outages/asked"),
                ZooKeeperStore(f"{proxy.host}/outages/asked"),
            )
            session, first, second, heard = await there.open_session(LEASE, Heard()), entry(), entry(), Heard()
            past = await take(session, first)
            here.watch("job", heard)
            await heard.until(Fact.LEADER_OBSERVED, token=past)
            await asyncio.sleep(0.1)  # the look leaves its watches
            proxy.cut(requests=False)
            await session.release(first)
            token = await take(session, second)
            assert Outcome.DONE is (await there.request_resign("job", token, "deploy 42")).outcome
            proxy.heal()
            asked = await heard.until(Fact.RESIGN_REQUESTED, token=token)
            assert "deploy 42" == asked.reason
            await here.aclose()
            await there.aclose()

    run(scenario)

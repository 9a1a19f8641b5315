"""
Sessions at Consul: the TTLs that are kept, and those that are bound to an agent's check.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from consul_scenes import granted, opened
from scenes import Told, entry, on_a_loop, refused, released, taken
from servers import Consul, Proxy

from leadership._clock import now
from leadership.backends._consul_sessions import Granted, renew
from leadership.backends.consul import ConsulStore
from leadership.errors import ConfigError, StoreRefused, StoreUnavailable
from leadership.store import Fact, Outcome, Session

POLICY = """
key_prefix "%s/" { policy = "write" }
session_prefix "" { policy = "write" }
service "elections" { policy = "write" }
"""


def test_timing_says_what_consul_does() -> None:
    """
    A session lasts for twice its TTL, and the lock-delay comes after that; less than ten seconds need the option that
    says that the servers keep less.
    """
    timing = ConsulStore("h", lock_delay=3).timing(15)
    assert (15.0, 5.0, 13.5, 34.0, 34.0) == (
        timing.effective_ttl,
        timing.renew_interval,
        timing.steps_down_after,
        timing.crash_takeover,
        timing.death_takeover,
    )
    with pytest.raises(ConfigError, match=r"ttl=5 cannot be kept by consul .*least_ttl.*the nearest is 10"):
        ConsulStore("h").timing(5)
    assert 5.0 == ConsulStore("h", least_ttl=5).timing(5).effective_ttl


@on_a_loop
async def test_ttl_that_the_server_does_not_keep_is_refused(tmp_path: Path) -> None:
    """
    A server with a higher floor than the option says answers with its bounds.
    """
    with Consul(tmp_path, least_ttl="7s") as server:
        async with opened(server) as store:
            with pytest.raises(ConfigError, match=r"ttl=3 .*session_ttl_min.*the nearest is 7s"):
                await granted(store, ttl=3.0)
            session = await granted(store, ttl=7.25)
            found = server.call("GET", f"session/info/{session.id}")[0]
            assert ("7250ms", "delete", 0, []) == (
                found["TTL"],
                found["Behavior"],
                found["LockDelay"],
                found["NodeChecks"],
            )


@on_a_loop
async def test_a_read_that_hangs_delays_no_session(consul: Consul) -> None:
    """
    A session is had from another agent while a read waits for one that is silent.

    Seen where the server that led a cluster was cut off: its agent held reads for 5 s, and the same threads ask for
    sessions, each of which waits a quarter of its TTL. The cluster had a leader after 3.1 s, the election after 6.9.
    """
    with Proxy(consul.port) as silent, Proxy(consul.port) as other:
        store = ConsulStore(f"{silent.host},{other.host}/{uuid.uuid4().hex}", least_ttl=1)
        silent.cut()
        try:
            read = asyncio.create_task(store.read(["job"]))
            await asyncio.sleep(0)
            with pytest.raises(StoreUnavailable):  # after that, the other is asked
                await granted(store, ttl=2.0)
            session = await granted(store, ttl=2.0)
            await taken(session, entry())
            assert not read.done()
        finally:
            silent.heal()
            await asyncio.gather(read, return_exceptions=True)
            await store.aclose()


@on_a_loop
async def test_session_of_a_check_ends_soon(consul: Consul) -> None:
    """
    Bound to an agent's check, a session ends one TTL after its last renewal; the lock-delay, as long as the TTL, keeps
    others out for another.
    """
    path = uuid.uuid4().hex
    async with opened(consul, path, check="elections") as store, opened(consul, path) as other:
        timing = store.timing(2.0)
        assert (2.0, 5.0) == (timing.effective_ttl, timing.crash_takeover)
        told, turns, heard = Told(), Told(), Told()
        session, rival = await granted(store, told, ttl=2.0), await granted(other, turns)
        claim = entry(node="bob")
        token = await taken(session, entry())
        found = consul.call("GET", f"session/info/{session.id}")[0]
        assert ("", 2_000_000_000, ["serfHealth"]) == (found["TTL"], found["LockDelay"], found["NodeChecks"])
        other.watch("job", heard)
        sent = 0.0
        for _ in range(4):
            await asyncio.sleep(0.7)
            sent = time.monotonic()
            assert Outcome.DONE is (await session.renew()).outcome
        await refused(rival, claim)
        await heard.until(Fact.KEY_DELETED, token=token)
        assert 1.8 < time.monotonic() - sent < 3.5
        assert Outcome.REFUSED is (await session.renew()).outcome
        await refused(rival, claim)
        while (await rival.acquire(claim)).outcome is not Outcome.DONE:
            turns.clear()
            await turns.until(Fact.TURN, key=claim.key)
        assert 3.8 < time.monotonic() - sent < timing.crash_takeover + 1.0


@on_a_loop
async def test_session_of_a_check_is_handed_over_at_once(consul: Consul) -> None:
    """
    Neither a release nor the end of the session begins the lock-delay, and no service is left at the agent.
    """
    path = uuid.uuid4().hex
    async with opened(consul, path) as other:
        rival = await granted(other)
        async with opened(consul, path, check="elections") as store:
            session = await granted(store, ttl=2.0)
            services = consul.call("GET", "agent/services").values()
            assert ["elections"] == [each["Service"] for each in services]
            claim, theirs = entry(), entry()
            await taken(session, claim)
            await released(session, claim)
            await taken(rival, theirs)
            await released(rival, theirs)
            await taken(session, entry())
            await taken(session, entry("two"))
        await taken(rival, entry())
        await taken(rival, entry("two"))
        assert {} == consul.call("GET", "agent/services")
        assert {} == consul.call("GET", "agent/checks")


@on_a_loop
async def test_passed_check_is_no_proof_of_the_session(consul: Consul) -> None:
    """
    The agent passes the check of a session that an operator has destroyed; the renewal is refused all the same. A check
    that the agent has lost is said.
    """
    async with opened(consul, check="elections") as store:
        session = await granted(store, ttl=3.0)
        consul.destroy(session.id)
        assert Outcome.REFUSED is (await session.renew()).outcome
        second = await granted(store, ttl=3.0)
        for name in consul.call("GET", "agent/services"):
            consul.call("PUT", f"agent/service/deregister/{name}")
        said = set[str]()
        async with asyncio.timeout(5.0):
            while await _renewed(second, said) is not Outcome.REFUSED:
                await asyncio.sleep(0.05)
        assert all("elections-" in words for words in said)


async def _renewed(session: Session, said: set[str]) -> Outcome:
    try:
        return (await session.renew()).outcome
    except StoreUnavailable as error:
        said.add(str(error))
        return Outcome.UNKNOWN


@on_a_loop
async def test_policy_of_checks(tmp_path: Path) -> None:
    """
    A session of a check needs the service's permission besides; without it that is said.
    """
    with Consul(tmp_path, auth=True) as server:
        path = uuid.uuid4().hex
        async with opened(server, path, token=server.make_token(POLICY % path), check="elections") as store:
            session, claim = await granted(store, ttl=2.0), entry()
            await taken(session, claim)
            assert Outcome.DONE is (await session.renew()).outcome
            await released(session, claim)
        poor = server.make_token('session_prefix "" { policy = "write" }')
        async with opened(server, path, token=poor, check="elections") as store:
            with pytest.raises(StoreRefused, match=r"registering the service 'elections' \(service:write\)"):
                await granted(store, ttl=2.0)


def test_denial_of_one_server_is_not_believed(
    consul: Consul, own_consul: Consul, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A renewal that comes to a server which knows of no such session is settled by a consistent read.

    A Consul of its own stands for the server that has just started and not read its log yet: that denied sessions that
    lived, in a moment too short to be met by a test that restarts one.
    """
    caller, young = (ConsulStore(server.host).watcher._make_caller() for server in (consul, own_consul))
    ask, denied = caller.call, list[int]()

    def call(method: str, path: str, *body: Any, **how: Any) -> Any:
        if path.startswith("session/renew/") and not denied:
            answer = young.call(method, path, *body, **how)
            denied.append(answer.status)
            return answer
        return ask(method, path, *body, **how)

    monkeypatch.setattr(caller, "call", call)
    session = Granted(consul.make_session())
    try:
        assert Outcome.DONE is renew(caller, session, until=now() + 10.0).outcome
        assert [404] == denied
        consul.destroy(session.id)
        assert Outcome.REFUSED is renew(caller, session, until=now() + 10.0).outcome
    finally:
        caller.close()
        young.close()

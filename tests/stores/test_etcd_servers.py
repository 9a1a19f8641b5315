"""
Restarts, wiped data, TTLs that a cluster would change, a full disk, a lost quorum: what etcd does of its own accord.
"""

from __future__ import annotations

import asyncio

import pytest
from etcd_scenes import TTL, opened
from scenes import SOON, Told, entry, on_a_loop, taken
from servers import Etcd, EtcdCluster

from leadership.errors import ConfigError, StoreUnavailable
from leadership.store import Fact, Outcome, Session


@on_a_loop
async def test_tokens_rise_over_a_restart_and_are_reset_by_a_wipe(own_etcd: Etcd) -> None:
    """
    A restart with the data keeps the tokens rising; without it the grant says that they have been reset.
    """
    async with opened(own_etcd, "p") as store:
        first = await taken(await store.open_session(10.0, Told()), entry())
    own_etcd.kill()
    own_etcd.start()
    async with opened(own_etcd, "p") as store:
        second = await taken(await store.open_session(10.0, Told()), entry(above=first))
        assert first < second
    own_etcd.kill()
    own_etcd.wipe()
    own_etcd.start()
    async with opened(own_etcd, "p") as store:
        reply = await (await store.open_session(10.0, Told())).acquire(entry(above=1000 + second))
        assert (Outcome.DONE, True) == (reply.outcome, reply.token_reset)


@on_a_loop
async def test_an_election_goes_on_with_a_store_that_was_wiped(own_etcd: Etcd) -> None:
    """
    The session is refused its renewal, the watch says that it broke, and a new session leads with a reset token.
    """
    async with opened(own_etcd) as store:
        told = Told()
        session = await store.open_session(10.0, Told())
        token = await taken(session, entry())
        store.watch("job", told)
        await told.until(Fact.LEADER_OBSERVED)
        own_etcd.kill()
        own_etcd.wipe()
        own_etcd.start()
        assert isinstance((await told.until(Fact.WATCH_CLOSED)).error, StoreUnavailable)
        async with asyncio.timeout(SOON):
            while await _renewed(session) is not Outcome.REFUSED:
                await asyncio.sleep(0.1)
        reply = await (await store.open_session(10.0, Told())).acquire(entry(above=token + 1000))
        assert (Outcome.DONE, True) == (reply.outcome, reply.token_reset)


async def _renewed(session: Session) -> Outcome:
    try:
        return (await session.renew()).outcome
    except StoreUnavailable:
        return Outcome.UNKNOWN


@on_a_loop
async def test_a_ttl_that_the_server_changes_is_refused(own_etcd: Etcd) -> None:
    """
    A cluster with a long election time-out grants more than it is asked for: the lease is given back, and the error
    says what it would keep.
    """
    own_etcd.stop()
    own_etcd.options = ("--heartbeat-interval=500", "--election-timeout=5000")
    own_etcd.start()
    async with opened(own_etcd) as store:
        with pytest.raises(ConfigError, match=r"granted 8 s for ttl=4: ask for ttl=8"):
            await store.open_session(4.0, Told())
        async with asyncio.timeout(SOON):
            while own_etcd.leases():
                await asyncio.sleep(0.05)
        await store.open_session(8.0, Told())


@pytest.mark.parametrize(("ttl", "nearest"), [(2.5, 2), (3.6, 4), (1.0, 2), (0.5, 2)])
def test_a_ttl_of_part_of_a_second_is_refused(ttl: float, nearest: int, etcd: Etcd) -> None:
    """
    etcd keeps whole seconds from 2 on; the error names the nearest.
    """

    @on_a_loop
    async def scene() -> None:
        async with opened(etcd) as store:
            with pytest.raises(ConfigError, match=rf"ttl={ttl:g}.*nearest is {nearest}\b"):
                store.timing(ttl)

    scene()


@on_a_loop
async def test_no_space_is_said(own_etcd: Etcd) -> None:
    """
    With the alarm NOSPACE a leader renews while nobody can campaign, and who tries is told why.
    """
    async with opened(own_etcd) as store:
        leader, other = await store.open_session(TTL, Told()), await store.open_session(10.0, Told())
        claim = entry()
        await taken(leader, claim)
        own_etcd.call("maintenance/alarm", action="ACTIVATE", alarm="NOSPACE")
        assert Outcome.DONE is (await leader.renew()).outcome
        with pytest.raises(StoreUnavailable, match=r"NOSPACE.*nobody can campaign"):
            await other.acquire(entry("another"))
        assert Outcome.DONE is (await leader.release(claim)).outcome
        own_etcd.call("maintenance/alarm", action="DEACTIVATE", alarm="NOSPACE")
        await taken(other, entry())


@pytest.mark.timeout(120)
def test_a_cluster_without_its_quorum_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    """
    A member that has lost the others ends watches and calls with a typed error, and serves no old truth.
    """

    @on_a_loop
    async def scene() -> None:
        with EtcdCluster(tmp_path_factory.mktemp("cluster")) as cluster:
            alone = cluster.members[0]
            async with opened(alone, timeout=3.0) as store:
                told, session = Told(), await store.open_session(10.0, Told())
                await taken(session, entry())
                store.watch("job", told)
                await told.until(Fact.LEADER_OBSERVED)
                for member in cluster.members[1:]:
                    member.kill()
                assert isinstance((await told.until(Fact.WATCH_CLOSED)).error, StoreUnavailable)
                with pytest.raises(StoreUnavailable):
                    await store.read(["job"])
                with pytest.raises(StoreUnavailable):
                    await session.renew()

    scene()

"""
An operator writes over the node of a ZooKeeper leader: who stood behind it goes behind the writing's token.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid

import pytest
from kazoo.security import OPEN_ACL_UNSAFE
from servers import ZooKeeper
from zookeeper_stage import LEASE, Heard, entry, eventually, holder, run, take

from leadership import Candidate, connect
from leadership.backends import _zookeeper_wire as wire
from leadership.backends._zookeeper_place import Place
from leadership.backends._zookeeper_seat import ZooKeeperWatch
from leadership.backends._zookeeper_session import ZooKeeperSession
from leadership.backends.zookeeper import ZooKeeperStore
from leadership.store import Entry, Fact, Outcome, Session, WatchEvent


@pytest.fixture
def address(zookeeper: ZooKeeper) -> str:
    """
    A chroot of the test's own.
    """
    return f"{zookeeper.host}/overwritten/{uuid.uuid4().hex}"


def claims(zookeeper: ZooKeeper, store: ZooKeeperStore) -> list[str]:
    return [key for key in zookeeper.keys(f"{store.base}/job") if "__lock__" in key]


async def elected(session: Session, claim: Entry, told: Heard) -> int:
    """
    Ask until it leads, as an engine does: once at first, and at each turn.
    """
    while True:
        turns = told.facts.count(Fact.TURN)
        reply = await session.acquire(claim)
        if reply.outcome is Outcome.DONE:
            assert not reply.token_reset
            return reply.token or 0
        while turns == told.facts.count(Fact.TURN):
            await asyncio.sleep(0.005)


def test_who_waited_gets_a_token_above_that_of_the_overwritten_node(zookeeper: ZooKeeper, address: str) -> None:
    """
    The writing's token is above those of the nodes that wait. It said `token_reset`, though nothing was lost: now each
    who has seen it makes its node anew, once, and never has two.
    """

    async def scenario() -> None:
        async with contextlib.AsyncExitStack() as stack:
            stores = [ZooKeeperStore(address) for _ in range(3)]
            for store in stores:
                stack.push_async_callback(store.aclose)
            told, watched = [Heard() for _ in stores], [Heard() for _ in stores]
            sessions = [await store.open_session(LEASE, each) for store, each in zip(stores, told, strict=True)]
            for store, each in zip(stores, watched, strict=True):
                store.watch("job", each)
            first, waiting = entry(), [entry(node=name) for name in ("bob", "cleo")]
            token = await take(sessions[0], first)
            for session, claim in zip(sessions[1:], waiting, strict=True):
                assert Outcome.REFUSED is (await session.acquire(claim)).outcome
            (name, *_) = sorted(claims(zookeeper, stores[0]), key=lambda key: key[-10:])
            await asyncio.to_thread(zookeeper.put, name, "mallory")
            for each in watched:
                await eventually(lambda each=each: _names(each, "mallory"), "the intruder")  # type: ignore[misc]
            intruder = await holder(stores[0])
            assert intruder is not None
            assert token < intruder.token
            asking = [
                asyncio.create_task(elected(session, claim, each))
                for session, claim, each in zip(sessions[1:], waiting, told[1:], strict=True)
            ]
            await asyncio.sleep(0.1)
            assert 3 == len(await asyncio.to_thread(claims, zookeeper, stores[0]))
            await sessions[0].release(first)
            tokens = [intruder.token]
            while asking:
                done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED, timeout=10.0)
                (task,) = done
                index = asking.index(task)
                tokens.append(task.result())
                left = await asyncio.to_thread(claims, zookeeper, stores[0])
                assert len(asking) == len(left) == len({key.rpartition("__lock__")[0] for key in left})
                del asking[index]
                await sessions.pop(index + 1).release(waiting.pop(index))
            assert sorted(set(tokens)) == tokens

    run(scenario)


async def _names(heard: Heard, node: str) -> bool:
    return any(event.holder is not None and event.holder.node == node for event in heard.events)


def test_no_candidate_says_that_the_store_has_lost_its_data(zookeeper: ZooKeeper, address: str) -> None:
    """
    Three candidates, and an operator who writes over the leader's node, again and again: tokens rise, and no term's
    reason is `token_reset`.
    """
    with contextlib.ExitStack() as stack:
        stores = [stack.enter_context(connect(f"zookeeper://{address}")) for _ in range(3)]
        candidates = [
            Candidate(store, "job", node, ttl=2.0, cool_down=0.0, log=False)
            for store, node in zip(stores, ("ann", "bob", "cleo"), strict=True)
        ]
        terms: list[int] = []
        for candidate in candidates:
            candidate.on_elected(lambda term: terms.append(term.token))
            stack.callback(candidate.stop, 20.0)
            candidate.start()
        for round_ in range(5):
            run(lambda round_=round_: eventually(lambda: _are(terms, round_ + 1), "another term"))  # type: ignore[misc]
            base = f"/{address.partition('/')[2]}/job"
            leads = min((key for key in zookeeper.keys(base) if "__lock__" in key), key=lambda key: key[-10:])
            zookeeper.put(leads, "mallory")
        run(lambda: eventually(lambda: _are(terms, 6), "the last term"))
        assert sorted(set(terms)) == terms
        assert [] == [each for one in candidates for each in one.history if each.reason == "token_reset"]


async def _are(terms: list[int], count: int) -> bool:
    return len(terms) >= count


def test_what_was_seen_before_the_store_was_wiped_holds_nobody_up(zookeeper: ZooKeeper, address: str) -> None:
    """
    The writing was in a life of the store that is lost: an entry made anew is no newer, and leads with `token_reset`.
    """

    async def scenario() -> None:
        store = ZooKeeperStore(address)
        try:
            session = await store.open_session(LEASE, Heard())
            lost = store.watcher.taken[store.path("job")] = 2**60
            reply = await session.acquire(entry(above=lost))
            assert (Outcome.DONE, True) == (reply.outcome, reply.token_reset)
            assert {} == store.watcher.taken
        finally:
            await store.aclose()

    run(scenario)


def test_who_looks_again_is_told_though_the_node_was_written_to_meanwhile(zookeeper: ZooKeeper, address: str) -> None:
    """
    A follower that is told to look again begins its watch anew, at once. Where the next leader's node was written to
    during the look, the election's place was taken by the watch that was closed, and the new one heard nothing.
    """

    async def scenario() -> None:
        async with contextlib.AsyncExitStack() as stack:
            stores = [ZooKeeperStore(address) for _ in range(3)]
            for store in stores:
                stack.push_async_callback(store.aclose)
            first, second = [await store.open_session(LEASE, Heard()) for store in stores[:2]]
            ann, bob = entry(), entry(node="bob")
            await take(first, ann)
            assert Outcome.REFUSED is (await second.acquire(bob)).outcome
            (name, below) = sorted(claims(zookeeper, stores[0]), key=lambda key: key[-10:])
            before, after = Heard(), Heard()
            watches: list[ZooKeeperWatch] = []

            def notify(event: WatchEvent) -> None:
                before(event)
                if event.holder is not None and event.holder.node == "bob":
                    watches[0].seat.fired[below] = "CHANGED"  # as the server tells it
                if event.fact is Fact.SESSION_RESTORED:
                    watches[0].close()
                    stores[2].watch("job", after)

            watch = stores[2].watch("job", notify)
            assert isinstance(watch, ZooKeeperWatch)
            watches.append(watch)
            await eventually(lambda: _names(before, ann.node), "the first leader")
            await asyncio.to_thread(zookeeper.put, name, "mallory")
            await eventually(lambda: _names(before, "mallory"), "the intruder")
            await first.release(ann)
            await eventually(lambda: _names(after, "bob"), "the next leader, told to the watch that was begun anew")

    run(scenario)


def test_a_node_that_is_written_to_again_is_no_sign_of_lost_data(
    zookeeper: ZooKeeper, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The leader's node is written to again just when who waits has made its own anew: it took the greater token for one
    of before a loss of data, forgot it, and would have led with a lower one.
    """

    async def scenario() -> None:
        async with contextlib.AsyncExitStack() as stack:
            stores = [ZooKeeperStore(address) for _ in range(2)]
            for store in stores:
                stack.push_async_callback(store.aclose)
            first, second = [await store.open_session(LEASE, Heard()) for store in stores]
            ann, bob = entry(), entry(node="bob")
            await take(first, ann)
            assert Outcome.REFUSED is (await second.acquire(bob)).outcome
            (name, _) = sorted(claims(zookeeper, stores[0]), key=lambda key: key[-10:])
            create, made = Place._create, 0

            async def written_to_behind(self: Place, claim: Entry) -> list[str]:
                nonlocal made
                made += 1
                names = await create(self, claim)
                if made == 1:
                    await asyncio.to_thread(zookeeper.put, name, "mallory")
                    await holder(stores[1])
                return names

            await asyncio.to_thread(zookeeper.put, name, "mallory")
            await holder(stores[1])
            monkeypatch.setattr(Place, "_create", written_to_behind)
            assert Outcome.REFUSED is (await second.acquire(bob)).outcome
            intruder = await holder(stores[0])
            assert intruder is not None
            await first.release(ann)
            assert intruder.token < await take(second, bob)
            assert 2 == made

    run(scenario)


def test_a_node_of_the_session_that_no_attempt_knows_is_removed(zookeeper: ZooKeeper, address: str) -> None:
    """
    A server that is restored from an older copy has the session's node of that time again. It stood at the head of the
    queue for as long as the session was renewed, others stood behind it, and nobody was elected.
    """

    async def scenario() -> None:
        near, away = ZooKeeperStore(address), ZooKeeperStore(address)
        async with contextlib.aclosing(near) as store, contextlib.aclosing(away) as far:
            told = Heard()
            session, other = await store.open_session(LEASE, told), await far.open_session(LEASE, Heard())
            assert isinstance(session, ZooKeeperSession)
            first, second = entry(), entry(node="other")
            await take(session, first)
            await session.release(first)
            path = f"{store.base}/job/{uuid.uuid4().hex}__lock__"
            kept = wire.create(path, b"node", OPEN_ACL_UNSAFE, wire.EPHEMERAL_SEQUENTIAL)
            await session.link.ask("test", kept, timeout=5.0)
            assert Outcome.REFUSED is (await other.acquire(second)).outcome
            for place in session._places.values():
                place.went_down()  # as when the server was restarted

            assert Outcome.REFUSED is (await session.acquire(entry())).outcome

            assert 2 == len(claims(zookeeper, store))
            leads = await holder(store)
            assert leads is not None
            assert "other" == leads.node

    run(scenario)

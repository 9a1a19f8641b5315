"""
What happens to claims at etcd, by time, by an operator's hand or by the library's, and the facts that come of it.
"""

from __future__ import annotations

import asyncio
import json
import uuid

import pytest
from etcd_scenes import TTL, key_of, opened
from scenes import SOON, Told, entry, on_a_loop, refused, taken
from servers import Etcd

from leadership.backends.etcd import EtcdStore
from leadership.store import Fact, Holder, Outcome, WatchEvent

Lost = pytest.mark.parametrize("leads", [True, False], ids=["leads", "waits"])


def fact_of_gone(told: Told, token: int) -> Fact:
    (event,) = [
        event for event in told if event.fact in (Fact.KEY_DELETED, Fact.LEASE_EXPIRED) and event.token == token
    ]
    return event.fact


@on_a_loop
async def test_what_is_written(etcd: Etcd) -> None:
    """
    One key a candidate, as clientv3 has it, with the node's bare name; one beside it; both go with the lease.
    """
    async with opened(etcd) as store:
        session, claim = await store.open_session(TTL, Told()), entry(metadata={"a": 1})
        token = await taken(session, claim)
        main, beside = sorted(etcd.entries(store.prefix), key=lambda each: each["key"], reverse=True)
        names = [f"{store.prefix}job/{session.id}", f"{store.prefix}job.leadership/{session.id}"]
        assert names == [main["key"], beside["key"]]
        assert b"ann" == etcd.get(main["key"])
        assert {"key": claim.key, "number": claim.number, "metadata": {"a": 1}} == json.loads(
            etcd.get(beside["key"]) or b""
        )
        assert {session.id} == {f"{int(each['lease']):x}" for each in (main, beside)}
        assert token == int(main["create_revision"])
        await session.release(claim)
        assert [] == etcd.keys(store.prefix)


@on_a_loop
async def test_keys_may_begin_with_a_slash(etcd: Etcd) -> None:
    """
    The option `prefix` stands before every key as it is, as Go programs like it.
    """
    prefix = f"/{uuid.uuid4().hex}//"
    store = EtcdStore(etcd.host, prefix=prefix)
    session, claim = await store.open_session(TTL, Told()), entry()
    await taken(session, claim)
    expected = [f"{prefix}job.leadership/{session.id}", f"{prefix}job/{session.id}"]
    assert expected == etcd.keys(prefix)
    assert store.url.endswith(f"?prefix={prefix}")
    await store.aclose()


@on_a_loop
async def test_an_uncontended_term_costs_two_requests(own_etcd: Etcd) -> None:
    """
    One request to acquire, one to release; one to ask again.
    """
    async with opened(own_etcd) as store:
        session, claim = await store.open_session(10.0, Told()), entry()
        before = own_etcd.requests()
        await taken(session, claim)
        assert 1 == own_etcd.requests() - before
        await taken(session, claim)
        assert 2 == own_etcd.requests() - before
        await session.release(claim)
        assert 3 == own_etcd.requests() - before


@Lost
def test_a_revoked_lease_is_a_lost_session(leads: bool, etcd: Etcd) -> None:
    """
    An operator's revoke tells SESSION_LOST before the end of the term, and never again; a claim that waited is not told
    its turn.
    """

    @on_a_loop
    async def scene() -> None:
        async with opened(etcd) as store:
            told, session_told = Told(), Told()
            rival = await store.open_session(10.0, Told())

            def notify(event: WatchEvent) -> None:
                session_told(event)
                if leads:
                    told(event)

            session = await store.open_session(10.0, notify)
            if leads:
                token = await taken(session, entry())
            else:
                await taken(rival, entry(node="bob"))
                await refused(session, entry())
                token = 0
            store.watch("job", told)
            await told.until(Fact.LEADER_OBSERVED)
            etcd.revoke(session.id)
            await session_told.until(Fact.SESSION_LOST)
            if leads:
                await told.until(Fact.LEASE_EXPIRED)
                order = [fact for fact in told.facts if fact in (Fact.SESSION_LOST, Fact.LEASE_EXPIRED)]
                assert [Fact.SESSION_LOST, Fact.LEASE_EXPIRED] == order
                assert Fact.LEASE_EXPIRED is fact_of_gone(told, token)
            assert Outcome.REFUSED is (await session.renew()).outcome
            assert Outcome.REFUSED is (await session.acquire(entry())).outcome
            assert [Fact.SESSION_LOST] == session_told.facts

    scene()


@Lost
def test_a_deleted_key_is_no_lost_session(leads: bool, etcd: Etcd) -> None:
    """
    An operator who deletes the key ends the term, and the session goes on; a claim that waited is told to ask again,
    and then stands at the end of the queue.
    """

    @on_a_loop
    async def scene() -> None:
        async with opened(etcd) as store:
            told, session_told = Told(), Told()
            rival, session = await store.open_session(10.0, Told()), await store.open_session(10.0, session_told)
            claim, other = entry(), entry(node="bob")
            if leads:
                token = await taken(session, claim)
            else:
                await taken(rival, other)
                await refused(session, claim)
                token = 0
            store.watch("job", told)
            await told.until(Fact.LEADER_OBSERVED)
            etcd.delete(key_of(store, session))
            if leads:
                await told.until(Fact.KEY_DELETED)
                assert Fact.KEY_DELETED is fact_of_gone(told, token)
                await session.release(claim)
                assert [] == etcd.keys(store.prefix)
                assert token < await taken(session, entry())
            else:
                assert claim.key == (await session_told.until(Fact.TURN)).key
                await refused(session, claim)
                await rival.release(other)
                assert 0 < await taken(session, claim)
            assert Fact.SESSION_LOST not in session_told.facts
            assert Outcome.DONE is (await session.renew()).outcome

    scene()


@pytest.mark.parametrize("attached", [False, True], ids=["free", "on our lease"])
def test_an_overwritten_key_is_anothers(attached: bool, etcd: Etcd) -> None:
    """
    A put over our key makes somebody else the leader, with a higher token, until we release our key; then the next who
    waits leads, with a token that is higher still.
    """

    @on_a_loop
    async def scene() -> None:
        async with opened(etcd) as store, opened(etcd, store.prefix.strip("/")) as other:
            told, turns, waiting = Told(), Told(), Told()
            session, second = await store.open_session(10.0, turns), await other.open_session(10.0, waiting)
            claim, queued = entry(), entry(node="bob")
            token = await taken(session, claim)
            await refused(second, queued)
            store.watch("job", told)
            other.watch("job", Told())
            await told.until(Fact.LEADER_OBSERVED)
            key = key_of(store, session)
            etcd.put(key, "operator", lease=session.id if attached else None)
            holder = await _put(told)
            assert ("operator", {}) == (holder.node, holder.metadata)
            assert token < holder.token
            assert session.id != holder.session
            assert holder == (await other.read(["job"]))["job"]
            await refused(second, queued)
            assert [] == [*turns, *waiting]

            await session.release(claim)
            assert etcd.get(key) is None
            assert queued.key == (await waiting.until(Fact.TURN)).key
            reply = await second.acquire(queued)
            assert (Outcome.DONE, False) == (reply.outcome, reply.token_reset)
            assert holder.token < (reply.token or 0)
            again = entry()
            await refused(session, again)
            await second.release(queued)
            assert again.key == (await turns.until(Fact.TURN)).key
            assert (reply.token or 0) < await taken(session, again)
            await session.release(again)
            assert [] == etcd.keys(store.prefix)

    scene()


async def _put(told: Told) -> Holder:
    """
    The holder that was told last, after the first one.
    """
    async with asyncio.timeout(SOON):
        while not (len(told) > 1 and told[-1].holder):
            await asyncio.sleep(0.01)
    assert told[-1].holder is not None
    return told[-1].holder


@on_a_loop
async def test_a_key_in_the_place_of_ours_is_anothers(etcd: Etcd) -> None:
    """
    A key that an operator has put where ours was deleted is never removed: we wait for its end, and then lead.
    """
    async with opened(etcd) as store:
        told, turns = Told(), Told()
        session, claim, again = await store.open_session(10.0, turns), entry(), entry()
        token = await taken(session, claim)
        store.watch("job", told)
        await told.until(Fact.LEADER_OBSERVED)
        key = key_of(store, session)
        etcd.delete(key)
        etcd.put(key, "operator")
        holder = await _put(told)
        assert token < holder.token
        await session.release(claim)
        assert [key] == etcd.keys(store.prefix)
        await refused(session, again)
        await refused(session, again)
        await session.release(again)
        await refused(session, again)
        assert b"operator" == etcd.get(key)
        assert [] == turns
        etcd.delete(key)
        assert again.key == (await turns.until(Fact.TURN)).key
        assert holder.token < await taken(session, again)


@on_a_loop
async def test_a_claim_that_waits_is_overwritten(etcd: Etcd) -> None:
    """
    Whoever waits, and has another value put over his key, is told to ask again, and stands with a key of his own.
    """
    async with opened(etcd) as store:
        turns = Told()
        leader, session = await store.open_session(10.0, Told()), await store.open_session(10.0, turns)
        first, claim = entry(node="bob"), entry()
        await taken(leader, first)
        await refused(session, claim)
        etcd.put(key_of(store, session), "operator")
        assert claim.key == (await turns.until(Fact.TURN)).key
        await refused(session, claim)
        assert b"ann" == etcd.get(key_of(store, session))
        await leader.release(first)
        await taken(session, claim)


@on_a_loop
async def test_a_turn_comes_to_the_next_only(etcd: Etcd) -> None:
    """
    Of three who wait, the next is told when the leader goes; who is behind is told nothing, not even when one in front
    of him gives up.
    """
    async with opened(etcd) as store:
        told = [Told() for _ in range(4)]
        sessions = [await store.open_session(10.0, each) for each in told]
        claims = [entry(node=f"node {index}") for index in range(4)]
        await taken(sessions[0], claims[0])
        for session, claim in zip(sessions[1:], claims[1:], strict=True):
            await refused(session, claim)
        await sessions[2].release(claims[2])
        await sessions[0].release(claims[0])
        assert claims[1].key == (await told[1].until(Fact.TURN)).key
        assert [] == [*told[0], *told[2], *told[3]]
        await taken(sessions[1], claims[1])
        await refused(sessions[3], claims[3])
        await sessions[1].release(claims[1])
        await told[3].until(Fact.TURN)
        assert 1 == len(told[1])


@on_a_loop
async def test_a_lapsed_lease_is_no_turn(etcd: Etcd) -> None:
    """
    A lease that ends by time ends the term of its claim, and the next is told.
    """
    async with opened(etcd) as store:
        told, watched = Told(), Told()
        lapses, waits = await store.open_session(TTL, Told()), await store.open_session(10.0, told)
        await taken(lapses, entry())
        store.watch("job", watched)
        claim = entry(node="bob")
        await refused(waits, claim)
        assert claim.key == (await told.until(Fact.TURN)).key
        await taken(waits, claim)
        await watched.until(Fact.LEASE_EXPIRED)


@on_a_loop
async def test_junk_is_nobodys_claim(etcd: Etcd) -> None:
    """
    Keys below an election that are no claims, side entries that are no JSON, and a request that makes no sense change
    nothing.
    """
    async with opened(etcd) as store, opened(etcd, store.prefix.strip("/")) as other:
        base, told = f"{store.prefix}job", Told()
        for key in ("readme", "7z", "UPPER", "0123456789abcdef0", "a/b", "..", "12/34"):
            etcd.put(f"{base}/{key}", "junk")
        etcd.put(f"{base}.leadership/junk", "junk")
        etcd.put(f"{base}.leadership/resign", "[7")
        session, claim = await store.open_session(10.0, Told()), entry(metadata={"a": 1})
        store.watch("job", told)
        await told.until(Fact.VACANT_OBSERVED)
        token = await taken(session, claim)
        expected = Holder("ann", token, session.id, {"a": 1})
        assert expected == (await told.until(Fact.LEADER_OBSERVED)).holder
        assert expected == (await store.read(["job"]))["job"]
        for text in ("junk", "[1]", '{"metadata": 7}', "[" * 100_000):
            etcd.put(f"{base}.leadership/{session.id}", text, lease=session.id)
            etcd.put(f"{base}.leadership/resign", text)
            # One that watches nothing: where a watch has told the leader, a read takes the metadata as they were told.
            assert Holder("ann", token, session.id, {}) == (await other.read(["job"]))["job"]
        etcd.put(f"{base}.leadership/{session.id}", '{"metadata": {"b": 2}}', lease=session.id)
        await told.until(Fact.LEADER_OBSERVED, holder=Holder("ann", token, session.id, {"b": 2}))
        assert token == await taken(session, claim)
        assert Fact.RESIGN_REQUESTED not in told.facts


@on_a_loop
async def test_parents_and_children_are_apart(etcd: Etcd) -> None:
    """
    Elections named like parents of one another have leaders of their own, however many keys are below.
    """
    async with opened(etcd) as store:
        session, names = await store.open_session(10.0, Told()), ["a/b/c", *(f"a/b/{index:x}" for index in range(20))]
        tokens = {name: await taken(session, entry(name, node=name)) for name in [*names, "a/b", "a"]}
        found = await store.read([*tokens])
        assert {name: (name, token) for name, token in tokens.items()} == {
            name: (holder.node, holder.token) for name, holder in found.items() if holder is not None
        }


@on_a_loop
async def test_a_foreign_leader_is_named_by_its_value(etcd: Etcd) -> None:
    """
    A claim without a side entry is a leader with its value as name, whatever bytes that is, and `{}` as metadata; a
    value that its owner proclaims anew is the same term.
    """
    async with opened(etcd) as store:
        told, lease = Told(), etcd.grant(10)
        key = f"{store.prefix}job/{lease}"
        etcd.put(key, b"caf\xe9", lease=lease)
        token = int(etcd.entries(key)[0]["create_revision"])
        store.watch("job", told)
        assert Holder("caf\ufffd", token, lease, {}) == (await told.until(Fact.LEADER_OBSERVED)).holder
        etcd.put(key, b"", lease=lease)
        expected = Holder(lease, token, lease, {})
        async with asyncio.timeout(SOON):
            while [expected] != [event.holder for event in told[1:]]:
                await asyncio.sleep(0.01)
        assert expected == (await store.read(["job"]))["job"]
        session, claim = await store.open_session(10.0, Told()), entry()
        await refused(session, claim)
        etcd.revoke(lease)
        await told.until(Fact.KEY_DELETED)
        assert token < await taken(session, claim)


@on_a_loop
async def test_a_foreign_leader_that_proclaims_keeps_its_place(etcd: Etcd) -> None:
    """
    A foreign leader that puts another value, while others wait, goes on with its term: the oldest key leads, whenever
    it was changed.
    """
    async with opened(etcd) as store:
        lease = etcd.grant(10)
        key = f"{store.prefix}job/{lease}"
        etcd.put(key, "one", lease=lease)
        token = int(etcd.entries(key)[0]["create_revision"])
        session, claim = await store.open_session(10.0, Told()), entry()
        await refused(session, claim)
        etcd.put(key, "two", lease=lease)
        await refused(session, claim)
        assert Holder("two", token, lease, {}) == (await store.read(["job"]))["job"]


@on_a_loop
async def test_a_request_to_resign_goes_with_the_leader(etcd: Etcd) -> None:
    """
    It is kept beside the election, bound to the leader's lease, told to who joins later, and gone with the release. Its
    first words stand.
    """
    async with opened(etcd) as store:
        session, claim, told = await store.open_session(10.0, Told()), entry(), Told()
        token = await taken(session, claim)
        for reason in (None, "because", None, "in other words"):
            assert Outcome.DONE is (await store.request_resign("job", token, reason)).outcome
        key = f"{store.prefix}job.leadership/resign"
        assert {"token": token, "reason": "because"} == json.loads(etcd.get(key) or b"")
        assert session.id == f"{int(etcd.entries(key)[0]['lease']):x}"
        store.watch("job", told)
        assert (token, "because") == _asked(await told.until(Fact.RESIGN_REQUESTED))
        assert Fact.LEADER_OBSERVED is told.facts[0]
        await session.release(claim)
        assert [] == etcd.keys(store.prefix)
        assert Outcome.REFUSED is (await store.request_resign("job", token, None)).outcome


def _asked(event: WatchEvent) -> tuple[int | None, str | None]:
    return event.token, event.reason


@on_a_loop
async def test_an_attempt_whose_reply_was_lost_is_settled(etcd: Etcd) -> None:
    """
    A claim that stands though nobody knows: the same attempt takes it, a later one replaces it, an earlier one leaves
    it, and its release removes it.
    """
    async with opened(etcd) as store:
        session = await store.open_session(10.0, Told())
        early, claim, later = entry(), entry(), entry()

        async def forget(what: str) -> None:
            session._mine.clear()  # type: ignore[attr-defined]
            session._newest.clear()  # type: ignore[attr-defined]
            assert [what] * 2 == [key.rpartition("/")[2] for key in etcd.keys(store.prefix)]

        token = await taken(session, claim)
        await forget(session.id)
        assert token == await taken(session, claim)
        await forget(session.id)
        await refused(session, early)
        await session.release(early)
        assert token == await taken(session, claim)
        await forget(session.id)
        assert token < await taken(session, later)
        await forget(session.id)
        await session.release(claim)
        await forget(session.id)
        await session.release(later)
        assert [] == etcd.keys(store.prefix)

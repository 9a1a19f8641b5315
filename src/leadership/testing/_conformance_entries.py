"""
Facts about entries: who leads, by which token, until when.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from leadership.errors import StoreUnavailable
from leadership.store import Entry, Holder, Outcome, Reply, Session
from leadership.testing._conformance_stage import Stage, Suite, demand, scenario

NESTED: Mapping[str, Any] = {
    "address": "tcp://[::1]:80",
    "zone": {"name": 'é x " \\ %', "ranks": [1, 2.5, None, True, []]},
    "none": {},
}
ODD_NODE = "näve 'a' %s \\ /"


class EntryFacts(Suite):
    """
    What acquire, release and read make of entries.
    """

    @scenario
    async def test_vacant_election_is_granted(self, stage: Stage) -> None:
        """
        An acquire of a vacant election is done with a token of at least 1, and every store reads who leads.
        """
        store, other = stage.store(), stage.store()
        session = await stage.session(store)
        demand(await stage.holder(store, "job") is None, "an election that nobody has led is vacant", "a holder")
        token = await stage.take(session, stage.entry("job", "ann", metadata={"address": "a:1"}))
        demand(token >= 1, "a token is an integer of at least 1", token)
        expected = Holder("ann", token, session.id, {"address": "a:1"})
        for reader in (store, other):
            holder = await stage.holder(reader, "job")
            demand(holder == expected, f"a read shows the leader, with session and metadata: {expected}", holder)

    @scenario
    async def test_same_entry_is_answered_with_the_same_token(self, stage: Stage) -> None:
        """
        An acquire that is repeated with the entry that leads is done again, with the same token.
        """
        session, entry = await stage.session(stage.store()), stage.entry("job")
        token = await stage.take(session, entry)
        for _ in range(3):
            reply = await session.acquire(entry)
            same = (reply.outcome, reply.token) == (Outcome.DONE, token)
            demand(same, f"an acquire repeated with the entry that leads is done with its token {token}", reply)

    @scenario
    async def test_another_session_is_refused(self, stage: Stage) -> None:
        """
        While an entry leads, another session's acquire is refused, of the same store object or another; the holder that
        the reply names, where it names one, is the one who leads.
        """
        store, other = stage.store(), stage.store()
        session = await stage.session(store)
        token = await stage.take(session, stage.entry("job", "ann", metadata={"address": "a:1"}))
        leads = Holder("ann", token, session.id, {"address": "a:1"})
        for rival in (await stage.session(store), await stage.session(other)):
            reply = await stage.refused(rival, stage.entry("job", "ann"))
            demand(reply.holder in (None, leads), f"a refusal names who leads ({leads}), or nobody", reply)
            demand(not reply.fatal, "a refusal because another leads is no error that ends a campaign", reply)
            holder = await stage.holder(other, "job")
            demand(holder == leads, "an acquire that is refused changes nothing", holder)

    @scenario
    async def test_release_frees_the_election(self, stage: Stage) -> None:
        """
        After a release the election is vacant, and the next term's token is greater.
        """
        store, other = stage.store(), stage.store()
        session, rival, entry = await stage.session(store), await stage.session(other), stage.entry("job")
        token = await stage.take(session, entry)
        await stage.release(session, entry)
        for reader in (store, other):
            holder = await stage.holder(reader, "job")
            demand(holder is None, "a release that is done has made the election vacant", holder)
        later = await stage.take(rival, stage.entry("job", "bob"))
        demand(later > token, f"the token of a later term is greater than {token}", later)

    @scenario
    async def test_release_touches_no_other_entry(self, stage: Stage) -> None:
        """
        A release of an entry that is not there, is another session's, or an earlier attempt's is done and changes
        nothing.
        """
        store, other = stage.store(), stage.store()
        session, rival, earlier = await stage.session(store), await stage.session(other), stage.entry("job", "ann")
        entry = stage.entry("job", "ann")
        await stage.release(session, entry)
        token = await stage.take(session, entry)
        heard = stage.watch(other, "job")
        await heard.leader(token)
        for one, stranger in (
            (rival, stage.entry("job", "ann")),
            (rival, stage.entry("job", "ann", key=entry.key)),
            (session, earlier),
        ):
            await stage.release(one, stranger)
            holder = await stage.holder(store, "job")
            fact = "a release compares session and key, and removes nothing else"
            demand(holder == Holder("ann", token, session.id, {}), fact, holder)
        await stage.release(session, entry)
        await heard.gone(token)
        await stage.release(session, entry)
        demand(await stage.holder(store, "job") is None, "a release that is repeated is done", "a holder")

    @scenario
    async def test_earlier_entry_is_never_adopted(self, stage: Stage) -> None:
        """
        An acquire with another key removes the session's earlier entry: a new term with a greater token.
        """
        store = stage.store()
        session, first, second = await stage.session(store), stage.entry("job", "ann"), stage.entry("job", "ann")
        token = await stage.take(session, first)
        later = await stage.take(session, second)
        demand(later > token, f"an entry with another key is a new term, with a token greater than {token}", later)
        await stage.release(session, first)
        holder = await stage.holder(store, "job")
        fact = "the earlier entry is gone, and its release does not touch the later one"
        demand(holder == Holder("ann", later, session.id, {}), fact, holder)
        again = await session.acquire(second)
        demand(again.token == later, f"the later entry still leads with token {later}", again)

    @scenario
    async def test_late_acquire_changes_nothing(self, stage: Stage) -> None:
        """
        An acquire of an earlier attempt that comes while a later one of its session leads is refused; the later entry
        stays with its token, and when it goes the election is vacant.
        """
        store, other = stage.store(), stage.store()
        session, late, entry = await stage.session(store), stage.entry("job", "late"), stage.entry("job", "ann")
        token = await stage.take(session, entry)
        leads = Holder("ann", token, session.id, {})
        await _comes_late(session, late)
        holder = await stage.holder(other, "job")
        demand(holder == leads, f"a late acquire leaves the entry of the later attempt alone: {leads}", holder)
        again = await session.acquire(entry)
        demand(again.token == token, f"the entry of the later attempt still leads with token {token}", again)
        await stage.release(session, late)
        holder = await stage.holder(other, "job")
        demand(holder == leads, "the release of a late acquire removes no other entry", holder)
        await _comes_late(session, late)
        await stage.release(session, entry)
        holder = await stage.holder(other, "job")
        demand(holder is None, "a late acquire that was refused waits for nothing", holder)

    @scenario
    async def test_late_acquire_takes_no_place(self, stage: Stage) -> None:
        """
        An acquire of an earlier attempt that comes while a later one of its session waits neither replaces it nor waits
        with it.
        """
        store, other = stage.store(), stage.store()
        leader, session = await stage.session(other), await stage.session(store)
        entry, late, waits = stage.entry("job", "bob"), stage.entry("job", "late"), stage.entry("job", "ann")
        await stage.take(leader, entry)
        await stage.refused(session, waits)
        await stage.refused(session, late)
        await stage.release(leader, entry)
        holder = await stage.holder(other, "job")
        fact = "of two attempts of a session the earlier never leads, whichever came first"
        demand(holder is None or holder.node == "ann", fact, holder)
        token, _ = await stage.takes_over(session, waits, stage.soon)
        holder = await stage.holder(other, "job")
        demand(holder == Holder("ann", token, session.id, {}), "a read shows the later of the two attempts", holder)
        await stage.release(session, waits)
        holder = await stage.holder(other, "job")
        demand(holder is None, "a late acquire that was refused waits for nothing", holder)

    @scenario
    async def test_later_of_two_acquires_at_once_leads(self, stage: Stage) -> None:
        """
        However two acquires of one session cross, the entry of the later attempt leads.
        """
        store, other = stage.store(), stage.store()
        session = await stage.session(store)
        for round_ in range(6):
            early, later = stage.entry("job", "early"), stage.entry("job", f"later {round_}")
            asked = (early, later) if round_ % 2 else (later, early)
            replies = await asyncio.gather(*(_ask(session, entry) for entry in asked))
            reply = replies[asked.index(later)]
            fact = "of two acquires of one session at once, that of the later attempt is done"
            demand(reply.outcome is Outcome.DONE, fact, replies)
            holder = await stage.holder(other, "job")
            expected = Holder(later.node, reply.token or 0, session.id, {})
            demand(holder == expected, f"of two acquires at once, the later attempt's entry leads: {expected}", holder)

    @scenario
    async def test_numbers_of_others_do_not_count(self, stage: Stage) -> None:
        """
        Only attempts of one session in one election are compared: an earlier one is granted what another session has
        released, and leads beside a later one of its session in another election.
        """
        store, other = stage.store(), stage.store()
        session, rival = await stage.session(store), await stage.session(other)
        early, elsewhere, later = stage.entry("job", "bob"), stage.entry("other job"), stage.entry("job", "ann")
        token = await stage.take(session, later)
        await stage.take(session, elsewhere)
        await stage.refused(rival, early)
        await stage.release(session, later)
        newest, _ = await stage.takes_over(rival, early, stage.soon)
        demand(newest > token, f"the token of a later term is greater than {token}", newest)

    @scenario
    async def test_tokens_rise_however_a_term_ends(self, stage: Stage) -> None:
        """
        Each term's token is greater than every earlier one of its election, whichever store object grants it, and
        however the earlier term ended.
        """
        stores = [stage.store(), stage.store()]
        newest = 0
        for round_ in range(6):
            session, entry = await stage.session(stores[round_ % 2]), stage.entry("job")
            token = await stage.take(session, entry)
            demand(token > newest, f"a token greater than those of earlier terms ({newest})", token)
            newest = token
            if round_ % 3 == 0:
                await stage.release(session, entry)
            elif round_ % 3 == 1:
                await session.end()
            else:
                await stores[round_ % 2].aclose()
                stores[round_ % 2] = stage.store()

    @scenario
    async def test_token_exceeds_what_the_process_has_seen(self, stage: Stage) -> None:
        """
        A grant is above `entry.above`, or says by `token_reset` that the store has lost its data; else it says no such
        thing.
        """
        session = await stage.session(stage.store())
        token = await stage.take(session, stage.entry("job"))
        reply = await session.acquire(stage.entry("job", above=token))
        calm = reply.outcome is Outcome.DONE and (reply.token or 0) > token and not reply.token_reset
        demand(calm, f"a grant above {token}, the newest token; nothing is lost, so token_reset is False", reply)
        above = (reply.token or 0) + 1_000_000
        reply = await session.acquire(stage.entry("job", above=above))
        demand(reply.outcome is Outcome.DONE, "a vacant election is granted whatever token was seen before", reply)
        told = (reply.token or 0) > above or reply.token_reset
        demand(told, f"a token greater than entry.above={above}, or token_reset=True", reply)

    @scenario
    async def test_one_of_twenty_wins(self, stage: Stage) -> None:
        """
        Of twenty sessions that ask at once exactly one is granted, round after round, with rising tokens.
        """
        stores = [stage.store() for _ in range(4)]
        sessions = [await stage.session(stores[index % 4]) for index in range(20)]
        entries = {session.id: stage.entry("job", f"node {index}") for index, session in enumerate(sessions)}
        reader, newest = stage.store(), 0
        for _round in range(4):
            replies = await asyncio.gather(*(_ask(session, entries[session.id]) for session in sessions))
            won = [index for index, reply in enumerate(replies) if reply.outcome is Outcome.DONE]
            demand(len(won) == 1, "exactly one of twenty acquires at once is done", [replies[index] for index in won])
            winner, token = sessions[won[0]], replies[won[0]].token or 0
            expected = Holder(f"node {won[0]}", token, winner.id, {})
            holder = await stage.holder(reader, "job")
            demand(holder == expected, f"a read shows the one that was granted, {expected}", holder)
            demand(token > newest, f"a token greater than those of earlier terms ({newest})", token)
            newest = token
            await stage.release(winner, entries[winner.id])
            entries[winner.id] = stage.entry("job", expected.node)

    @scenario
    async def test_one_who_waits_leads_after_the_release(self, stage: Stage) -> None:
        """
        An entry that was refused leads when it asks again after the leader's release, with or without a queue.
        """
        store, other = stage.store(), stage.store()
        told = stage.hear()
        leader, waiting = await stage.session(store), await stage.session(other, told=told)
        entry, claim = stage.entry("job", "ann"), stage.entry("job", "bob")
        token = await stage.take(leader, entry)
        await stage.refused(waiting, claim)
        await stage.refused(waiting, claim)
        await stage.release(leader, entry)
        later, _ = await stage.takes_over(waiting, claim, stage.soon)
        demand(later > token, f"the token of a later term is greater than {token}", later)
        holder = await stage.holder(store, "job")
        demand(holder == Holder("bob", later, waiting.id, {}), "a read shows who leads now", holder)
        await stage.watch(other, "job").leader(later)
        keys = {event.key for event in told.events if event.key is not None}
        demand(keys <= {claim.key}, f"a session is told the TURN of its own entries only ({claim.key})", told)

    @scenario
    async def test_entry_that_was_withdrawn_never_leads(self, stage: Stage) -> None:
        """
        An entry that waits and is released, replaced by a later one of its session, or ended with its session never
        leads afterwards.
        """
        store, other = stage.store(), stage.store()
        leader, entry = await stage.session(store), stage.entry("job", "ann")
        released, replaced, ended = [await stage.session(other) for _ in range(3)]
        await stage.take(leader, entry)
        first, early, last = stage.entry("job", "bob"), stage.entry("job", "early"), stage.entry("job", "cid")
        await stage.refused(released, first)
        await stage.refused(replaced, early)
        await stage.refused(ended, stage.entry("job", "dan"))
        await stage.release(released, first)
        await stage.refused(replaced, last)
        await ended.end()
        await stage.release(leader, entry)
        await stage.takes_over(replaced, last, stage.soon)
        holder = await stage.holder(store, "job")
        demand(holder is not None and holder.node == "cid", "only the entry that is still wanted leads", holder)
        await stage.release(replaced, last)
        holder = await stage.holder(store, "job")
        demand(holder is None, "an entry that was withdrawn is gone", holder)
        await stage.take(leader, stage.entry("job", "ann"))

    @scenario
    async def test_one_session_leads_many_elections(self, stage: Stage) -> None:
        """
        Entries of one session in different elections neither disturb nor share anything.
        """
        store = stage.store()
        session = await stage.session(store)
        entries = [stage.entry(f"job {index}", f"node {index}") for index in range(5)]
        tokens = [await stage.take(session, entry) for entry in entries]
        await stage.release(session, entries[2])
        found = await store.read([entry.election for entry in entries])
        for index, (entry, token) in enumerate(zip(entries, tokens, strict=True)):
            expected = None if index == 2 else Holder(entry.node, token, session.id, {})
            fact = f"{entry.election!r} is led by {expected}, whatever its session does elsewhere"
            demand(found[entry.election] == expected, fact, found)

    @scenario
    async def test_metadata_comes_back(self, stage: Stage) -> None:
        """
        Metadata is read as it was given, nested JSON included; none and `{}` are both read as `{}`.
        """
        store, other = stage.store(), stage.store()
        session = await stage.session(store)
        some: tuple[Mapping[str, Any] | None, ...] = (None, {}, {"address": "a:1"}, NESTED)
        for given in some:
            token = await stage.take(session, stage.entry("job", ODD_NODE, metadata=given))
            holder = await stage.holder(other, "job")
            expected = Holder(ODD_NODE, token, session.id, given or {})
            demand(holder == expected, f"node name and metadata are read as they were given: {expected}", holder)


async def _comes_late(session: Session, late: Entry) -> None:
    """
    Acquire with an entry of an earlier attempt than the one that leads.
    """
    reply = await session.acquire(late)
    fact = "an acquire is refused while a later attempt of its session (a higher number) leads"
    demand(reply.outcome is Outcome.REFUSED and not reply.fatal, fact, reply)


async def _ask(session: Session, entry: Entry) -> Reply:
    """
    Ask until the store says yes or no: under load it may be unavailable, and the outcome unknown.
    """
    while True:
        try:
            return await session.acquire(entry)
        except (StoreUnavailable, TimeoutError):
            await asyncio.sleep(0.01)

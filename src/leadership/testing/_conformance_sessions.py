"""
Facts about sessions: a lease ends when it must, not before, and for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from leadership.errors import LeadershipError
from leadership.store import MARGIN, Fact, Holder, Outcome, Session, Store
from leadership.testing._conformance_stage import Stage, Suite, broken, demand, scenario

LASTS = f"a session lasts at least {1 - MARGIN:.0%} of its TTL, counted from the sending of its last grant or renewal"


class SessionFacts(Suite):
    """
    What becomes of sessions and of what they hold.
    """

    @scenario
    async def test_sessions_never_share_an_id(self, stage: Stage) -> None:
        """
        Every session has an id of its own, non-empty text, over all stores and after an earlier session's end.
        """
        stores = [stage.store(), stage.store()]
        seen: list[str] = []
        for index in range(6):
            session = await stage.session(stores[index % 2])
            demand(str(session.id) == session.id != "", "a session's id is text, and not empty", repr(session.id))
            demand(session.id not in seen, f"a session's id is no earlier session's {seen}", session.id)
            seen.append(session.id)
            if index > 2:
                await session.end()

    @scenario
    async def test_end_frees_all_entries(self, stage: Stage) -> None:
        """
        Ending a session frees all its entries and no other's, and watches are told.
        """
        store, other = stage.store(), stage.store()
        session, neighbour = await stage.session(store), await stage.session(store)
        tokens = {name: await stage.take(session, stage.entry(name)) for name in ("one", "two")}
        kept = await stage.take(neighbour, stage.entry("three", "bob"))
        heard = {name: stage.watch(other, name) for name in tokens}
        for name, token in tokens.items():
            await heard[name].leader(token)
        reply = await session.end()
        demand(reply.outcome is Outcome.DONE, "the end of a session is done", reply)
        found = await other.read(["one", "two", "three"])
        expected = {"one": None, "two": None, "three": Holder("bob", kept, neighbour.id, {})}
        demand(dict(found) == expected, f"a session that has ended holds nothing: {expected}", found)
        for name, token in tokens.items():
            await heard[name].gone(token)

    @scenario
    async def test_ended_session_does_nothing_more(self, stage: Stage) -> None:
        """
        After its end a session's renew is refused, its acquire never done, its release harmless, another end no error.
        """
        store = stage.store()
        session = await stage.session(store)
        entry = stage.entry("job")
        await stage.take(session, entry)
        await session.end()
        await _is_dead(stage, store, session)

    @scenario
    async def test_session_that_is_not_renewed_ends(self, stage: Stage) -> None:
        """
        Without renewals a session's entries stand until its TTL (less the margin) and are free at most a tick after it,
        and another session then leads.
        """
        store, other = stage.store(), stage.store()
        rival = await stage.session(other)
        sent = stage.now()
        session = await stage.session(store, stage.ttl)
        granted = stage.now()
        token = await stage.take(session, stage.entry("job"))
        claim = stage.entry("job", "bob")
        later, when = await stage.takes_over(rival, claim, granted + session.ttl + stage.tick - stage.now())
        demand(when >= stage.lasts_until(session, sent), LASTS, f"it was replaced after {when - sent:.3f} s")
        demand(later > token, f"the token of a later term is greater than {token}", later)

    @scenario
    async def test_watch_tells_that_a_session_has_lapsed(self, stage: Stage) -> None:
        """
        A watch tells the end of a term whose session was not renewed, not before the TTL (less the margin) and at most
        a tick after it, though nobody else asks for the election; then it is read as vacant.
        """
        store, other = stage.store(), stage.store()
        heard, told = stage.watch(other, "job"), stage.hear()
        sent = stage.now()
        session = await stage.session(store, stage.ttl, told)
        granted = stage.now()
        token = await stage.take(session, stage.entry("job"))
        when = await heard.gone(token, within=granted + session.ttl + stage.tick - stage.now())
        until = stage.lasts_until(session, sent)
        demand(when >= until, LASTS, f"its end was told after {when - sent:.3f} s")
        early = [fact for fact, time in zip(told.facts, told.times, strict=True) if time < until]
        demand(Fact.SESSION_LOST not in early, LASTS, f"{told} in that time")
        holder = await stage.holder(other, "job")
        demand(holder is None, "a term whose end was told is over for every reader", holder)

    @scenario
    async def test_lapsed_session_does_not_come_back(self, stage: Stage) -> None:
        """
        Once lapsed, a session's renew is refused for ever, its acquire never done, its release harmless, its end no
        error.
        """
        store, other = stage.store(), stage.store()
        session = await stage.session(store, stage.ttl)
        await stage.take(session, stage.entry("job"))
        await stage.becomes_vacant(other, "job", session.ttl + stage.tick)
        await _is_dead(stage, store, session)

    @scenario
    async def test_renewing_keeps_a_session_alive(self, stage: Stage) -> None:
        """
        Renewed as often as `timing` says, a session keeps its entry with its token for more than two TTLs; the last
        renewal gives it another TTL (less the margin), and no more than a tick beyond it.
        """
        store, other = stage.store(), stage.store()
        told, entry = stage.hear(), stage.entry("job", "ann")
        session = await stage.session(store, stage.ttl, told)
        token = await stage.take(session, entry)
        heard = stage.watch(other, "job")
        await heard.leader(token)
        interval, begun = store.timing(stage.ttl).renew_interval, stage.now()
        until = acknowledged = begun
        while stage.now() < begun + 2.2 * session.ttl:
            await asyncio.sleep(interval)
            sent = stage.now()
            reply = await session.renew()
            acknowledged = stage.now()
            demand(reply.outcome is Outcome.DONE, "the renewal of a session in time is done", reply)
            until = stage.lasts_until(session, sent, reply)
            holder = await stage.holder(other, "job")
            demand(holder == Holder("ann", token, session.id, {}), "who renews in time goes on leading", holder)
        when = await stage.becomes_vacant(other, "job", acknowledged + session.ttl + stage.tick - stage.now())
        demand(when >= until, LASTS, f"it was over {until - when:.3f} s before that")
        told_at = await heard.gone(token, within=stage.tick)
        demand(told_at >= until, LASTS, f"its end was told {until - told_at:.3f} s before that")
        lost = [time for fact, time in zip(told.facts, told.times, strict=True) if fact is Fact.SESSION_LOST]
        demand(all(time >= until for time in lost), "SESSION_LOST is told of a session that has ended only", told)

    @scenario
    async def test_closing_a_store_ends_its_sessions(self, stage: Stage) -> None:
        """
        `aclose` frees all that the store's sessions hold before it returns, and no other store's; it is idempotent.
        """
        store, other, unused = stage.store(), stage.store(), stage.store()
        sessions = [await stage.session(store) for _ in range(2)]
        tokens = [await stage.take(session, stage.entry(f"job {index}")) for index, session in enumerate(sessions)]
        neighbour = await stage.session(other)
        kept = await stage.take(neighbour, stage.entry("kept", "bob"))
        heard = stage.watch(other, "job 0")
        await heard.leader(tokens[0])
        await store.aclose()
        found = await other.read(["job 0", "job 1", "kept"])
        expected = {"job 0": None, "job 1": None, "kept": Holder("bob", kept, neighbour.id, {})}
        demand(dict(found) == expected, f"a store that is closed has ended its sessions: {expected}", found)
        await heard.gone(tokens[0])
        await store.aclose()
        await unused.aclose()
        await unused.aclose()

    @scenario
    async def test_calls_of_a_closed_store_fail(self, stage: Stage) -> None:
        """
        After `aclose` each call of the store fails with a `LeadershipError`; its sessions renew and acquire nothing,
        and no call of theirs raises anything else.
        """
        store, other = stage.store(), stage.store()
        session, entry = await stage.session(store), stage.entry("job")
        await stage.take(session, entry)
        await store.aclose()

        async def watch() -> None:
            store.watch("job", stage.hear())

        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "read": lambda: store.read(["job"]),
            "open_session": lambda: store.open_session(stage.lease, stage.hear()),
            "request_resign": lambda: store.request_resign("job", 1, None),
            "watch": watch,
        }
        for name, call in calls.items():
            try:
                answer = await call()
            except LeadershipError:
                continue
            broken(f"{name} of a store that is closed raises a LeadershipError", answer)
        lost = await stage.is_refused(session.renew)
        demand(lost, "a session of a store that is closed is not renewed", "done")
        for again in (entry, stage.entry("job")):
            lost = await stage.is_refused(partial(session.acquire, again))
            demand(lost, "a session of a store that is closed acquires nothing", "done")
        await stage.is_refused(lambda: session.release(entry))
        await stage.is_refused(session.end)
        await stage.take(await stage.session(other), stage.entry("job"))


async def _is_dead(stage: Stage, store: Store, session: Session) -> None:
    """
    Demand that a session which held `job` is over for good: before and while another leads.
    """
    rival, claim = await stage.session(stage.store()), stage.entry("job", "bob")
    for leads in (None, "bob"):
        if leads is not None:
            await stage.take(rival, claim)
        for _ in range(2):
            reply = await session.renew()
            demand(reply.outcome is Outcome.REFUSED, "the renewal of a session that has ended is refused", reply)
        refused = await stage.is_refused(lambda: session.acquire(stage.entry("job", "ghost")))
        demand(refused, "a session that has ended acquires nothing", "done")
        await stage.release(session, stage.entry("job", "ghost"))
        reply = await session.end()
        demand(not reply.fatal, "ending a session that has ended is no error", reply)
        await stage.session(store)
        holder = await stage.holder(store, "job")
        node = None if holder is None else holder.node
        demand(node == leads, f"a session that has ended changes nothing (led by {leads})", holder)

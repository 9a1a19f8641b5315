"""
Facts about watches: the truth first, then all that happens, in order, of one election.
"""

from __future__ import annotations

from leadership.store import Fact, Holder, Outcome, Store, WatchEvent
from leadership.testing._conformance_stage import GONE, Heard, Stage, Suite, demand, scenario

REASON = "maintenance, é '1' \\ %"


class WatchFacts(Suite):
    """
    What watches tell, requests to resign included.
    """

    @scenario
    async def test_watch_begins_with_the_truth(self, stage: Stage) -> None:
        """
        A watch tells first who leads, whole, or that nobody does.
        """
        store, other = stage.store(), stage.store()
        session = await stage.session(store)
        for watcher in (store, other):
            heard = stage.watch(watcher, "vacant")
            await heard.until("a watch of a vacant election begins with VACANT_OBSERVED", lambda _event: True)
            demand(heard.facts[0] is Fact.VACANT_OBSERVED, "a watch of a vacant election begins so", heard)
        token = await stage.take(session, stage.entry("job", "ann", metadata={"address": "a:1"}))
        expected = Holder("ann", token, session.id, {"address": "a:1"})
        for watcher in (store, other):
            heard = stage.watch(watcher, "job")
            await heard.leader(token)
            first = heard.events[0]
            whole = first.fact is Fact.LEADER_OBSERVED and first.holder == expected
            demand(whole, f"a watch of an election that is led begins with LEADER_OBSERVED of {expected}", heard)

    @scenario
    async def test_watch_tells_each_change(self, stage: Stage) -> None:
        """
        A watch tells who leads and whose entry is gone, by token, of its own and other store objects, term after term.
        """
        stores = [stage.store(), stage.store()]
        sessions = [await stage.session(store) for store in stores]
        watches = [stage.watch(store, "job") for store in stores]
        for index in range(4):
            session, entry = sessions[index % 2], stage.entry("job", f"node {index}", metadata={"index": index})
            token = await stage.take(session, entry)
            expected = Holder(f"node {index}", token, session.id, {"index": index})
            for heard in watches:
                holder = await heard.leader(token)
                demand(holder == expected, f"LEADER_OBSERVED brings node, token, session, metadata: {expected}", holder)
            await stage.release(session, entry)
            for heard in watches:
                await heard.gone(token)

    @scenario
    async def test_watch_keeps_the_order_of_the_store(self, stage: Stage) -> None:
        """
        Of changes in quick succession a watch may tell fewer, but never an earlier one after a later one, and it ends
        with the truth.
        """
        stores = [stage.store(), stage.store()]
        sessions = [await stage.session(store) for store in stores]
        watches = [stage.watch(store, "job") for store in stores]
        token = 0
        for index in range(9):
            session, entry = sessions[index % 2], stage.entry("job", f"node {index}")
            token = await stage.take(session, entry)
            if index < 8:
                await stage.release(session, entry)
        for heard in watches:
            await heard.leader(token)
            moments = [moment for moment in map(_moment, heard.events) if moment is not None]
            demand(moments == sorted(moments), "a watch tells facts in the order in which the store had them", heard)
            demand(moments[-1] == (token, False), f"a watch ends with the truth: token {token} leads", heard)

    @scenario
    async def test_closed_watch_is_silent(self, stage: Stage) -> None:
        """
        After `close()`, even one from within its own notify, a watch tells nothing, while its neighbours go on; closing
        again is no error.
        """
        store = stage.store()
        session, entry = await stage.session(store), stage.entry("job")
        early, late, heard = stage.hear(), stage.hear(), stage.watch(store, "job")
        at_once, later = store.watch("job", early), None

        def once(event: WatchEvent) -> None:
            late(event)
            if later is not None:
                later.close()

        later = store.watch("job", once)
        at_once.close()
        await late.until("every watch of an election begins with the truth", lambda _event: True)
        token = await stage.take(session, entry)
        await heard.leader(token)
        await stage.release(session, entry)
        await heard.gone(token)
        later.close()
        at_once.close()
        demand(not early.events, "a watch that was closed before its first fact tells nothing", early)
        demand(len(late.events) == 1, "a watch that is closed while it tells a fact tells no other", late)

    @scenario
    async def test_many_watches_of_one_election(self, stage: Stage) -> None:
        """
        Any number of watches of one election are told alike, and closing some leaves the others alone.
        """
        store, other = stage.store(), stage.store()
        session, entry = await stage.session(store), stage.entry("job")
        extra = stage.hear()
        first = store.watch("job", extra)
        watches = [stage.watch(each, "job") for each in (store, store, other, other)]
        token = await stage.take(session, entry)
        for heard in (extra, *watches):
            await heard.leader(token)
        first.close()
        told = len(extra.events)
        joined = stage.watch(store, "job")
        await joined.leader(token)
        await stage.release(session, entry)
        for heard in (joined, *watches):
            await heard.gone(token)
        demand(len(extra.events) == told, "a watch that is closed tells nothing", extra)

    @scenario
    async def test_watch_hears_its_own_election_only(self, stage: Stage) -> None:
        """
        A watch of `a` is told nothing of `a/b`, `ab`, `A` or `a/b/c`, nor do these of each other.
        """
        store, other = stage.store(), stage.store()
        session = await stage.session(store)
        names = ("a", "a/b", "ab", "A", "a/b/c")
        watches = {name: [stage.watch(store, name), stage.watch(other, name)] for name in names}
        tokens: dict[str, list[int]] = {name: [] for name in names}
        for index, name in enumerate(names):
            for _term in range(index + 1):
                entry = stage.entry(name, name)
                token = await stage.take(session, entry)
                tokens[name].append(token)
                for heard in watches[name]:
                    await heard.leader(token)
                await stage.release(session, entry)
                for heard in watches[name]:
                    await heard.gone(token)
        for name, heard in ((name, heard) for name, both in watches.items() for heard in both):
            nodes = {event.holder.node for event in heard.events if event.holder is not None}
            gone = [event.token for event in heard.events if event.fact in GONE]
            fact = f"a watch of {name!r} is told of no other election: leader {name!r} with tokens {tokens[name]}"
            demand((nodes, gone) == ({name}, tokens[name]), fact, heard)

    @scenario
    async def test_request_to_resign_reaches_the_watches(self, stage: Stage) -> None:
        """
        A request to resign is told to watches with its token and reason; it ends no term, and the next one's leader is
        not asked.
        """
        store, operator = stage.store(), stage.store()
        session, entry = await stage.session(store), stage.entry("job", "ann")
        token = await stage.take(session, entry)
        heard = stage.watch(store, "job")
        await heard.leader(token)
        reply = await operator.request_resign("job", token, REASON)
        demand(reply.outcome is Outcome.DONE, "a request to the term that leads is done", reply)
        await heard.until(
            "a watch tells RESIGN_REQUESTED with the token and the reason",
            lambda event: (event.fact, event.token, event.reason) == (Fact.RESIGN_REQUESTED, token, REASON),
        )
        holder = await stage.holder(operator, "job")
        demand(holder == Holder("ann", token, session.id, {}), "a request to resign ends no term", holder)
        await stage.release(session, entry)
        later = await stage.take(session, stage.entry("job", "ann"))
        await heard.leader(later)
        await _asked(operator, "job", later, None)
        await heard.until(
            "a request without a reason is told with reason None",
            lambda event: (event.fact, event.token, event.reason) == (Fact.RESIGN_REQUESTED, later, None),
        )
        asked = {(event.token, event.reason) for event in heard.events if event.fact is Fact.RESIGN_REQUESTED}
        demand(asked == {(token, REASON), (later, None)}, "a request is for one term, and not for the next", heard)

    @scenario
    async def test_request_to_resign_is_told_to_who_comes_later(self, stage: Stage) -> None:
        """
        A request that stands is told with the truth, to a store's first watch and to those that join it.
        """
        store, other = stage.store(), stage.store()
        session, first = await stage.session(store), stage.watch(store, "job")
        token = await stage.take(session, stage.entry("job"))
        await first.leader(token)
        await _asked(store, "job", token, REASON)
        await first.until("a request is told", lambda event: event.reason == REASON)
        for heard in (stage.watch(store, "job"), stage.watch(other, "job"), stage.watch(other, "job")):
            await heard.until(
                "a request that stands is told to who comes later",
                lambda event: (event.fact, event.token, event.reason) == (Fact.RESIGN_REQUESTED, token, REASON),
            )
            order = [fact for fact in heard.facts if fact in (Fact.LEADER_OBSERVED, Fact.RESIGN_REQUESTED)]
            demand(
                order == [Fact.LEADER_OBSERVED, Fact.RESIGN_REQUESTED],
                "a request is told once, after its leader",
                heard,
            )

    @scenario
    async def test_request_to_resign_compares_the_token(self, stage: Stage) -> None:
        """
        A request to resign is refused for a vacant election and for any token but the present one, and then no watch
        hears of it.
        """
        store, operator = stage.store(), stage.store()
        session, entry = await stage.session(store), stage.entry("job", "ann")
        heard = stage.watch(store, "job")
        reply = await operator.request_resign("job", 1, "too early")
        demand(reply.outcome is Outcome.REFUSED, "a request is refused while nobody leads", reply)
        past = await stage.take(session, entry)
        await stage.release(session, entry)
        reply = await operator.request_resign("job", past, "too late")
        demand(reply.outcome is Outcome.REFUSED, f"a request is refused when its term ({past}) is over", reply)
        token = await stage.take(session, stage.entry("job", "ann"))
        for wrong in (past, token + 1, 0):
            reply = await operator.request_resign("job", wrong, "wrong")
            refused = reply.outcome is Outcome.REFUSED
            demand(refused, f"a request for token {wrong} is refused while {token} leads", reply)
        await _asked(operator, "job", token, "right")
        await heard.until("a request is told", lambda event: event.reason == "right")
        reasons = [event.reason for event in heard.events if event.fact is Fact.RESIGN_REQUESTED]
        demand(set(reasons) == {"right"}, "a request that is refused is told to nobody", heard)

    @scenario
    async def test_watch_tells_why_a_term_ended(self, stage: Stage) -> None:
        """
        Who watches knows why a term ended that was asked to resign, though it did so at once: by a request that is told
        before the end, or by the end itself. The next term, which nobody asks, ends without a reason.
        """
        store, other = stage.store(), stage.store()
        session, watches = await stage.session(store), [stage.watch(each, "job") for each in (store, other)]
        for reason in (REASON, None, "another"):
            entry = stage.entry("job")
            token = await stage.take(session, entry)
            for heard in watches:
                await heard.leader(token)
            if reason is not None:
                await _asked(store, "job", token, reason)
            await stage.release(session, entry)
            for heard in watches:
                await heard.gone(token)
                fact = f"a watch tells why a term ended, not later than the end: {reason!r} of token {token}"
                demand(_why(heard, token) == ({reason} - {None}), fact, heard)

    @scenario
    async def test_reason_outlives_a_quick_successor(self, stage: Stage) -> None:
        """
        A watch that learns of a request, of the end and of the next leader in one look tells the reason all the same.
        """
        store, other, watcher = stage.store(), stage.store(), stage.store()
        session, successor = await stage.session(store), await stage.session(other)
        heard, entry = stage.watch(watcher, "job"), stage.entry("job")
        token = await stage.take(session, entry)
        await heard.leader(token)
        await _asked(store, "job", token, REASON)
        await stage.release(session, entry)
        later = await stage.take(successor, stage.entry("job", "bob"))
        await heard.leader(later)
        fact = f"a watch tells why a term ended before it tells of the next: {REASON!r} of token {token}"
        demand(_why(heard, token) == {REASON}, fact, heard)


def _moment(event: WatchEvent) -> tuple[int, bool] | None:
    """
    Where an event stands in the order of the store: a term begins, then is gone.
    """
    if event.fact is Fact.LEADER_OBSERVED and event.holder is not None:
        return event.holder.token, False
    return (event.token or 0, True) if event.fact in GONE else None


def _why(heard: Heard, token: int) -> set[str | None]:
    """
    The reasons that were told for the end of a term, before it was over or with its end.
    """
    reasons: set[str | None] = set()
    for event in heard.events:
        if event.holder is not None and event.holder.token > token:
            break
        if event.token == token and event.fact in (*GONE, Fact.RESIGN_REQUESTED):
            reasons.add(event.reason)
        if event.token == token and event.fact in GONE:
            break
    return reasons - {None}


async def _asked(store: Store, election: str, token: int, reason: str | None) -> None:
    reply = await store.request_resign(election, token, reason)
    demand(reply.outcome is Outcome.DONE, "a request to the term that leads is done", reply)

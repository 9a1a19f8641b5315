"""
Facts about calls: what is read, what is refused before it starts, what a cancelled call leaves behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import Awaitable, Callable

from leadership.errors import ConfigError, LeadershipError, StoreRefused
from leadership.store import MARGIN, Holder, Outcome, Store
from leadership.testing._conformance_stage import Stage, Suite, broken, demand, scenario

PLAIN = ("plain", "service/work/leader", "service/work", "service")
ODD = (
    *PLAIN,
    *("with space", "with%20space", "with+space", "with  space", "percent%", "percent%25", "a%2Fb", "a/b", "a\\b"),
    *("quote'", 'quote"', "quote`", "semi;colon", "que?ry=1&x#y", "[brackets]", "{braces}", "star*", "star_", "star"),
    *("dot.", ".hidden", "a/./b", "..", "-dash", "~", "$HOME", "UPPER", "upper", "NULL", "0"),
    *("é", "e\u0301", "ÉTÉ", "été", "选举", "выборы", "🗳", "\u200bzero", "x" * 200, "x" * 199 + "y"),
)
UNUSABLE = ("", " ", "/a", "a/", "a//b", "/", "a\nb", "a\0b", "a\x7fb", "\ud800", None, 7, b"a")
BAD_TTLS = (0, -1, -0.5, math.nan, math.inf, -math.inf, "soon", "15", True, None, 1e300, 10**30)


class CallFacts(Suite):
    """
    Reads, names, timing, cancelled calls.
    """

    @scenario
    async def test_several_elections_are_read_at_once(self, stage: Stage) -> None:
        """
        A read answers for each election that was asked for, for one that nobody ever led too, and for none.
        """
        store, other = stage.store(), stage.store()
        session = await stage.session(store)
        tokens = [await stage.take(session, stage.entry(f"job {index}", f"node {index}")) for index in range(3)]
        expected: dict[str, Holder | None] = {
            f"job {index}": Holder(f"node {index}", token, session.id, {}) for index, token in enumerate(tokens)
        }
        expected["unknown"] = None
        for reader in (store, other):
            found = await reader.read(tuple(expected))
            demand(dict(found) == expected, f"a read answers for just the elections asked for: {expected}", found)
            found = await reader.read([])
            demand(dict(found) == {}, "a read of no elections is empty", found)

    @scenario
    async def test_odd_names_are_kept_apart(self, stage: Stage) -> None:
        """
        A name with spaces, slashes, quotes, percent signs, letters of any script or 200 characters is an election of
        its own, for entries, reads and watches, or is refused by `check_election`.
        """
        store, other = stage.store(), stage.store()
        session = await stage.session(store)
        names = [name for name in ODD if _accepts(store, name)]
        demand(set(PLAIN) <= set(names), f"plain names are accepted: {PLAIN}", names)
        entries = {name: stage.entry(name, f"node of {name}") for name in names}
        tokens = {name: await stage.take(session, entry) for name, entry in entries.items()}
        everything = await other.read(names)
        for name, token in tokens.items():
            expected = Holder(entries[name].node, token, session.id, {})
            fact = f"the election {name!r} is no other's, or is refused by check_election"
            demand(everything.get(name) == expected, fact, everything.get(name))
            demand(await stage.holder(store, name) == expected, fact, "another holder in a read of one election")
            holder = await stage.watch(other, name).leader(token)
            demand(holder == expected, fact, f"a watch that tells {holder}")
        for name in names[::2]:
            await stage.release(session, entries[name])
        found = await other.read(names)
        for name in names:
            gone = found[name] is None
            demand(gone == (name in names[::2]), f"a release in another election does not touch {name!r}", found[name])

    @scenario
    async def test_unusable_names_are_refused(self, stage: Stage) -> None:
        """
        A name that no election may have is a `ConfigError` that names it, on every store.
        """
        store = stage.store()
        for name in UNUSABLE:
            error = _refusal(store.check_election, name)
            demand(isinstance(error, ConfigError), f"check_election({name!r}) raises a ConfigError", repr(error))
            demand(repr(name) in str(error), f"the error names what was refused, {name!r}", repr(error))

    @scenario
    async def test_timing_is_consistent(self, stage: Stage) -> None:
        """
        A lease is no shorter than asked for; it is renewed thrice in its time, believed in for less than it, replaced
        after it.
        """
        store = stage.store()
        for ttl in (stage.ttl, stage.lease):
            timing = store.timing(ttl)
            figures = timing.as_dict()
            demand(timing.ttl == ttl, f"timing({ttl:g}) is of the TTL that was asked for", timing)
            demand(timing.effective_ttl >= ttl, "effective_ttl ≥ ttl: nothing is shortened in silence", timing)
            least = timing.effective_ttl * (1 - MARGIN)
            demand(timing.steps_down_after <= least, f"steps_down_after ≤ effective_ttl × {1 - MARGIN:g}", timing)
            demand(timing.crash_takeover >= timing.effective_ttl, "effective_ttl ≤ crash_takeover", timing)
            demand(timing.death_takeover <= timing.crash_takeover, "death_takeover ≤ crash_takeover", timing)
            demand(timing.renew_interval <= timing.effective_ttl / 3, "renew_interval ≤ effective_ttl / 3", timing)
            finite = all(0 < value < math.inf for value in figures.values())
            demand(finite, "every figure is a positive number of seconds (or part of a second)", timing)

    @scenario
    async def test_bad_ttl_is_refused(self, stage: Stage) -> None:
        """
        A TTL that is zero, negative, not finite, no number, or longer than any store keeps is a `ConfigError` that
        names it.
        """
        store = stage.store()
        for ttl in BAD_TTLS:
            error = _refusal(store.timing, ttl)
            demand(isinstance(error, ConfigError), f"timing({ttl!r}) raises a ConfigError", repr(error))
            named = str(ttl) in str(error) or (isinstance(ttl, float) and f"{ttl:g}" in str(error))
            demand(named, f"the error names what was refused, {ttl!r}", repr(error))

    @scenario
    async def test_store_says_what_it_is(self, stage: Stage) -> None:
        """
        A store has a URL and guarantees that can be written down.
        """
        store = stage.store()
        demand("://" in store.url, "url is the store's address", store.url)
        scopes = ("process", "machine", "cluster")
        demand(store.guarantees.scope in scopes, f"guarantees.scope is one of {scopes}", store.guarantees)
        written = json.loads(json.dumps(store.guarantees.as_dict()))
        demand(written == store.guarantees.as_dict(), "guarantees can be written as JSON", written)

    @scenario
    async def test_many_begin_at_once(self, stage: Stage) -> None:
        """
        Stores that begin at the same moment on data that nobody has used yet are not in each other's way: none is
        refused, and one leads.
        """
        stores = [stage.store() for _ in range(8)]
        watches = [stage.watch(store, "job") for store in stores]
        try:
            sessions = await asyncio.gather(*(stage.session(store) for store in stores))
        except StoreRefused as error:
            broken("a store that begins while others do is refused nothing", repr(error))
        token = await stage.take(sessions[0], stage.entry("job"))
        for session in sessions[1:]:
            await stage.refused(session, stage.entry("job"))
        for heard in watches:
            await heard.leader(token)

    @scenario
    async def test_cancelled_call_leaves_the_store_usable(self, stage: Stage) -> None:
        """
        Whatever call is cancelled, early or late, the store's other calls go on, and an entry of which nothing is known
        is gone once it is released.
        """
        store, other = stage.store(), stage.store()
        session, rival = await stage.session(store), await stage.session(other)
        for pause in (0.0, 0.0, 0.0005, 0.002, 0.01):
            entry = stage.entry("job", "ann")
            calls: list[Callable[[], Awaitable[object]]] = [
                lambda: store.open_session(stage.lease, stage.hear()),
                lambda: store.read(["job"]),
                lambda entry=entry: session.acquire(entry),  # type: ignore[misc]
                session.renew,
                lambda: store.request_resign("job", 1, None),
                lambda entry=entry: session.release(entry),  # type: ignore[misc]
                lambda entry=entry: session.acquire(entry),  # type: ignore[misc]
            ]
            for call in calls:
                await _cancel(stage, call, pause)
            try:
                async with asyncio.timeout(stage.soon):
                    reply = await session.renew()
                    demand(reply.outcome is Outcome.DONE, "a session outlives a cancelled call", reply)
                    claim = stage.entry("job", "bob")
                    while (await rival.acquire(claim)).outcome is not Outcome.DONE:
                        await stage.release(session, entry)
                        await asyncio.sleep(0.001)
                    await stage.release(rival, claim)
                    await stage.release(await stage.session(store), claim)
            except TimeoutError:
                broken("after a cancelled call the store's other calls go on", "a call that hangs")


async def _cancel(stage: Stage, call: Callable[[], Awaitable[object]], pause: float) -> None:
    """
    Begin a call, and cancel it.
    """

    async def begun() -> None:
        with contextlib.suppress(LeadershipError):
            await call()

    task = asyncio.create_task(begun())
    await asyncio.sleep(pause)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=stage.soon)
    demand(bool(done), "a call that is cancelled ends", "it hangs")


def _accepts(store: Store, name: str) -> bool:
    return _refusal(store.check_election, name) is None


def _refusal(check: Callable[..., object], value: object) -> Exception | None:
    """
    What a check says to a value.
    """
    try:
        check(value)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is judged
        return error
    return None

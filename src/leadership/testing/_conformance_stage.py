"""
What the tests of the store conformance suite stand on: the loop, the stores and watches of one test, and how a broken
contract is said.

Nothing here needs a test framework; a broken contract is an `AssertionError` that says what the contract demands.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import threading
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn, TypeVar

from leadership import _clock
from leadership.errors import LeadershipError, StoreUnavailable
from leadership.store import MARGIN, Entry, Fact, Holder, Outcome, Reply, Session, Store, Watch, WatchEvent

GONE = (Fact.KEY_DELETED, Fact.LEASE_EXPIRED)
"""
Not every store can tell one from the other.
"""
PATIENCE = 1.0
"""
Seconds that a store may be slow in what need not wait for a lease, its ticks apart.
"""


def demand(holds: bool, fact: str, seen: object) -> None:
    """
    Say what the contract demands, where it does not hold.
    """
    if not holds:
        broken(fact, seen)


def broken(fact: str, seen: object) -> NoReturn:
    """
    Say what the contract demands, which does not hold.
    """
    msg = f"the contract of leadership.store demands: {fact}; seen: {seen}"
    raise AssertionError(msg)


class Suite:
    """
    What a subclass of `StoreConformance` says of its store.
    """

    ttl: float = 1.0
    """Seconds: the shortest lease that the store keeps."""
    tick: float = 0.5
    """Seconds that the store may take beyond a lease's end to free what it held, and a watch to tell."""

    def make_store(self) -> Store:
        """
        A new store object on the data of this test.
        """
        msg = f"{type(self).__name__} must define make_store(self) -> Store: a new store object on this test's data"
        raise NotImplementedError(msg)


class Heard:
    """
    All that one watch or session has told, and when.
    """

    def __init__(self, soon: float) -> None:
        self.events: list[WatchEvent] = []
        self.times: list[float] = []
        self.astray: WatchEvent | None = None
        """An event that was not told on the loop."""
        self._soon = soon
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._news = asyncio.Event()

    def __call__(self, event: WatchEvent) -> None:
        if threading.get_ident() != self._thread:
            self.astray = event
            return
        self.events.append(event)
        self.times.append(self._loop.time())
        self._news.set()

    async def until(self, fact: str, found: Callable[[WatchEvent], bool], within: float | None = None) -> float:
        """
        Wait for an event, the past ones included; the moment at which it was told.
        """
        deadline = self._loop.time() + (self._soon if within is None else within)
        while True:
            for event, time in zip(self.events, self.times, strict=True):
                if found(event):
                    return time
            demand(Fact.WATCH_CLOSED not in self.facts, "a watch goes on until something breaks it", self)
            self._news.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._news.wait()
            except TimeoutError:
                broken(fact, self)

    async def leader(self, token: int) -> Holder:
        """
        Wait to be told that a term has begun.
        """
        fact = f"a watch tells LEADER_OBSERVED when somebody leads (here with token {token}), within its tick"
        await self.until(fact, lambda event: event.holder is not None and event.holder.token == token)
        return next(event.holder for event in self.events if event.holder is not None and event.holder.token == token)

    async def gone(self, token: int, within: float | None = None) -> float:
        """
        Wait to be told that a term has ended; the moment at which it was told.
        """
        fact = (
            f"a watch tells KEY_DELETED or LEASE_EXPIRED with the token of the entry that is gone (here {token}),"
            " within its tick"
        )
        return await self.until(fact, lambda event: event.fact in GONE and event.token == token, within)

    @property
    def facts(self) -> list[Fact]:
        """
        What was told, without the details.
        """
        return [event.fact for event in self.events]

    def __str__(self) -> str:
        astray = "" if self.astray is None else f", and not on the loop: {self.astray}"
        return f"{self.events or 'nothing'}{astray}"


class Stage:
    """
    The stores, sessions and watches of one test. On its loop only.
    """

    def __init__(self, suite: Suite) -> None:
        self.ttl = suite.ttl
        self.tick = suite.tick
        self.lease = max(5 * suite.ttl, 10.0)
        """A TTL that outlasts a test."""
        self.soon = PATIENCE + 2 * suite.tick
        """Seconds in which anything happens that need not wait for a lease."""
        self._make_store = suite.make_store
        self._stores: list[Store] = []
        self._watches: list[Watch] = []
        self._heard: list[Heard] = []
        self._numbers = itertools.count(1)

    @staticmethod
    def now() -> float:
        """
        The clock of deadlines.
        """
        return asyncio.get_running_loop().time()

    def store(self) -> Store:
        """
        One more store object on the same data.
        """
        store = self._make_store()
        demand(all(store is not known for known in self._stores), "(of make_store) a new object at each call", store)
        self._stores.append(store)
        return store

    def hear(self) -> Heard:
        """
        Something that takes what a watch or session tells.
        """
        heard = Heard(self.soon)
        self._heard.append(heard)
        return heard

    def watch(self, store: Store, election: str) -> Heard:
        """
        What a watch tells from now on.
        """
        heard = self.hear()
        self._watches.append(store.watch(election, heard))
        return heard

    async def session(self, store: Store, ttl: float | None = None, told: Heard | None = None) -> Session:
        """
        A session that outlasts the test, or one of that TTL. A store may need more than one asking.
        """
        asked, notify, deadline = self.lease if ttl is None else ttl, told or self.hear(), self.now() + self.soon
        while True:
            try:
                session = await store.open_session(asked, notify)
            except StoreUnavailable as error:
                demand(self.now() < deadline, "a store that is there grants a session", repr(error))
                await asyncio.sleep(0.01)
            else:
                demand(session.ttl >= asked, f"a session of at least the {asked:g} s that were asked for", session.ttl)
                return session

    def entry(
        self,
        election: str,
        node: str = "ann",
        *,
        key: str = "",
        metadata: Mapping[str, Any] | None = None,
        above: int = 0,
    ) -> Entry:
        """
        A new attempt, later than all before it.
        """
        number = next(self._numbers)
        return Entry(election, node, key or uuid.uuid4().hex, metadata, number=number, above=above)

    async def take(self, session: Session, entry: Entry) -> int:
        """
        Acquire what is vacant; the token.
        """
        reply = await session.acquire(entry)
        demand(reply.outcome is Outcome.DONE, f"an acquire of a vacant election ({entry.election!r}) is done", reply)
        token = reply.token
        demand(isinstance(token, int), "an acquire that is done brings its token", reply)
        return token or 0

    async def refused(self, session: Session, entry: Entry) -> Reply:
        """
        Acquire what another leads.
        """
        reply = await session.acquire(entry)
        demand(reply.outcome is Outcome.REFUSED, "an acquire is refused while another session's entry leads", reply)
        return reply

    async def release(self, session: Session, entry: Entry) -> None:
        """
        Release an entry, or confirm that it is absent.
        """
        reply = await session.release(entry)
        demand(reply.outcome is Outcome.DONE, "a release is done when the session has no such entry any more", reply)

    async def holder(self, store: Store, election: str) -> Holder | None:
        """
        Who leads.
        """
        found = await store.read([election])
        demand(election in found, "a read answers for each election that was asked for", found)
        return found[election]

    async def becomes_vacant(self, store: Store, election: str, within: float) -> float:
        """
        Wait for a term to end without another one; the moment at which it was seen.
        """
        deadline = self.now() + within
        while (holder := await self.holder(store, election)) is not None:
            fact = f"an election is vacant at the latest {self.tick:g} s (tick) after its holder's session has lapsed"
            demand(self.now() < deadline, fact, holder)
            await asyncio.sleep(self.ttl / 20)
        return self.now()

    async def takes_over(self, session: Session, entry: Entry, within: float) -> tuple[int, float]:
        """
        Ask with one entry until it leads: a store with a queue promotes it, another grants it. The token, and when.
        """
        deadline = self.now() + within
        while True:
            reply = await session.acquire(entry)
            if reply.outcome is Outcome.DONE:
                demand(reply.token is not None, "an acquire that is done brings its token", reply)
                return reply.token or 0, self.now()
            fact = f"an entry whose turn has come leads when it asks again ({entry.node} in {entry.election!r})"
            demand(self.now() < deadline, fact, reply)
            await asyncio.sleep(min(self.ttl, self.tick) / 20)

    @staticmethod
    async def is_refused(call: Callable[[], Awaitable[Reply]]) -> bool:
        """
        Whether a call comes to nothing, by its reply or by a typed error.
        """
        try:
            return (await call()).outcome is not Outcome.DONE
        except LeadershipError:
            return True

    def lasts_until(self, session: Session, sent: float, reply: Reply | None = None) -> float:
        """
        The moment until which a leader believes, on the strength of a grant or renewal.
        """
        since = sent if reply is None or reply.since is None else reply.since
        demand(since <= self.now(), "a lease counts (Reply.since) from a moment that has been", reply)
        return since + session.ttl * (1 - MARGIN)

    async def close(self) -> None:
        """
        End what the test has opened.
        """
        for watch in self._watches:
            watch.close()
        for store in self._stores:
            try:
                await asyncio.wait_for(store.aclose(), self.soon)
            except TimeoutError:
                broken(f"aclose returns within {self.soon:g} s", "it hangs")
        for heard in self._heard:
            demand(heard.astray is None, "notify is called on the event loop", heard)


class _Loop(asyncio.SelectorEventLoop):
    """
    A loop on the clock of deadlines.
    """

    def time(self) -> float:
        return _clock.now()


S = TypeVar("S", bound=Suite)


def scenario(body: Callable[[S, Stage], Awaitable[None]]) -> Callable[[S], None]:
    """
    Make a plain test method of a coroutine that takes the stage, on a loop of its own and in bounded time.
    """

    def run(suite: S) -> None:
        with asyncio.Runner(loop_factory=_Loop) as runner:
            runner.run(_play(suite, body))

    functools.update_wrapper(run, body)
    del run.__dict__["__wrapped__"]  # pytest would take the stage for a fixture
    return run


async def _play(suite: S, body: Callable[[S, Stage], Awaitable[None]]) -> None:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context))
    bound = 10 * (suite.ttl + suite.tick + PATIENCE)
    stage = Stage(suite)
    limit = asyncio.timeout(bound)
    try:
        async with limit:
            await body(suite, stage)
    except TimeoutError:
        demand(not limit.expired(), f"no call hangs (the test was given {bound:g} s)", "a call that hangs")
        raise
    finally:
        await stage.close()
    await asyncio.sleep(0)  # what was left to the loop last has its turn
    demand(not faults, "nothing that a store leaves to the event loop raises", faults)

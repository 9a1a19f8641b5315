"""
A store in virtual time, with a network between it and each node that can delay, lose, cut and reorder.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from leadership.backends.memory import LEAST_TTL, MOST_TTL, MemoryServer, memory_timing
from leadership.checks import check_ttl
from leadership.errors import LeadershipError, StoreRefused, StoreUnavailable
from leadership.store import (
    Entry,
    Fact,
    Guarantees,
    Holder,
    Notify,
    Outcome,
    Reply,
    Session,
    Store,
    Timing,
    Watch,
    WatchEvent,
)
from leadership.testing._virtual import Stores, VirtualEngine, World

V = TypeVar("V")


@dataclass(slots=True)
class Link:
    """
    The network between one node and the store.
    """

    delay: tuple[float, float] = (0.0005, 0.003)
    """Seconds that each way of a call takes: drawn between the two."""
    requests_lost: bool = False
    replies_lost: bool = False
    loss: float = 0.0
    """The part of requests, and of replies, that is lost."""
    refused: LeadershipError | None = None
    """What every call is answered with at once."""
    watches: list[Watch] = field(default_factory=list[Watch])
    last_event_at: float = 0.0

    @property
    def cut(self) -> bool:
        """
        Nothing comes through, one way or the other.
        """
        return self.requests_lost or self.replies_lost


class Network:
    """
    All links, and the server behind them. Everything is drawn from the simulation's seed.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.server = MemoryServer()
        self.links: dict[str, Link] = {}
        self.hung: asyncio.Event | None = None
        """Set when the server answers again; None while it does."""
        self.held: list[Callable[[], None]] = []
        """What a server that hangs has yet to tell."""
        self.unavailable = False
        self.session_number = 0

    def link(self, node: str) -> Link:
        """
        The link of a node.
        """
        return self.links.setdefault(node, Link())

    def draw(self, node: str) -> float:
        """
        How long one way takes.
        """
        return self.world.random.uniform(*self.link(node).delay)

    async def call(self, node: str, apply: Callable[[], V]) -> V:
        """
        One call of the server, through the network.

        Raises:
            StoreUnavailable: The server refuses connections.
        """
        link = self.link(node)
        await asyncio.sleep(self.draw(node))
        if link.refused is not None:
            raise link.refused
        if self.unavailable:
            msg = "the simulated store refuses connections"
            raise StoreUnavailable(msg)
        if link.requests_lost or self.world.random.random() < link.loss:
            await self._never()
        while self.hung is not None:
            await self.hung.wait()
        result = apply()
        await asyncio.sleep(self.draw(node))
        if link.replies_lost or self.world.random.random() < link.loss:
            await self._never()
        return result

    @staticmethod
    async def _never() -> None:
        await asyncio.get_running_loop().create_future()

    def tell(self, node: str, tell: Callable[[], None]) -> None:
        """
        Bring an event to a node: in order, but later.
        """
        link, loop = self.link(node), self.world.loop
        # Of two timers of one moment either may be first.
        link.last_event_at = max(math.nextafter(link.last_event_at, math.inf), loop.time() + self.draw(node))
        loop.call_at(link.last_event_at, tell)

    def when_answering(self, tell: Callable[[], None]) -> None:
        """
        Call it now, or when the server answers again.
        """
        if self.hung is None:
            tell()
        else:
            self.held.append(tell)

    def resume(self) -> None:
        """
        The server answers again.
        """
        if self.hung is not None:
            self.hung.set()
            self.hung = None
        held, self.held = self.held, []
        for tell in held:
            self.world.loop.call_soon(tell)

    def break_watches(self, node: str) -> None:
        """
        After a cut, watches have missed something: they end.
        """
        link = self.link(node)
        broken, link.watches = link.watches, []
        for watch in broken:
            assert isinstance(watch, SimulatedWatch)  # noqa: S101 - it is what is put there
            watch.broken()


class SimulatedWatch(Watch):
    """
    A watch through the network.
    """

    def __init__(self, network: Network, node: str, election: str, notify: Notify) -> None:
        self._network = network
        self._node = node
        self._notify = notify
        self._open = True
        self._link = network.link(node)
        self._link.watches.append(self)
        self._begun: Callable[[], None] | None = None
        network.tell(node, lambda: network.when_answering(lambda: self._begin(election)))

    def _begin(self, election: str) -> None:
        if self._open:
            self._begun = self._network.server.watch(election, self._pass_on)

    def _pass_on(self, event: WatchEvent) -> None:
        self._network.when_answering(lambda: self._send(event))

    def _send(self, event: WatchEvent) -> None:
        if not self._link.cut:
            self._network.tell(self._node, lambda: self._deliver(event))

    def _deliver(self, event: WatchEvent) -> None:
        if self._open and not self._link.cut:
            self._notify(event)

    def broken(self) -> None:
        """
        The connection was cut.
        """
        if self._open:
            self.close()
            self._notify(WatchEvent(Fact.WATCH_CLOSED, error=StoreUnavailable("the simulated connection was cut")))

    def close(self) -> None:
        """
        End it.
        """
        self._open = False
        if self in self._link.watches:
            self._link.watches.remove(self)
        if self._begun is not None:
            self._begun()
            self._begun = None


class SimulatedSession(Session):
    """
    A lease at the server, through the network.
    """

    def __init__(self, network: Network, node: str, name: str, ttl: float) -> None:
        self._network = network
        self._node = node
        self.id = name
        self.ttl = ttl

    async def renew(self) -> Reply:
        """
        Another TTL.
        """
        return await self._network.call(self._node, lambda: self._network.server.renew(self.id))

    async def acquire(self, entry: Entry) -> Reply:
        """
        Claim an election.
        """
        return await self._network.call(self._node, lambda: self._network.server.acquire(self.id, entry))

    async def release(self, entry: Entry) -> Reply:
        """
        Remove the entry.
        """
        return await self._network.call(self._node, lambda: self._network.server.release(self.id, entry))

    async def end(self) -> Reply:
        """
        Give the session up.
        """
        await self._network.call(self._node, lambda: self._network.server.end(self.id))
        return Reply(Outcome.DONE)


class SimulatedStore(Store):
    """
    The store of a simulation, as the process of one node sees it.
    """

    guarantees = Guarantees(scope="cluster", tokens_survive_restart=True, attests_death=False)

    def __init__(self, network: Network, stores: Stores, node: str, engine: VirtualEngine | None) -> None:
        super().__init__()
        self.url = "simulation://"
        self.engine = engine
        self.node = node
        self._network = network
        self._stores = stores

    def seen_by(self, node: str) -> Store:
        """
        Each node has a process of its own.
        """
        return self._stores.view(node)

    def timing(self, ttl: float) -> Timing:
        """
        As `memory://`.
        """
        return memory_timing(check_ttl(ttl, least=LEAST_TTL, most=MOST_TTL, store=self.url))

    async def open_session(self, ttl: float, notify: Notify) -> Session:
        """
        Begin a lease.
        """
        network, node = self._network, self.node
        network.session_number += 1
        name = f"{node or 'follower'}#{network.session_number}"

        def passed_on(event: WatchEvent) -> None:
            network.tell(node, lambda: None if network.link(node).cut else self._deliver(notify, event))

        await network.call(node, lambda: network.server.grant(name, ttl, passed_on))
        return SimulatedSession(network, node, name, ttl)

    def _deliver(self, notify: Notify, event: WatchEvent) -> None:
        assert isinstance(self.engine, VirtualEngine)  # noqa: S101 - every node's view has one
        self.engine.deliver(notify, event)

    async def read(self, elections: Sequence[str]) -> Mapping[str, Holder | None]:
        """
        Who leads each.
        """
        server = self._network.server
        return await self._network.call(self.node, lambda: {name: server.read(name) for name in elections})

    def watch(self, election: str, notify: Notify) -> Watch:
        """
        Tell what happens from now on.
        """
        return SimulatedWatch(self._network, self.node, election, notify)

    async def request_resign(self, election: str, token: int, reason: str | None) -> Reply:
        """
        Pass an operator's request on.
        """
        server = self._network.server
        return await self._network.call(self.node, lambda: server.request_resign(election, token, reason))

    async def aclose(self) -> None:
        """
        Its sessions end with their leases.
        """


def refusal() -> StoreRefused:
    """
    What a store answers to revoked credentials.
    """
    return StoreRefused("the simulated store refuses these credentials")

"""
The simulated network and store, with what a client of each kind of server adds.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from leadership.backends._zookeeper_proof import Proof
from leadership.errors import StoreUnavailable
from leadership.store import (
    MARGIN,
    Entry,
    Fact,
    Guarantees,
    Notify,
    Outcome,
    Reply,
    Session,
    Store,
    Timing,
    WatchEvent,
)
from leadership.testing import Simulation
from leadership.testing._store import Network, SimulatedSession, SimulatedStore
from leadership.testing._virtual import VirtualEngine, World
from seeds.queues import Etcd, Queue, ZooKeeper
from seeds.servers import Consul, Server, Sqlite

V = TypeVar("V")
SERVERS: Final[dict[str, type[Server]]] = {"etcd": Etcd, "consul": Consul, "zookeeper": ZooKeeper, "sqlite": Sqlite}
POLL = 0.5
"""Seconds between two attempts at a lock that Consul holds back."""


@dataclass(frozen=True, slots=True)
class Model:
    """
    Which store, and how it is set up.
    """

    store: str
    granted: float = 0.0
    """Seconds that a lease is longer than asked for (etcd)."""
    lock_delay: float = 0.0
    """Seconds (Consul)."""
    tick: float = 0.5
    """The servers' tickTime in seconds (ZooKeeper)."""

    def timing(self, ttl: float) -> Timing:
        """
        What a TTL means, as the store's backend says it.
        """
        granted = ttl + self.granted
        lapse, renew, steps_down = granted + 1.0, ttl / 3, granted * (1 - MARGIN)
        death = None
        match self.store:
            case "etcd":
                pass
            case "consul":
                lapse = 2 * ttl + self.lock_delay + 1.0
            case "zookeeper":
                lapse = ttl + self.tick + 0.5
                renew = ttl / 6
                steps_down -= ttl / 6 + Proof(self.tick).lag
            case _:
                lapse, death = ttl + 0.3, 0.25
        return Timing(
            ttl=ttl,
            effective_ttl=granted,
            renew_interval=renew,
            steps_down_after=steps_down,
            crash_takeover=lapse,
            death_takeover=lapse if death is None else death,
            resign_takeover=0.25,
            clock_drift=MARGIN,
        )


class ModelNetwork(Network):
    """
    Also repeats calls, and has servers that are cut off from the others.
    """

    def __init__(self, world: World, server: Server) -> None:
        super().__init__(world)
        self.server = server
        self.duplicates: dict[str, float] = {}
        """The part of a node's calls that is carried out once more, later."""
        self.isolated: dict[str, asyncio.Event] = {}
        """Nodes whose server hears nothing of the other servers."""

    def is_silent(self, node: str) -> bool:
        """
        A node hears nothing of the store.
        """
        return self.link(node).cut or self.unavailable or node in self.isolated

    async def call(self, node: str, apply: Callable[[], V]) -> V:
        """
        One call of the server, through the network.
        """

        def arrive() -> V:
            if self.world.random.random() < self.duplicates.get(node, 0.0):
                self.world.loop.call_later(self.draw(node) * self.world.random.choice((1, 2, 20)), apply)
            return apply()

        while node in self.isolated:
            await self.isolated[node].wait()
        return await super().call(node, arrive)


class ModelSession(SimulatedSession):
    """
    A session, with what the client's side knows.
    """

    def __init__(self, store: ModelStore, name: str, ttl: float, notify: Notify, sent: float) -> None:
        super().__init__(store.net, store.node, name, ttl)
        self.notify = notify
        self.suspended = False
        self._store = store
        self._clock = store.clock
        self._proof = Proof(store.model.tick) if store.model.store == "zookeeper" else None
        if self._proof is not None:
            self._proof.connected(sent)

    async def _ask(self, apply: Callable[[], Reply]) -> Reply:
        sent = self._clock()
        server = self._network.server

        def heard() -> Reply:
            if isinstance(server, ZooKeeper):
                server.touch(self.id)
            return apply()

        reply = await self._network.call(self._node, heard)
        if self._proof is not None:
            self._proof.answered(sent, self._clock())
        return reply

    async def renew(self) -> Reply:
        """
        Another TTL; at ZooKeeper it counts from what the answer proves.
        """
        sent = self._clock()
        reply = await self._ask(lambda: self._network.server.renew(self.id))
        if self._proof is None or reply.outcome is not Outcome.DONE:
            return reply
        since = self._proof.since(sent)
        if since is None:
            msg = "nothing is known of the connection"
            raise StoreUnavailable(msg)
        return Reply(Outcome.DONE, since=since)

    async def acquire(self, entry: Entry) -> Reply:
        """
        Claim an election; a lock that Consul holds back is asked for again.
        """
        reply = await self._ask(lambda: self._network.server.acquire(self.id, entry))
        held_back = reply.outcome is Outcome.REFUSED and reply.holder is None
        if held_back and self._store.model.store == "consul":
            turn = WatchEvent(Fact.TURN, key=entry.key)
            self._network.world.loop.call_later(POLL, self._store.hear, self.notify, turn)
        return reply

    async def release(self, entry: Entry) -> Reply:
        """
        Remove the entry.
        """
        return await self._ask(lambda: self._network.server.release(self.id, entry))


class ModelStore(SimulatedStore):
    """
    The store of a model, as the process of one node sees it.
    """

    def __init__(self, sim: ModelSimulation, node: str, engine: VirtualEngine) -> None:
        super().__init__(sim.net, sim.nodes, node, engine)
        self.model = sim.model
        self.net = sim.net
        self.sessions: list[ModelSession] = []
        server = sim.server
        self.guarantees = Guarantees(
            server.scope, tokens_survive_restart=True, attests_death=server.attests_death, queues=server.queues
        )
        self.clock = engine.now

    def timing(self, ttl: float) -> Timing:
        """
        What a TTL means here.
        """
        return self.model.timing(super().timing(ttl).ttl)

    def hear(self, notify: Notify, event: WatchEvent) -> None:
        """
        Pass on what the client says by itself.
        """
        self._deliver(notify, event)

    async def open_session(self, ttl: float, notify: Notify) -> Session:
        """
        Begin a session.
        """
        sent = self.clock()
        net, node = self.net, self.node
        net.session_number += 1
        name, granted = f"{node or 'follower'}#{net.session_number}", ttl + self.model.granted

        def passed_on(event: WatchEvent) -> None:
            net.tell(node, lambda: None if net.link(node).cut else self._deliver(notify, event))

        await net.call(node, lambda: net.server.grant(name, granted, passed_on))
        session = ModelSession(self, name, granted, notify, sent)
        self.sessions = [known for known in self.sessions if known.id in net.server.leases]
        self.sessions.append(session)
        return session

    def suspend(self) -> None:
        """
        The client has not heard of its server for too long (ZooKeeper's tells that).
        """
        if self.model.store == "zookeeper" and self.net.is_silent(self.node):
            for session in self.sessions:
                session.suspended = True
                self.hear(session.notify, WatchEvent(Fact.SESSION_SUSPENDED, error=StoreUnavailable("silence")))

    def reconnect(self) -> None:
        """
        The server is heard again, and says what became of the sessions meanwhile.
        """
        server = self.net.server
        for session in self.sessions:
            if session.id not in server.leases:
                self.hear(session.notify, WatchEvent(Fact.SESSION_LOST))
                continue
            if session.suspended:
                session.suspended = False
                self.hear(session.notify, WatchEvent(Fact.SESSION_RESTORED))
            if isinstance(server, Queue):
                server.remind(session.id)


class ModelSimulation(Simulation):
    """
    A simulation on the model of a store.
    """

    def __init__(self, seed: object, model: Model) -> None:
        self.model = model
        super().__init__(seed)
        self.nodes = self._stores

    def _make_network(self, world: World) -> Network:
        self.server = SERVERS[self.model.store](random.Random(f"{world.seed}/server"))
        if isinstance(self.server, Consul):
            self.server.lock_delay = self.model.lock_delay
        if isinstance(self.server, ZooKeeper):
            self.server.tick = self.model.tick
            self.server.hears = lambda session: session.partition("#")[0] not in self.net.isolated
        self.net = ModelNetwork(world, self.server)
        return self.net

    def _make_store(self, node: str, engine: VirtualEngine) -> Store:
        self.nodes = self._stores
        return ModelStore(self, node, engine)

    # -- what a scenario asks ---------------------------------------------------------------------------------------

    def engine(self, node: str) -> VirtualEngine:
        """
        The engine of a node's present process.
        """
        self._stores.view(node)
        return self._stores.engines[node]

    def view(self, node: str) -> Store:
        """
        The store as a node's process sees it.
        """
        return self._stores.view(node)

    def run(self, main: Coroutine[Any, Any, V]) -> V:
        """
        Run a coroutine in virtual time.
        """
        return self._world.loop.run_until_complete(main)

    def later(self, seconds: float, call: Callable[..., object], *args: Any) -> None:
        """
        Have something happen after a time.
        """
        self._world.loop.call_later(seconds, call, *args)

    def now_or_soon(self, call: Callable[[], object]) -> None:
        """
        Change the server as one of its own steps.
        """
        self._on_loop(call)

    def release_thief(self, election: str) -> None:
        """
        An operator's entry that still stands is removed.
        """
        holder = self.server.read(election)
        if holder is not None and holder.session not in self.server.leases:
            self.release(election)

    # -- faults -----------------------------------------------------------------------------------------------------

    def _view(self, node: str) -> ModelStore:
        view = self._stores.view(node)
        assert isinstance(view, ModelStore)  # noqa: S101 - for the type checker
        return view

    def _wipe(self) -> None:
        self.server.wipe()

    def silence(self, node: str) -> None:
        """
        A node has lost contact: its client will notice.
        """
        longest = max((session.ttl for session in self._view(node).sessions), default=0.0)
        self.later(longest * 2 / 3, self._view(node).suspend)

    def duplicate(self, node: str, part: float, seconds: float) -> None:
        """
        Let some of a node's calls be carried out twice.
        """
        self.net.duplicates[node] = part
        self.later(seconds, lambda: self.net.duplicates.pop(node, None))

    def isolate(self, node: str, seconds: float) -> None:
        """
        Cut the server that a node is connected to off from the others.
        """
        if node not in self.net.isolated:
            self.net.isolated[node] = asyncio.Event()
            self.silence(node)
            self.later(seconds, self.join, node)

    def join(self, node: str) -> None:
        """
        End an isolation.
        """
        event = self.net.isolated.pop(node, None)
        if event is not None:
            event.set()
            self.net.break_watches(node)
            self._on_loop(self._view(node).reconnect)

    def fail_over(self, seconds: float) -> None:
        """
        The store loses its leader, and has another after a while.
        """
        self.fault("hang", seconds=seconds)
        self.later(seconds, self.server.fail_over)

    def died(self, node: str) -> None:
        """
        A node's process ends.
        """
        self.fault("crash", node=node)
        self.now_or_soon(lambda: self.server.died(node))

    def heal(self, kind: str | None = None, *, node: str | None = None) -> None:
        """
        End a fault, or all; clients that hear their server again ask what became of their sessions.
        """
        silent = [name for name in self._stores.engines if self.net.is_silent(name)]
        super().heal(kind, node=node)
        if kind is None:
            self.net.duplicates.clear()
            for name in tuple(self.net.isolated):
                self.join(name)
        for name in silent:
            if not self.net.is_silent(name):
                self._on_loop(self._view(name).reconnect)

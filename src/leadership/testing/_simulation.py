"""
A simulation: candidates and followers on a store in virtual time, with faults on demand.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from leadership import _clock
from leadership.checks import check_number
from leadership.errors import ConfigError
from leadership.store import Fact, Store
from leadership.term import Term
from leadership.testing._store import Network, SimulatedStore, refusal
from leadership.testing._threads import current_thread
from leadership.testing._virtual import Stores, VirtualEngine, World

NODE_FAULTS: Final = (
    "partition",
    "lose_requests",
    "lose_replies",
    "loss",
    "delay",
    "stall",
    "crash",
    "clock",
    "refuse",
)
STORE_FAULTS: Final = ("hang", "down", "wipe", "expire", "delete", "steal")


class Simulation:
    """
    Candidates and followers on `store`, in virtual time. The production engine runs; nothing waits for real.

    Each node name is a process of its own, with its own clock and its own link to the store. The same seed and the same
    calls give the same run, to the last record. Use it on one thread. A context manager.

        with Simulation(seed=1) as sim:
            candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0)
            candidate.start()
            assert sim.run_until(lambda: candidate.is_leader)
            sim.fault("partition", node="a")
            sim.advance(3.0)
            assert not candidate.is_leader
    """

    def __init__(self, seed: object = 0) -> None:
        self.seed = seed
        self._world = World(seed)
        self._network = self._make_network(self._world)
        self._stores = Stores(self._world, self._make_store)
        self.store: Store = self._stores.view("")
        """For `Candidate` and `Follower`."""
        self.store.closer = self._stop_all

    def _make_network(self, world: World) -> Network:
        return Network(world)

    def _make_store(self, node: str, engine: VirtualEngine) -> Store:
        return SimulatedStore(self._network, self._stores, node, engine)

    # -- time ---------------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """
        Virtual seconds since the beginning, by the store's clock.
        """
        return self._world.loop.time()

    def advance(self, seconds: float) -> None:
        """
        Let virtual time pass.
        """
        self._world.advance(check_number("advance", seconds, least=0.0))

    def run_until(self, predicate: Callable[[], bool], timeout: float = 60.0) -> bool:
        """
        Let virtual time pass until `predicate()` holds, looked at after every event; whether it did within `timeout`.
        """
        return self._world.run_until(predicate, timeout)

    def sleep(self, seconds: float) -> None:
        """
        What a callback calls instead of `time.sleep`; elsewhere it is `advance`.
        """
        if current_thread() is None:
            self.advance(seconds)
        else:
            self._world.block(lambda: False, seconds, lambda _wake: lambda: None)

    def spawn(self, function: Callable[[], object]) -> None:
        """
        Run a function that waits, `candidate.stop` say, beside the simulation: it goes on while virtual time passes.
        """

        def run() -> None:
            function()

        self._world.spawn(run)

    # -- faults -------------------------------------------------------------------------------------------------

    def fault(self, kind: str, *, node: str | None = None, election: str | None = None, **details: Any) -> None:
        """
        Inject a fault. It lasts until `heal`, or `seconds=` later.

        Args:
            kind: Of a node: `partition`; `lose_requests`, `lose_replies` (applied, but the answer never comes); `loss`
                (`part=0.3`); `delay` (`least=, most=` seconds each way); `stall` (the process stands still, its clock
                does not); `crash` (until `restart`); `clock` (`rate=1.05`); `refuse` (credentials are revoked).
                Of the store: `hang`; `down` (connections refused); `wipe` (all data is lost); of an `election`:
                `expire` (its holder's session ends), `delete` (its entry is removed), `steal` (an operator's entry
                takes its place).
            node: For the faults of a node.
            election: For the faults of an election.
            details: See `kind`; and `seconds` for all that last.

        Raises:
            ConfigError: There is no such fault, or it needs another argument.
        """
        lasts = details.pop("seconds", None)
        seconds = None if lasts is None else check_number("seconds", lasts, least=0.0)
        if kind in NODE_FAULTS:
            if node is None:
                msg = f"the fault {kind!r} needs node="
                raise ConfigError(msg)
            self._node_fault(kind, node, details)
        elif kind in STORE_FAULTS:
            self._store_fault(kind, election, details)
        else:
            msg = f"there is no fault {kind!r}; there are {', '.join((*NODE_FAULTS, *STORE_FAULTS))}"
            raise ConfigError(msg)
        if details:
            msg = f"the fault {kind!r} does not take {', '.join(sorted(details))}"
            raise ConfigError(msg)
        if seconds is not None:
            self._world.loop.call_later(seconds, lambda: self.heal(kind, node=node))

    def _node_fault(self, kind: str, node: str, details: dict[str, Any]) -> None:
        self._stores.view(node)  # it may be in trouble before it stands; "" is where followers run
        link, engine = self._network.link(node), self._stores.engines[node]
        match kind:
            case "partition":
                link.requests_lost = link.replies_lost = True
            case "lose_requests":
                link.requests_lost = True
            case "lose_replies":
                link.replies_lost = True
            case "loss":
                link.loss = check_number("part", details.pop("part", None), least=0.0)
            case "delay":
                least, most = (check_number(name, details.pop(name, None), least=0.0) for name in ("least", "most"))
                link.delay = (least, most)
            case "stall":
                engine.stalled = True
            case "crash":
                engine.crashed = True
            case "clock":
                engine.set_rate(check_number("rate", details.pop("rate", None), least=0.0, exclusive=True))
            case _:
                link.refused = refusal()

    def _store_fault(self, kind: str, election: str | None, details: dict[str, Any]) -> None:
        network, server = self._network, self._network.server
        if kind == "hang":
            import asyncio

            network.hung = asyncio.Event()
        elif kind == "down":
            network.unavailable = True
        elif kind == "wipe":
            self._on_loop(self._wipe)
        elif election is None:
            msg = f"the fault {kind!r} needs election="
            raise ConfigError(msg)
        elif kind == "expire":
            holder = server.read(election)
            if holder is not None:
                self._on_loop(lambda: server.expire(holder.session))
        elif kind == "delete":
            self._on_loop(lambda: server.vacate(election, Fact.KEY_DELETED))
        else:
            thief = str(details.pop("by", "operator"))
            self._on_loop(lambda: self._steal(election, thief))

    def _on_loop(self, change: Callable[[], object]) -> None:
        """
        Change the server's data as one of its own steps.
        """
        self._world.loop.call_soon(change)

    def _wipe(self) -> None:
        server = self._network.server
        for session in tuple(server.leases):
            server.expire(session)
        for election in server.elections.values():
            election.token, election.request = 0, (0, None)

    def _steal(self, name: str, thief: str) -> None:
        server = self._network.server
        server.overwrite(name, thief)

    def heal(self, kind: str | None = None, *, node: str | None = None) -> None:
        """
        End a fault, or all faults that can end; of one node or of all.
        """
        nodes = list(self._stores.engines) if node is None else [node]
        for name in nodes:
            link, engine = self._network.link(name), self._stores.engines[name]
            was_cut = link.cut
            if kind in (None, "partition", "lose_requests"):
                link.requests_lost = False
            if kind in (None, "partition", "lose_replies"):
                link.replies_lost = False
            if was_cut and not link.cut:
                self._network.break_watches(name)
            if kind in (None, "loss"):
                link.loss = 0.0
            if kind in (None, "delay"):
                link.delay = type(link)().delay
            if kind in (None, "refuse"):
                link.refused = None
            if kind in (None, "clock") and engine.rate != 1.0:
                engine.set_rate(1.0)
            if kind in (None, "stall") and engine.stalled:
                engine.resume()
        if kind in (None, "hang"):
            self._network.resume()
        if kind in (None, "down"):
            self._network.unavailable = False

    def restart(self, node: str) -> None:
        """
        After a crash: whoever stands as that node from now on is a new process, with the old one's name and link.
        """
        self._stores.restart(node)

    def release(self, election: str) -> None:
        """
        Remove an operator's entry that a `steal` has left.
        """
        self._on_loop(lambda: self._network.server.vacate(election, Fact.KEY_DELETED))

    def holder(self, election: str) -> str | None:
        """
        Who holds the election at the store, whatever anybody believes.
        """
        holder = self._network.server.read(election)
        return None if holder is None else holder.node

    def _stop_all(self) -> None:
        """
        `store.close()`: stop what uses the store.
        """
        users = [driver for engine in self._stores.engines.values() for driver in tuple(engine.drivers)]
        for driver in users:
            driver.request_stop()
        for driver in users:
            driver.wait_idle(driver.patience)

    # -- end ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """
        End it; callbacks that still wait are abandoned.
        """
        for engine in self._stores.engines.values():
            engine.crashed = True  # nothing is begun any more
        self._world.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def make_term(token: int = 1, lasts: float = 3.0, *, election: str = "election", node: str = "node") -> Term:
    """
    A term that needs no engine and is current for `lasts` real seconds: to call a callback with.
    """
    return Term(election, node, token, _clock.now() + lasts)

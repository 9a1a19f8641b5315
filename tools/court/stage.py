"""
What a run of rounds is played on: the servers of one store, three contenders, a follower, the resource, the observer.
"""

from __future__ import annotations

import contextlib
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from servers import Cluster, Network, Proxy, Server
from servers._process import ServerFailed

from court.actors import OWN_NAMES, PATIENCE, Actor, Resources, in_use
from court.addresses import DeadAddresses
from court.cases import Case
from court.clocks import Clocks
from court.controls import CONTROLS
from court.observer import Observer, ZooKeeperReader, reader, wait_for

NODES: Final = ("ann", "bob", "cleo")
MANY: Final = tuple(f"node{number:02}" for number in range(1, 21))


@dataclass(frozen=True)
class Setting:
    """
    What is different from stage to stage.
    """

    nodes: tuple[str, ...] = NODES
    face: str = "threads"
    """Which of the library's faces the contenders show: `threads`, `asyncio`."""
    sample: float = 0.005
    """Seconds between two looks."""
    writers: int = 3
    """Threads of each leader that write."""
    shows_clocks: bool = False
    """The processes are shown clocks that can be set."""


SETTINGS: Final = {
    "plain": Setting(),
    "clocks": Setting(shows_clocks=True),
    "asyncio": Setting(face="asyncio"),
    "many": Setting(MANY, sample=0.015, writers=1),
}


class Stage:
    """
    A context manager: everything runs inside it, and nothing is left behind.

    Each contender reaches the servers through proxies of its own, or runs on a host of its own of a network, so that
    one can be cut off and the others not.
    """

    def __init__(
        self,
        case: Case,
        folder: Path,
        servers: Server | Cluster[Any] | None,
        *,
        kind: str = "library",
        network: Network | None = None,
        setting: str = "plain",
        library: Path | None = None,
    ) -> None:
        """
        Args:
            case: The store.
            folder: Where everything is kept.
            servers: Its servers, if it has any.
            kind: Who stands: the library, or a control.
            network: That the servers and those who stand are hosts of; None for proxies.
            setting: A name of `SETTINGS`.
            library: What `clocks.build` has made, where clocks are shown.
        """
        self.case = case
        self.folder = folder
        self.servers = servers
        self.kind = kind
        self.network = network
        self.setting = SETTINGS[setting]
        self.library = library
        self.election = f"trial-{uuid.uuid4().hex[:8]}"
        self.actors: list[Actor] = []
        self.followers: list[Actor] = []
        """None where controls stand, which have layouts of their own."""
        self.highest = 0
        """The greatest token of all rounds so far."""
        self.rounds = 0
        self.played: Counter[str] = Counter()
        """Rounds by the names of their faults."""
        self.used: dict[str, list[list[int]]] = {}
        """For each process, what it had in use at the end of the rounds (`actors.in_use`)."""
        self.idle: dict[str, list[int]] = {}
        """The same before it began to stand, or to follow."""
        self.pauses: list[tuple[str, int, float, float]] = []
        """Node, process, from, until: of the present round."""
        self.isolated: Server | None = None
        """One that the others do not reach."""
        self.round = folder / "prologue"
        self._ended: list[Actor] = []

    @property
    def is_cluster(self) -> bool:
        """
        Whether the store has several servers.
        """
        return isinstance(self.servers, Cluster)

    @property
    def members(self) -> list[Server]:
        """
        The servers.
        """
        if self.servers is None:
            return []
        return list(self.servers.members) if isinstance(self.servers, Cluster) else [self.servers]

    def answering(self) -> Server:
        """
        A server that runs and is not frozen, nor isolated.
        """
        for each in self.members:
            if each.running and not each.frozen and each is not self.isolated:
                return each
        msg = "no server runs"
        raise ServerFailed(msg)

    def __enter__(self) -> Self:
        for folder in (self.folder, self.round, self.folder / "audit"):
            folder.mkdir(parents=True, exist_ok=True)
        self.dead = DeadAddresses(self.folder) if self.case.dead else None
        self.resources = Resources(
            self.folder / "resource.stderr", "127.0.0.1" if self.network is None else self.network.address
        )
        self.observer: Observer | None = None
        try:
            self.resources.turn(self.round)
            self.actors = [self._make(node) for node in self.setting.nodes]
            if self.kind not in CONTROLS:
                self.followers = [self._make("fay", follows=True)]
            for actor in [*self.actors, *self.followers]:
                self._ready(actor)
            if self.kind not in CONTROLS:
                hosts = ",".join(each.host for each in self.members)
                self._read = reader(self.answering, hosts, self.case.database(self.folder), self.election)
                self.observer = Observer(self._read)
            for actor in [*self.actors, *self.followers]:
                actor.ask("start")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """
        End all processes of the stage, but the servers.
        """
        for actor in [*self.actors, *self.followers, *self._ended]:
            actor.close()
        if self.observer is not None:
            self.observer.close()
            if isinstance(self._read, ZooKeeperReader):
                with contextlib.suppress(Exception):  # its server may be gone
                    self._read.close()
        if self.dead is not None:
            self.dead.close()
        self.resources.close()

    def _make(self, node: str, *, follows: bool = False) -> Actor:
        host = None if self.network is None else self.network.host(node)
        proxies = [Proxy(each.port) for each in self.members] if host is None else []
        hosts = [each.host for each in proxies or self.members] if self.dead is None else self.dead.before(proxies)
        who = ("", "") if self.case.admit is None else self.case.admit(self.members[0], node)
        audit = self.folder / "audit" / f"{node}-{uuid.uuid4().hex[:8]}.jsonl"
        role = {
            "kind": self.kind if follows or self.kind in CONTROLS else "library",
            "url": self.case.url(",".join(hosts), self.folder, who),
            "election": self.election,
            "node": node,
            "ttl": self.case.ttl,
            "audit": str(audit),
            "face": self.setting.face,
            "sample": self.setting.sample,
            "writers": self.setting.writers,
        }
        told = {
            "role": role,
            "folder": str(self.round),
            "address": self.resources.address,
            "ports": self.resources.ports,
        }
        names = () if self.dead is None else (*OWN_NAMES, str(self.dead.names))
        return Actor(
            told,
            proxies,
            self.folder / f"{node}.stderr",
            module="court.watcher" if follows else "court.worker",
            within=(*(host.within if host else ()), *names),
            clocks=None if self.library is None else Clocks(self.library, self.folder / "clocks" / audit.stem),
        )

    def _ready(self, actor: Actor) -> None:
        actor.answer("ready")
        self.idle[actor.name] = in_use(actor.process.pid)

    def replace(self, *actors: Actor) -> None:
        """
        Start processes in the place of those that were killed.
        """
        made = [self._make(actor.node) for actor in actors]
        for actor, new in zip(actors, made, strict=True):
            self.actors[self.actors.index(actor)] = new
            self._ended.append(actor)
            self._ready(new)
            new.ask("start")
            for proxy in actor.proxies:
                proxy.close()

    def turn(self, folder: Path) -> None:
        """
        Begin another round: all witnesses write to its folder.
        """
        folder.mkdir(parents=True)
        self.round = folder
        self.pauses = []
        for actor in [*self.actors, *self.followers]:
            actor.ask("round", folder=str(folder))
        self.resources.turn(folder)
        if self.observer is not None:
            self.observer.turn(folder)

    def believers(self) -> Iterator[Actor]:
        """
        Who tells that it leads, and is not paused.
        """
        for actor in self.actors:
            if actor.alive and actor.believes:
                yield actor

    def leader(self, *, other_than: Actor | None = None, newer: float = 0.0) -> Actor | None:
        """
        One who leads, other than somebody, or since a moment.
        """
        for actor in self.believers():
            if actor is not other_than and actor.believes_since > newer:
                return actor
        return None

    def followed(self) -> bool:
        """
        Whether each follower tells what the observer sees.
        """
        truth = None if self.observer is None or self.observer.truth is None else self.observer.truth[1]
        return all(each.believes and each.token == truth for each in self.followers)

    def foreign(self) -> set[str]:
        """
        The sessions in the store that are the observer's.
        """
        own = self._read.session if isinstance(self._read, ZooKeeperReader) else None
        return set() if own is None else {own}

    def wait_leader(self, seconds: float = PATIENCE) -> Actor:
        """
        One who leads.
        """
        if not wait_for(lambda: self.leader() is not None, seconds):
            msg = f"nobody leads within {seconds:g} s"
            raise RuntimeError(msg)
        return next(self.believers())

"""
A life written down: what a seed becomes, what a shrunk failure is, and what the corpus keeps.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from seeds.stores import Model

STORES: Final = ("etcd", "consul", "zookeeper", "sqlite")

HONEST: Final = (
    *("partition", "lose_requests", "lose_replies", "loss", "delay", "duplicate", "stall", "suspend", "clock"),
    *("hang", "down", "failover", "compaction", "isolate"),
)
"""Faults under which at most one candidate believes that it leads."""
DISHONEST: Final = ("expire", "delete", "steal", "wipe")
"""Somebody ends the holder's entry before its time: the tokens decide, and belief ends when the news comes."""
DRIFT: Final = 0.05
"""Clocks run up to this part too fast or too slow, which the margin of 10 % covers."""
NOT_OF: Final = {
    "etcd": {"isolate"},
    "consul": {"isolate"},
    "zookeeper": {"steal"},  # who writes over a node takes nothing from it
    "sqlite": {"partition", "lose_requests", "loss", "suspend", "clock", "failover", "compaction", "isolate"},
}
"""What cannot happen to a store: SQLite's processes have one machine and one clock."""


@dataclass(frozen=True, slots=True)
class Moment:
    """
    A time to wait: seconds, or until shortly before or after something that a lease is sensitive to.
    """

    after: float
    edge: str = ""
    """`belief`: the leader's own deadline; `lapse`: the store's; `renewal`: the next one; nothing: from now on."""


@dataclass(frozen=True, slots=True)
class Step:
    """
    Something that happens.
    """

    wait: Moment
    kind: str
    who: str = ""
    """A node, or `leader`: whoever leads then."""
    lasts: Moment | None = None
    part: float = 0.0
    """How much: of calls that are lost or repeated, of a clock's rate, seconds of delay or of abstention."""


@dataclass(frozen=True, slots=True)
class Stand:
    """
    One candidate, and how its callbacks behave.
    """

    node: str
    cool_down: float = 0.2
    grace: float | None = None
    backoff: float = 0.05
    works: bool = True
    linger: float = 0.0
    """Seconds for which on_elected goes on after its term."""
    rate: float = 1.0
    """Of its process's clock, until the faults end."""


@dataclass(frozen=True, slots=True)
class Plan:
    """
    All that makes a life, so that it can be played again.
    """

    seed: int
    model: Model
    ttl: float
    stands: tuple[Stand, ...]
    steps: tuple[Step, ...]
    found: str = field(default="", compare=False)
    """What was broken by it, for the corpus."""
    plant: str = field(default="", compare=False)
    """The bug that was planted then; nothing: it was the library's own."""

    @property
    def is_honest(self) -> bool:
        """
        Nobody takes an entry from its holder.
        """
        return not any(step.kind in DISHONEST for step in self.steps)

    def without(self, **parts: Any) -> Plan:
        """
        The same with less.
        """
        return replace(self, **parts)

    def dump(self) -> str:
        """
        As JSON, for people to read.
        """
        return json.dumps(asdict(self), indent=1) + "\n"


def load(text: str) -> Plan:
    """
    What `dump` has written.
    """
    found = json.loads(text)
    steps = tuple(
        Step(
            **{
                **step,
                "wait": Moment(**step["wait"]),
                "lasts": None if step["lasts"] is None else Moment(**step["lasts"]),
            }
        )
        for step in found["steps"]
    )
    stands = tuple(Stand(**stand) for stand in found["stands"])
    return Plan(**{**found, "model": Model(**found["model"]), "stands": stands, "steps": steps})


class _Drawing:
    """
    Draws a plan.
    """

    def __init__(self, seed: int, store: str) -> None:
        self.draw = random.Random(f"{seed}/{store}")
        self.seed = seed
        self.store = store

    def plan(self) -> Plan:
        draw = self.draw
        honest = draw.random() < 0.75
        self.ttl = float(draw.choice((2, 3, 5)) if self.store == "etcd" else draw.choice((0.5, 1.0, 2.0, 3.0, 5.0)))
        if self.store == "zookeeper":
            self.ttl = max(1.0, self.ttl)
        model = Model(
            self.store,
            granted=float(draw.choice((0, 0, 1))) if self.store == "etcd" else 0.0,
            lock_delay=draw.choice((0.0, 0.0, 1.0, self.ttl)) if self.store == "consul" else 0.0,
            tick=self.ttl / draw.choice((2, 5, 10)) if self.store == "zookeeper" else 0.5,
        )
        stands = tuple(self.stand(f"node-{number}") for number in range(draw.randint(2, 4)))
        self.nodes = [stand.node for stand in stands]
        kinds = HONEST if honest else HONEST + DISHONEST
        self.kinds = [kind for kind in kinds if kind not in NOT_OF[self.store]]
        steps: list[Step] = []
        count = draw.randint(8, 30)
        while len(steps) < count:
            steps += self.attack() if draw.random() < 0.25 else [self.step()]
        return Plan(self.seed, model, self.ttl, stands, tuple(steps))

    def attack(self) -> list[Step]:
        """
        A few steps that are seldom drawn in this order, and that a lease is sensitive to.
        """
        draw, ttl = self.draw, self.ttl
        cut = draw.choice(("partition", "lose_replies")) if "partition" in self.kinds else "hang"
        soon = Moment(draw.uniform(0.0, 0.1))
        match draw.randrange(3):
            case 0:  # slow answers, then none
                slow = Step(self.wait(), "delay", "leader", Moment(draw.uniform(0.7, 1.5) * ttl), 0.24 * ttl)
                lasts = Moment(draw.uniform(1.0, 2.5) * ttl)
                return [slow, Step(Moment(draw.uniform(0.3, 1.2) * ttl), cut, "leader", lasts)]
            case 1:  # the leader stands still over its deadline, or is cut off
                lasts = Moment(self.near(), draw.choice(("belief", "lapse", "lapse")))
                kind = draw.choice(("stall", cut))
                return [Step(Moment(self.near(), "renewal"), kind, "leader", lasts), Step(soon, "ask", "leader")]
            case _:  # alone, it stands again, and what it asked first arrives after what it asked last
                stops = [Step(soon, "stop", node) for node in self.nodes[1:]]
                lag = Moment(draw.uniform(0.002, 0.05))
                return [
                    *stops,
                    Step(Moment(1.5 * ttl), "resign", self.nodes[0], part=0.1),
                    Step(Moment(draw.uniform(0.08, 0.12)), "lag", self.nodes[0], lag, 0.3 * ttl),
                    *[Step(Moment(draw.uniform(0.0, 0.4) * ttl), "start", node) for node in self.nodes[1:]],
                    Step(soon, "delay", self.nodes[0], Moment(ttl), 0.2 * ttl),
                ]

    def stand(self, node: str) -> Stand:
        draw = self.draw
        return Stand(
            node,
            cool_down=draw.choice((0.0, 0.2, 1.0)),
            grace=draw.choice((None, None, 0.1, 2 * self.ttl)),
            backoff=draw.choice((0.05, 0.25)),
            works=draw.random() < 0.7,
            linger=draw.choice((0.0, 0.0, 0.5, 1.5)) * self.ttl,
            rate=1.0 if self.store == "sqlite" else 1 + draw.choice((0.0, -DRIFT, DRIFT, draw.uniform(-DRIFT, DRIFT))),
        )

    def near(self) -> float:
        """
        Just before or just after.
        """
        return self.draw.choice((-1, 1)) * self.draw.choice((0.0, 0.0005, 0.002, 0.01, 0.05))

    def wait(self) -> Moment:
        draw = self.draw
        if draw.random() < 0.5:
            return Moment(self.near(), draw.choice(("belief", "lapse", "renewal", "renewal")))
        return Moment(draw.choice((draw.uniform(0.0, 2 * self.ttl), draw.uniform(0.0, 0.2))))

    def lasts(self) -> Moment:
        draw = self.draw
        if draw.random() < 0.4:
            return Moment(self.near(), draw.choice(("belief", "lapse")))
        return Moment(max(0.001, draw.choice((0.25, 0.5, 1.0, 1.0, 2.0, 4.0)) * self.ttl + draw.uniform(-0.05, 0.05)))

    def step(self) -> Step:
        draw = self.draw
        wait = self.wait()
        who = "leader" if draw.random() < 0.65 else draw.choice(self.nodes)
        action = draw.random()
        if action < 0.12:
            return Step(wait, "resign", who, part=draw.choice((-1.0, 0.0, self.ttl)))
        if action < 0.17:
            return Step(wait, "stop", who)
        if action < 0.24:
            return Step(wait, "start", draw.choice(self.nodes))
        if action < 0.28:
            return Step(wait, "ask", who)
        if action < 0.36:
            return Step(wait, "crash", who, lasts=self.lasts())
        kind = draw.choice(self.kinds)
        part = 0.0
        match kind:
            case "loss" | "duplicate":
                part = draw.uniform(0.05, 0.6)
            case "delay":
                part = draw.choice((0.05, 0.24, 0.4, 0.6)) * self.ttl
            case "clock":
                part = draw.choice((-DRIFT, DRIFT, draw.uniform(-DRIFT, DRIFT)))
        lasts = None if kind in ("expire", "delete", "wipe", "compaction") else self.lasts()
        if kind == "failover":
            lasts = Moment(draw.uniform(0.2, 3.0))
        return Step(wait, kind, who, lasts, part)


def draw_plan(seed: int, store: str) -> Plan:
    """
    What a seed means on a store.
    """
    return _Drawing(seed, store).plan()

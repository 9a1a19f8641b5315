"""
Faults of clocks: the wall clock is set, the others run slow or fast, the machine sleeps.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import cycle
from typing import ClassVar, Final

from servers import ZooKeeper

from court.actors import Actor
from court.clock import now
from court.clocks import Clocks, moments_now
from court.fault import ALL, SERVED, Fault, Injection
from court.faults_of_candidates import Pause
from court.stage import Stage

HOUR: Final = 3600.0


def clocks_of(actor: Actor) -> Clocks:
    """
    The clocks that a process is shown.
    """
    if actor.clocks is None:
        msg = "this fault needs a stage that shows clocks"
        raise TypeError(msg)
    return actor.clocks


def wall_ahead(actor: Actor) -> float:
    """
    How far the wall clock is ahead in a process, as it tells itself.
    """
    told = actor.ask("clocks")
    ahead: float = (told["wall"] - told["true"]) - (time.time() - now())
    return ahead


class WallSteps(Fault):
    """
    The wall clock of the leader is set an hour ahead, an hour behind, a TTL ahead, a TTL behind, and right again; then
    to and fro by an hour, a hundred times a second, so that each call is met in its midst.
    """

    name = "F14 wall clock steps"
    moves = "never"
    since = "healed"
    setting = "clocks"
    cluster = True

    def inject(self, injection: Injection) -> None:
        """
        Set it, and wait a TTL each time.
        """
        ttl = injection.stage.case.ttl
        injection.at = now()
        right = 0
        for seconds in (HOUR, -HOUR, ttl, -ttl, 0.0):
            self.step(injection, seconds)
            right += abs(self.ahead(injection) - seconds) < 0.2
            time.sleep(ttl)
        end = now() + ttl
        for seconds in cycle((HOUR, -HOUR)):
            self.step(injection, seconds)
            time.sleep(0.01)
            if now() > end:
                break
        self.step(injection, 0.0)
        injection.proof = "its process told of 4 steps and back" if right == 5 else ""

    def step(self, injection: Injection, seconds: float) -> None:
        """
        Set it.
        """
        clocks_of(injection.leader).step_wall(seconds)

    def ahead(self, injection: Injection) -> float:
        """
        What can be seen of that.
        """
        return wall_ahead(injection.leader)


class StoreWallSteps(WallSteps):
    """
    The same to the servers; those of etcd and Consul are Go programs, which no library can be put before.
    """

    name = "F14 wall clock of the store steps"
    stores = frozenset({"zookeeper"})

    def step(self, injection: Injection, seconds: float) -> None:
        """
        Set it in all servers.
        """
        for each in injection.stage.members:
            if each.clocks is not None:
                each.clocks.step_wall(seconds)

    def ahead(self, injection: Injection) -> float:
        """
        What the servers stamp a write with.
        """
        server = injection.stage.answering()
        if not isinstance(server, ZooKeeper):
            return 0.0
        server.put("/court-clock", "")
        with server.client() as client:
            ahead: float = client.exists("/court-clock").mtime / 1000 - time.time()
        return ahead


class Rate(Fault):
    """
    The leader's clocks run a little slow or fast; after a while its engine hangs, and only its deadline is left.

    On SQLite the processes of all candidates have the same clocks: they are those of one machine, which is the store.
    """

    name = "F15 clock rate × 0.9–1.1"
    setting = "clocks"
    RATES: ClassVar[tuple[float, ...]] = (0.9, 1.1, 0.95, 1.05)

    @property
    def audited(self) -> bool:
        """
        Moments of audits cannot be compared where clocks run differently.
        """
        return False

    def rate(self, number: int) -> float:
        """
        Of a round.
        """
        return self.RATES[number % len(self.RATES)]

    def concerned(self, injection: Injection) -> Iterable[Actor]:
        """
        Whose clocks these are.
        """
        stage = injection.stage
        return [injection.leader] if stage.members else [*stage.actors, *stage.followers]

    def most(self, stage: Stage) -> float:
        """
        On SQLite the lease is counted by the same clock.
        """
        return super().most(stage) / (1.0 if stage.members else min(self.RATES))

    def inject(self, injection: Injection) -> None:
        """
        Let it lead so for three TTLs, and hang.
        """
        stage, leader = injection.stage, injection.leader
        rate = self.rate(injection.number)
        moments = moments_now()
        for each in self.concerned(injection):
            clocks_of(each).run_at(rate, moments)
        before = leader.ask("clocks")
        time.sleep(3 * stage.case.ttl)
        after = leader.ask("clocks")
        shown = [(after[name] - before[name]) / (after["true"] - before["true"]) for name in ("boot", "mono")]
        injection.at = now()
        answer = leader.ask("hang", seconds=(self.most(stage) + 0.5) * rate)
        if answer["settled"] and all(abs(each - rate) < 0.005 for each in shown):
            injection.proof = f"its clocks ran at {shown[0]:.3f} and {shown[1]:.3f}, and its engine's thread sleeps"

    def hold(self, injection: Injection) -> float | None:
        """
        As long as it hangs.
        """
        return self.most(injection.stage) + 0.5

    def heal(self, injection: Injection) -> None:
        """
        Let them run as they should; what they have lost is lost.
        """
        moments = moments_now()
        for each in self.concerned(injection):
            clocks_of(each).run_at(1.0, moments)


class HalfRate(Rate):
    """
    The leader's clocks run at half the rate, more than its margin allows: it may believe beside another.
    """

    name = "F15 clock rate × 0.5"
    stores = SERVED
    spared = frozenset({"S1", "S1-store"})
    RATES = (0.5,)

    def inject(self, injection: Injection) -> None:
        """
        The same, and it must try what only its token can prevent; Consul keeps a session for up to two TTLs.
        """
        injection.notes["stale"] = injection.stage.case.name != "consul"
        super().inject(injection)


class SlowMachine(Rate):
    """
    All clocks of the machine run at half the rate.
    """

    name = "F15 machine's clock × 0.5"
    stores = ALL - SERVED
    RATES = (0.5,)


class Suspend(Pause):
    """
    What a process sees of a suspend of its machine: it stands still, and its monotonic clock too, unlike that of the
    boot.
    """

    name = "F15 suspend"
    setting = "clocks"

    def heal(self, injection: Injection) -> None:
        """
        Take the time from its clock, and let it go on.
        """
        lost = now() - injection.at
        clocks_of(injection.leader).lose(lost)
        super().heal(injection)
        told = injection.leader.ask("clocks")
        behind = told["boot"] - told["mono"] - lost
        injection.proof = f"its monotonic clock stood still for {lost:.3f} s" if behind > -0.05 else ""

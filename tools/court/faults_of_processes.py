"""
Faults within the leader's process: a fork, signals, what keeps its threads or its event loop from running, descriptors,
and callbacks that misbehave.
"""

from __future__ import annotations

import os
import time
from typing import Final

from court.actors import Actor
from court.clock import now
from court.fault import Fault, Injection
from court.faults_of_candidates import Kill
from court.mischief import STORM
from court.observer import wait_for
from court.stage import Stage

CHILD_EXITS: Final = 12.0
"""Seconds within which the child of a fork must have exited; it is killed a little earlier."""


def won_alone(stage: Stage, actor: Actor, seconds: float) -> float | None:
    """
    Have all others leave: the seconds after which a candidate leads that is alone, or None. Then they stand again.
    """
    others = [each for each in stage.actors if each is not actor]
    for each in others:
        each.send("stop")
    for each in others:
        each.answer("stop")
    since = now()
    won = wait_for(lambda: actor.believes, seconds)
    took = max(0.0, actor.believes_since - since) if won else None
    for each in others:
        each.ask("start")
    return took


class Fork(Fault):
    """
    The leader's process forks, and leads on; its child believes nothing, and takes nothing with it when it exits.
    """

    name = "F16 fork"
    moves = "never"
    since = "healed"

    def inject(self, injection: Injection) -> None:
        """
        Fork it.
        """
        injection.at = now()
        injection.facts["child"] = injection.leader.ask("fork", seconds=2 * injection.stage.case.ttl)["child"]

    def hold(self, injection: Injection) -> float | None:
        """
        As long as the child looks.
        """
        return 2 * injection.stage.case.ttl

    def heal(self, injection: Injection) -> None:
        """
        Count the looks of the child, and wait for its exit and a TTL longer.
        """
        stage, child = injection.stage, injection.facts["child"]
        code: list[int | None] = [None]

        def exited() -> bool:
            code[0] = injection.leader.ask("reap", child=child)["code"]
            return code[0] is not None

        wait_for(exited, CHILD_EXITS)
        path = stage.round / f"{injection.leader.node}-{child}.jsonl"
        looks = len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0
        if looks > 20 * stage.case.ttl and code[0] == 0:
            injection.proof = f"{child} has looked {looks} times, and has exited"
        time.sleep(stage.case.ttl)
        injection.healed = now()


class OrphanedFork(Kill):
    """
    The leader's process forks and is killed; its child lives on, with all that it has inherited.
    """

    name = "F16 fork, and kill -9"
    cluster = False

    def inject(self, injection: Injection) -> None:
        """
        Fork it, and kill it.
        """
        child = injection.leader.ask("fork", seconds=self.most(injection.stage) + 1.0)["child"]
        super().inject(injection)
        injection.proof = f"{child} lives" if os.path.exists(f"/proc/{child}") else ""


class Signals(Fault):
    """
    The leader's process gets a thousand signals a second.
    """

    name = "F16 storm of signals"
    moves = "never"
    since = "healed"

    def inject(self, injection: Injection) -> None:
        """
        Send them for three TTLs.
        """
        leader = injection.leader
        leader.ask("listen")
        injection.at = now()
        end = now() + 3 * injection.stage.case.ttl
        sent = 0
        while now() < end:
            os.kill(leader.process.pid, STORM[sent % len(STORM)])
            sent += 1
            time.sleep(0.001)
        caught = leader.ask("caught")["count"]
        injection.proof = f"{caught} of {sent} signals were caught" if caught > 100 * injection.stage.case.ttl else ""


class Hog(Fault):
    """
    C code in the leader's process keeps the interpreter's lock until another leads, and longer: no thread runs.
    """

    name = "F16 interpreter's lock kept"
    waits = True

    def inject(self, injection: Injection) -> None:
        """
        Keep it.
        """
        injection.at = now()
        injection.leader.send("hog", seconds=self.most(injection.stage) + 0.5)
        injection.leader.paused = True

    def heal(self, injection: Injection) -> None:
        """
        Wait for its end.
        """
        leader = injection.leader
        told = leader.answer("hog")
        leader.paused = False
        injection.stage.pauses.append((leader.node, leader.process.pid, told["since"], told["until"]))
        injection.proof = f"no thread ran for {told['until'] - told['since']:.3f} s"


class BlockedLoop(Fault):
    """
    The event loop of the leader's user stands still; its candidate has an engine of its own, and leads on.
    """

    name = "F16 event loop blocked"
    moves = "never"
    since = "healed"
    setting = "asyncio"

    def inject(self, injection: Injection) -> None:
        """
        Block it for three TTLs.
        """
        seconds = 3 * injection.stage.case.ttl
        injection.at = now()
        answer = injection.leader.ask("block", seconds=seconds)
        injection.proof = f"its loop stood still for {seconds:g} s" if answer["settled"] else ""


class NoDescriptors(Fault):
    """
    The leader's process has no file descriptor left, and its connections are closed; healed, it can win again.
    """

    name = "F16 descriptors used up"
    moves = "may"
    since = "healed"
    bound = "calm"
    TTLS: Final = 3

    def inject(self, injection: Injection) -> None:
        """
        Use them up, and close what it has.
        """
        leader = injection.leader
        leader.ask("leak")
        injection.at = now()
        injection.facts["closed"] = sum(proxy.reset() for proxy in leader.proxies)

    def hold(self, injection: Injection) -> float | None:
        """
        Three TTLs.
        """
        return self.TTLS * injection.stage.case.ttl

    def heal(self, injection: Injection) -> None:
        """
        Give them back, and see that it can win.
        """
        stage, leader = injection.stage, injection.leader
        answer = leader.ask("mend")
        injection.healed = now()
        injection.proof = f"none was left, {injection.facts['closed']} sockets closed" if answer["settled"] else ""
        injection.notes["alone"] = {leader.node: won_alone(stage, leader, self.most(stage) + 20.0)}


class CallbacksRaise(Fault):
    """
    The leader is asked to resign; each candidate's callbacks raise once.
    """

    name = "F16 callbacks raise"

    def inject(self, injection: Injection) -> None:
        """
        Plan it, and ask for it.
        """
        for actor in injection.stage.actors:
            actor.ask("plan", misdeeds={"elected": {"raises": True}, "demoted": {"raises": True}})
        injection.at = injection.leader.ask("resign")["at"]

    def hold(self, injection: Injection) -> float | None:
        """
        Until all have raised, and been elected again after that.
        """
        return 2.0 + injection.stage.case.ttl

    def heal(self, injection: Injection) -> None:
        """
        Count, and forget what was not done.
        """
        done = sum(actor.ask("plan", misdeeds={})["count"] for actor in injection.stage.actors)
        injection.proof = f"{done} callbacks raised" if done >= 2 else ""


class CallbacksBlock(Fault):
    """
    The leader is asked to resign, and what it calls at its demotion takes longer than its lease; so does what its
    successor calls at its election, which leads meanwhile.
    """

    name = "F16 callbacks block"

    def inject(self, injection: Injection) -> None:
        """
        Plan it, and ask for it.
        """
        stage = injection.stage
        seconds = 2 * stage.case.ttl
        injection.facts["seconds"] = seconds
        for actor in stage.actors:
            mine = actor is injection.leader
            actor.ask("plan", misdeeds={"demoted" if mine else "elected": {"sleeps": seconds}})
        injection.at = now()
        injection.leader.send("resign")

    def hold(self, injection: Injection) -> float | None:
        """
        Until those of the successor have ended, too.
        """
        return float(injection.facts["seconds"]) + self.most(injection.stage) + 0.5

    def heal(self, injection: Injection) -> None:
        """
        Count, and forget what was not done; the one that was held up can win.
        """
        stage, leader = injection.stage, injection.leader
        leader.answer("resign")
        done = [actor.node for actor in stage.actors if actor.ask("plan", misdeeds={})["count"]]
        if len(done) == 2:
            injection.proof = f"callbacks of {' and '.join(done)} took {injection.facts['seconds']:g} s"
        injection.notes["alone"] = {leader.node: won_alone(stage, leader, stage.case.bounds.calm + 20.0)}

"""
What a mixture is made of: each trouble begins when it is entered and ends when it is left.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from court.actors import Actor
from court.clock import now
from court.faults_of_candidates import pause_outside
from court.faults_of_clocks import HOUR, clocks_of
from court.mischief import STORM
from court.stage import Stage

Trouble = Callable[[Stage, Actor, random.Random, float], AbstractContextManager[None]]
"""On which stage, whom, by which dice, for how many seconds at the most."""


@contextmanager
def paused(stage: Stage, actor: Actor, dice: random.Random, seconds: float) -> Iterator[None]:
    """
    It is stopped by SIGSTOP; by chance its monotonic clock stands still, too, as in a suspend.
    """
    del seconds
    since, _ = pause_outside(stage, actor)
    yield
    if dice.random() < 0.5:
        clocks_of(actor).lose(now() - since)
    until = actor.resume()
    stage.pauses.append((actor.node, actor.process.pid, since, until))


@contextmanager
def killed(stage: Stage, actor: Actor, dice: random.Random, seconds: float) -> Iterator[None]:
    """
    It is killed, and started again.
    """
    del dice, seconds
    actor.kill()
    yield
    stage.replace(actor)


@contextmanager
def hogged(stage: Stage, actor: Actor, dice: random.Random, seconds: float) -> Iterator[None]:
    """
    Its interpreter's lock is kept.
    """
    del dice
    actor.send("hog", seconds=seconds)
    actor.paused = True
    yield
    told = actor.answer("hog")
    actor.paused = False
    stage.pauses.append((actor.node, actor.process.pid, told["since"], told["until"]))


@contextmanager
def hung(stage: Stage, actor: Actor, dice: random.Random, seconds: float) -> Iterator[None]:
    """
    Its engine stands still.
    """
    del stage, dice
    actor.ask("hang", seconds=seconds)
    yield


@contextmanager
def drained(stage: Stage, actor: Actor, dice: random.Random, seconds: float) -> Iterator[None]:
    """
    It has no descriptors left.
    """
    del stage, dice, seconds
    actor.ask("leak")
    yield
    actor.ask("mend")


@contextmanager
def stormed(stage: Stage, actor: Actor, dice: random.Random, seconds: float) -> Iterator[None]:
    """
    It gets some signals.
    """
    del stage, seconds
    actor.ask("listen")
    for _ in range(100):
        os.kill(actor.process.pid, dice.choice(STORM))
    yield


@contextmanager
def resigned(stage: Stage, actor: Actor, dice: random.Random, seconds: float) -> Iterator[None]:
    """
    It is asked to resign, and a callback raises by chance, or takes long.
    """
    del stage
    misdeeds = dice.choice(({}, {"demoted": {"raises": True}}, {"demoted": {"sleeps": seconds}}))
    actor.ask("plan", misdeeds=misdeeds)
    actor.send("resign")
    yield


@contextmanager
def left(stage: Stage, actor: Actor, dice: random.Random, seconds: float) -> Iterator[None]:
    """
    It leaves the election and comes back, settled or not.
    """
    del stage, dice, seconds
    actor.ask("stop")
    yield
    actor.ask("start")


@contextmanager
def forked(stage: Stage, actor: Actor, dice: random.Random, seconds: float) -> Iterator[None]:
    """
    It has a child.
    """
    del stage, dice
    actor.ask("fork", seconds=seconds)
    yield


@contextmanager
def stepped(stage: Stage, actor: Actor, dice: random.Random, seconds: float) -> Iterator[None]:
    """
    Its wall clock is wrong.
    """
    del seconds
    ttl = stage.case.ttl
    clocks_of(actor).step_wall(dice.choice((HOUR, -HOUR, ttl, -ttl)))
    yield
    clocks_of(actor).step_wall(0.0)


@contextmanager
def cut(stage: Stage, actor: Actor, dice: random.Random, seconds: float) -> Iterator[None]:
    """
    Its requests, its answers or both are held back.
    """
    del stage, seconds
    requests, replies = dice.choice(((True, True), (True, False), (False, True)))
    for proxy in actor.proxies:
        proxy.cut(requests=requests, replies=replies)
    yield
    for proxy in actor.proxies:
        proxy.heal()


@contextmanager
def closed(stage: Stage, actor: Actor, dice: random.Random, seconds: float) -> Iterator[None]:
    """
    Its connections are closed.
    """
    del stage, dice, seconds
    for proxy in actor.proxies:
        proxy.reset()
    yield


@contextmanager
def frozen(stage: Stage, actor: Actor, dice: random.Random, seconds: float) -> Iterator[None]:
    """
    The server stands still, or two of three.
    """
    del actor, seconds
    chosen = dice.sample(stage.members, len(stage.members) // 2 + 1)
    for each in chosen:
        each.freeze()
    yield
    for each in chosen:
        each.thaw()


@contextmanager
def down(stage: Stage, actor: Actor, dice: random.Random, seconds: float) -> Iterator[None]:
    """
    One of three servers is killed, and started again.
    """
    del actor, seconds
    chosen = dice.choice(stage.members)
    chosen.kill()
    yield
    chosen.start()


@contextmanager
def locked(stage: Stage, actor: Actor, dice: random.Random, seconds: float) -> Iterator[None]:
    """
    Somebody holds a write transaction of the file.
    """
    del actor, dice, seconds
    with contextlib.closing(sqlite3.connect(stage.folder / "court.db", timeout=5.0, isolation_level=None)) as holder:
        with contextlib.suppress(sqlite3.OperationalError):  # it was busy all the time
            holder.execute("BEGIN IMMEDIATE")
        yield


OF_PROCESSES: Final[Mapping[str, Trouble]] = {
    "paused": paused,
    "killed": killed,
    "interpreter's lock kept": hogged,
    "engine hangs": hung,
    "descriptors used up": drained,
    "signals": stormed,
    "resigned": resigned,
    "left": left,
    "forked": forked,
    "wall clock wrong": stepped,
}
OF_WAYS: Final[Mapping[str, Trouble]] = {"cut": cut, "connections closed": closed}
OF_FILES: Final[Mapping[str, Trouble]] = {"file locked": locked}
OF_SERVERS: Final[Mapping[str, Trouble]] = {"server frozen": frozen}
OF_CLUSTERS: Final[Mapping[str, Trouble]] = {"two servers frozen": frozen, "server down": down}

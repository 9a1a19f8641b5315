"""
The rows of the table: what is measured, on the servers of one run, ours and its peers by turns.

Each measure yields figures: a mapping with the row, the system, the number of candidates where there is one, the unit,
and the samples of each contestant in the order of their rounds. A contestant that fails is left out from then on, and
why is in the figure.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks.contestants import Contestant, contestants
from benchmarks.crowds import COOL_DOWN, crowd
from benchmarks.floor import Floor, floor
from benchmarks.table import NAME
from benchmarks.worker import OURS, Worker, hear

Figure = dict[str, Any]
FAILURES = (TimeoutError, RuntimeError, OSError)
SIZES = ((2, 2), (10, 5), (50, 5))
"""Candidates, processes."""
ROUND = COOL_DOWN + 0.2
"""Seconds from the last hand-over of a round to the next round: those who have resigned wait for the election again."""
PAUSE = 0.02
"""Seconds between the hand-overs of a round."""
WARM_UP = 2
FLOOR = "bare commit, datagram, commit"


class Samples:
    """
    The samples of those who take part in a figure, and who has failed.
    """

    def __init__(self, row: str, system: str, unit: str, **more: object) -> None:
        self._about = {"row": row, "system": system, "unit": unit, **more}
        self.samples: dict[str, list[float]] = {}
        self.failed: dict[str, str] = {}

    def take(self, name: str, measured: Callable[[], float], *, keep: bool = True) -> None:
        """
        A sample, unless the one who is measured has failed before.
        """
        if name in self.failed:
            return
        with self.watched(name):
            value = measured()
            if keep:
                self.samples.setdefault(name, []).append(round(value, 4))

    @contextlib.contextmanager
    def watched(self, name: str) -> Iterator[None]:
        """
        Note that somebody fails.
        """
        try:
            yield
        except FAILURES as error:
            self.failed[name] = str(error) or type(error).__name__

    def figure(self) -> Figure:
        return {**self._about, "samples": self.samples, "failed": self.failed}


def rooted(system: str, url: str, name: str) -> str:
    """
    The URL for one of them: ours is below a prefix, which raw watches look at, too.
    """
    return f"{url}/bench" if name == NAME and system != "sqlite" else url


# -- hand-overs -------------------------------------------------------------------------------------------------


def handovers(system: str, url: str, rounds: int, sizes: int) -> Iterator[Figure]:
    for candidates, processes in SIZES[:sizes]:
        told = Samples("handover", system, "ms", candidates=candidates)
        with contextlib.ExitStack() as stack:
            taking: list[tuple[Contestant, Callable[[], float]]] = []
            for who in contestants(system, "handover"):
                number = min(candidates, who.most)
                spread = number if who.apart else min(number, processes)
                election = f"{'ours' if who.name == NAME else who.name.split()[0]}{candidates}"
                made = stack.enter_context(
                    crowd(rooted(system, url, who.name), election.replace("/", "-"), spread, who.program)
                )
                with told.watched(who.name):
                    made.stand(number)
                taking.append((who, partial(made.hand_over, who.cool_down)))
            if system == "sqlite":
                bare = stack.enter_context(floor(os.path.dirname(url.removeprefix("sqlite:///"))))
                taking.append((Contestant(FLOOR, ()), partial(_milliseconds, bare)))
            time.sleep(2.0)  # all others wait
            for number in range(-WARM_UP, rounds):
                for who, hand_over in taking if number % 2 else reversed(taking):
                    if number % who.every == 0:
                        told.take(who.name, hand_over, keep=number >= 0)
                        time.sleep(PAUSE)
                time.sleep(ROUND)
        yield told.figure()


def _milliseconds(bare: Floor) -> float:
    return 1e3 * bare.hand_over()


def alone(system: str, url: str, rounds: int) -> Iterator[Figure]:
    """
    Uncontended: the first and only candidate of an election, in a process that has stood for others before.
    """
    told = Samples("alone", system, "ms")
    with contextlib.ExitStack() as stack:
        taking = [
            (who, stack.enter_context(crowd(rooted(system, url, who.name), "", 1, who.program)))
            for who in contestants(system, "alone")
        ]
        for who, each in taking:
            with told.watched(who.name):
                each.wait_ready()
        for number in range(-WARM_UP, rounds):
            for who, each in taking if number % 2 else reversed(taking):
                if number % who.every == 0:
                    election = f"alone-{who.name.split()[0].replace('/', '-')}{number + WARM_UP}"
                    told.take(who.name, partial(each.uncontended, who.stand, election), keep=number >= 0)
                    time.sleep(0.02)
    yield told.figure()


# -- followers --------------------------------------------------------------------------------------------------


def followers(system: str, url: str, rounds: int) -> Iterator[Figure]:
    """
    From the moment before a leader resigns until a follower, and a raw watch of the same key, tell of the next one.

    The raw watch is in a process of its own; on one machine there is none but the store's.
    """
    told = Samples("follower", system, "ms")
    raw = {"etcd": "peer_etcd", "consul": "peer_consul", "zookeeper": "peer_kazoo"}.get(system)
    with told.watched(NAME), contextlib.ExitStack() as stack:
        ours = stack.enter_context(crowd(rooted(system, url, NAME), "followed", 3))
        ours.wait_ready()
        for worker in ours.workers[:2]:
            worker.send("stand", election="followed")
        ours.leader, elected = hear(ours.told, "elected")["elected"]
        ours.workers[2].send("follow", election="followed")
        hear(ours.told, "followed")
        if raw is not None:
            program = (OURS[0], "-m", f"benchmarks.{raw}")
            watcher = Worker(rooted(system, url, NAME), ours.told, program)
            stack.callback(watcher.end)
            watcher.wait_ready()
            watcher.send("watch", election="followed")
            hear(ours.told, "watching")
        for number in range(-WARM_UP, rounds):
            time.sleep(ROUND)
            ours.leader.send("resign", cool_down=COOL_DOWN)
            kinds = ("resigned", "elected", "followed", *(() if raw is None else ("watched",)))
            heard = hear(ours.told, *kinds, above=elected["token"])
            ours.leader, elected = heard["elected"]
            began = heard["resigned"][1]["at"]
            followed = heard["followed"][1]
            watched = followed["watched"] if raw is None else heard["watched"][1]["at"]
            for name, at in ((NAME, followed["at"]), ("raw watch", watched)):
                told.take(name, partial(float, 1e3 * (at - began)), keep=number >= 0)
    yield told.figure()


# -- deaths -----------------------------------------------------------------------------------------------------

TTL = {"etcd": 5.0, "consul": 5.0, "zookeeper": 5.0, "sqlite": 5.0}
ABREAST = 4
"""Leaders of as many elections, each in a process of its own, die within one TTL."""


def deaths(system: str, url: str, rounds: int) -> Iterator[Figure]:
    """
    From the moment of `kill -9` of a leader's process until the next one is told that it leads.
    """
    told = Samples("crash", system, "ms", ttl=TTL[system])
    for number in range(rounds):
        for who in contestants(system, "crash"):
            with told.watched(who.name):
                where = rooted(system, url, who.name)
                if who.name == NAME and system == "consul":
                    where += "?least_ttl=1"
                took = _dead(where, who, TTL[system], f"crash{number}")
                told.samples.setdefault(who.name, []).extend(took)
    yield told.figure()


def _dead(url: str, who: Contestant, ttl: float, name: str) -> list[float]:
    elections = [f"{name}-{each}" for each in range(ABREAST)]
    killed: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        others = stack.enter_context(crowd(url, "", 1, who.program))
        made = [stack.enter_context(crowd(url, each, 1, who.program)) for each in elections]
        for each in made:
            each.stand(1, ttl=ttl)
        others.wait_ready()
        for election in elections:
            others.workers[0].send("stand", election=election, ttl=ttl)
        time.sleep(1.0)  # they wait
        for each in made:
            time.sleep(random.uniform(0, ttl / ABREAST))
            killed[each.election] = each.kill()
        took = []
        for _ in elections:
            elected = hear(others.told, "elected")["elected"][1]
            took.append(round(1e3 * float(elected["at"] - killed[elected["election"]]), 1))
    return took

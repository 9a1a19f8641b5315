"""
A random mixture of troubles that begin and end in any order, one within another; then calm, in which all must recover.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, NamedTuple

from servers import Etcd, ZooKeeper

from court.clock import now
from court.fault import Fault, Injection
from court.faults_of_processes import won_alone
from court.observer import wait_for
from court.stage import Stage
from court.troubles import OF_CLUSTERS, OF_FILES, OF_PROCESSES, OF_SERVERS, OF_WAYS, Trouble

MOST: Final = 3
"""Troubles at one moment."""
WEIGHTS: Final = {"process": 3, "way": 2, "store": 1}


class Going(NamedTuple):
    """
    A trouble that has begun.
    """

    until: float
    what: str
    key: str
    end: Callable[[], None]


class Mixture:
    """
    One mixture. Each trouble takes what it troubles for itself, and nothing else does until it ends.
    """

    def __init__(self, stage: Stage, seed: int) -> None:
        self._stage = stage
        self._random = random.Random(seed)
        self._going: list[Going] = []
        self.begun: list[str] = []
        self._log = os.open(stage.round / "mixture.log.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def run(self, seconds: float) -> None:
        """
        Trouble for so long, and end what goes on then, in any order.
        """
        end, due = now() + seconds, now()
        while now() < end:
            for each in [each for each in self._going if each.until < now()]:
                self._end(each)
            if now() >= due and len(self._going) < MOST:
                self._begin(end)
                due = now() + self._random.expovariate(1.0) * self._stage.case.ttl
            time.sleep(0.01)
        while self._going:
            self._end(self._random.choice(self._going))
        os.close(self._log)

    def _choices(self) -> dict[str, Mapping[str, Trouble]]:
        """
        What can be troubled, and how.
        """
        stage = self._stage
        processes = dict(OF_PROCESSES)
        if not stage.members:
            return {"process": processes, "store": OF_FILES}
        if isinstance(stage.members[0], Etcd):
            del processes["descriptors used up"]  # gRPC may end the process (docs/faults.md)
        if not stage.is_cluster:
            return {"process": processes, "way": OF_WAYS, "store": OF_SERVERS}
        servers = dict(OF_CLUSTERS)
        if isinstance(stage.members[0], ZooKeeper):
            del servers["two servers frozen"]  # a cluster of 3.8.0 may never recover from that (docs/faults.md)
        return {"process": processes, "way": OF_WAYS, "store": servers}

    def _begin(self, end: float) -> None:
        choices = self._choices()
        place = self._random.choices(list(choices), [WEIGHTS[each] for each in choices])[0]
        kind = self._random.choice(list(choices[place]))
        stage = self._stage
        leader = stage.leader()
        likely = leader is not None and self._random.random() < 0.6
        actor = leader if likely and leader is not None else self._random.choice(stage.actors)
        key = place if place == "store" else f"{place} of {actor.node}"
        if any(key == each.key for each in self._going):
            return
        seconds = min(self._random.uniform(0.3, 4.0) * stage.case.ttl, max(0.1, end - now()))
        going = ExitStack()
        going.enter_context(choices[place][kind](stage, actor, self._random, seconds))
        what = kind if place == "store" else f"{kind}: {actor.node}"
        self.begun.append(kind)
        self._say(what, "begins")
        self._going.append(Going(now() + seconds, what, key, going.close))

    def _end(self, going: Going) -> None:
        self._going.remove(going)
        going.end()
        self._say(going.what, "ends")

    def _say(self, what: str, which: str) -> None:
        os.write(self._log, f"{json.dumps({'at': now(), 'what': what, which: True})}\n".encode())


@dataclass(frozen=True)
class Nemesis(Fault):
    """
    A mixture of the other faults; then each candidate must win when it is alone.
    """

    name = "F19 random mixture"
    moves = "may"
    since = "healed"
    bound = "calm"
    setting = "clocks"
    cluster = True
    once = True

    seconds: float = 90.0
    calm: float = 60.0
    seed: int | None = None

    def inject(self, injection: Injection) -> None:
        """
        Trouble; the seed is printed at once.
        """
        seed = random.SystemRandom().randrange(10**9) if self.seed is None else self.seed
        injection.notes["seed"] = seed
        print(f"mixture of {injection.stage.case.name}: --seed {seed} --mixture {self.seconds:g}", flush=True)
        mixture = Mixture(injection.stage, seed)
        injection.at = now()
        mixture.run(self.seconds)
        begun = mixture.begun
        if len(begun) >= self.seconds / 10 and len(set(begun)) > 2:
            injection.proof = f"{len(begun)} troubles of {len(set(begun))} kinds"

    def heal(self, injection: Injection) -> None:
        """
        Nothing is left to undo: see that it is calm, and that each can win.
        """
        stage = injection.stage
        most = self.most(stage)
        end = injection.healed + self.calm
        wait_for(lambda: stage.leader() is not None, most + 20.0)
        time.sleep(max(0.0, injection.healed + most - now()))
        injection.notes["alone"] = {each.node: won_alone(stage, each, most + 20.0) for each in stage.actors}
        time.sleep(max(0.0, end - now()))

"""
Faults of the leader's process, and of its way to the store.
"""

from __future__ import annotations

import time
from typing import ClassVar

from servers._process import state

from court.actors import Actor
from court.clock import now
from court.fault import SERVED, Fault, Injection
from court.freeze import TRIES, takes_writes
from court.stage import Stage


class Kill(Fault):
    """
    The leader's process is killed by SIGKILL, and started again when another leads.
    """

    name = "F1 kill -9"
    waits = True
    cluster = True

    def inject(self, injection: Injection) -> None:
        """
        Kill it.
        """
        injection.at = injection.leader.kill()
        injection.proof = f"the process ended with {injection.leader.process.returncode}"

    def heal(self, injection: Injection) -> None:
        """
        Start another process of that node.
        """
        injection.stage.replace(injection.leader)


class Resign(Fault):
    """
    The leader is asked to resign.
    """

    name = "F2 resign"
    times = 5  # a second each, and a percentile wants many
    bound = "hand_over"

    def inject(self, injection: Injection) -> None:
        """
        Ask for it.
        """
        answer = injection.leader.ask("resign")
        injection.at = answer["at"]
        injection.proof = "it has settled" if answer["settled"] else ""


def pause_outside(stage: Stage, actor: Actor) -> tuple[float, float]:
    """
    Stop a process by SIGSTOP, but not inside a transaction of SQLite's, as far as that can be had: nobody can be
    elected there until it goes on, which the store's docs say; the moment before, and one at which it stands still.
    """
    for _ in range(TRIES):
        since, at = now(), actor.pause()
        if stage.servers is not None or takes_writes(stage.case.database(stage.folder)):
            return since, at
        stage.pauses.append((actor.node, actor.process.pid, since, actor.resume()))
        time.sleep(0.05)
    return now(), actor.pause()


class Pause(Fault):
    """
    The leader's process is stopped by SIGSTOP until another leads, and goes on a moment later.
    """

    name = "F3 pause until replaced"
    waits = True

    def inject(self, injection: Injection) -> None:
        """
        Stop it.
        """
        injection.facts["from"], injection.at = pause_outside(injection.stage, injection.leader)
        injection.proof = f"its state is {state(injection.leader.process.pid)}"

    def heal(self, injection: Injection) -> None:
        """
        Let it go on.
        """
        until = injection.leader.resume()
        injection.stage.pauses.append(
            (injection.leader.node, injection.leader.process.pid, injection.facts["from"], until)
        )


class TimedPause(Pause):
    """
    The leader's process is stopped for 0.3 to 4 TTLs, one after the other.
    """

    name = "F3 pause 0.3–4 T"
    moves = "may"
    since = "healed"
    PARTS: ClassVar = (0.9, 0.3, 1.1, 2.0, 0.7, 4.0)

    def hold(self, injection: Injection) -> float | None:
        """
        So many TTLs.
        """
        part: float = self.PARTS[injection.number % len(self.PARTS)]
        return part * injection.stage.case.ttl


class Hang(Fault):
    """
    The library's own thread in the leader's process stands still, until another leads and longer.

    Nothing renews and nothing runs that could end the term: only the deadline is left.
    """

    name = "F16 engine hangs"

    def inject(self, injection: Injection) -> None:
        """
        Block it.
        """
        seconds = injection.stage.case.bounds.crash + 0.5
        injection.at = now()
        answer = injection.leader.ask("hang", seconds=seconds)
        injection.proof = f"the engine's thread sleeps for {seconds:g} s" if answer["settled"] else ""

    def hold(self, injection: Injection) -> float | None:
        """
        So long.
        """
        return injection.stage.case.bounds.crash + 0.5


class Cut(Fault):
    """
    Nothing passes between the leader and the store, and nobody is told; healed, what was held back is delivered.
    """

    name = "F4 cut both ways"
    waits = True
    stores = SERVED
    cluster = True
    requests: ClassVar[bool] = True
    replies: ClassVar[bool] = True

    def inject(self, injection: Injection) -> None:
        """
        Cut its proxies.
        """
        injection.facts["held"] = sum(proxy.held for proxy in injection.leader.proxies)
        injection.at = now()
        for proxy in injection.leader.proxies:
            proxy.cut(requests=self.requests, replies=self.replies)

    def heal(self, injection: Injection) -> None:
        """
        Let everything pass.
        """
        held = sum(proxy.held for proxy in injection.leader.proxies) - injection.facts["held"]
        injection.proof = f"held back {held} times" if held else ""
        for proxy in injection.leader.proxies:
            proxy.heal()


class CutRequests(Cut):
    """
    What the leader sends does not arrive.
    """

    name = "F5 requests lost"
    cluster = False
    replies = False


class CutReplies(Cut):
    """
    What the store answers to the leader does not arrive, though it was done.
    """

    name = "F5 replies lost"
    cluster = False
    bound = "deaf"
    requests = False


class Break(Fault):
    """
    All connections of the leader are closed at once, and may be made again.
    """

    name = "F7 connections closed"
    stores = SERVED
    cluster = True
    moves = "may"
    since = "healed"

    def inject(self, injection: Injection) -> None:
        """
        Close them.
        """
        injection.at = now()
        closed = sum(proxy.reset() for proxy in injection.leader.proxies)
        injection.proof = f"{closed} sockets closed" if closed else ""

    def hold(self, injection: Injection) -> float | None:
        """
        A TTL, to see whether it leads on.
        """
        return injection.stage.case.ttl


class WallClockStep(Fault):
    """
    The wall clock of one who does not lead jumps ahead by an hour, as far as it asks Python's `time.time`.

    The library never asks it, so that this is for the controls only.
    """

    name = "F14 wall clock steps"
    moves = "may"

    def inject(self, injection: Injection) -> None:
        """
        Step it.
        """
        other = next(actor for actor in injection.stage.actors if actor is not injection.leader)
        injection.at = now()
        other.ask("wall_clock", by=3600.0)
        injection.proof = f"{other.node} is an hour ahead"

    def hold(self, injection: Injection) -> float | None:
        """
        A TTL.
        """
        return injection.stage.case.ttl

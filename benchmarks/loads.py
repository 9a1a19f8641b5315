"""
The rows of the table that count: what elections cost while nothing happens, and what a resignation asks of a server.
"""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from servers import Server

from benchmarks.contestants import contestants
from benchmarks.crowds import Crowd, crowd
from benchmarks.measures import Figure, Samples, rooted
from benchmarks.store_servers import kinds
from benchmarks.table import NAME
from benchmarks.worker import OURS, hear

OURS_HOLDS = 1000
PEER_HOLDS = 100
"""Elections of a peer in one process: most have a thread or a connection for each."""
LOOKS = ("Range", "multiRead", "getData", "exists")
"""What is asked only to learn who leads; on ZooKeeper, whose turn it is is asked by `getChildren`."""
LONG = {"etcd": 300.0, "consul": 300.0, "zookeeper": 40.0}
"""Seconds: the TTL of those who wait, so that few renewals come between."""
WAITING = 50
PROCESSES = 5
PATIENT = 180.0
"""Seconds until a thousand are led on the busiest of machines."""
WINDOW = 0.6
"""Seconds in which all that a resignation brings about is over."""


def idle(system: str, running: Server, seconds: float, part: float = 1.0) -> Iterator[Figure]:
    """
    Elections in one process, all led by it, while nothing happens: of ours 1,000, of a peer's 100; a part of them.
    """
    units = {"acquire": "s", "threads": "", "memory": "MB", "requests": "/s", "cpu": "% of a core"}
    figures = {what: Samples(f"idle {what}", system, unit) for what, unit in units.items()}
    for who in contestants(system, "idle"):
        count = int(part * (OURS_HOLDS if who.name == NAME else PEER_HOLDS))
        told = figures["threads"]
        with told.watched(who.name), crowd(rooted(system, running.url, who.name), "", 1, who.program) as one:
            for what, value in _idle(one, running, count, seconds).items():
                figures[what].samples[who.name] = [round(value, 4)]
        for each in figures.values():
            each.failed.update(told.failed)
    yield from (each.figure() for each in figures.values())


def _idle(one: Crowd, running: Server, count: int, seconds: float) -> dict[str, float]:
    one.wait_ready()
    worker = one.workers[0]
    _lead(one, 0, 1)
    time.sleep(1.0)
    memory, began = _memory(worker.pid), time.perf_counter()
    _lead(one, 1, count)
    acquire = time.perf_counter() - began
    time.sleep(6.0)  # what was begun by and by is done
    began, requests, cpu = time.perf_counter(), running.requests(), _cpu(worker.pid)
    time.sleep(seconds)
    wall, requests, cpu = time.perf_counter() - began, running.requests() - requests, _cpu(worker.pid) - cpu
    return {
        "acquire": acquire,
        "threads": len(os.listdir(f"/proc/{worker.pid}/task")),
        "memory": _memory(worker.pid) - memory,
        "requests": requests / wall,
        "cpu": 100 * cpu / wall,
    }


def _lead(one: Crowd, first: int, end: int) -> None:
    """
    Returns when all of these elections are led: ours without callbacks, the peers' in a thread of their own each.
    """
    if one.program == OURS:
        one.workers[0].send("lead", first=first, count=end - first)
        hear(one.told, "led", patience=PATIENT)
        return
    for number in range(first, end):
        one.workers[0].send("stand", election=f"service/{number}/leader")
    for _ in range(first, end):
        hear(one.told, "elected")


def _memory(pid: int) -> float:
    """
    Resident memory, MB.
    """
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


def _cpu(pid: int) -> float:
    """
    Seconds of CPU time.
    """
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Counts:
    """
    Requests at a server in windows of one length.
    """

    def __init__(self, running: Server) -> None:
        self._server = running
        self.totals: list[float] = []
        self.kinds: list[Counter[str]] = []

    def __enter__(self) -> None:
        self._kinds = Counter(kinds(self._server))
        self._began = time.perf_counter()
        self._total = self._server.requests()

    def __exit__(self, *_: object) -> None:
        time.sleep(max(0.0, self._began + WINDOW - time.perf_counter()))
        self.totals.append(self._server.requests() - self._total)
        self.kinds.append(Counter(kinds(self._server)) - self._kinds)

    def each(self) -> dict[str, float]:
        """
        The median of each kind.
        """
        names = sorted({name for counted in self.kinds for name in counted})
        return {name: statistics.median(counted[name] for counted in self.kinds) for name in names}


def requests(system: str, running: Server, rounds: int) -> Iterator[Figure]:
    """
    What a server has to answer when the leader resigns while fifty wait.
    """
    told = Samples("requests", system, "")
    looks: dict[str, float] = {}
    for who in contestants(system, "requests"):
        with (
            told.watched(who.name),
            crowd(rooted(system, running.url, who.name), "crowd", PROCESSES, who.program) as each,
        ):
            told.samples[who.name], of_each = _resignations(running, each, rounds, LONG[system])
            looks[who.name] = sum(number for kind, number in of_each.items() if kind in LOOKS)
    yield {**told.figure(), "looks": looks}


def _resignations(running: Server, who: Crowd, rounds: int, ttl: float) -> tuple[list[float], dict[str, float]]:
    """
    What the resignations of a crowd's leaders cost over what the server answers anyway: in all, and of each kind.

    Medians: many renewals come at a time, in few of the windows.
    """
    who.stand(WAITING + 1, ttl=ttl)
    time.sleep(2.0)  # all others wait
    before, after = Counts(running), Counts(running)
    for _ in range(rounds):
        with before:
            pass
        with after:
            who.hand_over(cool_down=WINDOW + 0.4)
        time.sleep(WINDOW + 0.4)  # the former leader waits, too
    base, usual = before.each(), statistics.median(before.totals)
    of_each = {kind: number - base.get(kind, 0.0) for kind, number in after.each().items()}
    return [total - usual for total in after.totals], of_each

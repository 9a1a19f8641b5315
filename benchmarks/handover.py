"""
Hand-overs between processes, on SQLite: from the moment at which the leader is told to resign, or is killed, until the
next one's `on_elected` runs.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Generator
from queue import Queue

from benchmarks.floor import Floor, floor
from benchmarks.rows import ratio, row
from benchmarks.worker import Told, Worker, hear
from leadership._clock import now

CROWDS = ((2, 2), (10, 5), (50, 10))
"""Candidates, processes."""
COOL_DOWN = 0.04
PAUSE = 0.1
"""Seconds between rounds: he who resigned waits for the election again."""
FLOOR = "bare commit, datagram, commit"


@contextlib.contextmanager
def workers(path: str, count: int) -> Generator[tuple[list[Worker], Told], None, None]:
    told: Told = Queue()
    made = [Worker(f"sqlite:///{path}", told) for _ in range(count)]
    try:
        for worker in made:
            worker.wait_ready()
        yield made, told
    finally:
        for worker in made:
            worker.kill()


def resignations(folder: str, bare: Floor, candidates: int, processes: int, rounds: int) -> None:
    samples: list[float] = []
    floors: list[float] = []
    with workers(f"{folder}/resign{candidates}.db", processes) as (made, told):
        for worker in made:
            worker.send("stand", election="e", count=candidates // processes)
        leader, elected = hear(told, "elected")["elected"]
        time.sleep(1.0)  # all others wait
        for _ in range(rounds):
            floors.append(1e3 * bare.hand_over())
            time.sleep(PAUSE)
            leader.send("resign", cool_down=COOL_DOWN)
            heard = hear(told, "resigned", "elected", above=elected["token"])
            leader, elected = heard["elected"]
            samples.append(1e3 * (elected["at"] - heard["resigned"][1]["at"]))
    what = f"resign → next elected, {candidates} candidates in {processes} processes"
    row(what, "ms", samples, goal=5, ratio=ratio(samples, floors, FLOOR), tail=True)


def deaths(folder: str, bare: Floor, rounds: int) -> None:
    samples: list[float] = []
    floors: list[float] = []
    path = f"{folder}/death.db"
    with workers(path, 4) as (made, told):
        for worker in made[:3]:
            worker.send("stand", election="e")
        leader, elected = hear(told, "elected")["elected"]
        for _ in range(rounds):
            time.sleep(0.5)  # all others wait
            floors.append(1e3 * bare.hand_over())
            killed = now()
            leader.kill()
            made.remove(leader)
            leader, elected = hear(told, "elected", above=elected["token"])["elected"]
            samples.append(1e3 * (elected["at"] - killed))
            made[-1].send("stand", election="e")  # the spare one
            made.append(Worker(f"sqlite:///{path}", told))
            made[-1].wait_ready()
    what = "kill -9 → next elected, 3 candidates in 3 processes"
    row(what, "ms", samples, goal=50, ratio=ratio(samples, floors, FLOOR), tail=True)


def uncontended(folder: str, cold: int, warm: int) -> None:
    anew: list[float] = []
    first: list[float] = []
    later: list[float] = []
    for number in range(cold):
        path = f"{folder}/uncontended{number}.db"
        for samples in (anew, first):
            with workers(path, 1) as ((worker,), told):
                worker.send("stand", election=f"e{len(samples)}")
                samples.append(_took(told))
    with workers(f"{folder}/uncontended0.db", 1) as ((worker,), told):
        for number in range(warm + 1):
            worker.send("stand", election=f"warm{number}")
            later.append(_took(told))
    row("uncontended, connect → elected, first of a process, new file", "ms", anew, tail=True)
    row("uncontended, connect → elected, first of a process, file in place", "ms", first, tail=True)
    row("uncontended, start → elected, further election of a process", "ms", later[1:], tail=True)


def _took(told: Told) -> float:
    elected = hear(told, "elected")["elected"][1]
    return 1e3 * float(elected["at"] - elected["began"])


def followers(folder: str, rounds: int) -> None:
    late: list[float] = []
    raw: list[float] = []
    extra: list[float] = []
    with workers(f"{folder}/follow.db", 3) as (made, told):
        *candidates, follower = made
        for worker in candidates:
            worker.send("stand", election="e")
        leader, elected = hear(told, "elected")["elected"]
        follower.send("follow", election="e")
        hear(told, "followed")
        for _ in range(rounds):
            time.sleep(PAUSE)
            leader.send("resign", cool_down=COOL_DOWN)
            heard = hear(told, "resigned", "elected", "followed", above=elected["token"])
            leader, elected = heard["elected"]
            began = heard["resigned"][1]["at"]
            followed = heard["followed"][1]
            late.append(1e3 * (followed["at"] - began))
            raw.append(1e3 * (followed["watched"] - began))
            extra.append(late[-1] - raw[-1])
    row("resign → a raw watch tells of the next leader", "ms", raw, tail=True)
    row("resign → a Follower tells of the next leader", "ms", late, ratio=ratio(late, raw, "raw watch"), tail=True)
    row("Follower over the raw watch of its store", "ms", extra, goal=1, tail=True)


def main() -> None:
    quick = "--quick" in sys.argv
    with tempfile.TemporaryDirectory() as folder, floor(folder) as bare:
        for candidates, processes in CROWDS:
            resignations(folder, bare, candidates, processes, 3 if quick else 150)
        deaths(folder, bare, 2 if quick else 25)
        uncontended(folder, 1 if quick else 8, 5 if quick else 100)
        followers(folder, 3 if quick else 100)
        floors = [1e3 * bare.hand_over() for _ in range(10 if quick else 200)]
        row(f"for comparison: {FLOOR}", "ms", floors, tail=True)


if __name__ == "__main__":
    main()

"""
Candidates of one election, ours or a peer's, spread over processes that take turns in leading.

A hand-over is counted from the moment before the leader is told to resign in its own process until the next one is told
that it leads: our `on_elected` runs, the peer's call returns or its function begins.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Sequence
from queue import Queue

from benchmarks.worker import OURS, Told, Worker, hear
from leadership._clock import now

COOL_DOWN = 0.5
"""Seconds for which the one who has resigned lets others lead: longer than a hand-over, else he may lead again."""


class Crowd:
    """
    One such crowd.

    Args:
        url: Of the store.
        election: Its name.
        processes: How many.
        program: What each of them runs.
    """

    def __init__(self, url: str, election: str, processes: int, program: Sequence[str] = OURS) -> None:
        self.election = election
        self.program = program
        self.told: Told = Queue()
        self.workers = [Worker(url, self.told, program) for _ in range(processes)]
        self.leader = self.workers[0]
        self._token = 0

    def wait_ready(self) -> None:
        for worker in self.workers:
            worker.wait_ready()

    def stand(self, candidates: int, **options: object) -> None:
        """
        Stand one after the other, so that neighbours in a queue are of different processes.
        """
        self.wait_ready()
        for number in range(candidates):
            self.workers[number % len(self.workers)].send("stand", election=self.election, **options)
            if number == 0:
                self._hear_elected()
            else:
                time.sleep(0.02)

    def _hear_elected(self) -> float:
        self.leader, elected = hear(self.told, "elected", above=self._token)["elected"]
        self._token = elected["token"]
        return float(elected["at"])

    def hand_over(self, cool_down: float = COOL_DOWN) -> float:
        """
        Milliseconds.
        """
        self.leader.send("resign", cool_down=cool_down)
        heard = hear(self.told, "resigned", "elected", above=self._token)
        self.leader, elected = heard["elected"]
        self._token = elected["token"]
        return 1e3 * float(elected["at"] - heard["resigned"][1]["at"])

    def uncontended(self, do: str, election: str) -> float:
        """
        Milliseconds until the first worker leads an election that nobody else wants.
        """
        self.workers[0].send(do, election=election)
        elected = hear(self.told, "elected")["elected"][1]
        return 1e3 * float(elected["at"] - elected["began"])

    def kill(self) -> float:
        """
        The moment before its first process is killed.
        """
        began = now()
        self.workers[0].kill()
        return began

    def end(self) -> None:
        for worker in self.workers:
            worker.let_go()
        for worker in self.workers:
            worker.end()


@contextlib.contextmanager
def crowd(url: str, election: str, processes: int, program: Sequence[str] = OURS) -> Generator[Crowd, None, None]:
    made = Crowd(url, election, processes, program)
    try:
        yield made
    finally:
        made.end()

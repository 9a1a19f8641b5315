"""
A process with candidates: takes commands and tells what happens, one JSON object a line.

All moments are of the clock of deadlines, which is one for all processes of a machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from leadership import Candidate, Follower, Leader, Term, connect
from leadership._clock import now
from leadership._runtime.process import engine_for
from leadership.store import Fact, Store, Watch, WatchEvent

ROOT = Path(__file__).parent.parent
PATIENCE = 30.0

Told = Queue[tuple["Worker", dict[str, Any]]]


class Worker:
    """
    Such a process, as its parent holds it; what it tells goes to a queue that workers may share.
    """

    def __init__(self, path: str, told: Told) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", path],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._told = told
        self._ready: Future[None] = Future()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        for line in self._process.stdout:
            told = json.loads(line)
            if told["what"] == "ready":
                self._ready.set_result(None)
            else:
                self._told.put((self, told))

    def wait_ready(self) -> None:
        """
        Everything is imported.
        """
        self._ready.result(PATIENCE)

    def send(self, do: str, **arguments: object) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """
        SIGKILL; returns when it is dead.
        """
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def hear(told: Told, *kinds: str, above: int = 0) -> dict[str, tuple[Worker, dict[str, Any]]]:
    """
    The next of each kind, and who told it; what concerns a token that is not above this one is passed over.
    """
    heard: dict[str, tuple[Worker, dict[str, Any]]] = {}
    while heard.keys() < set(kinds):
        try:
            worker, event = told.get(timeout=PATIENCE)
        except Empty:
            msg = f"waited {PATIENCE:g} s in vain for one of {set(kinds) - heard.keys()} above token {above}"
            raise TimeoutError(msg) from None
        if event["what"] in kinds and event.get("token", above + 1) > above:
            heard.setdefault(event["what"], (worker, event))
    return heard


class _Worker:
    """
    The process itself.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._store: Store | None = None
        self._candidates: list[Candidate] = []
        self._watch: Watch | None = None
        self._writing = threading.Lock()

    def tell(self, what: str, at: float, **values: object) -> None:
        with self._writing:
            os.write(1, (json.dumps({"what": what, "at": at, **values}) + "\n").encode())

    def carry_out(self, do: str, **arguments: Any) -> None:
        commands: dict[str, Callable[..., None]] = {"stand": self.stand, "resign": self.resign, "follow": self.follow}
        commands[do](**arguments)

    def connected(self) -> Store:
        if self._store is None:
            self._store = connect(f"sqlite:///{self._path}")
        return self._store

    def stand(self, election: str, count: int = 1) -> None:
        """
        Tells `started`, and at each election `elected`.
        """
        began = now()
        for _ in range(count):
            candidate = Candidate(self.connected(), election)
            candidate.on_elected(partial(self._elected, began))
            candidate.start()
            self._candidates.append(candidate)

    def _elected(self, began: float, term: Term) -> None:
        at = now()
        self.tell("elected", at, token=term.token, election=term.election, began=began)

    def resign(self, cool_down: float) -> None:
        """
        Tells `resigned`, with the moment before the call.
        """
        (leader,) = [candidate for candidate in self._candidates if candidate.is_leader]
        began = now()
        settled = leader.resign(cool_down=cool_down)
        self.tell("resigned", began, settled=settled)

    def follow(self, election: str) -> None:
        """
        Tells `followed` by a `Follower`, and when a raw watch on the same store had told the same.
        """
        store = self.connected()
        watched: dict[int, float] = {}

        def notify(event: WatchEvent) -> None:
            if event.fact is Fact.LEADER_OBSERVED and event.holder is not None:
                watched.setdefault(event.holder.token, now())

        def watch() -> None:
            self._watch = store.watch(election, notify)

        def followed(leader: Leader | None) -> None:
            at = now()
            if leader is not None:
                self.tell("followed", at, token=leader.token, watched=watched[leader.token])

        engine_for(store).post(watch)
        follower = Follower(store, election)
        follower.on_leader_changed(followed)
        follower.start()


def main() -> None:
    worker = _Worker(sys.argv[1])
    worker.tell("ready", now())
    for line in sys.stdin:
        worker.carry_out(**json.loads(line))


if __name__ == "__main__":
    main()

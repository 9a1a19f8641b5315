"""
A process with candidates: takes commands and tells what happens, one JSON object a line.

All moments are of the clock of deadlines, which is one for all processes of a machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
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
STARTING = 120.0
"""Seconds: a hundred processes start at a time."""
ENDING = 5.0
OURS = (sys.executable, "-m", "benchmarks.worker")

Told = Queue[tuple["Worker", dict[str, Any]]]


class Worker:
    """
    Such a process, as its parent holds it; what it tells goes to a queue that workers may share.

    Args:
        url: Of the store.
        told: The queue.
        program: What is run with that URL.
    """

    def __init__(self, url: str, told: Told, program: Sequence[str] = OURS) -> None:
        self._process = subprocess.Popen(
            [*program, url],
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
        if not self._ready.done():
            self._ready.set_exception(RuntimeError("a worker ended at its start"))

    def wait_ready(self) -> None:
        """
        Everything is imported.
        """
        self._ready.result(STARTING)

    def send(self, do: str, **arguments: object) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """
        SIGKILL; returns when it is dead.
        """
        self._process.kill()
        self._process.wait()
        self._close()

    def let_go(self) -> None:
        """
        It ends by itself when its standard input does.
        """
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.close()

    def end(self) -> None:
        """
        Let it end what it has started, and kill it then.
        """
        self.let_go()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDING)
        self.kill()

    def _close(self) -> None:
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def hear(
    told: Told, *kinds: str, above: int = 0, patience: float = PATIENCE
) -> dict[str, tuple[Worker, dict[str, Any]]]:
    """
    The next of each kind, and who told it; what concerns a token that is not above this one is passed over.
    """
    heard: dict[str, tuple[Worker, dict[str, Any]]] = {}
    while heard.keys() < set(kinds):
        try:
            worker, event = told.get(timeout=patience)
        except Empty:
            msg = f"waited {patience:g} s in vain for one of {set(kinds) - heard.keys()} above token {above}"
            raise TimeoutError(msg) from None
        if event["what"] in kinds and event.get("token", above + 1) > above:
            heard.setdefault(event["what"], (worker, event))
    return heard


_writing = threading.Lock()


def tell(what: str, at: float, **values: object) -> None:
    """
    Tell the parent.
    """
    with _writing:
        os.write(1, (json.dumps({"what": what, "at": at, **values}) + "\n").encode())


def serve(commands: Mapping[str, Callable[..., None]], ending: Callable[[], None] | None = None) -> None:
    """
    Say that everything is imported, carry out what the parent sends until it is gone, and end at once.
    """
    tell("ready", now())
    for line in sys.stdin:
        arguments: dict[str, Any] = json.loads(line)
        commands[arguments.pop("do")](**arguments)
    if ending is not None:
        ending()
    os._exit(0)


class _Worker:
    """
    The process itself.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._store: Store | None = None
        self._candidates: list[Candidate] = []
        self._watch: Watch | None = None

    def connected(self) -> Store:
        if self._store is None:
            self._store = connect(self._url)
        return self._store

    def stand(self, election: str, count: int = 1, ttl: float = 15.0) -> None:
        """
        Tells `started`, and at each election `elected`.
        """
        began = now()
        for _ in range(count):
            candidate = Candidate(self.connected(), election, ttl=ttl)
            candidate.on_elected(partial(self._elected, began))
            candidate.start()
            self._candidates.append(candidate)

    def lead(self, first: int, count: int) -> None:
        """
        Lead elections without callbacks; tells `led` when all are.
        """
        began = now()
        made = [Candidate(self.connected(), f"service/{number}/leader") for number in range(first, first + count)]
        self._candidates += made
        for candidate in made:
            candidate.start()
        for candidate in made:
            candidate.wait_elected()
        tell("led", now(), took=now() - began)

    def _elected(self, began: float, term: Term) -> None:
        at = now()
        tell("elected", at, token=term.token, election=term.election, began=began)

    def resign(self, cool_down: float) -> None:
        """
        Tells `resigned`, with the moment before the call.
        """
        (leader,) = [candidate for candidate in self._candidates if candidate.is_leader]
        began = now()
        settled = leader.resign(cool_down=cool_down)
        tell("resigned", began, settled=settled)

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
                tell("followed", at, token=leader.token, watched=watched.get(leader.token, at))

        engine_for(store).post(watch)
        follower = Follower(store, election)
        follower.on_leader_changed(followed)
        follower.start()


def main() -> None:
    worker = _Worker(sys.argv[1])
    serve({"stand": worker.stand, "lead": worker.lead, "resign": worker.resign, "follow": worker.follow})


if __name__ == "__main__":
    main()

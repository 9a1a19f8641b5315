"""
Candidates in processes of their own: each takes commands and tells what happens, one JSON object a line.

Run as a script, this file is such a process. A thread of it that is not the library's looks at `is_leader` every 5 ms
and keeps what it saw, stamped with the clock that all processes of a boot share.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from leadership import Candidate, DemotionCause, LeadershipError, Term, connect
from leadership._clock import now

SAMPLE = 0.005
ELECTION = "orders"
PATIENCE = 20.0
"""Seconds for what takes a fraction of one on an idle machine."""


class ElectionProcess:
    """
    A process with some candidates in one election at the store of a URL, or in the SQLite file at a path.

    Nobody looks at `is_leader` when `samples` is False: looking costs a part of a core.
    """

    def __init__(
        self, place: Path | str, name: str, *, ttl: float = 1.0, candidates: int = 1, samples: bool = True
    ) -> None:
        self.name = name
        url = place if isinstance(place, str) else f"sqlite:///{place}"
        self.process = subprocess.Popen(
            [sys.executable, __file__, url, name, str(ttl), str(candidates), "samples" * samples],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.told: list[dict[str, Any]] = []
        self._new: Queue[dict[str, Any]] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(json.JSONDecodeError):  # the last line of a killed process
                self._new.put(json.loads(line))

    def poll(self) -> list[dict[str, Any]]:
        """
        Everything told so far.
        """
        with contextlib.suppress(Empty):
            while True:
                self.told.append(self._new.get_nowait())
        return self.told

    def wait(self, what: str, *, after: float = 0.0, timeout: float = PATIENCE) -> dict[str, Any]:
        """
        The first of what was told of a kind after a moment of the shared clock.
        """
        give_up = time.monotonic() + timeout
        while time.monotonic() < give_up:
            for told in self.poll():
                if told["what"] == what and told["at"] > after:
                    return told
            time.sleep(0.002)
        msg = f"{self.name} told nothing of {what!r} in {timeout} s, but {self.told[-5:]}"
        raise AssertionError(msg)

    def ask(self, command: str, *, timeout: float = PATIENCE) -> dict[str, Any]:
        """
        Send a command and wait for its answer.
        """
        sent = now()
        self.send(command)
        give_up = time.monotonic() + timeout
        while True:
            answer = self.wait("answer", after=sent, timeout=max(0.0, give_up - time.monotonic()))
            if answer["to"] == command:
                return answer
            sent = answer["at"]

    def send(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def signal(self, number: signal.Signals) -> float:
        """
        Send a signal; the moment before.
        """
        at = now()
        os.kill(self.pid, number)
        return at

    def close(self) -> None:
        """
        End it, whatever state it is in.
        """
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


@contextlib.contextmanager
def processes(
    place: Path | str, *names: str, ttl: float = 1.0, candidates: int = 1, samples: bool = True
) -> Iterator[list[ElectionProcess]]:
    """
    Some processes, ready to stand, and gone at the end.
    """
    started = [ElectionProcess(place, name, ttl=ttl, candidates=candidates, samples=samples) for name in names]
    try:
        for one in started:
            one.wait("ready")
        yield started
        assert [] == [told for one in started for told in one.poll() if told["what"] == "fault"]
    finally:
        for one in started:
            one.close()


def leader_of(started: list[ElectionProcess], *, after: float = 0.0, timeout: float = PATIENCE) -> ElectionProcess:
    """
    The process that told last that it was elected, and nothing of an end since.
    """
    give_up = time.monotonic() + timeout
    while time.monotonic() < give_up:
        for one in started:
            terms = [told for told in one.poll() if told["what"] in ("elected", "demoted")]
            if terms and terms[-1]["what"] == "elected" and terms[-1]["at"] > after:
                return one
        time.sleep(0.002)
    msg = f"nobody leads within {timeout} s"
    raise AssertionError(msg)


def beliefs(started: list[ElectionProcess]) -> list[tuple[float, float, str]]:
    """
    The intervals in which the samplers saw `is_leader` true and then false: from, until, who.
    """
    time.sleep(20 * SAMPLE)  # so that they have looked once more
    return [
        (told["from"], told["until"], f"{one.name}/{told['node']}")
        for one in started
        for told in one.poll()
        if told["what"] == "believed"
    ]


def overlaps(intervals: list[tuple[float, float, str]]) -> list[str]:
    """
    Pairs of two who believed at the same time.
    """
    found: list[str] = []
    latest: tuple[float, float, str] | None = None
    for one in sorted(intervals):
        if latest is not None and one[0] < latest[1] and one[2] != latest[2]:
            found.append(f"{latest[2]} until {latest[1]:.6f}, {one[2]} from {one[0]:.6f}")
        if latest is None or one[1] > latest[1]:
            latest = one
    return found


# -- the process itself --------------------------------------------------------------------------------------------

_said = threading.Lock()


def say(what: str, **facts: object) -> None:
    with _said:
        sys.stdout.write(json.dumps({"what": what, "at": now(), **facts}) + "\n")
        sys.stdout.flush()


class Sampler(threading.Thread):
    """
    Looks at `is_leader` and tells each interval in which every look saw it true.
    """

    def __init__(self, candidates: list[Candidate]) -> None:
        super().__init__(daemon=True)
        self.candidates = candidates
        self.first_looks: list[tuple[float, bool]] = []

    def run(self) -> None:
        since: dict[int, tuple[float, float]] = {}
        before = last = now()
        while True:
            for number, candidate in enumerate(self.candidates):
                before = now()
                believes = candidate.is_leader
                if before - last > 0.2:  # the process stood still: what the first look after it saw
                    say("woke", believes=believes, node=candidate.node)
                if believes:  # for certain from after the first such look until before the last
                    since[number] = (since[number][0] if number in since else now(), before)
                elif number in since:
                    begin, end = since.pop(number)
                    say("believed", **{"from": begin, "until": end}, node=candidate.node)
            last = before
            time.sleep(SAMPLE)


class Faults(logging.Handler):
    """
    Tells of what the engine should never meet.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if "engine_fault" in record.getMessage():
            say("fault", text=record.getMessage())


def make(url: str, name: str, ttl: float, count: int) -> list[Candidate]:
    store = connect(url)
    made = []
    for number in range(count):
        candidate = Candidate(store, ELECTION, node=f"{name}-{number}", ttl=ttl, cool_down=0.0, log=False)

        @candidate.on_elected
        def elected(term: Term) -> None:
            say("elected", node=term.node, token=term.token)

        @candidate.on_demoted
        def demoted(term: Term, cause: DemotionCause) -> None:
            say("demoted", node=term.node, token=term.token, cause=cause.value)

        @candidate.on_error
        def failed(error: BaseException) -> None:
            say("error", type=type(error).__name__, text=str(error))

        made.append(candidate)
    return made


def fork(candidates: list[Candidate]) -> dict[str, Any]:
    """
    What a forked child of this process believes, and whether it can stand by itself.
    """
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        first = candidates[0]
        told: dict[str, Any] = {"leads": first.is_leader, "state": first.state.value, "term": first.term is not None}
        try:
            first.start()
            told["started"] = first.wait_elected(0.3) is not None
        except LeadershipError as error:
            told["refused"] = f"{type(error).__name__}: {error}"
        os.write(writable, json.dumps(told).encode())
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as pipe:
        told = json.loads(pipe.read())
    os.waitpid(pid, 0)
    return told


def main() -> None:
    url, name, ttl, count = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    logging.getLogger("leadership").addHandler(Faults())
    candidates = make(url, name, ttl, count)
    if sys.argv[5]:
        Sampler(candidates).start()
    say("ready")
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        began = now()
        asked = line.strip()
        match command:
            case "start":
                for candidate in candidates:
                    candidate.start()
                say("answer", to=asked)
            case "stop":
                settled = [candidate.stop(float(argument) if argument else None) for candidate in candidates]
                say("answer", to=asked, settled=all(settled), took=now() - began)
            case "resign":
                leading = [candidate for candidate in candidates if candidate.is_leader]
                say("resigning", node=leading[0].node if leading else None)
                say("answer", to=asked, settled=[candidate.resign(cool_down=0.05) for candidate in leading])
            case "transaction":  # and then stand still inside it
                connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
                connection.execute("BEGIN IMMEDIATE")
                say("inside")
                os.kill(os.getpid(), signal.SIGSTOP)
                connection.execute("ROLLBACK")
                connection.close()
                say("answer", to=asked)
            case "fork":
                say("answer", to=asked, **fork(candidates))
            case "state":
                say("answer", to=asked, states=[candidate.state.value for candidate in candidates])


if __name__ == "__main__":
    main()

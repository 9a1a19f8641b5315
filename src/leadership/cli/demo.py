"""
`leadership demo`: three real processes on a temporary SQLite store lose their leader in three ways.

Everything that is shown comes from the records of these processes; each hand-over is measured against what the store's
timing promises for it.
"""

from __future__ import annotations

import argparse
import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from leadership import Timing, _clock, connect
from leadership._runtime.api import request_resign
from leadership.audit import Verdict
from leadership.cli import _demo_picture as picture
from leadership.cli._common import Exit, say
from leadership.cli._demo_view import View, best_view
from leadership.cli._report import in_words, write_report
from leadership.diagram import count_transitions, draw
from leadership.store import Outcome, Store

ELECTION: Final = "demo/leader"
NODES: Final = ("amber", "birch", "cedar")
TTL: Final = 2.0
PAUSE: Final = 1.2
"""Seconds in which a leader is left alone, for whoever watches."""
PATIENCE: Final = 10.0
"""Seconds after which something that should have happened is given up."""
REASON: Final = "making room"
_WORKER: Final = (sys.executable, "-m", "leadership.cli._demo_worker")

Record = dict[str, Any]


class DemoError(Exception):
    """
    Something that was promised did not happen.
    """


@dataclass
class Node:
    """
    One of the processes.
    """

    name: str
    process: subprocess.Popen[str]


@dataclass(frozen=True)
class Result:
    """
    One hand-over.
    """

    what: str
    took: float
    promised: float


def main(args: argparse.Namespace) -> int:
    """
    Run the subcommand.
    """
    folder = Path(tempfile.mkdtemp(prefix="leadership-demo-"))
    with connect(f"sqlite:///{folder / 'election.db'}") as store:
        demo = Demo(store, folder, best_view(plain=args.plain))
        try:
            with demo.view.live():
                demo.play()
        except DemoError as error:
            say(f"demo: {error}")
            return Exit.NO
        except KeyboardInterrupt:
            say(f"demo: interrupted; what it has written is in {folder}")
            raise
        finally:
            demo.end()
    is_valid = demo.epilogue()
    return Exit.YES if is_valid and all(result.took <= result.promised for result in demo.results) else Exit.NO


class Demo:
    """
    The stage: processes, what they have reported, and what was measured.
    """

    def __init__(self, store: Store, folder: Path, view: View) -> None:
        self.store = store
        self.folder = folder
        self.view = view
        self.timing: Timing = store.timing(TTL)
        self.nodes: dict[str, Node] = {}
        self.records: list[Record] = []
        self.results: list[Result] = []
        self._news: queue.SimpleQueue[Record] = queue.SimpleQueue()
        self._began = _clock.now()

    # -- the play -----------------------------------------------------------------------------------------------

    def play(self) -> None:
        """
        Three ways to lose a leader.
        """
        self.view.say(f"three processes stand for {ELECTION!r} on {self.store.url}, ttl {TTL:g} s\n")
        for name in NODES:
            self.start(name)
        leader = self.until_elected(above=0)
        self.rest()
        leader = self.kill(leader)
        self.rest()
        leader = self.freeze(leader)
        self.rest()
        leader = self.resign(leader)
        self.rest()
        self.view.say("\nthe end: those who wait stop first, so that nobody is elected in passing", "bold")
        for name in sorted(NODES, key=lambda name: name == leader["node"]):
            self.stop(name)

    def kill(self, leader: Record) -> Record:
        """
        Kill it with -9: the kernel knows that the leader is dead.
        """
        name = leader["node"]
        self.view.say(f"\nkill -9 {name}, the leader: the kernel knows of its death, no lease is waited out", "bold")
        killed = _clock.now()
        node = self.nodes.pop(name)
        node.process.kill()
        _see_off(node.process)
        self.note(name, picture.GONE, killed)
        self.view.node(name, node.process.pid, "killed")
        elected = self.until_elected(above=leader["token"])
        self.measure(f"kill -9 of {name} until {elected['node']} leads", killed, elected, self.timing.death_takeover)
        self.start(name)
        return elected

    def freeze(self, leader: Record) -> Record:
        """
        SIGSTOP: nobody can tell a frozen leader from a slow one, until its lease has lapsed.
        """
        name = leader["node"]
        self.view.say(f"\nfreeze {name}, the leader (SIGSTOP): its lease has to lapse first", "bold")
        process = self.nodes[name].process
        frozen = _clock.now()
        process.send_signal(signal.SIGSTOP)
        self.note(name, picture.FROZEN, frozen)
        self.view.node(name, process.pid, "frozen")
        elected = self.until_elected(above=leader["token"])
        self.measure(f"freeze of {name} until {elected['node']} leads", frozen, elected, self.timing.crash_takeover)
        self.rest()
        self.view.say(f"\nthaw {name} (SIGCONT): it believes nothing any more", "bold")
        process.send_signal(signal.SIGCONT)
        self.until(lambda record: record["node"] == name and record["source"] == "leader", f"{name} is demoted")
        return elected

    def resign(self, leader: Record) -> Record:
        """
        The operator's way: a request that names the term.
        """
        name, token = leader["node"], leader["token"]
        self.view.say(f"\nask {name} to resign, as: leadership resign {ELECTION} --reason {REASON!r}", "bold")
        reply = request_resign(self.store, ELECTION, token, REASON, PATIENCE)
        if reply.outcome is not Outcome.DONE:
            msg = f"the request to {name} to resign was not taken: {reply.error or reply.outcome}"
            raise DemoError(msg)
        resigned = self.until(
            lambda record: record["node"] == name and record["source"] == "leader", f"{name} has resigned"
        )
        elected = self.until_elected(above=token)
        what = f"resignation of {name} until {elected['node']} leads"
        self.measure(what, resigned["monotonic"], elected, self.timing.resign_takeover)
        return elected

    def measure(self, what: str, since: float, elected: Record, promised: float) -> None:
        """
        Compare a hand-over with its promise.
        """
        result = Result(what, elected["monotonic"] - since, promised)
        self.results.append(result)
        self.view.say(verdict(result), "bold green" if result.took <= promised else "bold red")

    # -- the stage ----------------------------------------------------------------------------------------------

    def audit_file(self, name: str) -> Path:
        """
        Where a node writes its audit.
        """
        return self.folder / f"{name}.jsonl"

    def start(self, name: str) -> None:
        """
        Start a node's process.
        """
        self.view.say(f"start {name}")
        with _uninterrupted():  # a process that is not among the nodes would be left behind
            process = subprocess.Popen(
                [*_WORKER, self.store.url, ELECTION, name, str(TTL), str(self.audit_file(name))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,  # an interruption from the terminal is the demo's to handle
            )
            self.nodes[name] = Node(name, process)
        self.view.node(name, process.pid, "starting")
        assert process.stdout is not None  # noqa: S101 - for the type checker
        threading.Thread(target=self._listen, args=(process.pid, process.stdout), daemon=True).start()

    def _listen(self, pid: int, stdout: IO[str]) -> None:
        with stdout:
            for text in stdout:
                if text.endswith("\n"):  # a line that a kill has cut short says nothing
                    self._news.put(json.loads(text))
        self._news.put({"ended": pid})

    def stop(self, name: str) -> None:
        """
        SIGTERM, and its end.
        """
        process = self.nodes[name].process
        process.terminate()
        self.until(lambda record: record["node"] == name and record["dest"] == "idle", f"{name} has stopped")
        del self.nodes[name]  # from now on its end is no surprise
        _see_off(process, PATIENCE)

    def end(self) -> None:
        """
        Leave no process behind, whatever happened.
        """
        with _uninterrupted():
            for node in self.nodes.values():
                node.process.kill()
                _see_off(node.process)

    def note(self, name: str, state: str, at: float) -> None:
        """
        Record what a node cannot record itself.
        """
        self.records.append({"node": name, "dest": state, "monotonic": at})

    def until(self, wanted: Callable[[Record], bool], what: str, patience: float = PATIENCE) -> Record:
        """
        Show what is reported until something has happened.

        Raises:
            DemoError: It has not happened in time.
        """
        give_up = _clock.now() + patience
        while True:
            try:
                record = self._news.get(timeout=max(0.0, give_up - _clock.now()))
            except queue.Empty:
                msg = f"waited {patience:g} s in vain until {what}; the audits are in {self.folder}"
                raise DemoError(msg) from None
            self.show(record)
            if "ended" not in record and wanted(record):
                return record

    def until_elected(self, *, above: int) -> Record:
        """
        Show what is reported until a later term has begun; that may have been told before what ended the last one.
        """

        def is_later(record: Record) -> bool:
            return bool(record["dest"] == "leader" and record["token"] > above)

        told = next(filter(is_later, self.records), None)
        return told or self.until(is_later, f"a leader is elected with a token above {above}")

    def rest(self) -> None:
        """
        Leave the processes alone for a while.
        """
        until = _clock.now() + PAUSE
        while (left := until - _clock.now()) > 0:
            try:
                self.show(self._news.get(timeout=left))
            except queue.Empty:
                return

    def show(self, record: Record) -> None:
        """
        One transition.

        Raises:
            DemoError: It is none, but the end of a process that nobody has ended.
        """
        if "ended" in record:
            for node in self.nodes.values():
                if node.process.pid == record["ended"]:
                    msg = f"the process of {node.name} ended by itself, with status {node.process.wait(PATIENCE)}"
                    raise DemoError(msg)
            return
        self.records.append(record)
        self.view.transition(record["monotonic"] - self._began, record)
        if record["node"] in self.nodes:
            token = record["token"] if record["dest"] == "leader" else None
            self.view.node(record["node"], self.nodes[record["node"]].process.pid, record["dest"], token)

    # -- afterwards ---------------------------------------------------------------------------------------------

    def epilogue(self) -> bool:
        """
        What was promised, what was seen, where it can be read again, and whether the audits are judged valid.
        """
        tell = self.view.say
        tell("\nwho led\n", "bold")
        for text in picture.lanes(self.records, NODES):
            tell(f"  {text}")
        tell(f"\n  {picture.LEGEND}")
        tell("\nthe ways that the machines took\n", "bold")
        for text in picture.paths(self.records):
            tell(f"  {text}")
        tell("\npromised and kept\n", "bold")
        for result in self.results:
            tell(f"  {verdict(result)}")
        moves = [record for record in self.records if "trigger" in record]
        diagram = self.folder / "candidate.mmd"
        diagram.write_text(draw("candidate", counts=count_transitions(moves, "candidate")), encoding="utf-8")
        tell("\nread it again\n", "bold")
        for name in NODES:
            tell(f"  {self.audit_file(name)}")
        tell(f"  {diagram}  (the machine as Mermaid, its edges counted)")
        tell(f"  leadership audit show {self.folder}/*.jsonl")
        tell(f"  leadership diagram candidate --audit {self.folder}/*.jsonl")
        report = self.folder / "report.html"
        audits = [str(self.audit_file(name)) for name in NODES]
        judgement = write_report(audits, str(report), f"leadership demo: {ELECTION}")
        is_valid = judgement.verdict is Verdict.VALID
        tell("\nthe verdict on the audits\n", "bold")
        tell(f"  {in_words(judgement)}", "bold green" if is_valid else "bold red")
        for finding in judgement.findings:
            tell(f"  {finding.kind}: {finding.what}")
        tell(f"  {report}  (a page to open in a browser)")
        return is_valid


@contextmanager
def _uninterrupted() -> Generator[None]:
    """
    Raise the KeyboardInterrupt that comes meanwhile at the end. On the main thread.
    """
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def _see_off(process: subprocess.Popen[str], timeout: float | None = None) -> None:
    """
    Wait for the end of a process, and close the pipe to it; the one from it is its listener's.
    """
    process.wait(timeout)
    assert process.stdin is not None  # noqa: S101 - for the type checker
    process.stdin.close()


def verdict(result: Result) -> str:
    """
    A hand-over in words.
    """
    kept = "promise kept" if result.took <= result.promised else "PROMISE BROKEN"
    return f"{result.what}: {result.took * 1000:,.1f} ms; promised within {result.promised * 1000:,.0f} ms: {kept}"

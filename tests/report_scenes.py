"""
Audits to report on, written by the production code or planted.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from records import a_record

from leadership import AuditLog, Candidate
from leadership.fsm import CANDIDATE, FOLLOWER
from leadership.testing import Simulation

NODES = ("ann", "bob", "cyd")
TTL = 10.0
LEASE = 9.0
BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_MOVES = {
    "stood": ("idle", "start", "campaigning", "callbacks_returned", None),
    "elected": ("campaigning", "acquired", "leader", "lease_valid", None),
    "lapsed": ("leader", "lease_expired", "error", None, "lease_expired"),
    "resigned": ("leader", "resign", "resigning", None, "resigned"),
    "stopped": ("leader", "stop", "resigning", None, "stopped"),
    "cleaned": ("error", "settled", "backoff", "retries_left", None),
    "released": ("resigning", "settled", "backoff", "retries_left", None),
    "ended": ("resigning", "settled", "idle", "stopping", None),
    "again": ("backoff", "backoff_elapsed", "campaigning", "callbacks_returned", None),
}


def _line(kind: str, **fields: Any) -> str:
    return json.dumps({"v": 1, "kind": kind, **fields}, separators=(",", ":"))


class Planted:
    """
    Audits of several nodes, a line at a time.
    """

    def __init__(self, folder: Path, election: str = "jobs") -> None:
        self.folder = folder
        self.election = election
        self.files: dict[str, list[str]] = {}
        self._last: dict[str, float] = {}

    def move(self, node: str, at: float, what: str, token: int | None = None, **changes: Any) -> None:
        """
        One transition of a node, `at` seconds after the beginning.
        """
        source, trigger, dest, guard, cause = _MOVES[what]
        lines = self.files.setdefault(node, [])
        if not lines:
            self._begin(node, lines)
        record = a_record(
            seq=len(lines) - 1,
            at=BEGIN + timedelta(seconds=at),
            monotonic=at,
            election=self.election,
            node=node,
            boot=f"boot-{node}",
            incarnation=f"{node} in {self.election}",
            source=source,
            trigger=trigger,
            dest=dest,
            guard=guard,
            cause=cause,
            token=token,
            term=None,
            duration=max(0.0, at - self._last.get(node, at)),
            lease_deadline=at if what == "lapsed" else at + LEASE if "leader" in (source, dest) else None,
            renewals=1 + int((at - self._last[node]) / 3) if source == "leader" else 0,
        )
        self._last[node] = at
        lines.append(_line("transition", **{**record.as_dict(), **changes}))

    def _begin(self, node: str, lines: list[str]) -> None:
        at, boot = BEGIN.isoformat(), f"boot-{node}"
        tables = {machine.name: machine.digest() for machine in (CANDIDATE, FOLLOWER)}
        about = {"leadership": "0.1.0", "python": "3.11.7", "transitions": "0.9.3", "durability": "os", "chain": False}
        lines.append(_line("header", at=at, boot=boot, host=node, pid=1, tables=tables, **about))
        timing = {"ttl": TTL, "effective_ttl": TTL}
        who = {"incarnation": f"{node} in {self.election}", "election": self.election, "node": node}
        lines.append(_line("candidate", at=at, boot=boot, **who, timing=timing))

    def write(self) -> list[Path]:
        """
        The files.
        """
        paths = []
        for number, lines in enumerate(self.files.values()):
            paths.append(self.folder / f"{number}.jsonl")
            paths[-1].write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return paths


def overlap(folder: Path) -> list[Path]:
    """
    Bob is elected 1.5 s before ann knows that her lease has lapsed.
    """
    scene = Planted(folder)
    for node, at in (("ann", 0.0), ("bob", 0.5), ("cyd", 0.7)):
        scene.move(node, at, "stood")
    scene.move("ann", 1.0, "elected", 1)
    scene.move("bob", 9.0, "elected", 2)
    scene.move("ann", 10.5, "lapsed", 1, error="StoreUnavailable: no answer")
    scene.move("ann", 10.6, "cleaned")
    scene.move("ann", 12.0, "again")
    scene.move("bob", 20.0, "resigned", 2, reason="deploy 42")
    scene.move("bob", 20.1, "released", 2)
    scene.move("cyd", 22.0, "elected", 3)
    scene.move("bob", 25.0, "again")
    scene.move("cyd", 30.0, "stopped", 3)
    scene.move("cyd", 30.2, "ended", 3)
    return scene.write()


def flapping(folder: Path, transitions: int, elections: Sequence[str] = ("jobs",), seed: int = 1) -> list[Path]:
    """
    Candidates that hand leadership on and on: this many transitions in all.
    """
    dice = random.Random(seed)
    paths: list[Path] = []
    for election in elections:
        (folder / election).mkdir(parents=True, exist_ok=True)
        scene = Planted(folder / election, election)
        names = [f"{name}-{number}" for number in range(1, 4) for name in NODES]
        at, token, left = 0.0, 0, transitions // len(elections) - len(names)
        for name in names:
            scene.move(name, at, "stood")
        while left > 0:
            name, token = dice.choice(names), token + 1
            at += 0.2 + dice.lognormvariate(-2.5, 1.5)  # more than clocks may differ
            scene.move(name, at, "elected", token)
            length, went = dice.lognormvariate(2.0, 1.2), dice.random() < 0.6
            at += length if went else max(LEASE, length)
            scene.move(name, at, "resigned" if went else "lapsed", token)
            scene.move(name, at + 0.001, "released" if went else "cleaned")
            at += 0.05
            scene.move(name, at, "again")
            left -= 4
        paths += scene.write()
    return paths


def simulated(folder: Path) -> list[Path]:
    """
    Three candidates of the production engine in virtual time, through a partition, a stall and a resignation.
    """
    paths = [folder / f"{node}.jsonl" for node in NODES]
    logs = [AuditLog(path) for path in paths]
    with Simulation(seed=4) as sim:
        candidates = [
            Candidate(sim.store, "jobs", node=node, ttl=3.0, observers=[log])
            for node, log in zip(NODES, logs, strict=True)
        ]
        for candidate in candidates:
            candidate.start()
        for fault in ("partition", "stall"):
            sim.advance(8.0)
            leader = next(candidate for candidate in candidates if candidate.is_leader)
            sim.fault(fault, node=leader.node, seconds=5.0)
            sim.advance(8.0)
        leader = next(candidate for candidate in candidates if candidate.is_leader)
        leader.resign(reason="deploy 42")
        sim.advance(6.0)
    for log in logs:
        log.close()
    return paths

"""
Audits as a test wants them: each line by hand, true in every field until the test plants a fault.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from leadership.fsm import CANDIDATE, FOLLOWER

BEGIN = datetime(2026, 1, 2, 3, 0, 0, tzinfo=UTC)
TTL = 10.0
LEASE = 9.0
"""What the margin leaves of it."""
Line = dict[str, Any]

_GUARDS = {
    ("campaigning", "acquired", "leader"): "lease_valid",
    ("idle", "start", "campaigning"): "callbacks_returned",
    ("backoff", "backoff_elapsed", "campaigning"): "callbacks_returned",
    ("resigning", "settled", "backoff"): "retries_left",
    ("resigning", "settled", "idle"): "stopping",
    ("error", "settled", "backoff"): "retries_left",
    ("leader", "key_deleted", "error"): "own_key",
}


class Audit:
    """
    One candidate's audit. Times are seconds since `BEGIN`, true ones; `skew` is how far its wall clock is ahead.
    """

    def __init__(
        self, node: str, *, election: str = "orders", skew: float = 0.0, clock: str | None = None, boot: str = ""
    ) -> None:
        self.node, self.election, self.skew = node, election, skew
        self.boot = boot or f"boot-{node}"
        self.incarnation = f"incarnation-{self.boot}"
        self.base = 0.0 if clock else 1000.0 * len(node)
        """Where its clock of deadlines began to count."""
        tables = {machine.name: machine.digest() for machine in (CANDIDATE, FOLLOWER)}
        self.lines: list[Line] = []
        about = {"leadership": "0.1.0", "python": "3.11.7", "transitions": "0.9.3", "durability": "os", "chain": False}
        self._line("header", 0.0, host=node, pid=1, **about, tables=tables, clock=clock, file=1, previous=None)
        timing = {"ttl": TTL, "effective_ttl": TTL}
        names = {"incarnation": self.incarnation, "election": election, "node": node}
        self._line("candidate", 0.0, **names, timing=timing)
        self.seq = 0
        self.state, self.since, self.token, self.deadline, self.renewals = "idle", 0.0, 0, 0.0, 0

    def _line(self, kind: str, at: float, **fields: Any) -> None:
        moment = (BEGIN + timedelta(seconds=at + self.skew)).isoformat()
        self.lines.append({"v": 1, "kind": kind, "at": moment, "boot": self.boot, **fields})

    def go(self, at: float, trigger: str, dest: str, *, cause: str | None = None, reason: str | None = None) -> Audit:
        """
        One record.
        """
        self.seq += 1
        office = "leader" in (self.state, dest)
        names = {"election": self.election, "node": self.node, "incarnation": self.incarnation}
        self._line(
            "transition",
            at,
            seq=self.seq,
            monotonic=self.base + at,
            machine="candidate",
            **names,
            trigger=trigger,
            source=self.state,
            dest=dest,
            guard=_GUARDS.get((self.state, trigger, dest)),
            disposition="go",
            cause=cause,
            reason=reason,
            error=None,
            term=None,
            token=self.token if office else None,
            attempt=1,
            revision=None,
            lease_deadline=self.base + self.deadline if office else None,
            duration=at - self.since,
            renewals=self.renewals,
        )
        self.state, self.since, self.renewals = dest, at, 0
        return self

    def stand(self, at: float) -> Audit:
        """
        It stands, from idle or backoff.
        """
        return self.go(at, "start" if self.state == "idle" else "backoff_elapsed", "campaigning")

    def elected(self, at: float, token: int, *, reason: str | None = None) -> Audit:
        """
        It is elected.
        """
        self.token, self.deadline = token, at + LEASE - 0.01
        return self.go(at, "acquired", "leader", reason=reason)

    def renewed(self, at: float) -> Audit:
        """
        A renewal, which has no line.
        """
        self.deadline, self.renewals = at + LEASE - 0.01, self.renewals + 1
        return self

    def resigned(self, at: float) -> Audit:
        """
        It resigns, and stays out of the contest for now.
        """
        self.go(at, "resign", "resigning", cause="resigned", reason="drill")
        return self.go(at + 0.002, "settled", "backoff")

    def stopped(self, at: float) -> Audit:
        """
        It stops, and is idle.
        """
        cause = "stopped" if self.state == "leader" else None
        self.go(at, "stop", "resigning", cause=cause)
        return self.go(at + 0.002, "settled", "idle")

    def expired(self, at: float | None = None) -> Audit:
        """
        Its lease reaches the deadline, and it says so then or later.
        """
        self.go(self.deadline if at is None else at, "lease_expired", "error", cause="lease_expired")
        return self.go(self.since + 0.001, "settled", "backoff")

    def sees(self, at: float, node: str, token: int) -> Audit:
        """
        Its view of who leads changes.
        """
        names = {"incarnation": self.incarnation, "election": self.election, "node": self.node}
        self._line("leader", at, **names, monotonic=self.base + at, leader={"node": node, "token": token})
        return self

    def records(self) -> list[Line]:
        """
        Its transitions; changes of them are changes of the audit.
        """
        return [line for line in self.lines if line["kind"] == "transition"]

    def change(self, which: Callable[[Line], bool], **fields: Any) -> Audit:
        """
        Plant: change the first record of which something holds.
        """
        next(line for line in self.records() if which(line)).update(fields)
        return self

    def drop(self, which: Callable[[Line], bool], *, renumber: bool = False) -> Audit:
        """
        Plant: take the first record out of which something holds.
        """
        self.lines.remove(next(line for line in self.records() if which(line)))
        if renumber:
            for number, line in enumerate(self.records(), 1):
                line["seq"] = number
        return self

    def write(self, path: Path, *, chain: bool = False) -> Path:
        """
        Write it.
        """
        return write(path, self.lines, chain=chain)


def write(path: Path, lines: list[Line], *, chain: bool = False, prev: str | None = None) -> Path:
    """
    Write lines as an AuditLog does, compressed if the name ends so.
    """
    texts: list[bytes] = []
    for line in lines:
        fields = line
        if chain:
            fields = {**line, **({"chain": True} if line["kind"] == "header" else {}), "prev": prev}
        text = json.dumps(fields, separators=(",", ":")).encode()
        prev = hashlib.sha256(text).hexdigest()
        texts.append(text + b"\n")
    data = b"".join(texts)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def last_hash(path: Path) -> str:
    """
    The hash of a file's last line, as an operator keeps it elsewhere.
    """
    return hashlib.sha256(path.read_bytes().rstrip(b"\n").split(b"\n")[-1]).hexdigest()


def dest(state: str) -> Callable[[Line], bool]:
    """
    Records that go to a state.
    """
    return lambda line: bool(line["dest"] == state)


def source(state: str) -> Callable[[Line], bool]:
    """
    Records that leave a state.
    """
    return lambda line: bool(line["source"] == state)


def night(**clocks: str | None) -> dict[str, Audit]:
    """
    Three nodes: birch leads and resigns, cedar leads and its lease expires, birch leads again and stops; all is well.

    Aspen only waits, and sees who leads. Each has a clock of its own, unless `clocks` says otherwise.
    """
    aspen, birch, cedar = (Audit(node, clock=clocks.get(node)) for node in ("aspen", "birch", "cedar"))
    for number, audit in enumerate((aspen, birch, cedar)):
        audit.stand(0.1 * number)
    birch.elected(1.0, 3).renewed(4.0).renewed(7.0)
    aspen.sees(1.01, "birch", 3)
    birch.resigned(8.0)
    cedar.elected(8.01, 5)
    aspen.sees(8.02, "cedar", 5)
    birch.stand(12.0)
    cedar.renewed(11.0).expired()
    birch.elected(21.5, 7)
    aspen.sees(21.51, "birch", 7)
    birch.stopped(25.0)
    aspen.stopped(30.0)
    cedar.stand(24.0).stopped(30.0)
    return {"aspen": aspen, "birch": birch, "cedar": cedar}


def written(folder: Path, audits: dict[str, Audit], *, chain: bool = False) -> list[Path]:
    """
    A file for each.
    """
    return [audit.write(folder / f"{node}.jsonl", chain=chain) for node, audit in audits.items()]

"""
The evidence of one round, read from its folder: nothing else is known to the judge.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple


class Look(NamedTuple):
    """
    What a look of a sampler saw: `leads` was true or false at some moment between `before` and `after`.
    """

    before: float
    after: float
    leads: bool
    token: int | None
    deadline: float | None
    """The latest that it can have been at that moment."""


class View(NamedTuple):
    """
    What a follower answered at some moment between `before` and `after`: who leads, and whether it claims to know.
    """

    before: float
    after: float
    known: bool
    node: str | None
    token: int | None


@dataclass(frozen=True)
class Account:
    """
    What the witnesses inside one process wrote.
    """

    node: str
    pid: int
    samples: list[Look]
    said: list[dict[str, Any]]
    """Callbacks, errors, commands."""

    @property
    def name(self) -> str:
        """
        The process, in words.
        """
        return f"{self.node} ({self.pid})"


@dataclass(frozen=True)
class Report:
    """
    What the witness inside a follower's process wrote.
    """

    node: str
    pid: int
    views: list[View]

    @property
    def name(self) -> str:
        """
        The process, in words.
        """
        return f"{self.node} ({self.pid})"


@dataclass(frozen=True)
class Evidence:
    """
    A round.
    """

    facts: dict[str, Any]
    accounts: list[Account]
    fenced: list[dict[str, Any]]
    """The log of R."""
    open: list[dict[str, Any]]
    """The log of R0."""
    store: list[dict[str, Any]]
    """What the observer of the store wrote."""
    reports: list[Report] = field(default_factory=list)

    def pauses_of(self, process: int) -> list[tuple[float, float]]:
        """
        When a process stood still: from, until.
        """
        return [(since, until) for _, pid, since, until in self.facts["pauses"] if pid == process]

    def witnesses(self) -> Iterator[tuple[str, int, Sequence[Look] | Sequence[View]]]:
        """
        Each process that looked: its name, its number, what it saw.
        """
        yield from ((witness.name, witness.pid, witness.samples) for witness in self.accounts)
        yield from ((report.name, report.pid, report.views) for report in self.reports)

    def silence(self, since: float, until: float) -> float:
        """
        For how many seconds between two moments the store did not answer somebody who does not use the library.
        """
        total, began = 0.0, None
        for told in [*self.store, {"b": until, "a": until}]:
            if "error" in told:
                began = told["b"] if began is None else began
            elif began is not None:
                total += max(0.0, min(told["a"], until) - max(began, since))
                began = None
        return total


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """
    The records of a file, which may have been compressed; not one that is just being written, or never was to its end.
    """
    packed = path.with_name(f"{path.name}.gz")
    if packed.exists():
        with gzip.open(packed, "rt", encoding="utf-8") as file:
            yield from map(json.loads, filter(_whole, file))
    elif path.exists():
        with open(path, encoding="utf-8") as file:
            yield from map(json.loads, filter(_whole, file))


def _whole(line: str) -> bool:
    return line.endswith("\n")


def read(folder: Path) -> Evidence:
    """
    The evidence of a round.
    """
    accounts, reports = [], []
    names = {path.name.removesuffix(".gz") for path in folder.iterdir()}
    for name in sorted(names):
        if name.endswith(".views.jsonl"):
            node, _, pid = name.removesuffix(".views.jsonl").rpartition("-")
            views = [View(*(record[key] for key in "baknt")) for record in lines(folder / name) if "b" in record]
            reports.append(Report(node, int(pid), views))
        elif name.endswith(".jsonl") and not name.endswith(".log.jsonl"):
            node, _, pid = name.removesuffix(".jsonl").rpartition("-")
            samples, said = [], []
            for record in lines(folder / name):
                if "what" in record:
                    said.append(record)
                else:
                    samples.append(Look(record["b"], record["a"], record["l"], record["t"], record["d"]))
            accounts.append(Account(node, int(pid), samples, said))
    return Evidence(
        json.loads((folder / "round.json").read_text(encoding="utf-8")),
        accounts,
        list(lines(folder / "R.log.jsonl")),
        list(lines(folder / "R0.log.jsonl")),
        list(lines(folder / "store.log.jsonl")),
        reports,
    )


def pack(folder: Path) -> None:
    """
    Compress the evidence of a round that was judged.
    """
    for path in list(folder.glob("*.jsonl")):
        with open(path, "rb") as plain, gzip.open(f"{path}.gz", "wb", compresslevel=4) as packed:
            shutil.copyfileobj(plain, packed)
        path.unlink()

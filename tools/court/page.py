"""
The page of the docs on a run, from its evidence: `python -m court.page FOLDER >docs/scorecard.md`.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from court.controls import CONDEMNED_BY
from court.faults import FAULTS
from court.summary import Row, rows, scorecard

ABOUT: Final = (
    ("Python", "python"),
    ("SQLite", "sqlite"),
    ("etcd", "etcd server"),
    ("etcd3", "etcd3"),
    ("Consul", "consul server"),
    ("python-consul2", "python-consul2"),
    ("ZooKeeper", "zookeeper server"),
    ("kazoo", "kazoo"),
    ("Linux", "kernel"),
)
"""What each version is of, and how a run calls it."""


def page(folder: Path) -> str:
    """
    The whole page.
    """
    facts: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    text, well = scorecard(folder)
    ours = [row for row in rows(folder) if row.facts["contender"] == "library"]
    arguments = shlex.quote(shlex.join(without_place(facts["arguments"])))
    played = {row.facts["fault"] for row in ours} | {row.facts["contender"] for row in rows(folder)}
    left_out = [each for each in (*(fault.name for fault in FAULTS), *CONDEMNED_BY) if each not in played]
    return f"""# Scorecard of the faults

One run of `make faults`, as it was played and judged: [how, and by which laws](faults.md).
This page is written by `python -m court.page` from the evidence of the run, all of it, with what went wrong.

- **{"Passed" if well else "Not passed"}**: {totals(ours)}.
- Begun {facts["begun"]}, at commit {facts["commit"]}, with `make faults ARGS={arguments}`.
- {versions(facts)}; {facts["cores"]} processors.
- Faults and controls that were not played: {", ".join(left_out) or "none"}.

{text}
"""


def without_place(arguments: Sequence[str]) -> list[str]:
    """
    The arguments of a run without the folder of its results, which is one of somebody's machine.
    """
    given = list(arguments)
    while "--results" in given:
        place = given.index("--results")
        del given[place : place + 2]
    return [each for each in given if not each.startswith("--results=")]


def totals(ours: Sequence[Row]) -> str:
    """
    What all rounds have in common.
    """
    laws = [law for row in ours for law in row.laws()]
    measures: list[Mapping[str, Any]] = [row.verdict["measures"] for row in ours]
    states = [row.verdict["status"] for row in ours]
    looks, stale = (sum(each[name] for each in measures) for name in ("samples", "stale_at_twin"))
    return (
        f"{len(ours)} rounds, of which {states.count('broken')} broken and {states.count('void')} void; {looks:,} "
        f"looks at `is_leader`, of which {laws.count('S4')} true after the deadline; {laws.count('S1')} overlaps; "
        f"{laws.count('S2')} tokens that did not rise; {laws.count('S3')} stale writes taken by the fenced resource, "
        f"and {stale} by its twin"
    )


def versions(facts: Mapping[str, Any]) -> str:
    """
    What was judged, on what.
    """
    told = (f"{name} {str(facts[key]).removeprefix('zookeeper-').removeprefix('v')}" for name, key in ABOUT)
    return ", ".join(told)


if __name__ == "__main__":
    sys.stdout.write(page(Path(sys.argv[1])))

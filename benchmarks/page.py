"""
Renews docs/benchmarks.md and its pictures from the samples of a run: `python -m benchmarks.page`.

    make bench-peers ARGS='--json docs/benchmarks/figures.json' && python -m benchmarks.page
    python -m benchmarks.page --check      writes nothing; ends non-zero where something is not what the samples say

What is between `<!-- measured: … -->` and `<!-- end measured -->` is written here, the rest of the page by people.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.strips import Strip, strips
from benchmarks.table import NAME, ROWS, SYSTEMS, TITLES, Line, lines

DOCS: Final = Path(__file__).parent.parent / "docs"
PAGE: Final = DOCS / "benchmarks.md"
FOLDER: Final = DOCS / "benchmarks"
BLOCK: Final = re.compile(r"(?P<mark><!-- measured: (?P<what>\w+) -->\n).*?(?P<end><!-- end measured -->)", re.DOTALL)


def files(document: Mapping[str, Any], page: str) -> dict[Path, str]:
    """
    What the page and its pictures are to be.
    """
    found = lines(document["figures"])
    blocks = {row: _table([line for line in found if line.row == row]) for row in ROWS}
    blocks |= {"about": _about(document), "verdict": _verdict(found, document)}
    text = BLOCK.sub(lambda match: f"{match['mark']}\n{blocks[match['what']]}\n\n{match['end']}", page)
    return {PAGE: text} | {FOLDER / name: picture for name, picture in _pictures(document["figures"]).items()}


def _table(rows: Sequence[Line]) -> str:
    head = ["| where | leadership | peers | beside | goal | |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *map(_row, rows)])


def _row(line: Line) -> str:
    peers = "<br>".join(f"{name}: {value}" for name, value in line.peers.items())
    verdict = {True: "met", False: "**missed**", None: ""}[line.met]
    return f"| {line.what} | {line.ours} | {peers} | {line.ratio} | {line.goal} | {verdict} |".replace("  ", " ")


def _verdict(rows: Sequence[Line], document: Mapping[str, Any]) -> str:
    goals = [line for line in rows if line.met is not None]
    said = [f"{sum(bool(line.met) for line in goals)} of {len(goals)} goals were met."]
    missed = [line for line in goals if not line.met]
    if missed:
        said += ["", "| missed | leadership | beside | goal |", "|---|---|---|---|"]
        said += [f"| {_section(line)}: {line.what} | {line.ours} | {line.ratio} | {line.goal} |" for line in missed]
    told = {f"{name} was not measured: {why}." for name, why in document["missing"].items()}
    for figure in document["figures"]:
        where = f"{figure['row'].split()[0]}, {TITLES[figure['system']]}"
        told |= {f"{name} failed ({where}): {why}." for name, why in figure["failed"].items()}
    return "\n".join([*said, *(["", *(f"- {each}" for each in sorted(told))] if told else [])])


def _section(line: Line) -> str:
    return {"handover": "hand-over", "alone": "uncontended"}.get(line.row, line.row)


def _about(document: Mapping[str, Any]) -> str:
    where, loads = document["machine"], document["load"]
    each = [figure["load"] for figure in document["figures"]]
    versions = "; ".join(f"{name} {version}" for name, version in document["versions"].items())
    return "\n".join(
        [
            f"- Measured on {document['date'][:10]}.",
            f"- {where['processors']} processors ({where['cpu']}), {where['memory']:.0f} GB, {where['platform']}.",
            (
                f"- Load average {loads['at the beginning']} at the beginning, {loads['at the end']} at the end, "
                f"between {min(each)} and {max(each)} while it ran."
            ),
            f"- {versions}.",
        ]
    )


def _pictures(figures: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    made: dict[str, str] = {}
    for system in SYSTEMS:
        contests = [each for each in figures if each["row"] == "handover" and each["system"] == system]
        if contests:
            names = [NAME, *sorted({name for each in contests for name in each["samples"]} - {NAME})]
            rows = [
                Strip(f"{name}, {each['candidates']}", each["samples"][name], ours=name == NAME, first=number == 0)
                for name in names
                for number, each in enumerate(contests)
                if name in each["samples"]
            ]
            title = f"{TITLES[system]}: a leader resigns → the next one is elected, of 2, 10 and 50 candidates"
            made[f"handover-{system}.svg"] = strips(title, rows, "ms")
    for row, unit in (("crash", "ms"), ("requests", "")):
        rows = [
            Strip(
                f"{TITLES[each['system']].partition(' (')[0]}, {name}", samples, ours=name == NAME, first=name == NAME
            )
            for each in figures
            if each["row"] == row
            for name, samples in each["samples"].items()
        ]
        made[f"{row}.svg"] = strips(ROWS[row].removesuffix(", milliseconds"), rows, unit)
    return made


def main() -> int:
    document = json.loads((FOLDER / "figures.json").read_text(encoding="utf-8"))
    stale = 0
    for path, text in files(document, PAGE.read_text(encoding="utf-8")).items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        print(f"{path.relative_to(DOCS.parent)}{' is not what the samples say' if '--check' in sys.argv else ''}")
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())

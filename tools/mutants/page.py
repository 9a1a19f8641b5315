"""
The table of docs/mutants.md, from the figures of the last whole run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from mutants.catalogue import GROUPS

RECORDED: Final = Path(__file__).with_name("recorded.json")


def recorded() -> dict[str, Any]:
    """
    The last whole run that was kept.
    """
    found: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))
    return found


def write(of: str) -> str:
    """
    A part of the page: `figures`, `table`, `survivors`.
    """
    return {"figures": figures, "table": table, "survivors": survivors}[of]()


def figures() -> str:
    """
    How many were killed, when and where.
    """
    run = recorded()
    results = run["results"]
    killed = sum(each["verdict"] == "killed" for each in results)
    hangs = sum(each["hang"] for each in results)
    return (
        f"\n{run['date']}, the last of them at commit {run['commit']}, Python {run['python']}: "
        f"{killed} of {len(results)} mutants killed ({killed / len(results):.1%}), {hangs} of them by a test that hung,"
        f" in {sum(each['seconds'] for each in results) / 60:.0f} minutes.\n\n"
    )


def table() -> str:
    """
    Each mutant: its mechanism, what goes wrong, what has killed it.
    """
    known = {each["name"]: each for each in recorded()["results"]}
    lines: list[str] = []
    for title, mutants in GROUPS.items():
        lines += ["", f"### {title}", "", "| mutant | in | what goes wrong | killed by | s |", "|---|---|---|---|---|"]
        for mutant in mutants:
            result = known[mutant.name]
            by = "survives" if result["verdict"] != "killed" else _test(result["by"])
            by += " (hangs)" if result["hang"] else ""
            lines.append(f"| {mutant.name} | `{mutant.file}` | {mutant.what} | {by} | {result['seconds']:.0f} |")
    return "\n".join([*lines, "", ""])


def survivors() -> str:
    """
    Those that no test can find, and why.
    """
    known = {each["name"]: each for each in recorded()["results"]}
    lines = [
        f"- **{mutant.name}** (`{mutant.file}`): {mutant.survives}."
        for mutants in GROUPS.values()
        for mutant in mutants
        if known[mutant.name]["verdict"] != "killed"
    ]
    return "\n".join(["", *(lines or ["None."]), "", ""])


def _test(name: str) -> str:
    """
    A test without what its parameters are, which may have any characters.
    """
    path, _, test = name.partition("::")
    return f"`{path.removeprefix('tests/')}` `{test.partition('[')[0].replace('::', '.')}`"

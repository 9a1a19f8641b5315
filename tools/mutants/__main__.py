"""
Runs mutants and prints what became of them: `make mutants`, `python -m mutants`.

It ends with 1 where one has survived without an explanation, or was no working program.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mutants.catalogue import MUTANTS
from mutants.mutant import Mutant, Stale
from mutants.page import RECORDED
from mutants.runner import ROOT, Result, check_unchanged, run_all

RESULTS: Final = ROOT / "results" / "mutants.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """
    The command.
    """
    parser = argparse.ArgumentParser(prog="python -m mutants", description="Plants faults in the library's own code.")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these mutants only")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="mutants at a time (1)")
    parser.add_argument("--record", action="store_true", help="keep the figures for docs/mutants.md")
    given = parser.parse_args(arguments)
    unknown = set(given.only or ()) - {mutant.name for mutant in MUTANTS}
    if unknown:
        parser.error(f"there is no mutant {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in MUTANTS if not given.only or mutant.name in given.only]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        work = Path(folder)
        print(f"the tests of {len(chosen)} mutants, on the code as it is", flush=True)
        wrong = check_unchanged(work, chosen)
        if wrong:
            print(f"they do not pass:\n{wrong}")
            return 1
        results: list[Result] = []
        try:
            for result in run_all(work, chosen, given.jobs):
                results.append(result)
                print(told(result), flush=True)
                write(results, RECORDED if given.record else RESULTS)  # a run that is interrupted has been of use
        except Stale as error:
            print(error)
            return 1
    return summed_up(chosen, results)


def told(result: Result) -> str:
    """
    A result as a line.
    """
    by = f"{'hangs in ' if result.hang else ''}{result.by}"
    error = "" if result.hang else " ".join(result.error.split())[:160]
    return f"{result.verdict:<9} {result.name:<44} {result.seconds:6.1f} s  {by}  {error}".rstrip()


def write(results: Sequence[Result], path: Path) -> None:
    """
    Keep results, beside those of other mutants that are there.
    """
    before = json.loads(path.read_text(encoding="utf-8"))["results"] if path.exists() else []
    known = {each["name"]: each for each in before} | {result.name: result.as_dict() for result in results}
    if path == RECORDED:  # what a test has said names paths of the machine that it ran on
        for each in known.values():
            each.pop("error", None)
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    path.parent.mkdir(exist_ok=True)
    run = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "commit": commit,
        "python": platform.python_version(),
        "results": [known[mutant.name] for mutant in MUTANTS if mutant.name in known],
    }
    path.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def summed_up(chosen: Sequence[Mutant], results: Sequence[Result]) -> int:
    """
    The exit status, and the reasons for it in words.
    """
    explained = {mutant.name for mutant in chosen if mutant.survives}
    killed = [result for result in results if result.verdict == "killed"]
    bad = [
        f"{result.verdict}: {result.name}"
        for result in results
        if result.verdict == "error" or (result.verdict == "survived" and result.name not in explained)
    ]
    print(f"{len(killed)} of {len(results)} killed", *bad, sep="\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

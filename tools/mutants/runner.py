"""
Plants mutants and runs the tests that are to find them.

The package is copied into a folder of its own for each, and found there by PYTHONPATH, which comes before whatever is
installed; `plugin` sees to it that this was so. Before anything is planted, the same tests have to pass on an unchanged
copy: a test that fails anyway kills nobody.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import leadership
from mutants.mutant import Mutant
from mutants.plugin import PACKAGE, REPORT

ROOT: Final = Path(__file__).parent.parent.parent
SOURCE: Final = Path(leadership.__file__).parent
LIMIT: Final = 180.0
"""Seconds for one mutant; what takes longer hangs."""
BROKEN: Final = frozenset({"ImportError", "SyntaxError", "NameError"})
"""What a mutant that is no working program raises."""


@dataclass(frozen=True, slots=True)
class Result:
    """
    What became of a mutant.
    """

    name: str
    verdict: str
    """`killed`, `survived`, or `error`: it was no working program, or its tests did not run."""
    by: str
    """The test that failed first."""
    error: str
    """What that said; or what went wrong with the mutant."""
    hang: bool
    """The test did not end in time."""
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """
        JSON-able values.
        """
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Run:
    """
    One run of pytest.
    """

    notes: tuple[dict[str, Any], ...]
    status: int | None
    """None: it did not end in time."""
    output: str
    seconds: float

    def of(self, *kinds: str) -> Iterator[dict[str, Any]]:
        """
        The notes of some kinds.
        """
        return (note for note in self.notes if note["kind"] in kinds)


def run_tests(folder: Path, tests: Iterable[str], *, first: bool, limit: float) -> Run:
    """
    Run tests against the copy of the package in a folder.

    Args:
        folder: Which has the copy.
        tests: As pytest names them.
        first: Stop at the first that fails.
        limit: Seconds.
    """
    report, data = folder / "report", folder / "t"
    report.write_bytes(b"")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, (folder, ROOT / "tools", ROOT / "tests"))),
        PACKAGE: str(folder / "leadership"),
        REPORT: str(report),
    }
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "mutants.plugin"]
    command += [f"--rootdir={ROOT}", f"--basetemp={data}", *(["-x"] if first else []), *tests]
    began = time.monotonic()
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        try:
            output, _ = process.communicate(timeout=limit)
            status: int | None = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            status = None
    notes = tuple(json.loads(line) for line in report.read_text(encoding="utf-8").splitlines())
    return Run(notes, status, output.decode(errors="replace"), time.monotonic() - began)


def copied(work: Path, name: str) -> Path:
    """
    A folder with a copy of the package.
    """
    folder = work / re.sub(r"\W+", "-", name)  # a colon would part it in PYTHONPATH
    shutil.copytree(SOURCE, folder / "leadership")
    return folder


def check_unchanged(work: Path, chosen: Sequence[Mutant]) -> str:
    """
    Run all tests that are to find the mutants on an unchanged copy; what is wrong, if anything is.
    """
    tests = list(dict.fromkeys(test for mutant in chosen for test in mutant.tests))
    folder = copied(work, "u")
    run = run_tests(folder, tests, first=False, limit=LIMIT + 60.0 * len(tests))
    shutil.rmtree(folder, ignore_errors=True)
    wrong = [f"{note['test']}: {note.get('error', note['kind'])}" for note in run.of("failed", "broken", "skipped")]
    if run.status != 0 or wrong or not any(note["right"] for note in run.of("package")):
        return "\n".join(wrong) or run.output[-3000:]
    return ""


def judge(mutant: Mutant, run: Run) -> Result:
    """
    What a run says of a mutant.
    """
    seconds = round(run.seconds, 1)
    result = partial(Result, mutant.name, seconds=seconds)
    failed = next(run.of("failed"), None)
    broken = next(run.of("broken"), None)
    if not any(note["right"] for note in run.of("package")):
        return result("error", "", f"another package was tested: {run.output[-500:]}", hang=False)
    if broken is not None:
        return result("error", broken["test"], broken["error"], hang=False)
    if failed is not None:
        if not BROKEN.isdisjoint(failed["classes"]):
            return result("error", failed["test"], failed["error"], hang=False)
        hang = failed["error"].startswith("Failed: Timeout")
        return result("killed", failed["test"], failed["error"], hang=hang)
    if run.status is None:
        began = [note["test"] for note in run.of("began")]
        return result("killed", began[-1] if began else "", f"no end within {LIMIT:g} s", hang=True)
    if run.status != 0:
        return result("error", "", run.output[-2000:], hang=False)
    return result("survived", "", "", hang=False)


def run_mutant(work: Path, mutant: Mutant) -> Result:
    """
    Plant one mutant in a copy of its own, and run its tests.

    Raises:
        Stale: It does not fit the code any more.
    """
    folder = copied(work, mutant.name)
    try:
        mutant.plant(folder / "leadership")
        return judge(mutant, run_tests(folder, mutant.tests, first=True, limit=LIMIT))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_all(work: Path, chosen: Sequence[Mutant], jobs: int) -> Iterator[Result]:
    """
    Each in turn, so many at a time.
    """
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(partial(run_mutant, work), chosen)

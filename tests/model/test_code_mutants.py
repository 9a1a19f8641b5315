"""
The mutants of the code itself: each still fits, the runner plants and kills, and the last whole run is what it claims.

All of them are run by `make mutants`, which takes too long for every change (docs/mutants.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mutants.catalogue import MUTANTS
from mutants.mutant import Mutant, Stale
from mutants.page import recorded
from mutants.runner import ROOT, SOURCE, Run, check_unchanged, judge, run_mutant

QUICK = (
    "belief without a deadline",
    "monotonic clock",
    "late grant is taken",
    "chain is not checked",
    "memory: late acquire is accepted",
    "gauge without a deadline",
)
CHOSEN = [mutant for mutant in MUTANTS if mutant.name in QUICK]
TERM = next(mutant for mutant in MUTANTS if mutant.name == "belief without a deadline")


def of_term(name: str, new: str) -> Mutant:
    """
    A change of whether a term is current, for the quickest of its tests.
    """
    return Mutant(name, "A test of the runner.", TERM.file, TERM.old, new, TERM.tests[:1])


def test_every_mutant_fits_the_code() -> None:
    """
    The text of each stands in its file exactly once, what takes its place is Python, and no two have one name.
    """
    lost: list[str] = []
    for mutant in MUTANTS:
        try:
            changed = mutant.mutated((SOURCE / mutant.file).read_text(encoding="utf-8"))
            assert changed != mutant.old
        except (Stale, FileNotFoundError) as error:
            lost.append(str(error))
    assert [] == lost
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_every_test_of_a_mutant_is_there() -> None:
    """
    The tests that are to find mutants have not been renamed.
    """
    suite = "".join(path.read_text(encoding="utf-8") for path in (SOURCE / "testing").glob("_conformance_*.py"))
    lost: list[str] = []
    for test in sorted({test for mutant in MUTANTS for test in mutant.tests}):
        path, *names = test.partition("[")[0].split("::")
        text = (ROOT / path).read_text(encoding="utf-8") if (ROOT / path).exists() else ""
        if not text or not all(re.search(rf"(def|class) {name}\(", text + suite) for name in names):
            lost.append(test)
    assert [] == lost


def test_a_mutant_that_does_not_fit_is_named() -> None:
    """
    Code that is there twice or not at all, and a change that is no Python, are errors with the mutant's name.
    """
    mutant = of_term("an example", "return")
    for text, says in (("", "0 times"), (2 * f"{TERM.old}\n", "2 times"), (TERM.old, "no Python")):
        with pytest.raises(Stale, match=f"'an example'.*{says}"):
            mutant.mutated(text)


@pytest.mark.timeout(300)
def test_some_are_planted_and_killed(tmp_path: Path) -> None:
    """
    On the code as it is their tests pass; with each of them one fails, in the copy that was changed.
    """
    assert len(QUICK) == len(CHOSEN)
    assert not check_unchanged(tmp_path, CHOSEN)
    results = [run_mutant(tmp_path, mutant) for mutant in CHOSEN]
    assert [] == [result for result in results if result.verdict != "killed"]
    assert all(result.by.partition("::")[0] in mutant.tests[0] for result, mutant in zip(results, CHOSEN, strict=True))


@pytest.mark.timeout(300)
def test_what_changes_nothing_survives_and_what_does_not_run_is_an_error(tmp_path: Path) -> None:
    """
    A runner that calls everything killed would be worth nothing.
    """
    same = run_mutant(tmp_path, of_term("same", "return self._clock() < self._deadline and not self._over"))
    broken = run_mutant(tmp_path, of_term("broken", "return no_such_name"))
    assert ("survived", "error") == (same.verdict, broken.verdict)
    assert "NameError" in broken.error


def notes(*of: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    return ({"kind": "package", "right": True}, *of)


FAILED = {"kind": "failed", "test": "t", "classes": ["AssertionError"], "error": "AssertionError: no"}


@pytest.mark.parametrize(
    ("run", "verdict", "hang"),
    [
        (Run(notes(FAILED), 1, "", 1.0), "killed", False),
        (Run(notes(FAILED | {"error": "Failed: Timeout (>60.0s) from pytest-timeout."}), 1, "", 60.0), "killed", True),
        (Run(notes({"kind": "began", "test": "t"}), None, "", 180.0), "killed", True),
        (Run(notes(), 0, "", 1.0), "survived", False),
        (Run(notes(FAILED | {"classes": ["ModuleNotFoundError", "ImportError"]}), 1, "", 1.0), "error", False),
        (Run(notes({"kind": "broken", "test": "t", "error": "no"}), 2, "", 1.0), "error", False),
        (Run(notes(), 5, "no tests ran", 1.0), "error", False),
        (Run(({"kind": "package", "right": False}, FAILED), 1, "", 1.0), "error", False),
        (Run((), 4, "", 1.0), "error", False),
    ],
    ids=["failed", "test hangs", "run hangs", "passed", "import", "collection", "no test", "other package", "nothing"],
)
def test_verdicts(run: Run, verdict: str, hang: bool) -> None:
    """
    A failure kills, a hang kills and is called so; whatever shows that no mutant was tested is an error.
    """
    result = judge(TERM, run)
    assert (verdict, hang) == (result.verdict, result.hang)


def unexplained(results: list[dict[str, Any]]) -> Iterator[str]:
    explained = {mutant.name for mutant in MUTANTS if mutant.survives}
    return (each["name"] for each in results if each["verdict"] != "killed" and each["name"] not in explained)


def test_the_last_whole_run_is_of_these_mutants() -> None:
    """
    Each has a result that was kept, 95 % were killed, and who survives is explained.
    """
    results = recorded()["results"]
    assert [mutant.name for mutant in MUTANTS] == [each["name"] for each in results]
    killed = sum(each["verdict"] == "killed" for each in results)
    assert killed >= 0.95 * len(results)
    assert [] == list(unexplained(results))

"""
The page on faults has all that the court has, and the page of a run hides nothing.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from court.__main__ import CONTROL_ROUNDS
from court.controls import CONDEMNED_BY
from court.faults import FAULTS
from court.page import ABOUT, page
from doc_pages import ROOT

PAGE = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")


def names(heading: str) -> list[str]:
    """
    What the rows of a section's table begin with.
    """
    section = PAGE.split(f"\n{heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"(?m)^\| ([^|]+) \|", section)[1:]


def test_every_fault_and_control_is_described() -> None:
    """
    Each fault that is injected and each control that must be condemned has its row, and each control is played.
    """
    assert sorted(fault.name for fault in FAULTS) == sorted(names("## What is injected"))
    assert sorted(CONDEMNED_BY) == sorted(names("## Negative controls"))
    assert sorted(CONDEMNED_BY) == sorted(name for name, _, _ in CONTROL_ROUNDS)


def test_the_page_of_a_run_says_what_it_is_not(tmp_path: Path) -> None:
    """
    A run that was broken off, or that left faults out, is no whole one; where its results were is nobody's business.
    """
    row = {
        "contender": "library",
        "store": "etcd",
        "servers": 1,
        "fault": FAULTS[0].name,
        "bound": 3.0,
        **dict.fromkeys(("commit", "begun", "cores", *(key for _, key in ABOUT)), "1"),
    }
    measures = dict.fromkeys(("samples", "writes", "refused", "stale_at_twin", "moved"), 0)
    verdict = {"status": "passed", "findings": [], "void": [], "measures": measures}
    (tmp_path / "etcd" / "000").mkdir(parents=True)
    (tmp_path / "etcd" / "000" / "round.json").write_text(json.dumps(row))
    (tmp_path / "etcd" / "000" / "verdict.json").write_text(json.dumps(verdict))
    run = {**row, "arguments": ["--rounds", "2", "--results", "/somewhere/of/mine"]}

    (tmp_path / "run.json").write_text(json.dumps({**run, "ended": "now"}))
    whole = page(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({**run, "ended": None}))
    part = page(tmp_path)

    assert "**Passed**" in whole
    assert "ARGS='--rounds 2'`" in whole
    assert f"not played: {FAULTS[1].name}" in whole
    assert "/somewhere" not in whole
    assert "**Not passed**" in part
    assert "aborted: the run itself" in part

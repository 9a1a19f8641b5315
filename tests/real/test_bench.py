"""
`make bench`: every figure is measured and printed beside its goal. How fast it is here and now is no test's business.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read /proc")

RUN = Path(__file__).parent.parent.parent / "benchmarks" / "run.py"

FIGURES = [
    ("bare `transitions`, one callback, send_event", None),
    ("transition without an audit, engine thread", None),
    ("transition with an audit, engine thread", None),
    ("its line, audit thread", None),
    ("transition with its audit line, both threads", 20),
    ("its log record (filtered), observers' thread", None),
    ("renewal, 20 candidates of one session, each", 6),
    ("renewal, one candidate, its session's timers included", None),
    *(
        (f"on {store}: {what}", goal)
        for store in ("memory", "sqlite")
        for what, goal in (
            ("until 50 elections are led", None),
            ("threads", 12),
            ("memory added to that of one election", 40),
            ("CPU, idle for 1 s", 2),
            ("operations of the store, idle", 2),
        )
    ),
    ("the pure model, CPU time", 3.33),
    *(
        (f"2,000 records of 10 nodes{chained}, {what}", goal)
        for chained in ("", ", chained")
        for what, goal in (("whole command", 3.33), ("memory of all its processes", 200))
    ),
    *([("the report of 1,000 transitions opens in Chromium", 3)] if shutil.which("chromium") else []),
    ("resign → next elected, 2 candidates in 2 processes", 5),
    ("resign → next elected, 10 candidates in 5 processes", 5),
    ("resign → next elected, 50 candidates in 10 processes", 5),
    ("kill -9 → next elected, 3 candidates in 3 processes", 50),
    ("uncontended, connect → elected, first of a process, new file", None),
    ("uncontended, connect → elected, first of a process, file in place", None),
    ("uncontended, start → elected, further election of a process", None),
    ("resign → a raw watch tells of the next leader", None),
    ("resign → a Follower tells of the next leader", None),
    ("Follower over the raw watch of its store", 1),
    ("for comparison: bare commit, datagram, commit", None),
]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RUN), *arguments]
    return subprocess.run(command, check=False, capture_output=True, encoding="utf-8", timeout=170)


@pytest.mark.timeout(180)
def test_every_figure_is_printed_beside_its_goal(tmp_path: Path) -> None:
    """
    Each row has a number, and PASS or MISS as its goal says; the file has the same rows.
    """
    file = tmp_path / "figures.json"
    done = bench("--quick", "--json", str(file))
    assert (0, "") == (done.returncode, done.stderr)
    rows = json.loads(file.read_text(encoding="utf-8"))
    assert FIGURES == [(row["what"], row["goal"]) for row in rows]
    for row in rows:
        assert math.isfinite(row["value"]), row
        assert row["n"] > 0
        assert (None if row["goal"] is None else row["value"] <= row["goal"]) is row["passed"]
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"  {row['what']} ")]
        verdict = "" if row["goal"] is None else rf".*goal ≤ {row['goal']}: {'PASS' if row['passed'] else 'MISS'}"
        assert re.fullmatch(rf"  {re.escape(row['what'])} +-?\d[\d.e-]* .*n=\d.*{verdict}", line), line


def test_unknown_part_is_refused() -> None:
    """
    A part that does not exist is named, and so are those that do.
    """
    done = bench("speed")
    assert 2 == done.returncode
    assert "there is no part 'speed'; there are: cost, many, audit, handover" in done.stderr

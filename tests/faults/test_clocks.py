"""
Clocks that a process is shown, and what faults of them do to an election.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from court.actors import TOOLS
from court.clock import now
from court.clocks import Clocks
from court.faults_of_clocks import Rate, Suspend, WallSteps
from court_rounds import round_of, shown_clocks, staged

pytestmark = pytest.mark.timeout(120)

TELLER = """
import json, sys, time
from court.clock import now, own
for line in sys.stdin:
    before = now()
    time.sleep(0.1)
    print(json.dumps([before, own(), time.monotonic(), time.time(), now() - before]), flush=True)
"""


def test_a_process_is_shown_other_clocks(tmp_path: Path) -> None:
    """
    Its wall clock steps while the others do not; they run at half the rate, and its waits take twice as long; the
    monotonic clock falls behind that of the boot. The true time is told all the same.
    """
    clocks = Clocks(shown_clocks(tmp_path), tmp_path / "page")
    process = subprocess.Popen(
        [sys.executable, "-c", TELLER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **clocks.environment, "PYTHONPATH": str(TOOLS)},
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None

        def told() -> list[float]:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            values: list[float] = json.loads(process.stdout.readline())
            return values

        plain = told()
        clocks.step_wall(-3600.0)
        behind = told()
        clocks.run_at(0.5)
        slow = told()
        slower = told()
        clocks.run_at(1.0)
        clocks.lose(7.0)
        lost = told()
        end = now()
        process.stdin.close()

    before, boot, mono, wall, _ = plain
    assert boot - mono == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic(), abs=0.01)
    assert behind[3] - wall == pytest.approx(behind[1] - boot - 3600.0, abs=0.05)
    assert behind[2] - mono == pytest.approx(behind[1] - boot, abs=0.05)
    assert slow[4] >= 0.2
    assert slower[1] - slow[1] == pytest.approx((slower[2] - slow[2]), abs=0.01)
    assert 0.4 < (slower[1] - slow[1]) / (slower[0] + slower[4] - slow[0] - slow[4]) < 0.6
    assert lost[1] - lost[2] == pytest.approx(boot - mono + 7.0, abs=0.05)
    assert before < behind[0] < slow[0] < slower[0] < lost[0] < end


def test_clocks_that_step_drift_or_stand_still_elect_nobody_beside_another(tmp_path: Path) -> None:
    """
    The wall clock is no reason to change the leader; on clocks that are a tenth slow, and after a suspend, the next
    leader comes after the belief of the last one.
    """
    with staged("sqlite", tmp_path, setting="clocks") as stage:
        verdicts = [round_of(stage, fault) for fault in (WallSteps(), Rate(), Suspend())]

    assert [("passed", [], [])] * 3 == [(each.status, each.findings, each.void) for each in verdicts]
    assert [False, True, True] == [each.measures["moved"] for each in verdicts]

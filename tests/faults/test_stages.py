"""
A stage that cannot go on is left, and the rounds that remain are played on another.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from court.actors import PATIENCE, TOOLS
from court.fault import Fault, Injection
from court.faults_of_candidates import Resign
from court.faults_of_clocks import Suspend
from court.judge import Verdict, judge_folder
from court.observer import wait_for
from court.session import Session, play_session
from court.summary import scorecard
from servers import ServerFailed
from servers._net import Refused
from servers._process import state

MOUNTER = """
import os, signal, sys
from pathlib import Path
from court.machine import mounted
mounted(Path(sys.argv[1]), 1).__enter__()
os.kill(os.getpid(), signal.SIGKILL)
"""


STARTER = """
import multiprocessing, os, signal, time
from concurrent.futures import ProcessPoolExecutor
from servers._guard import end_with_parent
pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), end_with_parent)
print(pool.submit(os.getpid).result(), flush=True)
pool.submit(time.sleep, 600)
os.kill(os.getpid(), signal.SIGKILL)
"""


class Breaks(Fault):
    """
    A store that does not come back, or answers by an error.
    """

    name = "F0 breaks"

    def inject(self, injection: Injection) -> None:
        """
        It is gone.
        """
        if injection.stage.folder.name == "stage":
            msg = "it does not answer any more"
            raise ServerFailed(msg)
        raise Refused(503, b"no leader")


class ResignOnce(Resign):
    """
    Not several times for a percentile.
    """

    times = 1


@pytest.mark.timeout(120)
def test_what_remains_is_played_on_another_stage(tmp_path: Path) -> None:
    """
    Two rounds are lost with their stages, which say so; the others are played. The audits of the last are judged.

    The second was once an error that nobody expected: it ended the whole run, and the scorecard knew nothing of it.
    """
    play_session(Session("sqlite", tmp_path / "stage", [Breaks(), ResignOnce()]), 2, 15.0)

    played = sorted(str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob("verdict.json"))
    assert ["stage-again-2/000-F2-resign", "stage-again-3/001-F2-resign"] == played
    left = sorted(str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob("aborted"))
    assert ["stage", "stage-again-2"] == left
    assert "Refused: 503: no leader" in (tmp_path / "stage-again-2" / "aborted").read_text(encoding="utf-8")
    assert [tmp_path / "stage-again-3"] == [path.parent for path in tmp_path.rglob("audits.json")]


@pytest.mark.timeout(120)
def test_a_stage_on_which_nothing_can_be_begun_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where nobody is ever elected, no round is begun, and there is no end of stages.
    """

    def nobody(_stage: object) -> None:
        msg = "nobody leads"
        raise RuntimeError(msg)

    monkeypatch.setattr("court.stage.Stage.wait_leader", nobody)
    play_session(Session("sqlite", tmp_path / "stage", [Resign()]), 2, 15.0)

    assert [tmp_path / "stage"] == [path.parent for path in tmp_path.rglob("aborted")]


def test_a_stage_that_lacks_a_compiler_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The error was once hidden by another: that there is no folder to tell it in.
    """
    monkeypatch.setenv("PATH", str(tmp_path))
    play_session(Session("sqlite", tmp_path / "results" / "stage", [Suspend()]), 1, 15.0)

    assert "apt-get install gcc" in (tmp_path / "results" / "stage" / "aborted").read_text(encoding="utf-8")


@pytest.mark.skipif(not os.environ.get("CI") and os.geteuid() != 0, reason="only root may mount")
def test_what_a_killed_process_had_mounted_is_gone(tmp_path: Path) -> None:
    """
    The small disk of a run that was killed was left in its results, which could not be removed then.
    """
    place = tmp_path / "disk"
    done = subprocess.run(
        [sys.executable, "-c", MOUNTER, str(place)], env={**os.environ, "PYTHONPATH": str(TOOLS)}, check=False
    )

    assert done.returncode == -signal.SIGKILL
    assert wait_for(lambda: f" {place} " not in Path("/proc/mounts").read_text(encoding="utf-8"), PATIENCE)


def test_a_run_that_was_killed_goes_on_nowhere() -> None:
    """
    Its stages were played to their end, and their processes stayed for ever after.
    """
    done = subprocess.run(
        [sys.executable, "-c", STARTER],
        env={**os.environ, "PYTHONPATH": str(TOOLS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    worker = int(done.stdout)

    def ended() -> bool:
        try:
            return state(worker) == "Z"
        except OSError:
            return True

    assert done.returncode == -signal.SIGKILL
    assert wait_for(ended, PATIENCE)


@pytest.mark.timeout(120)
def test_a_round_whose_store_was_lost_is_played_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    It is void, its stage is left without being an error, and the same round is played on another: no round is missing.
    """
    rounds = iter([True])

    def loses(folder: Path) -> Verdict:
        facts = json.loads((folder / "round.json").read_text(encoding="utf-8"))
        if next(rounds, False):
            (folder / "round.json").write_text(json.dumps({**facts, "lost": "no write"}), encoding="utf-8")
        return judge_folder(folder)

    monkeypatch.setattr("court.session.judge_folder", loses)
    play_session(Session("sqlite", tmp_path / "stage", [ResignOnce()]), 1, 15.0)
    text, well = scorecard(tmp_path)

    assert ["stage", "stage-again-2"] == sorted(path.parents[1].name for path in tmp_path.rglob("verdict.json"))
    assert [] == list(tmp_path.rglob("aborted"))
    assert well
    assert "played again: stage: nobody leads, and the store takes no write of the court's own: no write" in text

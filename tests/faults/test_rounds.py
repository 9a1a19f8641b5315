"""
The share of CI: on each store a leader is frozen and a leader is killed before the court, and controls are condemned.

`make faults` plays all faults, on clusters too.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from court.__main__ import CONTROL_ROUNDS
from court.cases import CASES
from court.contender import Role
from court.controls import CONDEMNED_BY, PAUSE, WallClock
from court.ending import finish
from court.fault import Fault
from court.faults_of_candidates import Kill, Pause
from court.faults_of_data import Compact, Wipe
from court.judge_stages import judge_stage
from court_rounds import SLACK, round_of, staged

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("name", CASES)
def test_a_frozen_and_a_killed_leader_are_replaced_by_one(name: str, tmp_path: Path) -> None:
    """
    Nobody believes beside another nor after a deadline, tokens rise, and of what the leader that was frozen writes when
    it wakes up, the twin without a fence takes all, and the resource nothing. A follower sees it all, audits and
    callbacks agree, nobody asks all the time, and nothing is left when all have stopped.
    """
    with staged(name, tmp_path) as stage:
        frozen = round_of(stage, Pause())
        killed = round_of(stage, Kill())
        finish(stage, SLACK)

    assert (frozen.status, frozen.findings, frozen.void) == ("passed", [], [])
    assert (killed.status, killed.findings, killed.void) == ("passed", [], [])
    assert frozen.measures["moved"]
    assert killed.measures["moved"]
    assert frozen.measures["stale_at_twin"] > 0
    assert [] == judge_stage(tmp_path)["findings"]


@pytest.mark.parametrize(("name", "faults"), [("sqlite", [Wipe()]), ("etcd", [Compact(), Wipe()])])
def test_a_store_that_has_lost_something_is_noticed(name: str, faults: list[Fault], tmp_path: Path) -> None:
    """
    Who has missed what was compacted away learns of the leader's end all the same; a store that has lost its data has
    another leader soon, and one who remembers a greater token says `token_reset`.
    """
    with staged(name, tmp_path) as stage:
        verdicts = [round_of(stage, fault) for fault in faults]

    assert [("passed", [], [])] * len(faults) == [(each.status, each.findings, each.void) for each in verdicts]


@pytest.mark.parametrize("kind", ["no-deadline", "wall-clock", "stale-read", "watch-from-now"])
def test_a_control_is_condemned(kind: str, tmp_path: Path) -> None:
    """
    The same court finds two leaders at one moment where a lock is written as it should not be, and a follower's error.
    """
    ((store, fault),) = [(store, fault) for name, store, fault in CONTROL_ROUNDS if name == kind]
    with staged(store, tmp_path, kind=kind) as stage:
        verdict = round_of(stage, fault, slack=1.0)

    assert CONDEMNED_BY[kind] in {finding.law for finding in verdict.findings}


def test_a_control_waits_for_its_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Three controls that set up one database at a moment: a change of its mode is refused at once while another has it,
    whatever the time-out. One of them ended by that, and the round after it found nobody to condemn.
    """
    path = tmp_path / "court.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("CREATE TABLE other (name)")
    other.execute("BEGIN IMMEDIATE")
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        other.execute("COMMIT")

    monkeypatch.setattr("court.controls.time.sleep", sleep)
    role = Role("wall-clock", f"sqlite:///{path}", "jobs", "ann", 1.0, "")
    connection = WallClock(role, lambda *_: None).connect()

    assert [PAUSE] == waited
    assert [("wal",)] == connection.execute("PRAGMA journal_mode").fetchall()
    connection.close()
    other.close()

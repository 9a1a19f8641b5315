"""
No false alarm: the audits of real processes that are killed, stopped and asked to resign are judged valid.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from audited_process import AuditedProcess

from leadership.audit import Verdict, verify

ROUNDS = 5
ELECTIONS = 10
TTL = 0.8
SKEW = 0.02
"""All processes have one wall clock; this much may pass between an event and its time stamp."""


def play(folder: Path, seed: int) -> None:
    """
    Three processes in ten elections: one is killed and another takes its place, one stands still, some resign.
    """
    draw = random.Random(seed)
    database = folder / "orders.db"
    for number in range(ELECTIONS):
        (folder / f"orders-{number}").mkdir()
    processes = [AuditedProcess(database, folder, node, ELECTIONS, TTL) for node in ("a", "b", "c")]
    try:
        draw.shuffle(processes)
        for process in processes:
            process.ask("start")
            time.sleep(draw.uniform(0.0, 0.1))
        time.sleep(0.3)
        killed, stopped, other = processes
        for step in draw.sample(["resign", "stall", "kill"], 3):
            if step == "resign":
                for process in (stopped, other):
                    process.ask("resign")
            elif step == "stall":
                stopped.signal(signal.SIGSTOP)
                time.sleep(draw.uniform(0.5, 2.0) * TTL)
                stopped.signal(signal.SIGCONT)
            else:
                killed.signal(signal.SIGKILL)
                processes.append(AuditedProcess(database, folder, "d", ELECTIONS, TTL))
                processes[-1].ask("start")
            time.sleep(draw.uniform(0.1, 0.5))
        for process in (stopped, other, processes[-1]):
            process.ask("stop")
    finally:
        for process in processes:
            process.close()


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_clean_runs_are_valid(tmp_path: Path, round_: int) -> None:
    """
    Ten elections of real processes on SQLite, five times: nothing is found but what a killed process leaves open.
    """
    alarms: dict[int, list[str]] = {}
    remarks: Counter[str] = Counter()
    causes: Counter[str | None] = Counter()
    play(tmp_path, round_)
    for number in range(ELECTIONS):
        judged = verify(sorted((tmp_path / f"orders-{number}").iterdir()), clock_error=SKEW)
        remarks.update(finding.kind for finding in judged.findings if finding.verdict is Verdict.VALID)
        causes.update(span.cause for span in judged.spans)
        if judged.verdict is not Verdict.VALID:
            alarms[number] = [str(finding) for finding in judged.findings]
    print(f"{ELECTIONS} runs, {sum(causes.values())} terms, ended by {dict(causes)}, remarks {dict(remarks)}")

    assert {} == alarms
    assert sum(causes.values()) > ELECTIONS
    assert causes["stopped"]
    assert causes["resigned"] + causes["lease_expired"] + causes[None]

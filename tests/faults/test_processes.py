"""
Faults within the leader's process, and a random mixture of all.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from court.faults_of_processes import BlockedLoop, Fork, Hog, NoDescriptors, OrphanedFork
from court.nemesis import Nemesis
from court_rounds import round_of, staged

pytestmark = pytest.mark.timeout(180)


def test_what_happens_within_the_leaders_process_makes_no_second_leader(tmp_path: Path) -> None:
    """
    A child of a fork believes nothing, and keeps nobody from being elected; a leader whose threads do not run believes
    no longer than its deadline; one that has no descriptors left wins again when it has some.
    """
    faults = (Fork(), OrphanedFork(), Hog(), NoDescriptors())
    with staged("sqlite", tmp_path) as stage:
        verdicts = [round_of(stage, fault) for fault in faults]

    assert [("passed", [], [])] * len(faults) == [(each.status, each.findings, each.void) for each in verdicts]


def test_a_blocked_event_loop_does_not_end_a_term(tmp_path: Path) -> None:
    """
    The candidate for asyncio renews from a thread of its own.
    """
    with staged("sqlite", tmp_path, setting="asyncio") as stage:
        verdict = round_of(stage, BlockedLoop())

    assert ("passed", [], []) == (verdict.status, verdict.findings, verdict.void)
    assert not verdict.measures["moved"]


def test_after_a_random_mixture_each_candidate_can_win(tmp_path: Path) -> None:
    """
    Whatever overlaps with what, no law is broken, and in the calm each is elected when it is alone; the seed is in the
    output, and in `round.json`.
    """
    with staged("sqlite", tmp_path, setting="clocks") as stage:
        verdict = round_of(stage, Nemesis(seconds=12.0, calm=3.0))

    assert ("passed", [], []) == (verdict.status, verdict.findings, verdict.void)

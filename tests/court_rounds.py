"""
Rounds before the court in tests: the bounds have slack, because others use the machine too; the laws have none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from court.cases import CASES
from court.clocks import CompilerMissing, build
from court.fault import Fault
from court.judge import Verdict, judge_folder
from court.rounds import play
from court.session import served
from court.stage import SETTINGS, Stage

SLACK = 15.0
TRIES = 3


def shown_clocks(folder: Path) -> Path:
    """
    The library that shows clocks. A missing compiler skips the test, but not in CI.
    """
    try:
        return build(folder)
    except CompilerMissing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


@contextmanager
def staged(name: str, folder: Path, *, kind: str = "library", setting: str = "plain") -> Iterator[Stage]:
    """
    A stage on one server of a store.
    """
    case = CASES[name]
    library = shown_clocks(folder) if SETTINGS[setting].shows_clocks else None
    with (
        served(case, folder / "servers", cluster=False, library=library) as servers,
        Stage(case, folder, servers, kind=kind, setting=setting, library=library) as stage,
    ):
        yield stage


def round_of(stage: Stage, fault: Fault, slack: float = SLACK) -> Verdict:
    """
    The verdict on a round. One that shows nothing is played again: a busy machine may have kept a witness from looking.
    """
    verdicts: list[Verdict] = []
    while not verdicts or (verdicts[-1].status == "void" and len(verdicts) < TRIES):
        folder = stage.folder / f"round-{stage.rounds}"
        play(stage, fault, folder, slack=slack)
        verdicts.append(judge_folder(folder))
    return verdicts[-1]

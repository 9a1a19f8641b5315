"""
What pytest writes down for the runner, a JSON object a line: which package was tested, and what came of each test.

Loaded by `-p mutants.plugin` only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

PACKAGE = "MUTANTS_PACKAGE"
REPORT = "MUTANTS_REPORT"


def _note(**what: Any) -> None:
    with Path(os.environ[REPORT]).open("a", encoding="utf-8") as file:
        file.write(f"{json.dumps(what)}\n")


def pytest_configure() -> None:
    """
    See that the tests will meet the copy of the package, not the one that is installed.
    """
    import leadership

    found, wanted = Path(leadership.__file__).parent, Path(os.environ[PACKAGE])
    _note(kind="package", path=str(found), right=found == wanted)
    if found != wanted:
        pytest.exit(f"{found} was imported, not {wanted}", returncode=3)


def pytest_runtest_logstart(nodeid: str) -> None:
    """
    A test begins.
    """
    _note(kind="began", test=nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """
    A part of a test has ended.
    """
    report = yield
    if report.failed:
        assert call.excinfo is not None  # noqa: S101 - what has failed has raised
        raised = call.excinfo.type
        _note(
            kind="failed",
            test=item.nodeid,
            when=report.when,
            classes=[each.__name__ for each in raised.__mro__],
            error=f"{raised.__name__}: {call.excinfo.value}"[:2000],
        )
    elif report.skipped:
        _note(kind="skipped", test=item.nodeid)
    elif report.when == "call":
        _note(kind="passed", test=item.nodeid, seconds=round(report.duration, 3))
    return report


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """
    A file of tests could not be imported.
    """
    if report.failed:
        _note(kind="broken", test=report.nodeid, error=str(report.longrepr)[-2000:])

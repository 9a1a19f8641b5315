"""
Rules of the house that no tool checks.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import leadership

ROOT = Path(__file__).parent.parent.parent
PACKAGE = Path(leadership.__file__).parent
MADE = re.compile(
    r"\.git|\.servers|\.venv.*|.*\.egg-info|__pycache__|build|dist|results|site|\.coverage.*|\.hypothesis|\.\w+_cache|\.DS_Store"
)

# Written so that this file does not break its own rule.
MACHINE = re.compile(rf"(?<![\w.~-])/((work|root|farm)(?![\w-])|({'home'}|{'Users'})/\w)")
REGISTRY = re.compile(
    rf"{'pypi'}\.org|{'python'}hosted|{'registry'}\.npmjs|{'index'}-url|{'proxy'}\.golang", re.IGNORECASE
)


def committed(folder: Path = ROOT) -> Iterator[Path]:
    """
    The files of the checkout that no tool made.
    """
    for path in sorted(folder.iterdir()):
        if not MADE.fullmatch(path.name):
            if path.is_dir():
                yield from committed(path)
            else:
                yield path


def modules(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in sorted(folder.rglob("*.py"))]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def sleeps(source: str) -> list[int]:
    """
    The lines of a source that wait for real time.
    """
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "sleep")
    ]


@pytest.mark.parametrize("rule", [MACHINE, REGISTRY], ids=["machine", "registry"])
def test_no_file_names_a_machine(rule: re.Pattern[str]) -> None:
    """
    No file has a path of the machine that it was written on, nor the host of a package registry.
    """
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in committed()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if rule.search(line)
    ]
    assert [] == found


def test_the_rules_can_fail() -> None:
    """
    A path of a home and a registry's address would be found; a path in a URL or in an election's name is none.
    """
    assert MACHINE.search("see /" + "root/leadership/x.py")
    assert MACHINE.search("'/" + "home/ann/x'")
    assert REGISTRY.search("https://pypi." + "org/simple")
    assert not MACHINE.search("service/work/leader https://a.b/root/x /workers docs/root")
    assert [2] == sleeps("import time\ntime.sleep(1)\nclock.sleep(1)\n")


def test_public_names_are_few() -> None:
    """
    Everything a user needs is in 25 names, each of which exists and is listed once.
    """
    names = leadership.__all__
    assert len(names) <= 25
    assert sorted(set(names)) == sorted(names)
    assert all(hasattr(leadership, name) for name in names)


@pytest.mark.parametrize("path", modules(PACKAGE), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_are_short(path: Path) -> None:
    """
    No module has more than 400 lines.
    """
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", modules(ROOT / "tests"), ids=lambda path: str(path.relative_to(ROOT)))
def test_tests_state_facts(path: Path) -> None:
    """
    Each test has a docstring.
    """
    silent = [node.name for node in functions(path) if node.name.startswith("test_") and not ast.get_docstring(node)]
    assert [] == silent


@pytest.mark.parametrize("path", modules(ROOT / "tests" / "unit", ROOT / "tests" / "model"), ids=lambda path: path.name)
def test_unit_tests_do_not_sleep(path: Path) -> None:
    """
    Unit and model tests wait for no real time: theirs is simulated.
    """
    assert [] == sleeps(path.read_text(encoding="utf-8"))

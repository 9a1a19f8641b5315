"""
Rooms import downwards only, and the machines know nothing of the world.

The contracts are in pyproject.toml; here they are kept, and shown to be able to fail.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import leadership

PACKAGE = Path(leadership.__file__).parent
CONTRACTS = Path(__file__).parent.parent.parent / "pyproject.toml"

# All that the machines may import beside themselves and the errors: none of it has a clock, a thread, I/O or a die.
PURE = {
    "__future__",
    "collections",
    "dataclasses",
    "datetime",
    "enum",
    "hashlib",
    "json",
    "math",
    "transitions",
    "typing",
}


def lint(folder: Path) -> str:
    """
    Judge the package in a folder by the contracts.
    """
    arguments = ["--config", str(CONTRACTS), "--no-cache"]
    program = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return "" if done.returncode == 0 else done.stdout[done.stdout.index("Broken contracts") :]


def imports(file: Path) -> set[str]:
    """
    The modules that a file imports, wherever in it.
    """
    return set(re.findall(r"^\s*(?:from|import)\s+([\w.]+)", file.read_text(encoding="utf-8"), re.MULTILINE))


def strangers(file: Path) -> set[str]:
    """
    What a file of the machines imports and must not.
    """
    return {
        name
        for name in imports(file)
        if name.split(".")[0] not in PURE and name != "leadership.errors" and not name.startswith("leadership.fsm")
    }


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """
    A copy of the package, to plant an import in.
    """
    shutil.copytree(PACKAGE, tmp_path / "leadership", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_contracts_are_kept() -> None:
    """
    No module of the package breaks a contract.
    """
    assert "" == lint(PACKAGE.parent)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("errors.py", "import leadership.fsm.row"),
        ("fsm/backoff.py", "import leadership.store"),
        ("store.py", "import leadership.backends.memory"),
        ("backends/memory.py", "import leadership.observers"),
        ("_runtime/engine.py", "import leadership.candidate"),
        ("diagram.py", "import leadership.cli"),
        ("store.py", "def late():\n    from leadership._runtime import engine"),
        ("diagram.py", "import transitions"),
        ("testing/__init__.py", "import pytest"),
        ("backends/memory.py", "import leadership.backends.sqlite"),
        ("unplaced.py", "import leadership.errors"),
    ],
)
def test_planted_import_is_found(copy: Path, module: str, line: str) -> None:
    """
    One import upwards, sideways or past the engine, even a late one, or a module in no room, breaks a contract.
    """
    with (copy / "leadership" / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    assert "Broken contracts" in lint(copy)


@pytest.mark.parametrize("file", sorted((PACKAGE / "fsm").glob("*.py")), ids=lambda file: file.name)
def test_machines_are_pure(file: Path) -> None:
    """
    A file of fsm imports no clock, thread, socket, randomness, log or file, and takes no time from datetime.
    """
    assert set() == strangers(file)
    assert not re.search(r"\b(now|utcnow|today|fromtimestamp)\(", file.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "name", ["time", "threading", "asyncio", "socket", "random", "logging", "os", "io", "structlog"]
)
def test_impure_import_is_found(tmp_path: Path, name: str) -> None:
    """
    Any one of them would be seen.
    """
    file = tmp_path / "planted.py"
    file.write_text(f"def late():\n    import {name}\n")
    assert {name} == strangers(file)

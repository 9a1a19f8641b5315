"""
The types that a user sees: mypy --strict accepts the whole public API, and refuses a name that is not in it.

pyright reads the same file in `make lint`.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import leadership

API = Path(__file__).parent.parent / "typing" / "api.py"
WRONG = {
    "name": ("is_leader, bool", "is_leeder, bool", '"Candidate" has no attribute "is_leeder"'),
    "argument": ("grace=5.0", "grase=5.0", 'Unexpected keyword argument "grase" for "Candidate"'),
    "import": (" StoreRefused,", " StoreRefuse,", 'Module "leadership" has no attribute "StoreRefuse"'),
    "type": ("ttl=15.0,\n  ", 'ttl="15",\n  ', 'has incompatible type "str"; expected "float"'),
    "None": ("term.check()", "print(term.reason.upper())", 'of "str | None" has no attribute "upper"'),
}
"""What is made wrong of what, and what mypy says of it."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


def mypy(source: str, path: Path, cache: Path) -> tuple[int, str]:
    """
    What a user's own mypy says of the installed package: with no configuration of this checkout.
    """
    path.write_text(source)
    options = ("--strict", "--config-file=", f"--cache-dir={cache}")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, path.name],
        check=False,
        capture_output=True,
        text=True,
        cwd=path.parent,
        timeout=170,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.timeout(180)
def test_mypy_accepts_the_whole_api(tmp_path: Path, cache: Path) -> None:
    """
    A file that uses every public name passes mypy --strict.
    """
    status, said = mypy(API.read_text(), tmp_path / "right.py", cache)
    assert (0, "Success: no issues found in 1 source file\n") == (status, said)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("fault", WRONG)
def test_mypy_refuses_what_is_not_in_it(tmp_path: Path, cache: Path, fault: str) -> None:
    """
    A misspelt name, argument or import, and a wrong type, are one error each: nothing is Any by accident.
    """
    right, wrong, why = WRONG[fault]
    source = API.read_text()
    assert right in source, "the test's own text has changed"
    status, said = mypy(source.replace(right, wrong, 1), tmp_path / f"wrong_{fault}.py", cache)

    assert status == 1, said
    assert why in said


def test_the_file_uses_every_public_name() -> None:
    """
    Nothing public is left out of the file, so that a change of it is seen.
    """
    tree = ast.parse(API.read_text())
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}

    assert set() == set(leadership.__all__) - used


MEMBERS = [
    (name, member)
    for name in (
        "AsyncCandidate",
        "AsyncFollower",
        "AsyncTerm",
        "Candidate",
        "Follower",
        "Leader",
        "Term",
        "Transition",
    )
    for member in sorted(vars(getattr(leadership, name)))
    if not member.startswith("_")
]


@pytest.mark.parametrize(("name", "member"), MEMBERS)
def test_the_file_uses_every_member(name: str, member: str) -> None:
    """
    Every public method and property of the faces, terms and records is used in the file.
    """
    tree = ast.parse(API.read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}

    assert member in used, f"{name}.{member}"

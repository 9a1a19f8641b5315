"""
docs/benchmarks.md and its pictures say what the samples beside them say, and nothing else.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FIGURES = ROOT / "docs" / "benchmarks" / "figures.json"
COPIED = ("rows.py", "run.py", "strips.py", "table.py", "page.py", "__init__.py")


def page(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.page", *arguments]
    return subprocess.run(command, cwd=root, check=False, capture_output=True, encoding="utf-8", timeout=50)


def test_page_and_pictures_are_what_the_samples_say() -> None:
    """
    `python -m benchmarks.page` would change nothing.
    """
    done = page(ROOT, "--check")
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def test_another_sample_makes_another_page(tmp_path: Path) -> None:
    """
    One hand-over that took longer is seen in the check, and then in the table and in the picture of its system alone.
    """
    (tmp_path / "benchmarks").mkdir()
    for name in COPIED:
        shutil.copy(ROOT / "benchmarks" / name, tmp_path / "benchmarks" / name)
    shutil.copytree(ROOT / "docs" / "benchmarks", tmp_path / "docs" / "benchmarks")
    shutil.copy(ROOT / "docs" / "benchmarks.md", tmp_path / "docs")
    document = json.loads(FIGURES.read_text(encoding="utf-8"))
    figure = next(each for each in document["figures"] if each["row"] == "handover" and each["system"] == "etcd")
    figure["samples"]["leadership"] = [12345.0]
    (tmp_path / "docs" / "benchmarks" / "figures.json").write_text(json.dumps(document), encoding="utf-8")
    checked = page(tmp_path, "--check")
    assert 1 == checked.returncode
    assert {"docs/benchmarks.md", "docs/benchmarks/handover-etcd.svg"} == {
        line.split()[0] for line in checked.stdout.splitlines()
    }
    assert 0 == page(tmp_path).returncode
    assert "| 12345 ms |" in (tmp_path / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert 0 == page(tmp_path, "--check").returncode


def test_every_row_was_measured() -> None:
    """
    The samples that are committed have each row, on each system that it has.
    """
    document = json.loads(FIGURES.read_text(encoding="utf-8"))
    assert not document["quick"]
    servers = ["etcd", "consul", "zookeeper"]
    systems = [*servers, "sqlite"]
    idle = ("acquire", "threads", "memory", "requests", "cpu")
    wanted: set[tuple[str, str, int | None]] = {
        ("handover", system, size) for system in systems for size in (2, 10, 50)
    }
    wanted |= {(row, system, None) for row in ("alone", "follower", "crash") for system in systems}
    wanted |= {(f"idle {what}", system, None) for what in idle for system in systems}
    wanted |= {("requests", system, None) for system in servers}
    wanted |= {(f"engine {what}", "", None) for what in ("transition", "renewal")}
    found = [(each["row"], each["system"], each.get("candidates")) for each in document["figures"]]
    assert sorted(wanted, key=str) == sorted(found, key=str)
    assert all("leadership" in each["samples"] for each in document["figures"])

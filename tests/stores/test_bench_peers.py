"""
`make bench-peers`: every row is measured on real servers, ours beside peers. How fast it is here is no test's business.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read /proc")

ROOT = Path(__file__).parent.parent.parent
ROWS = ("handover", "alone", "follower", "requests")
PYTHON = {"etcd": "python-etcd3 Lock", "consul": "python-consul2 loop", "zookeeper": "kazoo Election"}
"""A peer of each that needs neither Go nor anything that only `make bench-peers` installs."""


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """
    Run it where apt-get fails: the peers in Go, unless they are here already, cannot be had.
    """
    broken = folder / "bin" / "apt-get"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nexit 1\n", encoding="ascii")
    broken.chmod(0o755)
    command = [sys.executable, "-m", "benchmarks.peers", *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tools"), "PATH": f"{broken.parent}:{os.environ['PATH']}"},
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=290,
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("system", ["etcd", "consul", "zookeeper"])
def test_rows_are_measured_beside_peers(system: str, tmp_path: Path) -> None:
    """
    Each row has our samples and those of a peer, and ours have not failed; peers not to be had are named at the end.
    """
    file = tmp_path / "figures.json"
    done = bench(tmp_path, system, "--quick", *(f"--row={row}" for row in ROWS), "--json", str(file))
    assert 0 == done.returncode, done.stderr
    document = json.loads(file.read_text(encoding="utf-8"))
    rows = [(each["row"], each.get("candidates")) for each in document["figures"]]
    assert [*(("handover", size) for size in (2, 10)), *((row, None) for row in ROWS[1:])] == rows
    for figure in document["figures"]:
        peer = "raw watch" if figure["row"] == "follower" else PYTHON[system]
        # One loop is written as such loops are, and was seen to elect nobody where many wait.
        assert figure["failed"].keys() <= {"python-consul2 loop"}
        assert {"leadership", peer} - figure["failed"].keys() <= figure["samples"].keys()
        assert all(math.isfinite(value) for samples in figure["samples"].values() for value in samples)
    for name in document["missing"]:
        assert f"not measured: {name}" in done.stdout


def test_unknown_system_is_refused(tmp_path: Path) -> None:
    """
    A system that does not exist is named, and so are those that do.
    """
    done = bench(tmp_path, "redis")
    assert 2 == done.returncode
    assert "there is no system 'redis'; there are: etcd, consul, zookeeper, sqlite" in done.stderr

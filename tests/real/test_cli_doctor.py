"""
`leadership doctor` on SQLite: what it says when all is well, and when it is not.
"""

from __future__ import annotations

import json
from pathlib import Path

from cli_processes import call

from leadership import Candidate, connect


def test_doctor_says_that_all_is_well(tmp_path: Path) -> None:
    """
    One line a check, status 0, and nobody leads afterwards.
    """
    url = f"sqlite:///{tmp_path}/e.db"
    done = call("doctor", "--store", url, "--election", "jobs")

    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert (0, url) == (done.returncode, done.stdout.splitlines()[0])
    assert [["ok", "ttl"], ["ok", "clock"], ["ok", "server"], ["ok", "election"]] == [line[:2] for line in lines[1:]]
    assert lines[3][2].startswith("SQLite 3.")
    assert "'jobs' was led with token" in lines[4][2]
    assert 1 == call("status", "jobs", "--store", url).returncode


def test_doctor_names_a_ttl_that_is_not_kept(tmp_path: Path) -> None:
    """
    What cannot be used is the last line, with the nearest that can; status 2.
    """
    done = call("doctor", "--store", f"sqlite:///{tmp_path}/e.db", "--ttl", "0.1", "--json")

    (line,) = map(json.loads, done.stdout.splitlines())
    assert (2, "ttl", False, "ConfigError") == (done.returncode, line["check"], line["ok"], line["error"])
    assert "the nearest is 0.5" in line["detail"]


def test_doctor_does_not_disturb_an_election(tmp_path: Path) -> None:
    """
    Where somebody leads it says who, and takes nothing from them; status 1.
    """
    url = f"sqlite:///{tmp_path}/e.db"
    with connect(url) as store, Candidate(store, "jobs", node="ann", ttl=5.0) as candidate:
        term = candidate.wait_elected(10.0)
        done = call("doctor", "--store", url, "--election", "jobs")

        assert 1 == done.returncode
        assert "WRONG election  ann leads 'jobs': name one where nobody stands with --election" in done.stdout
        assert term is not None
        assert term.is_current


def test_doctor_refuses_what_is_no_store(tmp_path: Path) -> None:
    """
    A file of something else: status 2 before anything is tried, and what to do.
    """
    path = tmp_path / "e.db"
    path.write_bytes(b"this is no database" * 50)
    done = call("doctor", "--store", f"sqlite:///{path}")

    assert (2, "") == (done.returncode, done.stdout)
    assert "is not an SQLite database: name another file" in done.stderr

"""
`leadership doctor` on the stores with a network.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cli_processes import call
from store_cases import CASES, Case, served

PARENTS = ("", "doctor", "leadership-doctor", "leadership-doctor.leadership")
"""What ZooKeeper keeps of the paths, which are nodes there."""

each_store = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@each_store
def test_doctor_says_that_all_is_well(case: Case, tmp_path: Path) -> None:
    """
    One line a check, the server's version among them; nothing of the examination stays at the store.

    It did in one of five: ZooKeeper's watch took a request to resign for gone that it had read as it was written,
    because what it had looked at before was older.
    """
    with served(case, tmp_path) as server:
        examine = ("doctor", "--store", case.url(server.host, "doctor"), "--ttl", str(case.ttl))
        call(*examine)
        sessions, keys = server.sessions(), server.keys("doctor")

        for done in [call(*examine) for _ in range(5)]:
            assert 0 == done.returncode, done.stdout + done.stderr
            assert ["ok"] * 4 == [line.split()[0] for line in done.stdout.splitlines()[1:]]
            assert re.search(rf"ok +server +{case.name} [\d.]+, a read takes", done.stdout, re.IGNORECASE)
        assert sessions == server.sessions()
        assert keys == server.keys("doctor")
        assert [] == [key for key in keys if key.rpartition("/")[2] not in PARENTS]


@each_store
def test_doctor_says_that_nobody_answers(case: Case, tmp_path: Path) -> None:
    """
    A server that is not there: status 69 within the time-out, with its address.
    """
    with served(case, tmp_path) as server:
        host = server.host
    done = call("doctor", "--store", case.url(host), "--ttl", str(case.ttl))

    assert 69 == done.returncode, done.stdout + done.stderr
    assert "WRONG server" in done.stdout
    assert host in done.stdout.splitlines()[-1]

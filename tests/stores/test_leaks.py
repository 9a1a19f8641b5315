"""
A process that opens a store, leads and closes it, over and over, leaves nothing behind: here or at the store.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from store_cases import CASES, Case, served

CYCLES = """
import json, os, sys, time
from leadership import Candidate, connect

url, ttl, cycles = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])

def count():
    return {"threads": len(os.listdir("/proc/self/task")), "descriptors": len(os.listdir("/proc/self/fd"))}

def settled():  # gRPC ends its threads a little after their channel
    counts = []
    for _ in range(40):
        time.sleep(0.1)
        counts.append(count())
    return {what: min(each[what] for each in counts) for what in counts[0]}

def cycle(number):
    with connect(url) as store:
        candidate = Candidate(store, f"jobs/{number % 3}", node="ann", ttl=ttl, metadata={"number": number}, log=False)
        candidate.start()
        assert candidate.wait_elected(20.0) is not None, candidate.status()
        assert candidate.stop(20.0), candidate.status()

for number in range(10):
    cycle(number)
before = settled()
for number in range(cycles):
    cycle(number)
print(json.dumps([before, settled()]))
"""


@pytest.mark.timeout(180)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_two_hundred_lives_leave_nothing_behind(case: Case, tmp_path: Path) -> None:
    """
    No thread, descriptor, lease, session, connection or entry.
    """
    with served(case, tmp_path) as server:
        prefix = "leaks"
        sessions, connections = server.sessions(), server.connections()
        command = [sys.executable, "-c", CYCLES, case.url(server.host, prefix), str(case.ttl), "200"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=170)
        assert 0 == done.returncode, done.stderr[-3000:]
        before, after = json.loads(done.stdout)
        print(f"{case.name}: before {before}, after 200 lives {after}")

        assert after["threads"] <= before["threads"]
        assert after["descriptors"] <= before["descriptors"]
        deadline = time.monotonic() + 3.0
        while server.connections() != connections and time.monotonic() < deadline:
            time.sleep(0.05)
        assert sessions == server.sessions()
        assert connections == server.connections()
        assert [] == [key for key in server.keys(prefix) if key.rpartition("/")[2] not in PARENTS]


PARENTS = ("", "leaks", "jobs", "0", "1", "2", "0.leadership", "1.leadership", "2.leadership")
"""What ZooKeeper keeps of the paths, which are nodes there."""

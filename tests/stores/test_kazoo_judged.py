"""
The judge on somebody else's election: kazoo's own recipe under a pause, told in the words of an audit.

Nothing is held against kazoo that it promises: its documentation says that a leader has to mind the connection's state.
What is shown is that the judge sees what happens to those who do not.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from audits import Audit
from servers import ZooKeeper

from leadership.audit import Verdict, verify
from leadership.audit.tell import tell

WORKER = """
import sys, time
from kazoo.client import KazooClient
host, timeout, name = sys.argv[1:]
client = KazooClient(hosts=host, timeout=float(timeout))
client.start()
election = client.Election("/judged", name)

def clock():
    return time.clock_gettime(time.CLOCK_BOOTTIME)

def lead():
    token = client.get(f"/judged/{election.lock.node}")[1].czxid
    begin = clock()
    print("begin", begin, token, flush=True)
    while clock() < begin + 5.0:
        time.sleep(0.01)
    print("end", clock(), token, flush=True)

election.run(lead)
"""
PAUSE = 3.0


def told(process: subprocess.Popen[str], word: str) -> tuple[float, int]:
    """
    When something was said, and of which token.
    """
    assert process.stdout is not None
    said, moment, token = process.stdout.readline().split()
    assert word == said
    return float(moment), int(token)


def audit(node: str, begin: tuple[float, int], end: tuple[float, int], zero: float) -> Audit:
    """
    Belief from a function's begin to its end, as an audit tells it: without a deadline, for there is none.
    """
    audit = Audit(node, clock="of this machine")
    audit.lines[0]["tables"] = {}
    audit.stand(0.0).elected(begin[0] - zero, begin[1]).stopped(end[0] - zero)
    for line in audit.records():
        line["lease_deadline"] = None
    return audit


@pytest.mark.parametrize("pause", [PAUSE, 0.0])
def test_kazoos_election_under_a_pause(own_zookeeper: ZooKeeper, tmp_path: Path, pause: float) -> None:
    """
    The leader stands still for 3 s at a session time-out of 1 s: two lead, and the judge has the interval.

    Without a pause the same adaptation is not judged invalid.
    """
    command = [sys.executable, "-c", WORKER, own_zookeeper.host, "1" if pause else "10"]
    first = subprocess.Popen([*command, "first"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    begin = told(first, "begin")
    second = subprocess.Popen([*command, "second"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        if pause:
            time.sleep(0.5)
            first.send_signal(signal.SIGSTOP)
            time.sleep(pause)
            first.send_signal(signal.SIGCONT)
        ends = told(first, "end")
        then = told(second, "begin"), told(second, "end")
    finally:
        for process in (first, second):
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
    zero = begin[0] - 0.1
    files = [
        audit("first", begin, ends, zero).write(tmp_path / "first.jsonl"),
        audit("second", *then, zero).write(tmp_path / "second.jsonl"),
    ]
    judged = verify(files)
    print("\n".join(tell(judged)))

    overlaps = [finding for finding in judged.findings if finding.kind == "overlap"]
    if not pause:
        assert (Verdict.UNKNOWN, []) == (judged.verdict, overlaps)  # by no table of ours
        return
    assert Verdict.INVALID is judged.verdict
    assert ("first", "second") == overlaps[0].nodes
    assert overlaps[0].began is not None
    assert overlaps[0].ended is not None
    together = ends[0] - then[0][0]
    assert together > 0.5
    assert together == pytest.approx(overlaps[0].ended - overlaps[0].began, abs=1e-3)
    assert f"two leaders of 'orders' for {together:.3f} s" in overlaps[0].what

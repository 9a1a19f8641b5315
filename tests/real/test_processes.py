"""
Real processes on SQLite: the leader killed, stopped, stuck, forked; two never believe at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from court.freeze import freeze
from election_processes import ElectionProcess, beliefs, leader_of, overlaps, processes

from leadership._clock import now

TTL = 1.0
BOUND = TTL + 0.3
WOKEN = 0.05
"""Seconds."""


def stand(started: list[ElectionProcess]) -> ElectionProcess:
    for one in started:
        one.ask("start")
    return leader_of(started)


def test_a_killed_leader_is_replaced_in_milliseconds(tmp_path: Path) -> None:
    """
    kill -9 of the leader: the median wait for the next is at most 50 ms, and none is longer than ttl + 0.3 s.
    """
    waits: list[float] = []
    path = tmp_path / "killed.db"
    with processes(path, "a", "b", ttl=TTL) as started:
        stand(started)
        for round_ in range(15):
            leader = leader_of(started)
            others = [one for one in started if one is not leader]
            killed = leader.signal(signal.SIGKILL)
            waits.append(min(one.wait("elected", after=killed)["at"] for one in others) - killed)
            leader.close()
            fresh = ElectionProcess(path, f"c{round_}", ttl=TTL)
            fresh.wait("ready")
            started[:] = [*others, fresh]
            fresh.ask("start")
            time.sleep(0.3)  # until it waits, too
        assert [] == overlaps(beliefs(started))
    print(f"kill -9 to next elected, n={len(waits)}: median {statistics.median(waits):.4f} s, worst {max(waits):.4f} s")
    assert statistics.median(waits) <= 0.05
    assert max(waits) <= BOUND


@pytest.mark.parametrize("round_", range(3))
def test_a_stopped_leader_does_not_believe_when_it_goes_on(tmp_path: Path, round_: int) -> None:
    """
    SIGSTOP for 3 x ttl: another leads in time; the first look after SIGCONT is False, on_demoted soon.
    """
    with processes(tmp_path / "stopped.db", "a", "b", "c", ttl=TTL) as started:
        leader = stand(started)
        time.sleep(0.3 + 0.1 * round_)  # so that it has been seen to believe
        stopped = freeze(leader.pid, tmp_path / "stopped.db")
        others = [one for one in started if one is not leader]
        successor = leader_of(others, after=stopped)
        elected = successor.wait("elected", after=stopped)["at"]
        time.sleep(max(0.0, stopped + 3 * TTL - now()))
        resumed = leader.signal(signal.SIGCONT)
        woke = leader.wait("woke", after=stopped)
        demoted = leader.wait("demoted", after=stopped)
        time.sleep(0.2)
        for one in started:
            one.ask("stop")
        leader.wait("believed")
        successor.wait("believed")

        assert woke["believes"] is False
        assert demoted["cause"] == "lease_expired"
        assert demoted["at"] - resumed <= 0.5
        assert elected - stopped <= BOUND + 0.5  # once, on a machine that may be busy
        assert [] == overlaps(beliefs(started))
        assert len(beliefs(started)) >= 2


def test_a_leader_stopped_inside_a_write_transaction(tmp_path: Path) -> None:
    """
    While it holds the file nobody leads and errors say why; when it goes on, or dies, somebody leads again.
    """
    with processes(tmp_path / "inside.db", "a", "b", ttl=TTL) as started:
        leader = stand(started)
        other = next(one for one in started if one is not leader)
        leader.send("transaction")
        inside = leader.wait("inside")["at"]
        error = other.wait("error", after=inside)
        time.sleep(max(0.0, inside + 2 * TTL - now()))
        believed = other.ask("state")["states"]
        died = leader.signal(signal.SIGKILL)
        elected = other.wait("elected", after=died)
        other.ask("stop")

        assert error["type"] == "StoreUnavailable"
        assert "transaction" in error["text"]
        assert believed != ["leader"]
        assert elected["at"] - died <= BOUND + TTL
        assert [] == overlaps(beliefs(started))


def test_a_forked_child_of_a_leader_leads_nothing(tmp_path: Path) -> None:
    """
    The child is idle and does not believe, its inherited store is refused with the remedy, and the parent leads on.
    """
    with processes(tmp_path / "forked.db", "a", "b", ttl=TTL) as started:
        leader = stand(started)
        told = leader.ask("fork")
        time.sleep(1.5 * TTL)

        assert told["leads"] is False
        assert told["state"] == "idle"
        assert told["term"] is False
        assert "started" not in told or told["started"] is False
        assert leader is leader_of(started)
        assert [] == [told for told in leader.poll() if told["what"] == "demoted"]


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("count", "candidates"), [(2, 1), (5, 2), (10, 5)])
def test_a_resignation_is_followed_at_once(tmp_path: Path, count: int, candidates: int) -> None:
    """
    2, 10 and 50 candidates in several processes: the next is woken, and does not find the vacancy by looking around.

    How fast that is, `make bench` tells; a look around comes every second, so that a twentieth of one is a wake-up.
    """
    medians: list[float] = []
    names = [f"p{number}" for number in range(count)]
    with processes(tmp_path / "resigned.db", *names, ttl=10.0, candidates=candidates) as started:
        stand(started)
        time.sleep(0.5)
        for _ in range(6):
            medians.append(statistics.median(hand_over(started) for _ in range(11)))
            if medians[-1] <= WOKEN:
                break
        for one in started:
            one.ask("stop")
        assert [] == overlaps(beliefs(started))
    print(f"{count * candidates} candidates, medians of 11 in ms:", *(f"{median * 1000:.2f}" for median in medians))
    assert min(medians) <= WOKEN


def hand_over(started: list[ElectionProcess]) -> float:
    """
    Seconds from a resignation to the next election.
    """
    leader = leader_of(started)
    asked = now()
    leader.send("resign")
    resigned: float = leader.wait("resigning", after=asked)["at"]
    wait = leader_wait(started, resigned) - resigned
    leader.wait("answer", after=asked)
    time.sleep(0.15)  # longer than the cool-down: everybody stands again
    return wait


def leader_wait(started: list[ElectionProcess], after: float) -> float:
    """
    When the next was elected.
    """
    at: float = leader_of(started, after=after).wait("elected", after=after)["at"]
    return at


@pytest.mark.parametrize("where", ["idle", "campaigning", "leader", "waiting", "stuck"])
def test_stop_returns_in_time_in_every_state(tmp_path: Path, where: str) -> None:
    """
    `stop(timeout)` returns within its timeout, and a moment, whatever the candidate is doing.
    """
    timeout = 1.0
    with processes(tmp_path / "stop.db", "a", "b", ttl=TTL) as started:
        first, second = started
        if where in ("leader", "waiting", "stuck"):
            first.ask("start")
            first.wait("elected")
        if where == "campaigning":
            first.send("start")
        asked = first
        if where == "waiting":
            second.ask("start")
            asked = second
        if where == "stuck":  # another process holds the file: nothing can be released
            second.send("transaction")
            second.wait("inside")
        answer = asked.ask(f"stop {timeout}", timeout=timeout + 5)

        assert answer["took"] <= timeout + 1.0
        assert answer["settled"] is True or where == "stuck"


def fill(ballast: Path) -> None:
    """
    Write until nothing more can be written.
    """
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def test_a_full_disk_ends_belief_in_time_and_heals(tmp_path: Path) -> None:
    """
    Nothing can be written: the leader stops believing by its deadline and says why; with room again, somebody leads.
    """
    if os.geteuid() != 0:
        subprocess.run(["unshare", "-Urm", "--", sys.executable, "-m", "pytest", __file__], check=True)
        return
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", disk], check=True)
    try:
        with processes(disk / "full.db", "a", "b", ttl=TTL) as started:
            leader = stand(started)
            ballast = disk / "ballast"
            fill(ballast)
            full = now()
            # What SQLite has already taken of its log may last for a while.
            demoted = leader.wait("demoted", after=full, timeout=120)
            error = leader.wait("error", after=full)
            ballast.unlink()
            room = now()
            leader_of(started, after=room)
            for one in started:
                one.ask("stop")

            assert demoted["cause"] in ("lease_expired", "session_lost")
            assert error["type"] == "StoreUnavailable"
            assert [] == overlaps(beliefs(started))
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_leader_that_exits_releases_at_once(tmp_path: Path) -> None:
    """
    SIGTERM under `run()`, and the plain end of a script, both hand over without waiting for anything.
    """
    path = tmp_path / "exit.db"
    script = (
        "import sys, time\n"
        "from leadership import Candidate\n"
        "candidate = Candidate('sqlite:///' + sys.argv[1], 'orders', node='script', ttl=30.0, log=False)\n"
        "candidate.on_elected(lambda term: print('elected', flush=True))\n"
        "candidate.on_demoted(lambda term, cause: print(cause.value, flush=True))\n"
        "if sys.argv[2] == 'run':\n"
        "    candidate.run()\n"
        "else:\n"
        "    candidate.start()\n"
        "    candidate.wait_elected()\n"
        "    time.sleep(0.5)\n"
    )
    for way in ("run", "end"):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(path), way], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "elected\n"
            with processes(path, "next", ttl=30.0) as started:
                asked = now()
                started[0].ask("start")
                if way == "run":
                    process.terminate()
                elected = started[0].wait("elected", after=asked)["at"]
                rest = process.stdout.read()
                process.wait(10)
                assert rest == "stopped\n"
                assert process.returncode == 0
                assert elected - asked < 5.0

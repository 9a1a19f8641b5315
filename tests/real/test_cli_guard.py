"""
`leadership run` on SQLite: the job never outlives its term, and no second job starts while the first lives.

The jobs ignore SIGTERM and have descendants, one of which has left their group and session.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from cli_processes import Jobs, call, guard_of, is_alive, running, wait_for
from court.freeze import freeze

from leadership._clock import now

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the guard finds all descendants on Linux only")

TTL = 3.0


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    """
    Stubborn jobs, of which nothing is left afterwards.
    """
    made = Jobs(tmp_path)
    yield made
    made.kill()


@pytest.fixture
def arguments(tmp_path: Path, jobs: Jobs) -> list[str]:
    """
    Of `leadership run` with a stubborn job.
    """
    return ["run", "nightly", "--store", f"sqlite:///{tmp_path / 'e.db'}", "--ttl", str(TTL), *jobs.command]


@contextmanager
def two(
    jobs: Jobs, arguments: list[str], *options: str
) -> Generator[tuple[subprocess.Popen[str], subprocess.Popen[str]]]:
    """
    One `leadership run`, with the options, that leads, and one that waits.
    """
    log = jobs.log.with_name("second.log")
    with running(*arguments[:6], *options, *arguments[6:]) as first:
        jobs.wait_running(1)
        with running(*arguments, stderr=log) as second:
            wait_for(lambda: "waiting" in log.read_text(), "the second one waits")
            yield first, second


def lapses(database: Path, pid: int) -> float:
    """
    When the lease of a process lapses in the store, if it is not renewed.

    10 % of the TTL lie between that and the local deadline, and the guard kills 5 % before it: half of both is left to
    a busy machine.
    """
    with closing(sqlite3.connect(database)) as connection:
        ((deadline,),) = connection.execute("SELECT deadline FROM sessions WHERE pid = ?", (pid,))
    return float(deadline)


def assert_dead(jobs: Jobs, token: int) -> None:
    """
    Nothing of a job is left.
    """
    assert [] == [pid for pid in jobs.pids(token) if is_alive(pid)]


def test_demotion_kills_the_group_before_the_entry_is_released(
    jobs: Jobs, arguments: list[str], tmp_path: Path
) -> None:
    """
    A job that ignores SIGTERM is killed after the grace, and only then the other candidate's job begins.
    """
    audit = str(tmp_path / "audit.jsonl")
    with two(jobs, arguments, "--grace", "0.5", "--audit", audit):
        assert 0 == call("resign", "nightly", "--store", arguments[3], "--timeout", "20").returncode
        jobs.wait_running(2)
        assert_dead(jobs, 1)
    jobs.assert_never_two()
    records = map(json.loads, call("audit", "show", "--json", audit).stdout.splitlines())
    (demotion,) = [record for record in records if record.get("source") == "leader"]
    assert jobs.last_sign(1) < demotion["lease_deadline"], "which is 10 % of the TTL before the lease lapses"


def test_kill_of_the_command_kills_the_job_before_another_begins(jobs: Jobs, arguments: list[str]) -> None:
    """
    After kill -9 of `leadership run` the guard kills the job, and the successor waits for that alone, not for the TTL.
    """
    with two(jobs, arguments) as (first, _):
        guard = guard_of(first)
        killed = now()
        first.kill()
        jobs.wait_running(2)
        assert_dead(jobs, 1)
        assert not is_alive(guard)
    jobs.assert_never_two()
    assert jobs.last_sign(1) - killed < 0.85 * TTL
    assert jobs.start(2) - killed < TTL


def test_successor_waits_for_the_guard_of_a_killed_command(jobs: Jobs, arguments: list[str]) -> None:
    """
    The kernel attests the death of a killed holder only when its guard has killed the job and ended, too.
    """
    arguments[5] = "9"  # the lease itself outlives the test's pause
    with two(jobs, arguments) as (first, second):
        guard = guard_of(first)
        os.kill(guard, signal.SIGSTOP)
        first.kill()
        first.wait()
        wait_for(lambda: not is_alive(first.pid), "the command is dead")
        time.sleep(1.0)
        assert [1] == jobs.tokens()
        thawed = now()
        os.kill(guard, signal.SIGCONT)
        jobs.wait_running(2)
        assert jobs.start(2) - thawed < 3.0, "not waited out: 9 s"
        assert second.poll() is None
    jobs.assert_never_two()


def test_frozen_command_cannot_keep_its_job_alive(jobs: Jobs, arguments: list[str], tmp_path: Path) -> None:
    """
    After SIGSTOP of `leadership run` the guard kills the job before the lease can lapse; thawed, it stands again.
    """
    with two(jobs, arguments) as (first, second):
        freeze(first.pid, tmp_path / "e.db")
        lapse = lapses(tmp_path / "e.db", first.pid)
        jobs.wait_running(2)
        assert_dead(jobs, 1)
        assert jobs.last_sign(1) < lapse - 0.075 * TTL
        first.send_signal(signal.SIGCONT)
        wait_for(lambda: now() > jobs.start(2) + 1.0, "the thawed one has had its time")
        assert first.poll() is None
        assert [1, 2] == jobs.tokens()
        second.kill()
        jobs.wait_running(3)
        assert_dead(jobs, 2)
    jobs.assert_never_two()


def test_stopped_group_of_the_command_does_not_stop_its_guard(jobs: Jobs, arguments: list[str], tmp_path: Path) -> None:
    """
    SIGSTOP of the command's whole process group, as by Ctrl-Z, leaves the guard and its deadline alive.
    """
    with running(*arguments) as first:
        jobs.wait_running(1)
        os.killpg(first.pid, signal.SIGSTOP)
        wait_for(lambda: not any(is_alive(pid) for pid in jobs.pids(1)), "the job is dead")
        assert jobs.last_sign(1) < lapses(tmp_path / "e.db", first.pid) - 0.075 * TTL


def test_kill_of_the_guard_ends_the_job_and_the_command(jobs: Jobs, arguments: list[str]) -> None:
    """
    When the guard is killed, so is the job with all its descendants, and `leadership run` ends as after a SIGKILL.
    """
    with two(jobs, arguments) as (first, _):
        os.kill(guard_of(first), signal.SIGKILL)
        assert 128 + signal.SIGKILL == first.wait(20)
        jobs.wait_running(2)
        assert_dead(jobs, 1)
    jobs.assert_never_two()


def test_frozen_guard_is_replaced_by_the_command_itself(jobs: Jobs, arguments: list[str]) -> None:
    """
    A guard that does not obey at a demotion is killed with the job, before the entry is released.
    """
    with two(jobs, arguments) as (first, _):
        os.kill(guard_of(first), signal.SIGSTOP)
        assert 0 == call("resign", "nightly", "--store", arguments[3], "--timeout", "20").returncode
        jobs.wait_running(2)
        assert_dead(jobs, 1)
        assert first.poll() is None
    jobs.assert_never_two()


def test_kill_of_the_command_and_its_guard_leaves_no_job(tmp_path: Path) -> None:
    """
    When the guard dies with the command, the kernel kills CMD.
    """
    store = f"sqlite:///{tmp_path / 'e.db'}"
    pid_file = tmp_path / "pid"
    script = f"echo $$ >{pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 60"
    with running("run", "nightly", "--store", store, "--ttl", str(TTL), "--", "sh", "-c", script) as process:
        wait_for(pid_file.exists, "CMD runs")
        guard, job = guard_of(process), int(pid_file.read_text())
        os.kill(process.pid, signal.SIGSTOP)  # lest it clean up
        os.kill(guard, signal.SIGKILL)
        wait_for(lambda: not is_alive(job), "CMD is dead")


def test_what_cmd_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    """
    When CMD ends by itself, its descendants are told to end, then killed, before the entry is released.
    """
    log = tmp_path / "pids"
    store = f"sqlite:///{tmp_path / 'e.db'}"
    script = (
        f"(trap '' TERM; sleep 60) & echo $! >{log}; (setsid sh -c 'echo $$ >>{log}; exec sleep 61' &);"
        f" while [ $(wc -l <{log}) -lt 2 ]; do sleep 0.01; done; exit 4"
    )
    done = call("run", "nightly", "--store", store, "--ttl", "3", "--grace", "0.3", "--", "sh", "-c", script)
    assert (4, 2) == (done.returncode, len(log.read_text().split()))
    assert [] == [pid for pid in map(int, log.read_text().split()) if is_alive(pid)]


def test_orphans_are_reaped_while_cmd_runs(tmp_path: Path) -> None:
    """
    An orphan of CMD that ends does not stay a zombie, and CMD inherits no descriptor but the standard ones.
    """
    store = f"sqlite:///{tmp_path / 'e.db'}"
    script = (
        "(sh -c 'exit 0' & echo $! ) >pid;"
        " while test -e /proc/$(cat pid) && test $((n += 1)) -lt 100; do sleep 0.1; done;"
        " ls /proc/self/fd | tr '\\n' ' ' >fds;"
        " test ! -e /proc/$(cat pid) && echo reaped >result || echo zombie >result"
    )
    command = ["sh", "-c", f"cd {tmp_path}; {script}"]
    assert 0 == call("run", "nightly", "--store", store, "--ttl", "3", "--", *command).returncode
    assert "reaped" == (tmp_path / "result").read_text().strip()
    assert ["0", "1", "2", "3"] == (tmp_path / "fds").read_text().split()  # 3 is of `ls` itself

"""
Candidates in processes of their own, on SQLite: signals, exits, kills.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from children import SOON, child, took_over
from court.freeze import freeze

from leadership import Candidate, Follower, connect
from leadership._clock import now


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "leadership.db"


@pytest.fixture
def other(database: Path) -> Iterator[Candidate]:
    """
    A candidate in the test's process, not started.
    """
    with connect(f"sqlite:///{database}") as store:
        yield Candidate(store, "jobs", "other", ttl=30.0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_run_with_status_0(database: Path, other: Candidate, number: signal.Signals) -> None:
    """
    run() returns after a signal: on_demoted is told, the entry is released at once, the process goes on and exits 0.
    """
    with child(database, "candidate.run(); say('after', candidate.state)") as leader:
        assert "elected 1" == leader.line()
        other.start()
        other.wait_leader(SOON)
        sent = now()
        leader.process.send_signal(number)
        assert took_over(other, sent) < 2.0
        assert (0, [f"demoted 1 stopped {number.name}", "after idle"], "") == leader.end()


def test_a_second_signal_is_not_handled(database: Path) -> None:
    """
    While the callbacks of the term take their time, a second SIGTERM ends the process as it always does.
    """
    with child(database, "candidate.on_demoted(lambda term, cause: time.sleep(60)); candidate.run()") as leader:
        assert "elected 1" == leader.line()
        leader.process.terminate()
        assert "demoted 1 stopped SIGTERM" == leader.line()
        leader.process.terminate()
        assert -signal.SIGTERM == leader.end()[0]


def test_a_second_interrupt_is_a_keyboard_interrupt(database: Path) -> None:
    """
    A second Ctrl-C raises KeyboardInterrupt out of run(), as without the library.
    """
    body = """
candidate.on_demoted(lambda term, cause: time.sleep(1.0))
try:
    candidate.run()
except KeyboardInterrupt:
    say("interrupted")
"""
    with child(database, body) as leader:
        assert "elected 1" == leader.line()
        leader.process.send_signal(signal.SIGINT)
        assert "demoted 1 stopped SIGINT" == leader.line()
        leader.process.send_signal(signal.SIGINT)
        assert (0, ["interrupted"]) == leader.end()[:2]


def test_run_in_a_thread(database: Path) -> None:
    """
    run() off the main thread: the signal is the program's own, and stop() from the main thread ends the run.
    """
    body = """
signal.signal(signal.SIGTERM, lambda *_: (say("mine"), candidate.stop(timeout=0)))
thread = threading.Thread(target=candidate.run)
thread.start()
thread.join()
say("after")
"""
    with child(database, body) as leader:
        assert "elected 1" == leader.line()
        leader.process.terminate()
        status, lines, err = leader.end()
        assert (0, {"mine", "demoted 1 stopped None", "after"}, "") == (status, set(lines), err)


EXITS = {
    "the end of the script": "",
    "sys.exit": "sys.exit(3)",
    "an exception": "raise KeyError",
    "a context that is left open": "candidate.__enter__()",
    "a daemon thread that works on": "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
}


@pytest.mark.parametrize("how", EXITS)
def test_a_leader_that_exits_releases_at_once(database: Path, other: Candidate, how: str) -> None:
    """
    However the interpreter ends, the leader stands down first: on_demoted is told, the next leads within a second.
    """
    body = f"candidate.start(); candidate.wait_elected(); time.sleep(0.1); sys.stdin.readline()\n{EXITS[how]}"
    with child(database, body) as leader:
        assert "elected 1" == leader.line()
        other.start()
        other.wait_leader(SOON)
        left = now()
        assert leader.process.stdin is not None
        leader.process.stdin.write("\n")
        leader.process.stdin.flush()
        assert took_over(other, left) < 2.0
        status, lines, _ = leader.end()
        assert ({"sys.exit": 3, "an exception": 1}.get(how, 0), ["demoted 1 stopped None"]) == (status, lines)


def test_an_exit_is_bounded_by_the_grace(database: Path, other: Candidate) -> None:
    """
    A callback that never returns does not keep the interpreter: it exits after its grace of two seconds.
    """
    body = """
candidate.on_elected(lambda term: time.sleep(600))
candidate.start()
candidate.wait_elected()
time.sleep(0.1)
say("leaving")
"""
    with child(database, body) as leader:
        assert {"elected 1", "leaving"} == {leader.line(), leader.line()}
        left = now()
        assert 0 == leader.end()[0]
        assert 1.5 < now() - left < 6.0
    other.start()
    assert took_over(other, now()) < 2.0


def test_an_exit_waits_for_the_function_that_it_calls(database: Path, other: Candidate) -> None:
    """
    No thread can be started then: an on_demoted that takes longer than the grace is called to its end all the same,
    and the next leads when the grace is over.
    """
    body = """
candidate.on_demoted(lambda term, cause: (time.sleep(5), say("tidied")))
candidate.start()
candidate.wait_elected()
time.sleep(0.1)
say("leaving")
"""
    with child(database, body) as leader:
        assert {"elected 1", "leaving"} == {leader.line(), leader.line()}
        other.start()
        assert other.wait_elected(SOON)
        assert leader.process.poll() is None
        status, lines, _ = leader.end()
        assert (0, "tidied") == (status, lines[-1])


def test_a_killed_leader_is_replaced_at_once(database: Path, other: Candidate) -> None:
    """
    kill -9: the kernel attests the death, and the next leads long before the lease of 30 seconds is over.
    """
    with child(database, "candidate.run()") as leader:
        assert "elected 1" == leader.line()
        other.start()
        other.wait_leader(SOON)
        killed = now()
        leader.process.kill()
        limit = 2.0 if sys.platform == "linux" else 31.0
        assert took_over(other, killed) < limit
        term = other.term
        assert term is not None
        assert term.token > 1


def test_a_stopped_leader_does_not_believe(database: Path, other: Candidate) -> None:
    """
    SIGSTOP for more than a TTL: its first look after SIGCONT says that it does not lead, on_demoted is told at once,
    and the other has led meanwhile.
    """
    body = """
candidate.start()
candidate.wait_elected()
time.sleep(0.2)
say("ready")
seen = at = time.clock_gettime(time.CLOCK_BOOTTIME)
while at - seen < 1.9:
    time.sleep(0.001)
    seen, at = at, time.clock_gettime(time.CLOCK_BOOTTIME)
say("first look", candidate.is_leader, candidate.term)
sys.stdin.readline()
"""
    with child(database, body, ttl=2.0) as leader:
        assert "elected 1" == leader.line()
        assert "ready" == leader.line()
        other.start()
        other.wait_leader(SOON)
        stopped = freeze(leader.process.pid, database)
        assert took_over(other, stopped) < 2.0 + 2.0
        time.sleep(max(0.0, stopped + 3.0 - now()))
        leader.process.send_signal(signal.SIGCONT)
        lines = {leader.line(), leader.line()}
        assert {"first look False None", "demoted 1 lease_expired None"} == lines


def wait_for(condition: Callable[[], object]) -> None:
    give_up = now() + SOON
    while not condition():
        assert now() < give_up
        time.sleep(0.01)


def test_a_hundred_starts_leak_nothing(database: Path) -> None:
    """
    A candidate with its own store, started and stopped a hundred times, leaves no thread and no descriptor behind.
    """
    url = f"sqlite:///{database}"
    candidate = Candidate(url, "jobs", "a", log=False)

    def cycle(times: int) -> None:
        for _ in range(times):
            candidate.start()
            assert candidate.wait_elected(SOON) is not None
            assert candidate.stop()

    def open_things() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

    cycle(3)
    before = open_things()
    cycle(100)
    wait_for(lambda: open_things() <= before)
    with Follower(url, "jobs") as follower:
        wait_for(lambda: follower.state == "vacant")

"""
Candidates in processes of their own, on SQLite: signals, exits, forks, kills.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from leadership import Candidate, Follower, connect
from leadership._clock import now

SOON = 20.0
"""Seconds for what takes a fraction of one on an idle machine."""

BEGIN = """
import os, signal, sys, threading, time
from leadership import Candidate, Follower, connect
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
candidate = Candidate(sys.argv[1], "jobs", sys.argv[2], ttl=float(sys.argv[3]), grace=2.0)
candidate.on_elected(lambda term: say("elected", term.token))
candidate.on_demoted(lambda term, cause: say("demoted", term.token, cause, term.reason))
"""


class Child:
    """
    A Python process that says what happens.
    """

    def __init__(self, database: Path, body: str, node: str = "child", ttl: float = 30.0) -> None:
        self.process = subprocess.Popen(
            # Since 3.12 a fork beside threads warns; that the library survives one is what is tested.
            [
                sys.executable,
                "-W",
                "ignore::DeprecationWarning",
                "-c",
                BEGIN + body,
                f"sqlite:///{database}",
                node,
                str(ttl),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        """
        The next line that it says; the test's time-out ends a wait in vain.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.process.communicate()[1])
        return line.strip()

    def end(self) -> tuple[int, list[str], str]:
        """
        Wait for its end: status, the lines that were not read yet, and what it complained of.
        """
        out, err = self.process.communicate(timeout=SOON)
        return self.process.returncode, out.splitlines(), err


@contextmanager
def child(database: Path, body: str, node: str = "child", ttl: float = 30.0) -> Iterator[Child]:
    made = Child(database, body, node, ttl)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()


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


def took_over(other: Candidate, since: float) -> float:
    """
    Seconds from a moment until the other leads.
    """
    assert other.wait_elected(SOON) is not None
    return now() - since


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
    SIGSTOP for three TTLs: its first look after SIGCONT says that it does not lead, on_demoted is told at once, and the
    other has led meanwhile.
    """
    body = """
candidate.start()
candidate.wait_elected()
time.sleep(0.2)
say("ready")
seen = at = time.clock_gettime(time.CLOCK_BOOTTIME)
while at - seen < 0.9:
    time.sleep(0.001)
    seen, at = at, time.clock_gettime(time.CLOCK_BOOTTIME)
say("first look", candidate.is_leader, candidate.term)
sys.stdin.readline()
"""
    with child(database, body, ttl=0.7) as leader:
        assert "elected 1" == leader.line()
        assert "ready" == leader.line()
        other.start()
        other.wait_leader(SOON)
        leader.process.send_signal(signal.SIGSTOP)
        stopped = now()
        assert took_over(other, stopped) < 0.7 + 2.0
        time.sleep(1.0)
        leader.process.send_signal(signal.SIGCONT)
        lines = {leader.line(), leader.line()}
        assert {"first look False None", "demoted 1 lease_expired None"} == lines


FORK = """
candidate.start()
term = candidate.wait_elected()
time.sleep(0.2)
pid = os.fork()
if pid == 0:
    say("child", candidate.is_leader, candidate.term, candidate.state, candidate.leader, term.is_current)
    say("child stop", candidate.stop(), candidate.resign())
    {child}
    os._exit(0)
os.waitpid(pid, 0)
say("parent", candidate.is_leader, term.is_current)
candidate.stop()
"""


def test_a_forked_child_is_not_the_leader(database: Path) -> None:
    """
    A child of a leader is idle, believes nothing, has nothing to stop; the parent leads on.
    """
    with child(database, FORK.format(child="")) as leader:
        status, lines, err = leader.end()

    assert (0, "") == (status, err)
    assert [
        "elected 1",
        "child False None idle None False",
        "child stop True True",
        "parent True True",
        "demoted 1 stopped None",
    ] == lines


@pytest.mark.parametrize("anew", ["connect(sys.argv[1])", "sys.argv[1]"])
def test_a_forked_child_can_stand_anew(database: Path, anew: str) -> None:
    """
    A candidate made in the child, on a store of its own, stands and is elected, in another election as in the same.
    """
    body = f"""
    own = Candidate({anew}, "mail", "own")
    own.start()
    say("own", own.wait_elected(10).token, own.stop())
    rival = Candidate({anew}, "jobs", "rival")
    rival.start()
    say("rival", rival.wait_leader(10).node, rival.is_leader, rival.stop())
"""
    with child(database, FORK.format(child=body.strip())) as leader:
        status, lines, err = leader.end()

    assert (0, "") == (status, err)
    assert "rival child False True" in lines
    assert any(line.startswith("own ") and line.endswith(" True") for line in lines)
    assert "parent True True" in lines


def test_a_forked_child_that_starts_the_inherited_candidate(database: Path) -> None:
    """
    The parent's candidate, made with a URL, opens a store of its own in the child, and waits there for its parent.
    """
    body = """
    candidate.start()
    leader = candidate.wait_leader(10)
    say("again", leader and leader.node, candidate.is_leader, candidate.stop())
"""
    with child(database, FORK.format(child=body.strip())) as leader:
        status, lines, err = leader.end()

    assert (0, "") == (status, err)
    assert "again child False True" in lines
    assert "parent True True" in lines


def test_a_forked_child_does_not_use_an_inherited_store(database: Path) -> None:
    """
    A candidate that was given its store cannot use it in a forked child: a typed error says what to do.
    """
    body = """
    from leadership import ConfigError
    other = Candidate(store, "mail")
    try:
        other.run()
    except ConfigError as error:
        say(str(error))
"""
    with child(database, "store = connect(sys.argv[1])\n" + FORK.format(child=body.strip())) as leader:
        status, lines, err = leader.end()

    assert (0, "") == (status, err)
    assert any("made before this process was forked: call connect() again" in line for line in lines)


def test_callbacks_that_a_forked_child_adds(database: Path) -> None:
    """
    Callbacks given to the inherited candidate before its start in the child are called there.
    """
    body = """
    candidate._url = "memory://"
    candidate.on_elected(lambda term: say("in the child"))
    candidate.on_leader_changed(lambda leader: say("changed in the child") if leader else None)
    candidate.start()
    candidate.wait_elected(10)
    candidate.stop()
"""
    with child(database, FORK.format(child=body.strip())) as leader:
        status, lines, err = leader.end()

    assert (0, "") == (status, err)
    assert {"in the child", "changed in the child"} <= set(lines)


def test_a_child_that_outlives_the_leader_holds_nothing(database: Path, other: Candidate) -> None:
    """
    A forked child that lives on does not keep its dead parent's leadership alive.
    """
    body = """
candidate.start()
candidate.wait_elected()
time.sleep(0.2)
pid = os.fork()
if pid == 0:
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    time.sleep(60)
    os._exit(0)
say(pid)
candidate.run()
"""
    with child(database, body) as leader:
        assert "elected 1" == leader.line()
        orphan = int(leader.line())
        try:
            other.start()
            other.wait_leader(SOON)
            killed = now()
            leader.process.kill()
            assert took_over(other, killed) < 2.0
            os.kill(orphan, 0)
        finally:
            os.kill(orphan, signal.SIGKILL)


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

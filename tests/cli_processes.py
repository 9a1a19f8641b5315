"""
The command as real processes, and jobs that tell when each of their processes lived.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from leadership._clock import now

COMMAND = (sys.executable, "-m", "leadership")
PATIENCE = 20.0
"""Seconds for what takes a fraction of one on an idle machine."""

# Three processes: CMD, a child in its group, and one that has left it by a double fork. All ignore SIGTERM. Each says
# when it starts and then every 10 ms that it is alive; CMD looks at once whether a process of an earlier job lives.
STUBBORN_JOB = """
import os, signal, sys, time
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
token = os.environ["LEADERSHIP_TOKEN"]

def say(what, pid):
    os.write(log, f"\\n{what} {token} {pid} {time.clock_gettime(time.CLOCK_BOOTTIME)} .\\n".encode())

def lives(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False

signal.signal(signal.SIGTERM, signal.SIG_IGN)
say("start", os.getpid())
say("guard", os.getppid())
with open(sys.argv[1]) as file:
    for line in map(str.split, file):
        if line[:1] == ["start"] and line[-1] == "." and line[1] != token and lives(line[2]):
            say("overlap", line[2])
if os.fork() == 0:
    say("start", os.getpid())
elif os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    say("start", os.getpid())
while True:
    say("alive", os.getpid())
    time.sleep(0.01)
"""


def wait_for(condition: Callable[[], object], what: str) -> None:
    """
    Wait until something holds.
    """
    give_up = now() + PATIENCE
    while not condition():
        assert now() < give_up, f"waited {PATIENCE:g} s in vain until {what}"
        time.sleep(0.005)


def call(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """
    Run the command to its end.
    """
    environment = {**os.environ, **(env or {})}
    return subprocess.run(
        [*COMMAND, *arguments], check=False, capture_output=True, text=True, timeout=50, env=environment
    )


@contextlib.contextmanager
def running(
    *arguments: str, stderr: Path | None = None, command: Sequence[str] = COMMAND
) -> Iterator[subprocess.Popen[str]]:
    """
    The command in the background, in a session of its own; killed at the end if it still runs.
    """
    with contextlib.ExitStack() as stack:
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if stderr is None else stack.enter_context(stderr.open("a")),  # None: pytest shows it
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()  # not read to its end: what escaped would hold it open


def is_alive(pid: int) -> bool:
    """
    It runs, or could: a zombie does not.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in ("Z", "X")


def children(pid: int) -> list[int]:
    """
    A process's own, zombies included.
    """
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that has just ended
            found += map(int, (task / "children").read_text().split())
    return found


def guard_of(process: subprocess.Popen[str]) -> int:
    """
    The guard of a `leadership run` whose CMD runs.
    """
    (child,) = children(process.pid)
    return child


class Jobs:
    """
    What stubborn jobs have said.
    """

    def __init__(self, folder: Path) -> None:
        self.script = folder / "job.py"
        self.script.write_text(STUBBORN_JOB)
        self.log = folder / "jobs.log"

    @property
    def command(self) -> list[str]:
        """
        CMD.
        """
        return ["--", sys.executable, "-S", str(self.script), str(self.log)]

    def lines(self) -> list[tuple[str, int, int, float]]:
        """
        What, token, pid, time.
        """
        if not self.log.exists():
            return []
        # Whole ones only: a line may be seen, and its writer be killed, while it is being written.
        rows = [text.split() for text in self.log.read_text().splitlines() if text.endswith(" .")]
        return [(what, int(token), int(pid), float(at)) for what, token, pid, at, _ in rows]

    def tokens(self) -> list[int]:
        """
        The terms in which a job has begun, in order.
        """
        return list(dict.fromkeys(token for what, token, _, _ in self.lines() if what == "start"))

    def pids(self, token: int) -> set[int]:
        """
        The processes of a job.
        """
        return {pid for what, of, pid, _ in self.lines() if what == "start" and of == token}

    def last_sign(self, token: int) -> float:
        """
        When a process of a job was last seen alive by itself.
        """
        return max(at for what, of, _, at in self.lines() if of == token and what != "overlap")

    def start(self, token: int) -> float:
        """
        When a job began.
        """
        return min(at for what, of, _, at in self.lines() if what == "start" and of == token)

    def wait_running(self, token: int) -> None:
        """
        Wait until all three processes of a job have begun.
        """
        wait_for(lambda: len(self.pids(token)) == 3, f"the job of token {token} runs")

    def assert_never_two(self) -> None:
        """
        No job began while a process of an earlier one lived, by its own word and by the kernel's.
        """
        tokens = self.tokens()
        assert [] == [line for line in self.lines() if line[0] == "overlap"]
        for earlier, later in itertools.pairwise(tokens):
            assert self.last_sign(earlier) < self.start(later), f"job {later} began while job {earlier} lived"

    def kill(self) -> None:
        """
        Leave nothing behind.
        """
        for pid in {pid for what, _, pid, _ in self.lines() if what in ("start", "guard")}:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)

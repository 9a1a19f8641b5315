"""
A thousand elections in one process, all led by it, without callbacks: what they cost while nothing happens.

Each store has a process of its own; while the first is idle, the second sets itself up.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.rows import row
from leadership import Candidate, connect
from leadership.backends.memory import MemoryServer, MemoryStore
from leadership.backends.sqlite import SqliteStore
from leadership.store import Entry, Holder, Notify, Reply, Store

TTL = 15.0
ROOT = Path(__file__).parent.parent


class _CountingServer(MemoryServer):
    """
    Counts what would be requests to a server.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def grant(self, session: str, ttl: float, notify: Notify) -> None:
        self.operations += 1
        super().grant(session, ttl, notify)

    def renew(self, session: str) -> Reply:
        self.operations += 1
        return super().renew(session)

    def acquire(self, session: str, entry: Entry) -> Reply:
        self.operations += 1
        return super().acquire(session, entry)

    def release(self, session: str, entry: Entry) -> Reply:
        self.operations += 1
        return super().release(session, entry)


class _CountingStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.counted = self.server = _CountingServer()

    @property
    def operations(self) -> int:
        return self.counted.operations

    async def read(self, elections: Sequence[str]) -> dict[str, Holder | None]:
        self.counted.operations += 1  # one request, however many are asked for
        return dict(await super().read(elections))


def rss() -> float:
    """
    Resident memory, MB.
    """
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def lead(store: Store, numbers: range) -> float:
    """
    Seconds until all of them are led.
    """
    began = time.perf_counter()
    candidates = [Candidate(store, f"service/{number}/leader") for number in numbers]
    for candidate in candidates:
        candidate.start()
    for candidate in candidates:
        if candidate.wait_elected(60) is None:
            msg = f"{candidate} was not elected within 60 s: {candidate.status()}"
            raise TimeoutError(msg)
    return time.perf_counter() - began


def measure(scheme: str, folder: str, count: int, seconds: float) -> dict[str, float]:
    """
    In a process of its own. Says `idle` when the elections are led.
    """
    store = _CountingStore() if scheme == "memory" else connect(f"sqlite:///{folder}/many.db")
    assert isinstance(store, _CountingStore | SqliteStore)  # noqa: S101 - they count
    lead(store, range(1))
    time.sleep(0.5)
    memory = rss()
    took = lead(store, range(1, count))
    print("idle", flush=True)
    time.sleep(0.5)
    added, operations = rss() - memory, store.operations
    wall, cpu = time.perf_counter(), time.process_time()
    time.sleep(seconds)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    operations = store.operations - operations
    threads = len(os.listdir("/proc/self/task"))
    store.close()
    return {
        "acquire": took,
        "threads": threads,
        "memory": added,
        "cpu": 100 * cpu / wall,
        "operations": operations / wall,
        "seconds": seconds,
    }


def _spawn(scheme: str, folder: str, count: int, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.many", scheme, folder, str(count), str(seconds)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    line = process.stdout.readline()
    if line != "idle\n":
        msg = f"{command} did not get its elections"
        raise RuntimeError(msg)
    return process


def main() -> None:
    count, seconds = (50, 1.0) if "--quick" in sys.argv else (1000, 30.0)
    with tempfile.TemporaryDirectory() as folder:
        processes = {scheme: _spawn(scheme, folder, count, seconds) for scheme in ("memory", "sqlite")}
        for scheme, process in processes.items():
            told: dict[str, Any] = json.loads(process.communicate()[0])
            where = f"on {scheme}"
            row(f"{where}: until {count:,} elections are led", "s", [told["acquire"]])
            row(f"{where}: threads", "", [told["threads"]], goal=12)
            row(f"{where}: memory added to that of one election", "MB", [told["memory"]], goal=40)
            row(f"{where}: CPU, idle for {told['seconds']:.0f} s", "% of a core", [told["cpu"]], goal=2)
            row(f"{where}: operations of the store, idle", "/s", [told["operations"]], goal=2)


if __name__ == "__main__":
    if sys.argv[1:2] in (["memory"], ["sqlite"]):
        print(json.dumps(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))
    else:
        main()

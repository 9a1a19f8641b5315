"""
The clocks that a process is shown: a library is preloaded into it, and reads a page that is written here.

The wall clock may be ahead. The monotonic clock and that of the boot may run at a rate of their own, and the monotonic
one may have stood still, as it does while a machine is suspended. `court.clock` tells the true time all the same.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from court.clock import BOOTTIME

SOURCE: Final = Path(__file__).with_name("clocks.c")
PAGE: Final = struct.Struct("=Qqqqqqq")
SECOND: Final = 10**9
MILLION: Final = 10**6


class CompilerMissing(RuntimeError):
    """
    The library cannot be made here.
    """


def build(folder: Path) -> Path:
    """
    Compile the library into a folder.

    Raises:
        CompilerMissing: There is no C compiler, or it failed.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        msg = "faults of clocks need a C compiler, and there is no cc (Debian: apt-get install gcc libc6-dev)"
        raise CompilerMissing(msg)
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / "clocks.so"
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(made), str(SOURCE), "-ldl", "-lpthread"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    if told.returncode:
        msg = f"faults of clocks need a library that cc cannot make here:\n{told.stderr}"
        raise CompilerMissing(msg)
    return made


class Clocks:
    """
    Those of one process, true until they are set.
    """

    def __init__(self, library: Path, path: Path) -> None:
        self.environment: Mapping[str, str] = {"LD_PRELOAD": str(library), "COURT_CLOCKS": str(path)}
        self._wall = 0
        self._rate = MILLION
        self._since = {time.CLOCK_MONOTONIC: 0, BOOTTIME: 0}
        self._ahead = {time.CLOCK_MONOTONIC: 0, BOOTTIME: 0}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(PAGE.size))
        with open(path, "r+b") as file:
            self._page = mmap.mmap(file.fileno(), PAGE.size)
        self._sequence = 0
        self._write()

    def step_wall(self, seconds: float) -> None:
        """
        Set the wall clock ahead of the truth, or behind it.
        """
        self._wall = round(seconds * SECOND)
        self._write()

    def run_at(self, rate: float, moments: dict[int, int] | None = None) -> None:
        """
        Let the other two run at a rate from now on, or from the same `moments` on as those of others.
        """
        for clock, moment in (moments or moments_now()).items():
            passed = moment - self._since[clock]
            self._ahead[clock] += passed * self._rate // MILLION - passed
            self._since[clock] = moment
        self._rate = round(rate * MILLION)
        self._write()

    def lose(self, seconds: float) -> None:
        """
        Have the monotonic clock stand still for some time that has passed.
        """
        self._ahead[time.CLOCK_MONOTONIC] -= round(seconds * SECOND)
        self._write()

    def _write(self) -> None:
        mono, boot = time.CLOCK_MONOTONIC, BOOTTIME
        values = (self._wall, self._rate, self._since[mono], self._ahead[mono], self._since[boot], self._ahead[boot])
        self._sequence += 2
        self._page[:8] = struct.pack("=Q", self._sequence - 1)
        self._page[8:] = PAGE.pack(0, *values)[8:]
        self._page[:8] = struct.pack("=Q", self._sequence)


def moments_now() -> dict[int, int]:
    """
    The true moment by the two clocks, in nanoseconds.
    """
    return {clock: time.clock_gettime_ns(clock) for clock in (time.CLOCK_MONOTONIC, BOOTTIME)}

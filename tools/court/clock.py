"""
The time that all records of a round carry: one clock of the machine, the same in each process.
"""

from __future__ import annotations

import time
from typing import Final

BOOTTIME: Final = time.CLOCK_BOOTTIME
SHOWN: Final = 0x434F5254
"""The true one, in a process that is shown clocks of the court's own (`clocks.c`); no kernel has it."""


def _true_clock() -> int:
    try:
        time.clock_gettime(SHOWN)
    except OSError:
        return BOOTTIME
    return SHOWN


_CLOCK: Final = _true_clock()


def now() -> float:
    """
    Seconds since the machine has booted. Read by the court itself, not by the library that it judges.
    """
    return time.clock_gettime(_CLOCK)


def own() -> float:
    """
    What the library reads: the same, unless the court shows this process another clock.
    """
    return time.clock_gettime(BOOTTIME)

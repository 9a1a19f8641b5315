"""
The clock of deadlines.

CLOCK_BOOTTIME where the system has it: it runs through a suspend of the machine, as the store's clock does. Else the
monotonic clock. Never wall clock: that one jumps.
"""

from __future__ import annotations

import time

if hasattr(time, "CLOCK_BOOTTIME"):

    def now() -> float:
        """
        Seconds since some moment that is fixed until the machine boots again.
        """
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:
    now = time.monotonic

__all__ = ["now"]

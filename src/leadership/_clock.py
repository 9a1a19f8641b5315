"""
The clock of deadlines, and who shares it.

CLOCK_BOOTTIME where the system has it: it runs through a suspend of the machine, as the store's clock does. Else the
monotonic clock. Never wall clock: that one jumps.
"""

from __future__ import annotations

import os
import time

if hasattr(time, "CLOCK_BOOTTIME"):

    def now() -> float:
        """
        Seconds since some moment that is fixed until the machine boots again.
        """
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:
    now = time.monotonic


def boot() -> str:
    """
    Names the present boot of the machine; empty where the system does not tell.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:  # not Linux, or /proc is not mounted
        return ""


def namespace(kind: str) -> str:
    """
    Names this process's namespace of a kind (`time`, `pid`); empty where there is but one.
    """
    try:
        return os.readlink(f"/proc/self/ns/{kind}")
    except OSError:  # the kernel has no such namespaces
        return ""


def identity() -> str | None:
    """
    Names the clock: processes with the same answer can compare their moments. None where the system does not tell.
    """
    name = boot()
    return f"{name} {namespace('time')}".strip() if name else None


__all__ = ["boot", "identity", "namespace", "now"]

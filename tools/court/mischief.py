"""
Faults inside a contender's process, carried out by that process when the conductor says so.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from court.clock import now, own
from court.contender import LibraryContender, LoopContender, Misdeed
from court.journal import Journal

Command = Mapping[str, Any]
STORM: Final = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGHUP, signal.SIGCHLD)
"""Signals of which a process may get many; here each has a handler."""
_caught: dict[int, int] = {}


def stop(contender: LibraryContender, journal: Journal, command: Command) -> dict[str, Any]:
    """
    Leave the election, until `start`.
    """
    del journal, command
    return {"settled": contender.stop()}


def clocks(contender: LibraryContender, journal: Journal, command: Command) -> dict[str, Any]:
    """
    Tell what the clocks say here.
    """
    del contender, journal, command
    return {"true": now(), "boot": own(), "mono": time.monotonic(), "wall": time.time()}


def fork(contender: LibraryContender, journal: Journal, command: Command) -> dict[str, Any]:
    """
    Fork; the child looks for some seconds whether it believes, and writes that down as a process of its own.

    It ends as an interpreter ends, with all that was registered for its exit and all destructors.
    """
    child = os.fork()
    if child:
        return {"child": child}
    signal.alarm(round(command["seconds"]) + 10)  # if it hangs
    with contextlib.suppress(BaseException):
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        of_child = Journal(journal.node)
        of_child.turn(journal.folder)
        end = now() + command["seconds"]
        while now() < end:
            of_child.look(contender)
            time.sleep(0.005)
    raise SystemExit


def reap(contender: LibraryContender, journal: Journal, command: Command) -> dict[str, Any]:
    """
    Tell how a child has ended: its exit code, or None if it lives.
    """
    del contender, journal
    ended, status = os.waitpid(command["child"], os.WNOHANG)
    return {"code": os.waitstatus_to_exitcode(status) if ended else None}


def listen(contender: LibraryContender, journal: Journal, command: Command) -> dict[str, Any]:
    """
    Count signals from now on.
    """
    del contender, journal, command

    def count(number: int, frame: object) -> None:
        del frame
        _caught[number] = _caught.get(number, 0) + 1

    for each in STORM:
        signal.signal(each, count)
    return {}


def caught(contender: LibraryContender, journal: Journal, command: Command) -> dict[str, Any]:
    """
    Tell how many signals were counted, and begin at none.
    """
    del contender, journal, command
    count = sum(_caught.values())
    _caught.clear()
    return {"count": count}


def hog(contender: LibraryContender, journal: Journal, command: Command) -> dict[str, Any]:
    """
    Keep the interpreter's lock for some seconds, as C code may that never lets go.
    """
    del contender, journal
    since = now()
    ctypes.PyDLL(None).usleep(round(command["seconds"] * 1e6))  # `PyDLL` keeps the lock, unlike `CDLL`
    return {"since": since, "until": now()}


def block(contender: LibraryContender, journal: Journal, command: Command) -> dict[str, Any]:
    """
    Have the event loop of the candidate's user stand still.
    """
    del journal
    return {"settled": isinstance(contender, LoopContender) and contender.block(command["seconds"])}


def plan(contender: LibraryContender, journal: Journal, command: Command) -> dict[str, Any]:
    """
    Have callbacks raise or take long at their next call, and forget other plans; tells how many had been carried out.
    """
    del journal
    return {"count": contender.plan({name: Misdeed(**misdeed) for name, misdeed in command["misdeeds"].items()})}


class Leak:
    """
    As if all descriptors had been used up: the limit is below most of those that are open, and below it none is free.
    """

    LIMIT: Final = 8
    """Not less: no more files than this can be polled at once."""

    def __init__(self) -> None:
        self._limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._held: list[int] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.LIMIT, self._limits[1]))
        while not self.complete():
            self._held.append(os.dup(0))

    def complete(self) -> bool:
        """
        Whether there is none to be had.
        """
        try:
            os.close(os.dup(0))
        except OSError as error:
            return error.errno == errno.EMFILE
        return False

    def close(self) -> None:
        """
        Give all back.
        """
        for each in self._held:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, self._limits)


_leaks: list[Leak] = []


def leak(contender: LibraryContender, journal: Journal, command: Command) -> dict[str, Any]:
    """
    Use up all descriptors, until `mend`.
    """
    del contender, journal, command
    _leaks.append(Leak())
    return {}


def mend(contender: LibraryContender, journal: Journal, command: Command) -> dict[str, Any]:
    """
    Give them back; settled, if there was none to be had until now.
    """
    del contender, journal, command
    leak = _leaks.pop()
    complete = leak.complete()
    leak.close()
    return {"settled": complete}


MISCHIEF: Final[Mapping[str, Callable[[Any, Journal, Command], dict[str, Any]]]] = {
    each.__name__: each for each in (stop, clocks, fork, reap, listen, caught, hog, block, plan, leak, mend)
}

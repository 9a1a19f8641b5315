"""
What can be said of CMD, and of the place where it is to run, before anything starts; and why it did not run.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from leadership import ConfigError
from leadership.cli._common import say
from leadership.cli._job import NOT_EXECUTABLE, NOT_FOUND, End


def check_command(command: Sequence[str]) -> int | None:
    """
    Say at once what a shell would say: the exit status of a CMD that cannot be executed, else None.
    """
    name = command[0]
    if not name:
        say("CMD is empty: say what to run")
        return NOT_FOUND
    if shutil.which(name) is not None:
        return None
    places = [Path(name)] if os.sep in name else [Path(place, name) for place in os.get_exec_path()]
    there = [place for place in places if place.exists()]
    if there:
        say(f"{str(there[0])!r} cannot be executed: it must be a file with the permission to execute it (chmod +x)")
        return NOT_EXECUTABLE
    say(f"the command {name!r} was not found: give its path, or put its folder on PATH")
    return NOT_FOUND


def why_refused(words: str, end: End) -> str:
    """
    Why a CMD that is there could not be executed, and what to do.
    """
    if end.status == NOT_FOUND:
        remedy = "it, or the interpreter that its first line names (#!), is not there: correct it or install that"
    else:
        remedy = "it must be a program for this machine, or a script whose first line names its interpreter (#!/bin/sh)"
    return f"{words} could not be executed: {end.error}: {remedy}"


def check_proc() -> None:
    """
    On Linux the descendants of CMD are found by /proc.

    Raises:
        ConfigError: It is not there, or shows another PID namespace.
    """
    if sys.platform == "linux":
        try:
            shown = os.readlink("/proc/self")
        except OSError:
            shown = "nothing"
        if shown != str(os.getpid()):
            msg = f"the processes of CMD are found by /proc, and it shows {shown} as PID {os.getpid()}: mount it anew"
            raise ConfigError(msg)

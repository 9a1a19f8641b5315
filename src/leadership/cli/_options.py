"""
What the parsers of several subcommands share.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from typing import Final

REFUSED: Final = {77: "the store refuses: credentials, permission, foreign data"}
STORE: Final = {69: "the store is unavailable", **REFUSED}
UNREAD: Final = {141: "nobody reads the output any more (SIGPIPE)"}
INTERRUPTED: Final = {130: "interrupted (SIGINT)"}
LONGEST: Final = 1e9
"""Seconds; a wait of ten times as long is an `OverflowError` of the system's."""


class Help(argparse.RawDescriptionHelpFormatter):
    """
    Help that is the same on each version of Python: since 3.13 an option's value stands once, behind both its names.
    """

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if len(action.option_strings) < 2 or action.nargs == 0:
            return super()._format_action_invocation(action)
        return f"{', '.join(action.option_strings)} {self._format_args(action, action.dest.upper())}"


def statuses(own: Mapping[int, str], *last: str) -> str:
    """
    The list of a subcommand's exit statuses, in their order.
    """
    known = {0: "done", 2: "the arguments cannot be used", **own}
    return "\n".join(["exit statuses:", *(f"  {n:<4} {known[n]}" for n in sorted(known)), *last, ""])


def add_json(parser: argparse.ArgumentParser) -> None:
    """
    The option of what answers in JSON, too.
    """
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def seconds(text: str) -> float:
    """
    A number of seconds, 0 or more, up to what the system's waits can take.

    Raises:
        ArgumentTypeError: It is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= LONGEST:
        msg = f"{text!r} is not a number of seconds from 0 to {LONGEST:g}"
        raise argparse.ArgumentTypeError(msg)
    return value

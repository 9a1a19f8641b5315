"""
The command `leadership`: which subcommands there are, and what becomes of errors.

Each subcommand is a module with `main(args) -> int`, imported when it is asked for.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

from leadership.cli._common import Exit, say
from leadership.cli._parser import parse
from leadership.errors import ConfigError, StoreRefused, StoreUnavailable

_STATUS: Final[dict[type[Exception], Exit]] = {
    ConfigError: Exit.USAGE,
    StoreRefused: Exit.REFUSED,
    StoreUnavailable: Exit.UNAVAILABLE,
    TimeoutError: Exit.UNKNOWN,
}
_INTERRUPTED: Final = 130
_NOBODY_READS: Final = 141
"""As a shell says that a process ended by SIGINT or by SIGPIPE."""


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the command.

    Args:
        argv: Its arguments, without its own name; None for those of the process.

    Returns:
        The exit status.

    Raises:
        SystemExit: For `--help`, `--version` and arguments that cannot be used.
    """
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:  # a terminal that is not UTF-8 shows an arrow, or a node's name, as an escape
        reconfigure(errors="backslashreplace")
    args = parse(sys.argv[1:] if argv is None else list(argv))
    try:
        status: int = importlib.import_module(f"leadership.cli.{args.module}").main(args)
    except tuple(_STATUS) as error:
        say(f"{args.subcommand}: {error}")
        status = next(_STATUS[kind] for kind in _STATUS if isinstance(error, kind))
    except KeyboardInterrupt:
        status = _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does; what is still buffered must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = _NOBODY_READS
    except Exception:  # noqa: BLE001 - Python's own status for it, 1, would be an answer: no, or a verdict
        traceback.print_exc()
        status = Exit.BROKEN
    return int(status)

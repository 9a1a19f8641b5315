"""
`leadership diagram`: a picture of a machine, from its table.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from leadership import ConfigError
from leadership.audit import read
from leadership.cli._common import Exit, put
from leadership.diagram import count_transitions, draw


def main(args: argparse.Namespace) -> int:
    """
    Run the subcommand.
    """
    counts = None
    if args.audit:
        counts = count_transitions((line.fields for line in read(args.audit, rotated=args.rotated)), args.kind)
    if args.format == "png" and args.output is None and sys.stdout.isatty():
        msg = "a png is no text for a terminal: give --output FILE, or redirect stdout"
        raise ConfigError(msg)
    picture = draw(args.kind, args.format, counts=counts)
    if args.output is not None:
        data = picture if isinstance(picture, bytes) else picture.encode()
        try:
            Path(args.output).write_bytes(data)
        except OSError as error:
            msg = f"--output {args.output!r} cannot be written: {error.strerror}"
            raise ConfigError(msg) from None
    elif isinstance(picture, bytes):
        sys.stdout.buffer.write(picture)
        sys.stdout.flush()
    else:
        put(picture.rstrip("\n"))
    return Exit.YES

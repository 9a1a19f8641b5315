"""
`leadership audit verify` and `leadership audit timeline`.
"""

from __future__ import annotations

import argparse
import json
from typing import Final

from leadership.audit import Verdict, tell, timeline, verify
from leadership.cli._common import Exit, put
from leadership.errors import ConfigError

STATUS: Final = {Verdict.VALID: Exit.YES, Verdict.INVALID: Exit.NO, Verdict.UNKNOWN: Exit.UNKNOWN}


def run_verify(args: argparse.Namespace) -> int:
    """
    Judge audits; the exit status is the verdict.
    """
    judgement = verify(
        args.files, rotated=args.rotated, clock_error=args.clock_error, anchors=args.anchor, spans=args.json
    )
    if args.json:
        put(json.dumps(judgement.as_dict(), allow_nan=False))  # in ASCII: text of an audit controls no terminal
    else:
        put("\n".join(tell(judgement)))
    return STATUS[judgement.verdict]


def run_timeline(args: argparse.Namespace) -> int:
    """
    Say who led when.

    Raises:
        ConfigError: The audits tell nothing of the election that was asked for.
    """
    judgement = verify(args.files, rotated=args.rotated)
    if args.election is not None and args.election not in judgement.elections:
        told = f"they tell of {', '.join(judgement.elections)}" if judgement.elections else "they tell of none"
        msg = f"the audits tell nothing of the election {args.election!r}; {told}"
        raise ConfigError(msg)
    for line in timeline(judgement, args.election):
        put(line)
    return Exit.YES

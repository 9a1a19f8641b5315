"""
`leadership audit`: reads audit files, judges them and reports on them.
"""

from __future__ import annotations

import argparse

from leadership.audit import show
from leadership.cli._common import Exit, put
from leadership.cli._report import run_report
from leadership.cli._verify import run_timeline, run_verify


def main(args: argparse.Namespace) -> int:
    """
    Run the subcommand.
    """
    if args.action == "verify":
        return run_verify(args)
    if args.action == "timeline":
        return run_timeline(args)
    if args.action == "report":
        return run_report(args)
    for line in show(args.files, args.election, args.node, rotated=args.rotated, as_json=args.json):
        put(line)
    return Exit.YES

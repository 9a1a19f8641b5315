"""
`leadership audit`: reads audit files.
"""

from __future__ import annotations

import argparse

from leadership.audit import show
from leadership.cli._common import Exit, put


def main(args: argparse.Namespace) -> int:
    """
    Run the subcommand.
    """
    for line in show(args.files, args.election, args.node, rotated=args.rotated, as_json=args.json):
        put(line)
    return Exit.YES

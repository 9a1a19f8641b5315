"""
`leadership serve`: who leads, by HTTP, for a load balancer or a program that is not written in Python.
"""

from __future__ import annotations

import argparse

from leadership import Follower, Transition
from leadership.checks import check_name
from leadership.cli._common import Exit, say
from leadership.cli._http import answering
from leadership.cli._store import reach


def main(args: argparse.Namespace) -> int:
    """
    Run the subcommand: follow the election and answer until interrupted.
    """
    if args.node is not None:
        check_name("node", args.node)
    with reach(args.store) as store:
        follower = Follower(store, args.election, log=False)
        trouble = ""

        def tell(record: Transition) -> None:
            nonlocal trouble
            if record.dest == "error":
                if record.error and record.error != trouble:
                    say(f"{args.election}: {record.error}; trying again")
                trouble = record.error or ""
            elif record.dest in ("following", "vacant"):
                trouble = ""

        follower.on_transition(tell)
        with answering(args.listen, follower, node=args.node):
            follower.run()
    return Exit.YES

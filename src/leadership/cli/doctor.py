"""
`leadership doctor`: can this store hold an election for me, and if it cannot, why.
"""

from __future__ import annotations

import argparse

from leadership import ConfigError, LeadershipError, StoreRefused, StoreUnavailable
from leadership._runtime.examine import Examination
from leadership.cli._common import Exit, put, put_json
from leadership.cli._store import reach


def main(args: argparse.Namespace) -> int:
    """
    Run the subcommand.
    """
    election = args.election
    failed: LeadershipError | None = None
    with reach(args.store) as store:
        store.check_election(election)
        if not args.json:
            put(store.url)
        for finding in Examination(store, election, args.ttl, args.timeout).findings():
            failed = failed or finding.error
            if args.json:
                kind = None if finding.error is None else type(finding.error).__name__
                put_json({"check": finding.check, "ok": kind is None, "error": kind, "detail": finding.words})
            else:
                put(f"  {'ok   ' if finding.error is None else 'WRONG'} {finding.check:<9} {finding.words}")
    if isinstance(failed, ConfigError):
        return Exit.USAGE
    if isinstance(failed, StoreRefused):
        return Exit.REFUSED
    if isinstance(failed, StoreUnavailable):
        return Exit.UNAVAILABLE
    return Exit.YES if failed is None else Exit.NO

"""
`leadership explain`: what a TTL means on a store, said before anything starts.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from leadership import connect
from leadership.cli import run
from leadership.cli._common import Exit, put, put_json


def main(args: argparse.Namespace) -> int:
    """
    Run the subcommand.
    """
    with connect(args.store) as store:
        timing, guarantees = store.timing(args.ttl), store.guarantees
        if args.json:
            put_json({"store": store.url, **timing.as_dict(), "guarantees": asdict(guarantees)})
            return Exit.YES
        died = "the store attests it" if guarantees.attests_death else "its lease is waited out"
        dead = (timing.death_takeover, f"a leader whose process died is replaced ({died}) within")
        figures = [
            (timing.effective_ttl, "a lease lasts" if timing.effective_ttl == timing.ttl else "a lease really lasts"),
            (timing.renew_interval, "a leader renews it every"),
            (timing.steps_down_after, "a leader whose renewals are not acknowledged stops believing after"),
            (timing.resign_takeover, "a leader that resigns is replaced, once its callbacks have returned, within"),
            *([] if guarantees.scope == "process" else [dead]),  # there nobody is left to replace it
            (timing.crash_takeover, "a leader that hangs or is cut off is replaced within"),
            (run.last_moment(timing), "leadership run has killed CMD, without an acknowledged renewal, after"),
            (run.longest_grace(timing), "leadership run can give CMD from SIGTERM to SIGKILL up to"),
        ]
        put(f"{store.url} with --ttl {timing.ttl:g}")
        for value, words in figures:
            put(f"  {words:<78} {value:>8.4g} s")
        put(f"  {'the local clock may run slower than the store’s by':<78} {timing.clock_drift:>8.0%}")
        put(f"  {'an election reaches as far as one':<78} {guarantees.scope:>8}")
        kept = "yes" if guarantees.tokens_survive_restart else "no"
        put(f"  {'fencing tokens keep rising when the store is restarted':<78} {kept:>8}")
        return Exit.YES

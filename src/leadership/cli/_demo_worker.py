"""
One candidate of `leadership demo`, a process of its own: what it does goes to stdout, a JSON line a transition.
"""

from __future__ import annotations

import signal
import sys
import threading

from leadership import AuditLog, Candidate, Transition
from leadership.cli._common import put_json


def main(store: str, election: str, node: str, ttl: str, audit: str) -> None:
    """
    Stand until stdin ends, as it does when the demo is over or has died, or until SIGTERM.
    """
    candidate = Candidate(store, election, node, ttl=float(ttl), observers=(AuditLog(audit),), log=False)

    def tell(record: Transition) -> None:
        put_json(record.as_dict())

    def stop_with_the_demo() -> None:
        sys.stdin.read()
        # Not `candidate.stop()`, which a candidate that has yet to run would forget: there is nothing to stop then.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    candidate.on_transition(tell)
    threading.Thread(target=stop_with_the_demo, daemon=True).start()
    candidate.run()


if __name__ == "__main__":
    main(*sys.argv[1:])

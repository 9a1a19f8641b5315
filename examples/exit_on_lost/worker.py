"""
Work that cannot be stopped from outside: the process ends with its term.
"""

import os
import time

from leadership import Candidate, DemotionCause, Term

candidate = Candidate(os.environ.get("LEADERSHIP_STORE", "sqlite:///election.db"), "import", ttl=2.0)


@candidate.on_demoted
def stand_down(term: Term, cause: DemotionCause) -> None:
    print(f"{term.node} has lost its term: {cause.value}", flush=True)
    if cause is not DemotionCause.STOPPED:
        os._exit(70)  # at once: no handlers, no threads that are waited for


with candidate:
    term = candidate.wait_elected()
    while term is not None:
        print(f"{term.node} imports, token {term.token}", flush=True)
        time.sleep(0.5)  # a library that knows nothing of terms

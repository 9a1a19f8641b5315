"""
Several of these run, one of them works.
"""

import os

from leadership import Candidate, DemotionCause, Term

candidate = Candidate(os.environ.get("LEADERSHIP_STORE", "sqlite:///election.db"), "report")


@candidate.on_elected
def lead(term: Term) -> None:
    while not term.wait(0.5):  # True at once when the term ends
        # What you write to should refuse a token that is older than the newest it has seen.
        print(f"{term.node} writes the report, token {term.token}", flush=True)


@candidate.on_demoted
def stand_down(term: Term, cause: DemotionCause) -> None:
    print(f"{term.node} stands down: {cause.value}", flush=True)


candidate.run()  # until SIGINT or SIGTERM

"""
Jobs of APScheduler that run on the leader only.
"""

import os

from apscheduler.schedulers.background import BackgroundScheduler

from leadership import Candidate, Term

candidate = Candidate(os.environ.get("LEADERSHIP_STORE", "sqlite:///election.db"), "scheduler")
scheduler = BackgroundScheduler()


def tidy() -> None:
    term = candidate.term  # the job may begin just after the term has ended
    if term is not None:
        print(f"{term.node} tidies up, token {term.token}", flush=True)


@candidate.on_elected
def lead(term: Term) -> None:
    scheduler.resume()
    try:
        term.wait()
    finally:
        scheduler.pause()


scheduler.add_job(tidy, "interval", seconds=0.5, coalesce=True, misfire_grace_time=None)
scheduler.start(paused=True)
candidate.run()
scheduler.shutdown()

"""
A FastAPI application: every process answers, one of them also does a job.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from leadership import AsyncCandidate, AsyncTerm

candidate = AsyncCandidate(os.environ.get("LEADERSHIP_STORE", "sqlite:///election.db"), "app/cleaner")
cleaned = 0


@candidate.on_elected
async def clean(term: AsyncTerm) -> None:  # cancelled when the term ends
    global cleaned  # noqa: PLW0603 - a database would keep it
    while not await term.wait(0.5):
        cleaned += 1


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with candidate:  # stands while the application runs, and releases before it ends
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def status() -> dict[str, object]:
    leader = candidate.leader
    return {
        "node": candidate.node,
        "is_leader": candidate.is_leader,
        "leader": leader.node if leader else None,
        "token": leader.token if leader else None,
        "stale": candidate.is_stale,
        "cleaned": cleaned,
    }

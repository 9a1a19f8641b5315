"""
What tests of the health app ask it with.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, MutableMapping
from typing import Any

from leadership import Candidate
from leadership.health import Answer, HealthApp
from leadership.testing import Simulation


def told(answer: Answer) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(answer.body)
    return loaded


def candidate_of(sim: Simulation, node: str = "ann", election: str = "jobs") -> Candidate:
    candidate = Candidate(sim.store, election, node=node, ttl=3.0)
    candidate.start()
    return candidate


def speak(app: HealthApp, scope: Mapping[str, Any], *came: str) -> list[MutableMapping[str, Any]]:
    """
    What an ASGI application sends.
    """
    inbox, sent = list(came), list[MutableMapping[str, Any]]()

    async def receive() -> MutableMapping[str, Any]:
        return {"type": inbox.pop(0)}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent

"""
A service whose leader alone is to be asked, with its health app beside it, under uvicorn. Run as a script.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry

from leadership import Candidate
from leadership.health import PATHS, HealthApp
from leadership.observers import PrometheusObserver


def main() -> None:
    url, node, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    registry = CollectorRegistry()
    observers = [PrometheusObserver(registry)]
    candidate = Candidate(url, "jobs", node=node, ttl=6.0, cool_down=0.0, observers=observers, log=False)
    health = HealthApp(candidate, registry=registry)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] in PATHS:
            await health(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": node.encode()})

    with candidate:
        uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", ws="none", lifespan="on")


if __name__ == "__main__":
    main()

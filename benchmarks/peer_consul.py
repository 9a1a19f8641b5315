"""
A process that takes and gives up a key of Consul by nothing but HTTP: a blocking query, and one write when it is free.

It takes the commands of `worker.py`, and tells the same.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from benchmarks.worker import serve, tell
from leadership._clock import now


class Peer:
    """
    One of several; whoever has not given the key up himself takes it.
    """

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._host, self._folder = address.netloc, address.path.removeprefix("/")
        self._writes = http.client.HTTPConnection(self._host)
        self._writing = threading.Lock()
        body = json.dumps({"TTL": "3600s", "LockDelay": "0s", "Checks": []}).encode()
        self._session = str(json.loads(self._ask(self._writes, "PUT", "session/create", body)[0])["ID"])
        self._election = ""
        self._gave_up = False

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None
    ) -> tuple[bytes, int]:
        connection.request(method, f"/v1/{path}", body)
        response = connection.getresponse()
        return response.read(), int(response.headers.get("X-Consul-Index") or 0)

    def _write(self, election: str, verb: str) -> bool:
        with self._writing:
            done, _ = self._ask(self._writes, "PUT", f"kv/{election}?{verb}={self._session}", b"peer")
        return bool(json.loads(done))

    def _take(self, election: str, began: float | None = None) -> None:
        if self._write(election, "acquire"):
            at = now()
            tell("elected", at, token=int(1e6 * at), election=election, began=began)

    def _watch(self, key: str, changed: Callable[[dict[str, Any]], None]) -> None:
        """
        Call with each state of a key.
        """
        connection = http.client.HTTPConnection(self._host)

        def read() -> None:
            index = 0
            while True:
                found, index = self._ask(connection, "GET", f"kv/{key}?index={index}&wait=60s")
                changed(json.loads(found)[0] if found else {})

        threading.Thread(target=read, daemon=True).start()

    def stand(self, election: str) -> None:
        self._election = election

        def changed(entry: dict[str, Any]) -> None:
            if "Session" in entry:
                self._gave_up = False
            elif not self._gave_up:
                self._take(election)

        self._watch(election, changed)

    def watch(self, election: str) -> None:
        """
        Tell when an election of ours has another leader than before.
        """
        terms: list[tuple[int, int]] = []

        def changed(entry: dict[str, Any]) -> None:
            at = now()
            if "Session" not in entry:
                return
            term = entry["CreateIndex"], entry["LockIndex"]
            if term not in terms:
                tell("watched" if terms else "watching", at)
                terms.append(term)

        self._watch(f"{self._folder}/{election}", changed)

    def uncontended(self, election: str) -> None:
        self._take(election, now())

    def resign(self, cool_down: float) -> None:  # noqa: ARG002 - it takes no turn before the other
        self._gave_up = True
        began = now()
        self._write(self._election, "release")
        tell("resigned", began)


def main() -> None:
    peer = Peer(sys.argv[1])
    serve({"stand": peer.stand, "watch": peer.watch, "uncontended": peer.uncontended, "resign": peer.resign})


if __name__ == "__main__":
    main()

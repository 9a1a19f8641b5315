"""
The process of the fenced resource and of its twin without a fence.

R takes a write if no greater token has been seen; R0 takes every write. Each logs in its own order what was asked.
"""

from __future__ import annotations

import json
import os
import socketserver
import sys
import threading
from pathlib import Path
from typing import Any

from court.clock import now


class Resource:
    """
    One of the two.
    """

    def __init__(self, name: str, *, fenced: bool) -> None:
        self.name = name
        self.fenced = fenced
        self.highest = 0
        self._lock = threading.Lock()
        self._log: int | None = None

    def turn(self, folder: str) -> None:
        """
        Log to the folder of another round.
        """
        new = os.open(Path(folder) / f"{self.name}.log.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        with self._lock:
            old, self._log = self._log, new
            if old is not None:
                os.close(old)

    def write(self, node: str, token: int) -> bool:
        """
        A write with a token, and whether it was taken.
        """
        with self._lock:
            taken = not self.fenced or token >= self.highest
            record = {"at": now(), "node": node, "token": token, "taken": taken, "highest": self.highest}
            self.highest = max(self.highest, token)
            if self._log is not None:
                os.write(self._log, f"{json.dumps(record)}\n".encode())
            return taken


def serve(resource: Resource, address: str) -> int:
    """
    Serve a resource on threads at an address; at which port.
    """

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                asked: dict[str, Any] = json.loads(line)
                self.wfile.write(b"1\n" if resource.write(asked["node"], asked["token"]) else b"0\n")

        def finish(self) -> None:
            try:
                super().finish()
            except OSError:  # a killed writer
                return

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: Any, client_address: Any) -> None:
            del request, client_address  # a killed writer resets its connection

    server = Server((address, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])


def main() -> None:
    """
    Serve both at an address until standard input ends; each line of it is the folder of the next round.
    """
    both = [Resource("R", fenced=True), Resource("R0", fenced=False)]
    os.write(1, f"{json.dumps([serve(each, sys.argv[1]) for each in both])}\n".encode())
    for line in sys.stdin:
        for each in both:
            each.turn(line.strip())
        os.write(1, b"ok\n")
    os._exit(0)


if __name__ == "__main__":
    main()

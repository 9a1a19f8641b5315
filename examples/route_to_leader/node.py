"""
A service of which one node may write: the others stand by. Where it listens is published with its leadership.
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from leadership import Candidate

port = int(sys.argv[1])
candidate = Candidate(
    os.environ.get("LEADERSHIP_STORE", "sqlite:///election.db"),
    "ledger",
    metadata={"address": f"127.0.0.1:{port}"},
)


class Ledger(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        term = candidate.term
        self.send_response(503 if term is None else 200)
        self.end_headers()
        if term is not None:
            self.wfile.write(f"written by {term.node}, token {term.token}\n".encode())


with candidate:
    print(f"{candidate.node} listens on {port}", flush=True)
    ThreadingHTTPServer(("127.0.0.1", port), Ledger).serve_forever()

"""
Sends each request to the node that leads.
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from leadership import Follower

port = int(sys.argv[1])
follower = Follower(os.environ.get("LEADERSHIP_STORE", "sqlite:///election.db"), "ledger")


class Router(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        # Between two leaders, and while it is not known who leads, a moment's patience beats an error.
        leader = follower.leader if not follower.is_stale else None
        leader = leader or follower.wait_leader(timeout=5.0)
        if leader is None:
            self.send_error(503, "nobody leads")
            return
        self.send_response(307)
        self.send_header("Location", f"http://{leader.metadata['address']}{self.path}")
        self.end_headers()


with follower:
    print(f"routing on {port}", flush=True)
    ThreadingHTTPServer(("127.0.0.1", port), Router).serve_forever()

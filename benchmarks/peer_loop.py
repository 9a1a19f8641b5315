"""
A process with contenders as one writes them by hand with python-consul2: a session, a write, a blocking query.

Each has a session and a thread, and a second thread that renews. It takes the commands of `worker.py`, and tells the
same.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import consul

from benchmarks.contenders import Contender, contend


class LoopContender(Contender):
    def __init__(self, host: str, port: int, election: str, ttl: float) -> None:
        super().__init__(election)
        self._consul: Any = consul.Consul(host, port)
        self._session = self._consul.session.create(ttl=int(ttl), lock_delay=0)
        threading.Thread(target=self._renew, args=(consul.Consul(host, port), ttl / 2), daemon=True).start()

    def _renew(self, client: Any, seconds: float) -> None:
        while True:
            time.sleep(seconds)
            client.session.renew(self._session)

    def campaign(self) -> None:
        index = None
        while not self._consul.kv.put(self.election, "peer", acquire=self._session):
            while True:
                index, entry = self._consul.kv.get(self.election, index=index, wait="60s")
                if entry is None or "Session" not in entry:
                    break

    def resign(self) -> None:
        self._consul.kv.put(self.election, "", release=self._session)


def main() -> None:
    address = urlsplit(sys.argv[1])
    host, port = str(address.hostname), int(address.port or 8500)
    contend(lambda election, ttl: LoopContender(host, port, election, ttl))


if __name__ == "__main__":
    main()

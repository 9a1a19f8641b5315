"""
A process with contenders of kazoo's own `Election`, on one connection; or with a bare watch of an election of ours.

It takes the commands of `worker.py`, and tells the same.
"""

from __future__ import annotations

import functools
import sys
from typing import Any
from urllib.parse import urlsplit

from kazoo.client import KazooClient

from benchmarks.contenders import Contender, contend
from benchmarks.worker import tell
from leadership._clock import now


class ElectionContender(Contender):
    def __init__(self, client: Any, election: str) -> None:
        super().__init__(election)
        self._election: Any = client.Election(f"/{election}", "peer")

    def run(self) -> None:
        while True:
            self._election.run(self.lead)
            self.rest()

    def campaign(self) -> None:
        """
        kazoo's `run` does it.
        """

    resign = campaign


def watch(url: str, election: str) -> None:
    """
    Tell when an election of ours has another leader than before.
    """
    address = urlsplit(url)
    client = connected(address.netloc, 15.0)
    leaders: list[str] = []

    def look(_event: object = None) -> None:
        found = client.get_children_async(f"{address.path}/{election}", watch=again)
        found.rawlink(seen)

    def again(event: object) -> None:
        look(event)

    def seen(found: Any) -> None:
        leader = min(found.get(), key=lambda name: name[-10:], default="")
        if leader and leader not in leaders:
            tell("watched" if leaders else "watching", now())
            leaders.append(leader)

    look()


@functools.cache
def connected(hosts: str, ttl: float) -> Any:
    client = KazooClient(hosts=hosts, timeout=ttl)
    client.start()
    return client


def main() -> None:
    url = sys.argv[1]
    hosts = urlsplit(url).netloc
    contend(
        lambda election, ttl: ElectionContender(connected(hosts, ttl), election), watch=functools.partial(watch, url)
    )


if __name__ == "__main__":
    main()

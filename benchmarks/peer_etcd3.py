"""
A process with contenders that take turns in holding a `Lock` of python-etcd3, on one client.

The lock does not renew itself: one thread renews all that are held, thrice a TTL. It takes the commands of
`worker.py`, and tells the same.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from benchmarks.contenders import Contender, contend
from leadership.backends._etcd_import import load


class LockContender(Contender):
    def __init__(self, client: Any, election: str, ttl: float) -> None:
        super().__init__(election)
        self.lock: Any = client.lock(election, ttl=int(ttl))

    def campaign(self) -> None:
        self.lock.acquire(timeout=None)

    def resign(self) -> None:
        self.lock.release()


def renew(contenders: list[LockContender], ttl: float) -> None:
    while True:
        time.sleep(ttl / 3)
        for contender in list(contenders):
            if contender.leads:
                contender.lock.refresh()


def client(host: str, port: int) -> Any:
    """
    A client whose locks can wait: etcd3 0.12 calls tenacity as its version 6 was to be called.
    """
    load()  # else etcd3 cannot be imported beside a current protobuf
    import etcd3
    import tenacity

    retry = tenacity.retry

    def retry_of_old(*, wait: Callable[[int, float], float], **more: Any) -> Any:
        return retry(wait=lambda state: wait(state.attempt_number, state.seconds_since_start or 0.0), **more)

    vars(tenacity)["retry"] = retry_of_old
    return etcd3.client(host, port)


def main() -> None:
    address = urlsplit(sys.argv[1])
    shared = client(str(address.hostname), int(address.port or 2379))
    contenders: list[LockContender] = []

    def stand(election: str, ttl: float) -> Contender:
        if not contenders:
            threading.Thread(target=renew, args=(contenders, ttl), daemon=True).start()
        contenders.append(LockContender(shared, election, ttl))
        return contenders[-1]

    contend(stand)


if __name__ == "__main__":
    main()

"""
A process that takes and gives up a key of etcd by nothing but gRPC: a watch, and one write when the key was deleted.

It takes the commands of `worker.py`, and tells the same.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from benchmarks.worker import serve, tell
from leadership._clock import now
from leadership.backends._etcd_import import load


class Peer:
    """
    One of several; whoever has not given the key up himself takes it.
    """

    def __init__(self, url: str) -> None:
        grpc, self._rpc = load()
        address = urlsplit(url)
        self._folder = address.path.removeprefix("/")
        channel = grpc.insecure_channel(address.netloc)
        self._kv: Any = self._rpc.KVStub(channel)
        self._watches: Any = self._rpc.WatchStub(channel)
        leases: Any = self._rpc.LeaseStub(channel)
        self._lease: int = leases.LeaseGrant(self._rpc.LeaseGrantRequest(TTL=3600)).ID
        self._election = ""
        self._gave_up = False

    def _take(self, election: str, began: float | None = None) -> None:
        reply = self._kv.Put(self._rpc.PutRequest(key=election.encode(), value=b"peer", lease=self._lease))
        tell("elected", now(), token=reply.header.revision, election=election, began=began)

    def _watch(self, key: bytes, end: bytes, changed: Callable[[bool], None]) -> None:
        """
        Call with each change below a key whether it is a deletion; returns when the watch stands.
        """
        never: SimpleQueue[Any] = SimpleQueue()
        create = self._rpc.WatchCreateRequest(key=key, range_end=end)
        watching = threading.Event()

        def requests() -> Iterator[Any]:
            yield self._rpc.WatchRequest(create_request=create)
            yield never.get()

        def read() -> None:
            for response in self._watches.Watch(requests()):
                watching.set()
                for event in response.events:
                    changed(event.type == type(event).DELETE)

        threading.Thread(target=read, daemon=True).start()
        watching.wait(10)

    def stand(self, election: str) -> None:
        self._election = election

        def changed(deleted: bool) -> None:
            if deleted and not self._gave_up:
                self._take(election)
            self._gave_up = False

        self._watch(election.encode(), b"", changed)
        if not self._kv.Range(self._rpc.RangeRequest(key=election.encode())).kvs:
            self._take(election)

    def watch(self, election: str) -> None:
        """
        Tell when an entry of an election of ours is gone: the next one leads from that moment.
        """
        key = f"{self._folder}/{election}/".encode()

        def changed(deleted: bool) -> None:
            if deleted:
                tell("watched", now())

        self._watch(key, key[:-1] + b"0", changed)
        tell("watching", now())

    def uncontended(self, election: str) -> None:
        self._take(election, now())

    def resign(self, cool_down: float) -> None:  # noqa: ARG002 - it takes no turn before the other
        self._gave_up = True
        began = now()
        self._kv.DeleteRange(self._rpc.DeleteRangeRequest(key=self._election.encode()))
        tell("resigned", began)


def main() -> None:
    peer = Peer(sys.argv[1])
    serve({"stand": peer.stand, "watch": peer.watch, "uncontended": peer.uncontended, "resign": peer.resign})


if __name__ == "__main__":
    main()

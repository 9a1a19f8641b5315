"""
The one stream that all watches of a store share, and the thread that reads it.

It ends for good when anything breaks it: whoever needs it opens another, at his own pace. So a server that is away
costs nothing.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from leadership.backends._etcd_client import Connection
from leadership.backends._loops import post
from leadership.errors import StoreUnavailable


class _Requests:
    """
    What gRPC sends, as it comes; a thread of gRPC's waits in it.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[Any] = SimpleQueue()

    def __iter__(self) -> _Requests:
        return self

    def __next__(self) -> Any:
        request = self._queue.get()
        if request is None:
            raise StopIteration
        return request

    def put(self, request: Any) -> None:
        self._queue.put(request)


class Stream:
    """
    An open stream. Made and used on the loop.

    Args:
        connection: Where to.
        metadata: What goes with the call.
        on_response: Takes each response, on the loop.
        on_end: Takes the code and the details with which it ended, on the loop, once.
    """

    def __init__(
        self,
        connection: Connection,
        metadata: tuple[tuple[str, str], ...],
        on_response: Callable[[Stream, Any], None],
        on_end: Callable[[Stream, str, str], None],
    ) -> None:
        self.connection = connection
        self.token = dict(metadata).get("token")
        self.ended = asyncio.Event()
        """Its thread has nothing more to do."""
        self._on_response = on_response
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._requests = _Requests()
        try:
            self._call: Any = connection.watch(self._requests, metadata=metadata)
        except ValueError as error:  # closed meanwhile
            self._requests.put(None)
            raise StoreUnavailable(str(error)) from error
        self._thread = threading.Thread(target=self._read, name="leadership-etcd-watch", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self.close()
            msg = f"no thread can be had to watch etcd at {connection.host}: {error}"
            raise StoreUnavailable(msg) from error

    def send(self, request: Any) -> None:
        """
        Send a request, in order.
        """
        self._requests.put(request)

    def close(self) -> None:
        """
        End it. Idempotent.
        """
        self._requests.put(None)
        self._call.cancel()

    def join(self, timeout: float) -> None:
        """
        Wait for its thread, which has nothing more to do.
        """
        self._thread.join(timeout)

    def _read(self) -> None:
        code, details = "UNAVAILABLE", "the server has ended the stream of watches"
        try:
            for response in self._call:
                post(self._loop, self._on_response, self, response)
                del response  # an idle thread keeps nothing alive
        except Exception as error:  # noqa: BLE001 - whatever ends it, those who watch are told
            if hasattr(self._call, "code") and self._call.code() is not None:
                code, details = self._call.code().name, self._call.details() or ""
            else:
                details = repr(error)
        self._requests.put(None)
        post(self._loop, self._end, code, details)

    def _end(self, code: str, details: str) -> None:
        self.ended.set()
        self._on_end(self, code, details)

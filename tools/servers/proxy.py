"""
A TCP connection that can be cut with both sockets left open: what a network does that loses packets.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from types import TracebackType
from typing import Final, Self

from servers._net import LOOPBACK

CHUNK: Final = 65536


class Proxy:
    """
    Forwards what comes to `host` to a port of this machine, and back.

    While it is cut, bytes are held back and nobody is told; new connections are accepted and get no answer. Healed, it
    delivers what was held back, as TCP does after a short loss; `reset` forgets it and closes the connections.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self._state = threading.Condition()
        self._requests = True
        self._replies = True
        self._closed = False
        self._open: set[socket.socket] = set()
        self.held = 0
        """How often something was held back: bytes, a connection, an end."""
        self._delay = (0.0, 0.0)
        self.delayed = 0
        """How often bytes were forwarded late."""
        self.asked = 0
        """How often clients have sent something, as far as it came apart from what they sent before."""
        self._listener = socket.create_server((LOOPBACK, 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, name=f"proxy-{self.port}", daemon=True)
        self._accepting.start()

    @property
    def host(self) -> str:
        """
        The address to connect to: `127.0.0.1:port`.
        """
        return f"{LOOPBACK}:{self.port}"

    def cut(self, *, requests: bool = True, replies: bool = True) -> None:
        """
        Hold back what clients send, what the server answers, or both.
        """
        self._set(requests=not requests, replies=not replies)

    def delay(self, least: float, most: float) -> None:
        """
        Forward what comes after some seconds, chosen anew each time, in each direction; with all that came meanwhile.
        """
        self._delay = (least, most)

    def heal(self) -> None:
        """
        Forward again at once, beginning with what was held back.
        """
        self._delay = (0.0, 0.0)
        self._set(requests=True, replies=True)

    def reset(self) -> int:
        """
        Close all connections and forget what was held back; the cut stays for new connections. How many sockets it had.
        """
        with self._state:
            count = len(self._open)
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            self._open.clear()
            self._state.notify_all()
        return count

    def close(self) -> None:
        """
        Close everything.
        """
        with self._state:
            self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(5.0)
        self._listener.close()
        self.reset()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _set(self, *, requests: bool, replies: bool) -> None:
        with self._state:
            self._requests, self._replies = requests, replies
            self._state.notify_all()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                if self._closed:
                    return
                continue
            with self._state:
                self._open.add(client)
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        """
        Connect to the server, once requests may pass, and forward in both directions.
        """
        with client:
            if not self._passes(client, requests=True):
                return
            try:
                server = socket.create_connection((LOOPBACK, self.target))
            except OSError:
                return
            with server:
                for each in (client, server):  # what comes in small pieces is not kept for an acknowledgement
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._state:
                    if client not in self._open:
                        return
                    self._open.add(server)
                back = threading.Thread(
                    target=self._forward, args=(server, client), kwargs={"requests": False}, daemon=True
                )
                back.start()
                self._forward(client, server, requests=True)
                back.join()
            with self._state:
                self._open -= {client, server}

    def _forward(self, source: socket.socket, sink: socket.socket, *, requests: bool) -> None:
        with contextlib.suppress(OSError):
            while source.recv(1, socket.MSG_PEEK):
                self._wait(source)
                data = source.recv(CHUNK)
                with self._state:
                    self.asked += requests
                if not self._passes(source, requests=requests):
                    break
                sink.sendall(data)
        if self._passes(source, requests=requests):  # an end is held back, too
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

    def _wait(self, source: socket.socket) -> None:
        """
        Wait as long as it takes on the way.
        """
        least, most = self._delay
        if most > 0.0:
            with self._state:
                self.delayed += 1
                self._state.wait_for(
                    lambda: self._closed or source not in self._open, timeout=random.uniform(least, most)
                )

    def _passes(self, source: socket.socket, *, requests: bool) -> bool:
        """
        Wait until this direction is open; whether the connection is still wanted then.
        """
        with self._state:
            self.held += not (self._requests if requests else self._replies)
            self._state.wait_for(
                lambda: (self._requests if requests else self._replies) or self._closed or source not in self._open
            )
            return source in self._open and not self._closed

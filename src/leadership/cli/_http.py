"""
A small HTTP server for `leadership serve` and `leadership run --listen`: threads, and no client can use them up.

Law 1: each connection has a thread of its own, at most `MOST` at a time. A further one ends the oldest: an answer takes
a millisecond, so that the oldest of so many belongs to a client that hangs.
Law 2: no connection lasts longer than `LONGEST`, whatever its client does.
Law 3: nobody but this machine is answered, unless asked for.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import threading
from collections.abc import Generator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Final
from urllib.parse import unquote

from leadership import Candidate, ConfigError, Follower, _clock
from leadership.cli._common import say
from leadership.health import Answer, HealthApp, as_sent
from leadership.observers import PrometheusObserver

MOST: Final = 32
LONGEST: Final = 5.0
"""Seconds."""
LINE: Final = 65536
"""Bytes of a request's first line."""
DEFAULT: Final = "127.0.0.1:8080"


class Server(ThreadingMixIn, TCPServer):
    """
    Answers for one app.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], app: HealthApp) -> None:
        """
        Raises:
            OSError: The address cannot be had.
        """
        self.app = app
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._lock = threading.Lock()
        self._open: dict[socket.socket, float] = {}
        """Since when, the oldest first."""
        self._told: set[str] = set()
        """The kinds of errors that were said."""
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """
        Take a connection, and end the oldest if there are too many.
        """
        with self._lock:
            self._open[request] = _clock.now()
            ended = [*self._open][: max(0, len(self._open) - MOST)]
        self._end(ended)
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """
        Between connections: end those that last too long.
        """
        with self._lock:
            ended = [connection for connection, since in self._open.items() if _clock.now() - since > LONGEST]
        self._end(ended)

    def _end(self, connections: list[socket.socket]) -> None:
        for connection in connections:
            with self._lock:
                self._open.pop(connection, None)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # wakes its thread, which closes it

    def shutdown_request(self, request: Any) -> None:
        """
        A connection has been answered, or its client has gone.
        """
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def answer(self, method: str, target: str, accept: str) -> Answer:
        """
        Have the app answer; 500 where it fails, and each kind of failure is said once.
        """
        path, query = split_target(as_sent(target))
        try:
            return self.app.answer(method, path, query, accept)
        except Exception as error:  # noqa: BLE001 - whoever asks is to be told
            kind = type(error).__name__
            if kind not in self._told:
                self._told.add(kind)
                say(f"{path[:80]!r} was not answered: {kind}: {error}")
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, "application/json", b'{"error": "the answer failed"}\n')

    def handle_error(self, request: Any, client_address: Any) -> None:
        """
        A client that went away is nobody's concern.
        """


class _Handler(BaseHTTPRequestHandler):
    """
    One request a connection.
    """

    timeout = LONGEST

    def handle_one_request(self) -> None:
        """
        Answer any method: which are allowed is the app's to say.
        """
        self.close_connection = True
        line = self.raw_requestline = self.rfile.readline(LINE + 1)
        if not line:
            return
        words = line.split()
        if len(line) > LINE:
            self._refuse(HTTPStatus.REQUEST_URI_TOO_LONG)
            return
        if len(words) < 3 or words[-1] == b"HTTP/0.9":  # which has no status to answer by
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        if not self.parse_request():
            return
        assert isinstance(self.server, Server)  # noqa: S101 - it is what makes handlers
        answer = self.server.answer(self.command, self.path, self.headers.get("Accept", ""))
        self.send_response(answer.status)
        for name, text in answer.headers():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.close_connection = True  # whatever the client has asked for

    def _refuse(self, status: HTTPStatus) -> None:
        line = self.raw_requestline
        for _ in range(16):  # read on: closed with something unread, the connection would lose the answer
            if not line or line.endswith(b"\n"):
                break
            line = self.rfile.readline(LINE)
        self.requestline, self.request_version, self.command = "", "HTTP/1.0", ""
        self.send_error(status)

    def version_string(self) -> str:
        """
        Nobody needs to know the version of Python.
        """
        return "leadership"

    def log_message(self, format: str, *args: Any) -> None:
        """
        Checks come every few seconds: none is worth a line.
        """


def split_target(target: str) -> tuple[str, str]:
    """
    Path and query of what a request asks for: `/leader?node=ann`, or a whole URL, as proxies are asked for it.
    """
    path, _, query = re.sub(r"^https?://[^/?]*", "", target, flags=re.IGNORECASE).partition("?")
    return unquote(path, errors="replace"), query


def parse_address(text: str) -> tuple[str, int]:
    """
    `HOST:PORT`, with brackets around an IPv6 address.

    Raises:
        ConfigError: It is something else.
    """
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]\s]+)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65535:
        msg = f"--listen {text!r} is no address: say HOST:PORT, such as {DEFAULT} or [::1]:8080"
        raise ConfigError(msg)
    return match[1] or match[2], int(match[3])


def metrics_of() -> tuple[PrometheusObserver | None, Any]:
    """
    An observer and its registry; None twice where prometheus_client is not installed, and `/metrics` says so.
    """
    try:
        from prometheus_client import CollectorRegistry
    except ImportError:
        return None, None
    registry = CollectorRegistry()
    return PrometheusObserver(registry), registry


@contextlib.contextmanager
def answering(address: str | None, watched: Candidate | Follower, *, node: str | None = None) -> Generator[None]:
    """
    Answer at an address meanwhile; not at all where it is None.

    Raises:
        ConfigError: The address cannot be used.
    """
    if address is None:
        yield
        return
    host, port = parse_address(address)
    observer, registry = metrics_of()
    app = HealthApp(watched, node=node, registry=registry)
    try:
        server = Server((host, port), app)
    except (OSError, UnicodeError, TypeError) as error:  # the latter two: a host that cannot be a name
        why = getattr(error, "strerror", None) or error
        msg = f"--listen {address} cannot be had: {why}: choose another"
        raise ConfigError(msg) from error
    unsubscribe = watched.subscribe(observer) if observer is not None else _nothing
    threading.Thread(target=server.serve_forever, args=(0.5,), name="leadership-http", daemon=True).start()
    taken = server.server_address[1]
    shown = f"[{host}]:{taken}" if ":" in host else f"{host}:{taken}"
    say(f"answering http://{shown}/healthz, /leader, /status and /metrics{_who_may_ask(host)}")
    try:
        yield
    finally:
        unsubscribe()
        server.shutdown()
        server.server_close()


def _nothing() -> None:
    """
    There is no observer to take away.
    """


def _who_may_ask(host: str) -> str:
    try:
        inside = ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = host == "localhost"
    return "" if inside else ", to whoever reaches this address"

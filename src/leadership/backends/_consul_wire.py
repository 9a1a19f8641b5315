"""
The one kept-alive socket beneath a client library's HTTP client.

It stands where the libraries have a `requests.Session`, and answers as one. It costs a sixth of the time, which counts
when many wait for one lock; it is cut by another thread, goes to a Unix socket, follows no redirect, keeps no pool to
warn about, and reads no environment: no proxy stands between a leader and the agent that keeps its lease.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import ssl
from collections.abc import Mapping
from typing import Any

from leadership.backends._address import Host, Tls
from leadership.errors import ConfigError


class NotConnected(Exception):  # named for the condition
    """
    There is no connection, and nothing was sent; the cause says why.
    """


def context(tls: Tls, *, verify: bool) -> ssl.SSLContext:
    """
    Whom TLS trusts.

    Raises:
        ConfigError: A file is no certificate, or no key to it.
    """
    try:
        made = ssl.create_default_context(cafile=tls.ca_file)
        if tls.cert_file is not None:
            made.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: "")
    except (OSError, ValueError) as error:
        msg = f"ca_file={tls.ca_file!r}, cert_file={tls.cert_file!r}, key_file={tls.key_file!r} cannot be used: {error}"
        raise ConfigError(msg) from None
    if not (verify and tls.check_host_name):
        made.check_hostname = False
    if not verify:
        made.verify_mode = ssl.CERT_NONE
    return made


class Response:
    """
    What the client libraries take from a response.
    """

    encoding = "utf-8"

    def __init__(self, status_code: int, headers: Any, content: bytes) -> None:
        self.status_code = status_code
        self.headers = headers
        self.content = content

    @property
    def text(self) -> str:
        """
        The body.
        """
        return self.content.decode(errors="replace")


class Wire:
    """
    Requests over one socket, by one thread; `cut` may be called by any.
    """

    def __init__(self, host: Host, tls: ssl.SSLContext | None, server_name: str | None) -> None:
        self._host = host
        self._tls = tls
        self._server_name = server_name
        self._socket: socket.socket | None = None

    def get(self, uri: str, *, timeout: float, headers: Mapping[str, str] | None = None, **_more: Any) -> Response:
        """
        As `requests.Session.get`.
        """
        return self._request("GET", uri, None, timeout, headers)

    def put(
        self,
        uri: str,
        *,
        timeout: float,
        data: str | bytes = b"",
        headers: Mapping[str, str] | None = None,
        **_more: Any,
    ) -> Response:
        """
        As `requests.Session.put`.
        """
        return self._request("PUT", uri, data.encode() if isinstance(data, str) else data, timeout, headers)

    def _request(
        self, method: str, uri: str, body: bytes | None, timeout: float, headers: Mapping[str, str] | None
    ) -> Response:
        _scheme, _, place, path = uri.split("/", 3)
        head = {"Host": place, "Accept-Encoding": "identity", **(headers or {})}
        if body is not None:
            head["Content-Length"] = str(len(body))
        lines = [f"{method} /{path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
        used = self._connected(timeout)
        try:
            used.settimeout(timeout)
            self._send(used, "\r\n".join(lines).encode("ascii") + (body or b""))
            with http.client.HTTPResponse(used, method=method) as answer:
                answer.begin()
                response = Response(answer.status, answer.headers, answer.read())
                ends = answer.will_close
        except BaseException:
            self.close()
            raise
        if ends:
            self.close()
        return response

    def _send(self, used: socket.socket, what: bytes) -> None:
        try:
            used.sendall(what)
        except (ssl.SSLEOFError, ConnectionError):
            if self._tls is not None:
                used.recv(1)  # why it ended: a server that wants another certificate has said so
            raise

    def _connected(self, timeout: float) -> socket.socket:
        known = self._socket
        if known is not None and not _is_readable(known):
            return known
        self.close()  # the other side has ended it
        name, port = self._host
        try:
            self._socket = made = self._connect(name, port, timeout)
        except OSError as error:
            raise NotConnected from error
        return made

    def _connect(self, name: str, port: int, timeout: float) -> socket.socket:
        if name.startswith("/"):
            plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                plain.settimeout(timeout)
                plain.connect(name)
            except BaseException:
                plain.close()
                raise
            return plain
        plain = socket.create_connection((name, port), timeout)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is None:
                return plain
            return self._tls.wrap_socket(plain, server_hostname=self._server_name or name)
        except BaseException:
            plain.close()
            raise

    def cut(self) -> None:
        """
        Let a request under way fail at once. Any thread.
        """
        used = self._socket
        if used is not None:
            with contextlib.suppress(OSError, ValueError):
                socket.socket.shutdown(used, socket.SHUT_RDWR)  # of the socket itself: TLS must not wait

    def close(self) -> None:
        """
        Close the socket.
        """
        used, self._socket = self._socket, None
        if used is not None:
            used.close()


def _is_readable(used: socket.socket) -> bool:
    """
    Something came in between requests: the end, mostly.
    """
    poll = select.poll()
    poll.register(used, select.POLLIN)
    return bool(poll.poll(0))

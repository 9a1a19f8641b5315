"""
One connection to one Consul agent, over the HTTP client of python-consul2 or py-consul.

Only the HTTP layer of the library is used. Its `Consul` class reads the environment over its arguments, warns whenever
it is made, and refuses TTLs that a server may be told to keep.
"""

from __future__ import annotations

import http.client
import importlib
import inspect
import json
import ssl
from dataclasses import dataclass
from typing import Any, Final

from leadership.backends._address import Host
from leadership.backends._consul_options import Settings, show
from leadership.backends._consul_wire import NotConnected, Wire, context
from leadership.errors import ConfigError, StoreRefused, StoreUnavailable

LONGEST: Final = 300
"""Characters of an agent's words that an error repeats."""


class NotSentError(StoreUnavailable):
    """
    No connection could be made: the agent knows nothing of the request.
    """


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What an agent answered.
    """

    status: int
    text: str
    index: int
    host: str

    @property
    def data(self) -> Any:
        """
        The body, as JSON.

        Raises:
            StoreRefused: It is none.
        """
        try:
            return json.loads(self.text)
        except ValueError:
            msg = f"{self.host} answered something that Consul would not: is it Consul's HTTP port?"
            raise StoreRefused(msg) from None

    def check(self, what: str, *usual: int) -> Answer:
        """
        Itself, if its status is 200 or one of the `usual` ones.

        Raises:
            StoreRefused: Trying again cannot help.
            StoreUnavailable: It may help.
        """
        if self.status == 200 or self.status in usual:
            return self
        words = self.text.strip()[:LONGEST] or f"status {self.status}"
        if self.status in (401, 403) or is_denial(words):
            raise denied(self.host, what, words)
        if 300 <= self.status < 400:
            msg = f"{self.host} redirects to another address: give that one; a token is not sent after it"
            raise StoreRefused(msg)
        if "HTTP request to an HTTPS server" in words:
            msg = f"{self.host} speaks TLS: give the option tls=true"
            raise StoreRefused(msg)
        if self.status == 429 or self.status >= 500:
            msg = f"{self.host}: {what}: {words}"
            raise StoreUnavailable(msg)
        msg = f"{self.host} refused: {what}: {words}"
        raise StoreRefused(msg)


def is_denial(words: str) -> bool:
    """
    Whether an agent's words say that the token does not allow it.
    """
    return "Permission denied" in words or "ACL not found" in words or "ACL support disabled" in words


def denied(host: str, what: str, words: str) -> StoreRefused:
    """
    Why a token does not allow something.
    """
    if "ACL not found" in words:
        return StoreRefused(f"{host}: the token is unknown, has expired or was revoked ({words})")
    return StoreRefused(f"{host}: {what}: the token has no permission for it ({words})")


class Library:
    """
    The installed package that is imported as `consul`: its HTTP client, and how that is told its time-outs.
    """

    def __init__(self, client_class: Any) -> None:
        """
        Raises:
            ConfigError: It is none that is known.
        """
        try:
            names: set[str] = set(inspect.signature(client_class).parameters)
            for each in client_class.__mro__:
                names |= set(inspect.signature(each.__init__).parameters)
        except (AttributeError, TypeError, ValueError):
            names = set[str]()
        self._class = client_class
        self.adds_wait = "connections_timeout" in names
        """It adds the wait of a blocking query to the time-out by itself (py-consul)."""
        if not self.adds_wait and "timeout" not in names:
            msg = (
                "the package that is imported as 'consul' lets no time-out be set:"
                " pip uninstall it, and pip install leadership[consul] (python-consul2)"
            )
            raise ConfigError(msg)

    def client(self, host: str, port: int, scheme: str) -> Any:
        """
        An HTTP client.
        """
        return self._class(host, port, scheme)

    def set_timeout(self, client: Any, timeout: float, wait: float) -> None:
        """
        Bound the next request, which the agent may hold for `wait` seconds.
        """
        if self.adds_wait:
            client.connections_timeout = timeout
        else:
            client.timeout = timeout + wait * 17 / 16


def load() -> Library:
    """
    The client library.

    Raises:
        ConfigError: It is missing, or one that cannot be used.
    """
    try:
        found = importlib.import_module("consul.std")
    except ImportError as error:
        msg = f"consul:// needs the package python-consul2: pip install leadership[consul] ({error})"
        raise ConfigError(msg) from error
    return Library(getattr(found, "HTTPClient", None))


class Connection:
    """
    One kept-alive connection. Used by one thread; `abort` may be called by any.
    """

    def __init__(self, library: Library, settings: Settings, host: Host) -> None:
        """
        Raises:
            ConfigError: The TLS files cannot be used.
        """
        name, port = host
        tls = settings.tls
        self.host = host
        self._shown = show(host)
        self._settings = settings
        self._library = library
        self._wire = Wire(
            host,
            None if tls is None else context(tls, verify=settings.verify),
            None if tls is None else tls.server_name,
        )
        place = "localhost" if name.startswith("/") else f"[{name}]" if ":" in name else name
        self._client = library.client(place, port, "http" if tls is None else "https")
        self._client.session.close()
        self._client.session = self._wire

    def call(
        self, method: str, path: str, body: Any = None, *, timeout: float, held: float = 0.0, **query: str | int
    ) -> Answer:
        """
        One request, in bounded time: so many seconds, and those for which the agent may hold it.

        Raises:
            StoreUnavailable: There is no answer.
            StoreRefused: Trying again cannot help.
        """
        params = [(name, str(value)) for name, value in query.items()]
        if self._settings.datacenter is not None:
            params.append(("dc", self._settings.datacenter))
        if self._settings.namespace is not None:
            params.append(("ns", self._settings.namespace))
        headers = {} if self._settings.token is None else {"X-Consul-Token": self._settings.token}
        self._library.set_timeout(self._client, timeout, held)
        try:
            if method == "GET":
                found = self._client.get(_as_it_is, f"/v1/{path}", params, headers=headers)
            else:
                data = "" if body is None else json.dumps(body)
                found = self._client.put(_as_it_is, f"/v1/{path}", params, data=data, headers=headers)
        except (NotConnected, OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            raise explain(error, self._shown, timeout + held) from error
        index = found.headers.get("X-Consul-Index", "")
        return Answer(found.code, found.body, int(index) if index.isdecimal() else 0, self._shown)

    def abort(self) -> None:
        """
        Cut the connection, so that a request under way fails at once. Any thread.
        """
        self._wire.cut()

    def close(self) -> None:
        """
        Close it.
        """
        self._wire.close()


def _as_it_is(answer: Any) -> Any:
    return answer


def explain(error: BaseException, host: str, timeout: float) -> StoreUnavailable | StoreRefused:
    """
    What an exception of the connection means.
    """
    cause = (error.__cause__ or error) if isinstance(error, NotConnected) else error
    words = f"{cause}"[:LONGEST] or type(cause).__name__
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return StoreRefused(f"{host}: {_tls_fault(words)} ({words})")
    kind = NotSentError if isinstance(error, NotConnected) else StoreUnavailable
    if isinstance(cause, TimeoutError):
        what = "connection" if kind is NotSentError else "answer"
        return kind(f"{host}: no {what} within {timeout:.3g} s")
    return kind(f"{host}: {words}")


def _tls_fault(words: str) -> str:
    lower = words.lower()
    if "certificate required" in lower or "bad certificate" in lower or "handshake failure" in lower:
        return "it wants a client's certificate that it knows: give cert_file and key_file"
    if "hostname mismatch" in lower or "doesn't match" in lower or "ip address mismatch" in lower:
        return "its certificate is for another host name: give server_name, or the name that it has"
    if "has expired" in lower:
        return "its certificate has expired"
    if "self-signed" in lower or "self signed" in lower or "issuer" in lower or "verify failed" in lower:
        return "its certificate is from an authority that is not trusted: give ca_file"
    if "unknown ca" in lower:
        return "it does not trust the authority of the client's certificate"
    if "wrong version" in lower or "record layer" in lower or "http request" in lower:
        return "it speaks no TLS at this port"
    return "TLS failed"

# ruff: noqa: SLF001 - this is the one place that looks inside kazoo
"""
kazoo's client, cut down to its connection: what it does on its thread, and what it says to the loop.

Used by names of kazoo's that are not public, all of them here (and its requests in `_zookeeper_wire`); a test holds
kazoo to them: the client's `_call`, `_connection`, `_session_id`, `_stopped`; the connection's `_connect`, `_invoke`,
`_send_ping`, `_connection_routine`, `_socket`, `_write_sock` and `zk_loop`.

* What `_connect` returns tells the negotiated time-out, which kazoo keeps to itself; what it raises hides the reason,
  which is in the exceptions before it.
* The thread of the connection is the only one: what it reads is handed to the loop at once, in order.
* kazoo sends no pings for a session that is renewed: such a lease lives by its renewals, as long as the engine does.
* kazoo's log is kept above DEBUG, where it writes requests down, passwords included.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, Protocol

from leadership.backends import _zookeeper_kazoo as kazoo
from leadership.backends import _zookeeper_wire as wire
from leadership.backends._address import Tls, show
from leadership.backends._loops import post
from leadership.backends._zookeeper_errors import Options, explain_connecting
from leadership.backends._zookeeper_wire import Request
from leadership.errors import LeadershipError

READ_TIMEOUT_PART: Final = 2 / 3
"""Of the negotiated time-out: what kazoo waits for an answer."""

SELDOM: Final = 60.0
"""Seconds between two equal lines in kazoo's log: while servers are away, each attempt to connect writes several."""


class _Seldom(logging.Filter):
    """
    Lets a line through that was not there a moment ago.
    """

    def __init__(self) -> None:
        super().__init__()
        self._written: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if record.created - self._written.get(text, 0.0) < SELDOM:
            return False
        if len(self._written) > 100:
            self._written.clear()
        self._written[text] = record.created
        return True


class _Guarded(logging.LoggerAdapter[logging.Logger]):
    """
    For kazoo's threads: a handler of the host that raises would end them, and the session.
    """

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        try:
            super().log(level, msg, *args, **kwargs)
        except BaseException:  # noqa: BLE001 - the log itself is broken: there is nowhere to say so
            return


logger = logging.getLogger("leadership.zookeeper.client")
logger.setLevel(logging.INFO)
logger.addHandler(logging.NullHandler())
logger.addFilter(_Seldom())


class Events(Protocol):
    """
    What happens to a connection; called on the loop.
    """

    def went_up(self, sent: float, negotiated: int, owner: int) -> None:
        """
        Connected, by a request that was sent at that moment: to a session of so many milliseconds, and its number.
        """
        ...

    def went_down(self) -> None:
        """
        Connected no more.
        """
        ...

    def failed(self, error: LeadershipError) -> None:
        """
        An attempt to connect came to nothing.
        """
        ...

    def lost(self, why: str) -> None:
        """
        The session is over: `expired`, `refused` or `closed`.
        """
        ...

    def ended(self) -> None:
        """
        The thread has ended.
        """
        ...


class _Handler(kazoo.threading.SequentialThreadingHandler):  # type: ignore[misc]  # kazoo has no types
    """
    No threads but the connection's: watch events are handed over where they are read.
    """

    def __init__(self, patience: float, tls: Tls | None) -> None:
        handler: Any = super()
        handler.__init__()
        self._patience = patience
        self._tls = tls

    def start(self) -> None:
        self._running = True

    def stop(self) -> None:
        self._running = False

    def select(self, rlist: Any, wlist: Any, _xlist: Any, timeout: float | None = None) -> Any:
        """
        As kazoo's, without a new epoll descriptor at each call; a server's answer takes several.
        """
        poll, files = select.poll(), {each.fileno(): each for each in (*rlist, *wlist)}
        for each in rlist:
            poll.register(each, select.POLLIN)
        for each in wlist:
            poll.register(each, select.POLLOUT)
        ready = [files[number] for number, _events in poll.poll(None if timeout is None else timeout * 1000)]
        return [each for each in ready if each in rlist], [each for each in ready if each in wlist], []

    def dispatch_callback(self, callback: Any) -> None:
        callback.func(*callback.args)

    def create_connection(
        self, address: tuple[str, int], *, hostname: str, timeout: float, **_options: Any
    ) -> socket.socket:
        """
        As kazoo's, which leaves the socket open where TLS fails, and knows no other name than the host's.
        """
        connection = socket.create_connection(address, min(timeout, self._patience))
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is None:
                return connection
            name = self._tls.server_name or hostname
            return _context(self._tls).wrap_socket(connection, server_hostname=name)
        except BaseException:
            connection.close()
            raise


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_file)
    context.check_hostname = tls.check_host_name
    if tls.cert_file is not None:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context


class _Answer:
    """
    Where kazoo puts what the server answered.
    """

    __slots__ = ("_client", "_done", "_loop", "_request")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        client: Any,
        request: Request,
        done: Callable[[Request, Any, float], None],
    ) -> None:
        self._loop = loop
        self._client = client
        self._request = request
        self._done = done

    def set(self, value: Any) -> None:
        self._request.zxid = self._client.last_zxid  # of this very answer: it was noted just before
        post(self._loop, self._done, self._request, value, self._loop.time())

    def set_exception(self, error: BaseException) -> None:
        path = getattr(self._request, "path", "")
        post(self._loop, self._done, self._request, wire.failure(error, path), self._loop.time())


def trigger(loop: asyncio.AbstractEventLoop, fn: Callable[[str, str], None]) -> wire.Trigger:
    """
    A watch's callback that has `fn` called on the loop with what happened (`DELETED`, ...) and the node's path.
    """

    def fire(event: Any) -> None:
        if event.type != kazoo.states.EventType.NONE:  # the watch is gone with its connection; nothing has happened
            post(loop, fn, str(event.type), event.path)

    return fire


class Client:
    """
    One connection that comes back by itself, with one session. Used on one loop.
    """

    def __init__(self, options: Options, milliseconds: int, events: Events, *, pings: bool) -> None:
        """
        Args:
            milliseconds: The session's time-out to ask for.
            pings: Keep the session alive without renewals.
        """
        self._options = options
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._refusals = 0
        self._at: tuple[str, int] | None = None
        """The server of the present connection."""
        self._avoid: tuple[str, int] | None = None
        seconds = milliseconds / 1000
        self._patience = min(options.timeout, max(0.25, seconds / 4))
        retry = kazoo.retry.KazooRetry(max_tries=-1, delay=0.05, backoff=1.5, max_delay=min(1.0, max(0.2, seconds / 8)))
        self._client = kazoo.client.KazooClient(
            hosts=",".join(show(host) for host in options.address.hosts),
            timeout=(milliseconds + 0.5) / 1000,  # kazoo cuts the rest off
            handler=_Handler(self._patience, options.tls),
            connection_retry=retry,
            logger=_Guarded(logger),
            **_security(options),
        )
        self._client.add_listener(self._state_changed)
        connection = self._connection = self._client._connection
        self._kazoo_connect, connection._connect = connection._connect, self._connect
        self._kazoo_invoke, connection._invoke = connection._invoke, self._invoke
        self._kazoo_loop, connection.zk_loop = connection.zk_loop, self._run
        if not pings:
            connection._send_ping = _no_ping

    # -- on kazoo's thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._kazoo_loop()
        finally:
            with contextlib.suppress(Exception):
                self._connection.close()
            post(self._loop, self._events.ended)

    def _connect(self, host: str, address: str, port: int) -> Any:
        """
        Connect to one server: note when, what was agreed on, and by what it failed.
        """
        sent, errors = self._loop.time(), kazoo.exceptions
        if self._avoid == (address, port) and len(self._options.address.hosts) > 1:
            self._avoid = None
            msg = f"{address}:{port} did not answer a moment ago"
            raise errors.ConnectionDropped(msg)
        self._at = (address, port)
        try:
            agreed = self._kazoo_connect(host, address, port)
        except Exception as error:
            post(self._loop, self._events.failed, explain_connecting(error, (host, port), self._options))
            if isinstance(error, errors.SASLException):
                raise errors.AuthFailedError from error
            known = (errors.AuthFailedError, errors.SessionExpiredError, errors.ConnectionDropped)
            if isinstance(error, (*known, self._client.handler.timeout_exception)):
                raise
            raise errors.ConnectionDropped(str(error)) from error
        self._refusals, self._avoid = 0, None
        negotiated = round(agreed[0] / READ_TIMEOUT_PART)
        post(self._loop, self._events.went_up, sent, negotiated, self._client._session_id)
        return agreed

    def _invoke(self, timeout: float, request: Any, xid: Any = None) -> Any:
        """
        One step of connecting, in bounded time.
        """
        try:
            return self._kazoo_invoke(min(timeout, self._patience), request, xid)
        except kazoo.exceptions.ConnectionDropped:
            # Servers that have lost their data refuse whoever has seen more than they know, and never say that the
            # session is gone. Asked by one who has seen nothing, they do.
            self._refusals += 1
            if self._refusals >= 2 * len(self._options.address.hosts):
                self._client.last_zxid = 0
            raise

    def _state_changed(self, state: str) -> None:
        states = kazoo.states
        if state == states.KazooState.SUSPENDED:
            post(self._loop, self._events.went_down)
        elif state == states.KazooState.LOST:
            kinds = {states.KeeperState.EXPIRED_SESSION: "expired", states.KeeperState.AUTH_FAILED: "refused"}
            why = kinds.get(self._client.client_state, "closed")
            self._client._stopped.set()  # kazoo would begin another session in its place
            post(self._loop, self._events.lost, why)

    # -- on the loop ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """
        Begin to connect.

        Raises:
            RuntimeError: No thread can be had.
        """
        self._client.start_async()

    def send(self, request: Request, done: Callable[[Request, Any, float], None]) -> None:
        """
        Send a request; `done` takes it, its answer (or a `WireError`) and the moment of the answer.
        """
        request.timed_by(self._loop.time)
        self._client._call(request, _Answer(self._loop, self._client, request, done))

    def cut(self) -> None:
        """
        Give the present connection up and make another, to another server where there are several.
        """
        self._avoid = self._at
        self._hang_up()

    def _hang_up(self) -> None:
        connection = self._connection._socket
        if connection is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # TLS's own takes its state from under the thread

    def stop(self) -> None:
        """
        End the connection and the thread, whatever becomes of the session. Does not wait.
        """
        self._client._stopped.set()
        self._hang_up()
        pipe = self._connection._write_sock
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.send(b"\0")

    def forget_thread(self) -> None:
        """
        The thread has ended.
        """
        self._connection._connection_routine = None


def _no_ping(_timeout: float) -> None:
    """
    The session lives by its renewals.
    """


def _security(options: Options) -> dict[str, Any]:
    given: dict[str, Any] = {}
    credentials = options.credentials
    if credentials is not None and credentials.sasl:
        words = {"username": credentials.user, "password": credentials.password}
        given["sasl_options"] = {"mechanism": "DIGEST-MD5", **words}
    elif credentials is not None:
        given["auth_data"] = [("digest", f"{credentials.user}:{credentials.password}")]
    return given

"""
Calls to etcd: one channel to one member at a time, tokens, deadlines, and what failures mean.

* Every call has a deadline. gRPC's own threads bring the answers; nothing here blocks or needs a thread.
* A channel goes to one host, so that TLS checks that host's name. After failures that another member might not show,
  the channel is replaced by one to the next host; after some that are silent, by a new one to the same host, because a
  connection can be cut with its socket left open.
* python-etcd3 passes its token as call credentials, which gRPC refuses without TLS, and never renews it. Here it
  travels as metadata, and is asked for again once when the server does not accept it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from leadership.backends import _etcd_import
from leadership.backends._address import Host, Tls, show
from leadership.backends._etcd_errors import Refusal
from leadership.backends._loops import post
from leadership.errors import StoreUnavailable

IN_FLIGHT: Final = 64
"""Unanswered requests at a time; renewals do not wait behind them."""
SILENCES: Final = 2
"""Consecutive deadlines missed by the only host before the connection to it is given up."""
TOKENS: Final = 3
"""Tried for one call: a new one may end before it is used, where an operator changes users."""
OPTIONS: Final = (
    ("grpc.use_local_subchannel_pool", 1),  # else a new channel would share the connection that is given up
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 10_000),  # etcd ends connections that ping more often than every 5 s
    ("grpc.http2.ping_timeout_ms", 3_000),  # grpc.keepalive_timeout_ms has no effect
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    ("grpc.enable_http_proxy", 0),  # as clientv3
)
_LEADER: Final = ("hasleader", "true")  # a member without a quorum says so at once
_METHODS: Final = {
    "Range": ("KVStub", "Range"),
    "Txn": ("KVStub", "Txn"),
    "LeaseGrant": ("LeaseStub", "LeaseGrant"),
    "LeaseRevoke": ("LeaseStub", "LeaseRevoke"),
    "LeaseTimeToLive": ("LeaseStub", "LeaseTimeToLive"),
    "Authenticate": ("AuthStub", "Authenticate"),
    "Status": ("MaintenanceStub", "Status"),
}


class LeaseGone(Exception):
    """
    The lease that a call named does not exist (any more).
    """


class _Failed(Exception):
    """
    A call failed.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


class Connection:
    """
    One channel to one host.
    """

    def __init__(self, grpc: Any, rpc: Any, host: Host, tls: Tls | None) -> None:
        self.host = show(host)
        self.failures = 0
        if tls is None:
            self.channel: Any = grpc.insecure_channel(self.host, OPTIONS)
        else:
            name = () if tls.server_name is None else (("grpc.ssl_target_name_override", tls.server_name),)
            trusted = grpc.ssl_channel_credentials(_authorities(tls), _content(tls.key_file), _content(tls.cert_file))
            self.channel = grpc.secure_channel(self.host, trusted, (*OPTIONS, *name))
        names = {stub for stub, _call in _METHODS.values()} | {"WatchStub"}
        stubs = {name: getattr(rpc, name)(self.channel) for name in names}
        self.methods: dict[str, Any] = {name: getattr(stubs[stub], call) for name, (stub, call) in _METHODS.items()}
        self.methods["LeaseKeepAlive"] = self.channel.unary_unary(  # a stream with one message is just that
            "/etcdserverpb.Lease/LeaseKeepAlive",
            request_serializer=rpc.LeaseKeepAliveRequest.SerializeToString,
            response_deserializer=rpc.LeaseKeepAliveResponse.FromString,
        )
        self.watch: Any = stubs["WatchStub"].Watch

    def close(self) -> None:
        """
        Give up the connection and what is under way on it.
        """
        self.channel.close()


class Client:
    """
    The calls of one store. Used on one event loop.
    """

    def __init__(self, hosts: Sequence[Host], tls: Tls | None, user: str | None, password: str | None) -> None:
        self._grpc, self.rpc = _etcd_import.load()
        self._hosts = hosts
        self._tls = tls
        self.user = user
        self._password = password
        self._index = random.randrange(len(hosts))
        self._connection: Connection | None = None
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._token: str | None = None
        self._auth_is_off = False
        self._authenticating: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def host(self) -> str:
        """
        The host that is talked to.
        """
        return show(self._hosts[self._index])

    @property
    def connection(self) -> Connection:
        """
        The present channel.

        Raises:
            StoreUnavailable: The client is closed.
        """
        if self._closed:
            msg = f"the connection to etcd at {self.host} is closed"
            raise StoreUnavailable(msg)
        if self._connection is None:
            self._connection = Connection(self._grpc, self.rpc, self._hosts[self._index], self._tls)
        return self._connection

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """
        What goes with every call.
        """
        return (_LEADER,) if self._token is None else (_LEADER, ("token", self._token))

    async def call(
        self,
        method: str,
        request: Any,
        about: str,
        until: float,
        *,
        urgent: bool = False,
        orphan: Callable[[Any], object] | None = None,
    ) -> Any:
        """
        The answer to a request.

        Args:
            method: Its name.
            request: Its message.
            about: What is asked for, with the keys it concerns, for errors.
            until: The moment (of the loop's clock) at which it is given up.
            urgent: It waits behind no other.
            orphan: Takes an answer that comes when nobody waits for it any more.

        Raises:
            LeaseGone: It names a lease that does not exist.
            StoreUnavailable: It was not answered; it may have been carried out.
            StoreRefused: It will not be answered.
        """
        if urgent:
            return await self._settled(method, request, about, until, orphan)
        async with self._slots:
            return await self._settled(method, request, about, until, orphan)

    async def _settled(
        self, method: str, request: Any, about: str, until: float, orphan: Callable[[Any], object] | None
    ) -> Any:
        try:
            for left in reversed(range(TOKENS)):
                await self.authenticated(until)
                token = self._token
                try:
                    return await self._ask(method, request, until, orphan)
                except _Failed as failed:
                    if not left or self.user is None or not failed.refusal.token_refused:
                        raise
                    self.forget(token)
        except _Failed as failed:
            if failed.refusal.lease_gone:
                raise LeaseGone from None
            raise failed.refusal.explain(about, self.user) from None

    async def _ask(self, method: str, request: Any, until: float, orphan: Callable[[Any], object] | None = None) -> Any:
        connection, loop = self.connection, asyncio.get_running_loop()
        left = until - loop.time()
        if left <= 0:
            raise _Failed(self._refusal(connection, "DEADLINE_EXCEEDED", "it was not sent in time"))
        answer: asyncio.Future[Any] = loop.create_future()

        def settle(call: Any) -> None:
            error = None if call.cancelled() else call.exception()
            if call.cancelled() or error is not None:
                code = "CANCELLED" if error is None else error.code().name
                details = "the connection was given up" if error is None else error.details() or ""
                refusal = self._refusal(connection, code, details)
                self._note(connection, refusal)
                if not answer.done():
                    answer.set_exception(_Failed(refusal))
                return
            connection.failures = 0
            if not answer.done():
                answer.set_result(call.result())
            elif orphan is not None:
                orphan(call.result())

        try:
            call = connection.methods[method].future(request, timeout=left, metadata=self.metadata)
        except ValueError as error:
            raise _Failed(self._refusal(connection, "CANCELLED", str(error))) from error
        call.add_done_callback(partial(post, loop, settle))
        return await answer

    def _refusal(self, connection: Connection, code: str, details: str) -> Refusal:
        return Refusal(code, details, connection.host, self._tls is not None)

    def refused(self, connection: Connection, code: str, details: str) -> Refusal:
        """
        Note the end of a stream.
        """
        refusal = self._refusal(connection, code, details)
        self._note(connection, refusal)
        return refusal

    # -- which host ---------------------------------------------------------------------------------------------

    def _note(self, connection: Connection, refusal: Refusal) -> None:
        """
        Count a failure, and go on elsewhere when it is time to.
        """
        if connection is not self._connection or not refusal.lost_contact or self._closed:
            return
        alone = len(self._hosts) == 1
        if alone and refusal.code != "DEADLINE_EXCEEDED":
            return  # the channel tries again by itself
        connection.failures += 1
        if connection.failures >= (SILENCES if alone else 1):
            self._index = (self._index + 1) % len(self._hosts)
            self._connection = None
            asyncio.get_running_loop().call_soon(connection.close)

    def close(self) -> None:
        """
        Give up the connection. Idempotent.
        """
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        if self._authenticating is not None:
            self._authenticating.cancel()

    # -- who asks -----------------------------------------------------------------------------------------------

    def forget(self, token: str | None) -> None:
        """
        A token was not accepted.
        """
        if token == self._token:
            self._token, self._auth_is_off = None, False

    async def authenticated(self, until: float) -> None:
        """
        Have a token, where there is a user. Those who ask at a time share one answer.

        Raises:
            _Failed: There is none to be had.
        """
        if self.user is None or self._token is not None or self._auth_is_off:
            return
        if self._authenticating is None:
            self._authenticating = asyncio.ensure_future(self._authenticate(until))
            self._authenticating.add_done_callback(self._authenticate_done)
        try:
            async with asyncio.timeout_at(until):
                await asyncio.shield(self._authenticating)
        except TimeoutError:
            raise _Failed(self._refusal(self.connection, "DEADLINE_EXCEEDED", "no token came in time")) from None

    def _authenticate_done(self, task: asyncio.Task[None]) -> None:
        self._authenticating = None
        if not task.cancelled():
            task.exception()  # those who wait have been told

    async def _authenticate(self, until: float) -> None:
        request = self.rpc.AuthenticateRequest(name=self.user, password=self._password or "")
        try:
            self._token = (await self._ask("Authenticate", request, until)).token
        except _Failed as failed:
            if not failed.refusal.auth_is_off:
                raise
            self._auth_is_off = True


def _content(path: str | None) -> bytes | None:
    if path is None:
        return None
    with open(path, "rb") as file:
        return file.read()


def _authorities(tls: Tls) -> bytes | None:
    """
    The authorities to trust. gRPC would bring its own, and the system's are what is expected.
    """
    if tls.ca_file is not None:
        return _content(tls.ca_file)
    with contextlib.suppress(OSError):
        return _content(ssl.get_default_verify_paths().cafile)
    return None

"""
What a ZooKeeper client's failures mean to whoever asked: wait, or change something.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Final

from leadership.backends import _zookeeper_kazoo as kazoo
from leadership.backends._address import Address, Tls, show
from leadership.backends._zookeeper_wire import Fault, WireError
from leadership.errors import LeadershipError, StoreRefused, StoreUnavailable

_HOST_NAME_CODES: Final = (62, 64)
"""OpenSSL: the certificate is for another name, or for another address."""
_CLIENT_ALERTS: Final = (
    "CERTIFICATE_REQUIRED",
    "BAD_CERTIFICATE",
    "CERTIFICATE_UNKNOWN",
    "UNKNOWN_CA",
    "UNSUPPORTED_CERT",
)
_FILE_FAULTS: Final = ("NO_CERTIFICATE_OR_CRL_FOUND", "NO_START_LINE", "PEM_LIB", "KEY_VALUES_MISMATCH")
_FATAL: Final = (Fault.NO_AUTH, Fault.REFUSED)


@dataclass(frozen=True, slots=True)
class Credentials:
    """
    Who a client says that it is.
    """

    user: str
    password: str = field(repr=False)
    sasl: bool = False


@dataclass(frozen=True, slots=True)
class Options:
    """
    How a store's clients reach its servers.
    """

    address: Address
    credentials: Credentials | None
    tls: Tls | None
    timeout: float
    tick: float | None

    @property
    def url(self) -> str:
        """
        The address without secrets.
        """
        return self.address.url("zookeeper")


class SessionOver(StoreUnavailable):
    """
    The server says that the session has ended.
    """


def explain(error: WireError, what: str, url: str) -> LeadershipError:
    """
    A request's failure, for whoever made the call.
    """
    if error.fault is Fault.EXPIRED:
        return SessionOver(f"{what}: the session at {url} has ended")
    kind = StoreRefused if error.fault in _FATAL else StoreUnavailable
    where = f" on {error.path}" if error.path else ""
    found = kind(f"{what}: {error}{where} ({url})")
    found.__cause__ = error
    return found


def explain_connecting(error: BaseException, host: tuple[str, int], options: Options) -> LeadershipError:
    """
    Why a connection could not be made: what the client's own exception hides is in the ones before it.
    """
    at = show(host)
    if isinstance(error, (kazoo.exceptions.AuthFailedError, kazoo.exceptions.SASLException)):
        user = "" if options.credentials is None else f" {options.credentials.user!r}"
        return StoreRefused(f"{at} refuses the user{user} or the password")
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError):
            return _explain_tls(seen, host, options)
        seen = seen.__cause__ or seen.__context__
    words = str(error) or type(error).__name__
    return StoreUnavailable(f"no connection to {at}: {words}")


def _explain_tls(error: ssl.SSLError, host: tuple[str, int], options: Options) -> LeadershipError:
    at, tls = show(host), options.tls or Tls()
    if isinstance(error, ssl.SSLCertVerificationError):
        name = tls.server_name or host[0]
        if error.verify_code in _HOST_NAME_CODES:
            return StoreRefused(f"wrong host name: the certificate of {at} is not for {name!r}: {error.verify_message}")
        ca = "the system's authorities" if tls.ca_file is None else f"the ca_file {tls.ca_file!r}"
        return StoreRefused(f"wrong CA: the certificate of {at} is not trusted by {ca}: {error.verify_message}")
    reason = error.reason or ""
    if any(alert in reason for alert in _CLIENT_ALERTS):
        own = "none was given" if tls.cert_file is None else f"not {tls.cert_file!r}"
        return StoreRefused(f"{at} wants a client certificate that it trusts, {own}: {reason}")
    if any(fault in reason for fault in _FILE_FAULTS):
        return StoreRefused(f"the TLS files for {at} cannot be used: {reason}")
    return StoreUnavailable(f"no TLS connection to {at} (does it speak TLS at this port?): {reason or error}")

"""
What the URLs and options of the stores with a network have in common: hosts, credentials, TLS, and their faults.

An address stands between `://` and `?`, percent-encoded: `[user[:password]@]host[:port][,host[:port]...][/path]`.
Options come by name, or as text from the URL's query.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final
from urllib.parse import quote, unquote

from leadership.checks import check_number
from leadership.errors import ConfigError

_WORDS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_HOST: Final = re.compile(r"[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.%]+\]")

Host = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Address:
    """
    Where a store is, and who asks.
    """

    hosts: tuple[Host, ...]
    """At least one; an IPv6 address without its brackets."""
    path: str = ""
    """Decoded, without slashes at its ends."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def url(self, scheme: str) -> str:
        """
        The address as a URL that can be shown: without the password.
        """
        user = "" if self.user is None else f"{quote(self.user, safe='')}@"
        path = f"/{quote(self.path)}" if self.path else ""
        return f"{scheme}://{user}{','.join(show(host) for host in self.hosts)}{path}"


def show(host: Host) -> str:
    """
    `host:port`, with the brackets that IPv6 needs.
    """
    name, port = host
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def parse(scheme: str, address: str, port: int) -> Address:
    """
    Take an address apart; `port` is the one of hosts without a port.

    Raises:
        ConfigError: It is no address; the message shows the form, and no password.
    """
    if not isinstance(address, str):
        msg = f"the address of a {scheme} store must be text, not {address!r}"
        raise ConfigError(msg)
    place, _, path = address.partition("/")
    if "@" in path:
        msg = f"{scheme}:// has an @ behind a slash: write %2F and %40 for them in a user, a password or a path"
        raise ConfigError(msg)
    userinfo, at, hosts = place.rpartition("@")
    user, colon, password = userinfo.partition(":")
    if at and not user:
        msg = f"{scheme}:// has an empty user before the @: write {scheme}://user:password@host:{port}"
        raise ConfigError(msg)
    return Address(
        parse_hosts(scheme, hosts, port),
        check_path(scheme, unquote(path)),
        unquote(user) if at else None,
        unquote(password) if colon else None,
    )


def parse_hosts(scheme: str, text: str, port: int) -> tuple[Host, ...]:
    """
    `host[:port]`, separated by commas.

    Raises:
        ConfigError: One of them is no host and port.
    """
    hosts: list[Host] = []
    for each in text.split(","):
        name, colon, number = each.strip(), "", ""
        if not name.endswith("]"):
            name, colon, number = each.strip().rpartition(":")
            if not colon:
                name = number
        usable = _HOST.fullmatch(name) and (not colon or (number.isdecimal() and 0 < int(number) < 65536))
        if not usable:
            msg = (
                f"{each!r} is no host of a {scheme} store: write {scheme}://host:{port} or {scheme}://a:{port},b:{port}"
            )
            raise ConfigError(msg)
        host = (name.strip("[]"), int(number) if colon else port)
        if host not in hosts:
            hosts.append(host)
    return tuple(hosts)


def check_path(scheme: str, path: str) -> str:
    """
    Refuse a prefix that no key could have, or that no HTTP server leaves as it is.
    """
    path = path.removesuffix("/")
    if not {".", ".."}.isdisjoint(path.split("/")):
        msg = f"the path {path!r} of a {scheme} store has a part that is . or ..: leave it out"
        raise ConfigError(msg)
    if path.startswith("/") or path.endswith("/") or "//" in path or any(ord(character) < 32 for character in path):
        msg = f"the path {path!r} of a {scheme} store has an empty part or a control character: leave it out"
        raise ConfigError(msg)
    return path


def as_text(name: str, value: object) -> str | None:
    """
    An option that is text.

    Raises:
        ConfigError: It is something else, or empty.
    """
    if value is None or (isinstance(value, str) and value):
        return value
    shown = "something else" if name in ("password", "token") else repr(value)
    msg = f"the option {name!r} must be text and not empty, not {shown}"
    raise ConfigError(msg)


def as_bool(name: str, value: object) -> bool:
    """
    An option that is yes or no.

    Raises:
        ConfigError: It is neither.
    """
    if isinstance(value, bool):
        return value
    word = _WORDS.get(value.lower()) if isinstance(value, str) else None
    if word is None:
        msg = f"the option {name!r} must be true or false, not {value!r}"
        raise ConfigError(msg)
    return word


def as_number(name: str, value: object, *, least: float = 0.0, exclusive: bool = False) -> float:
    """
    An option that is a number of seconds.

    Raises:
        ConfigError: It is none.
    """
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    return check_number(name, value, least=least, exclusive=exclusive)


@dataclass(frozen=True, slots=True)
class Tls:
    """
    How a connection is encrypted, and whom it trusts.
    """

    ca_file: str | None = None
    """PEM; the system's authorities without it."""
    cert_file: str | None = None
    """The client's certificate, PEM."""
    key_file: str | None = None
    check_host_name: bool = True
    server_name: str | None = None
    """The name that the server's certificate must have; the host's without it."""


def tls_options(
    tls: object = None,
    *,
    ca_file: object = None,
    cert_file: object = None,
    key_file: object = None,
    check_host_name: object = True,
    server_name: object = None,
) -> Tls | None:
    """
    The TLS options of a store; None: no TLS. A file or a server name asks for TLS too.

    Raises:
        ConfigError: They contradict each other, or a file cannot be read.
    """
    options = Tls(
        _readable("ca_file", ca_file),
        _readable("cert_file", cert_file),
        _readable("key_file", key_file),
        as_bool("check_host_name", check_host_name),
        as_text("server_name", server_name),
    )
    if (options.cert_file is None) != (options.key_file is None):
        given, missing = ("cert_file", "key_file") if options.key_file is None else ("key_file", "cert_file")
        msg = f"the option {given!r} needs {missing!r} too: a client's certificate is used with its key"
        raise ConfigError(msg)
    wanted = options != Tls()
    if tls is None:
        return options if wanted else None
    if as_bool("tls", tls):
        return options
    if wanted:
        msg = "tls is off, and other options of TLS are given: leave them out, or tls"
        raise ConfigError(msg)
    return None


def _readable(name: str, value: object) -> str | None:
    path = as_text(name, str(value) if isinstance(value, PurePath) else value)
    if path is not None:
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            msg = f"the option {name!r} names {path!r}, which cannot be read: {error.strerror}"
            raise ConfigError(msg) from None
    return path

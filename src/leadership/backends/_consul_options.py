"""
What a `consul://` URL, its options and the environment say: checked, resolved once, and never read again.

An argument counts before the environment. The client library would let CONSUL_HTTP_ADDR and CONSUL_HTTP_TOKEN override
arguments; it is given everything, and asked for nothing.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote

from leadership.backends._address import (
    Address,
    Host,
    Tls,
    as_bool,
    as_number,
    as_text,
    check_path,
    parse,
    parse_hosts,
    tls_options,
)
from leadership.errors import ConfigError

PORT: Final = 8500
_SERVICE: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_TOKEN: Final = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Settings:
    """
    Where Consul is, who asks, and how.
    """

    address: Address
    tls: Tls | None = None
    verify: bool = True
    """False: whoever answers is believed (CONSUL_HTTP_SSL_VERIFY=false)."""
    token: str | None = field(default=None, repr=False)
    namespace: str | None = None
    datacenter: str | None = None
    timeout: float = 5.0
    least_ttl: float | None = None
    lock_delay: float = 0.0
    check: str | None = None
    """The name of the service whose TTL checks the sessions are bound to."""

    @property
    def url(self) -> str:
        """
        The address as a URL that can be shown.
        """
        path = f"/{quote(self.address.path)}" if self.address.path else ""
        return f"consul://{','.join(show(host) for host in self.address.hosts)}{path}"


def show(host: Host) -> str:
    """
    `host:port`, with the brackets that IPv6 needs; a socket's path percent-encoded, as the URL has it.
    """
    name, port = host
    if name.startswith("/"):
        return quote(name, safe="")
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def resolve(
    address: str,
    *,
    timeout: object,
    tls: object,
    ca_file: object,
    cert_file: object,
    key_file: object,
    check_host_name: object,
    server_name: object,
    token: object,
    namespace: object,
    datacenter: object,
    least_ttl: object,
    lock_delay: object,
    check: object,
) -> Settings:
    """
    Take the URL's address, the options and the environment together.

    Raises:
        ConfigError: One of them cannot be used.
    """
    place, encrypted = _place(address)
    files = {"ca_file": ca_file, "cert_file": cert_file, "key_file": key_file, "server_name": server_name}
    named = any(value is not None for value in files.values()) or not as_bool("check_host_name", check_host_name)
    wanted = (encrypted or named) if tls is None else as_bool("tls", tls)
    verify = True
    if wanted:
        in_environment = {
            "ca_file": "CONSUL_CACERT",
            "cert_file": "CONSUL_CLIENT_CERT",
            "key_file": "CONSUL_CLIENT_KEY",
            "server_name": "CONSUL_TLS_SERVER_NAME",
        }
        for name, variable in in_environment.items():
            if files[name] is None:
                files[name] = os.environ.get(variable) or None
        if "CONSUL_HTTP_SSL_VERIFY" in os.environ and files["ca_file"] is None:
            verify = as_bool("CONSUL_HTTP_SSL_VERIFY", os.environ["CONSUL_HTTP_SSL_VERIFY"])
    service = as_text("check", check)
    if service is not None and (not _SERVICE.fullmatch(service) or len(place.hosts) > 1):
        msg = f"check={service!r} must be a plain name, and the URL name one host: the agent that keeps the check"
        raise ConfigError(msg)
    return Settings(
        place,
        tls_options(wanted, check_host_name=check_host_name, **files),
        verify,
        _token(token),
        as_text("namespace", namespace) or os.environ.get("CONSUL_NAMESPACE") or None,
        as_text("datacenter", datacenter),
        as_number("timeout", timeout, exclusive=True),
        None if least_ttl is None else as_number("least_ttl", least_ttl, exclusive=True),
        as_number("lock_delay", lock_delay),
        service,
    )


def _place(address: str) -> tuple[Address, bool]:
    """
    Where Consul is, and whether the environment asks for TLS.
    """
    if not isinstance(address, str):
        msg = f"the address of a consul store must be text, not {address!r}"
        raise ConfigError(msg)
    hosts, _, path = address.partition("/")
    if "@" in hosts:
        msg = "consul:// takes no user and password: Consul knows tokens; give token=, or set CONSUL_HTTP_TOKEN"
        raise ConfigError(msg)
    secure = os.environ.get("CONSUL_HTTP_SSL", "")
    encrypted = bool(secure) and as_bool("CONSUL_HTTP_SSL", secure)
    path = check_path("consul", unquote(path))
    if hosts.lower().startswith("%2f"):
        return Address(((unquote(hosts), 0),), path), False
    if hosts:
        return parse("consul", address, PORT), encrypted
    given = os.environ.get("CONSUL_HTTP_ADDR", "") or f"127.0.0.1:{PORT}"
    if "@" in given:
        msg = "CONSUL_HTTP_ADDR has an @, and is not shown: Consul knows no users; set CONSUL_HTTP_TOKEN"
        raise ConfigError(msg)
    scheme, separator, rest = given.rpartition("://")
    if scheme == "unix":
        return Address(((f"/{rest.lstrip('/')}", 0),), path), False
    if separator and scheme not in ("http", "https", "tcp"):
        msg = f"CONSUL_HTTP_ADDR is {given!r}: write host:port, http://host:port, https://host:port or unix:///path"
        raise ConfigError(msg)
    try:
        found = parse_hosts("consul", rest.rstrip("/"), PORT)
    except ConfigError as error:
        msg = f"CONSUL_HTTP_ADDR is {given!r}: {error}"
        raise ConfigError(msg) from None
    return Address(found, path), encrypted or scheme == "https"


def _token(given: object) -> str | None:
    """
    The token of the arguments, or else of the environment.
    """
    token = as_text("token", given)
    if token is None:
        token = os.environ.get("CONSUL_HTTP_TOKEN") or None
    path = os.environ.get("CONSUL_HTTP_TOKEN_FILE")
    if token is None and path:
        try:
            with open(path, encoding="utf-8") as file:
                token = file.read().strip() or None
        except (OSError, UnicodeDecodeError) as error:
            msg = f"CONSUL_HTTP_TOKEN_FILE names {path!r}, which cannot be read: {type(error).__name__}"
            raise ConfigError(msg) from None
    if token is not None and not _TOKEN.fullmatch(token):
        msg = "the option 'token' has a character that no token has; it is not shown here"
        raise ConfigError(msg)
    return token

"""
From a URL to a store.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from leadership.errors import ConfigError
from leadership.store import Store


def _memory() -> type[Store]:
    from leadership.backends.memory import MemoryStore

    return MemoryStore


def _sqlite() -> type[Store]:
    from leadership.backends.sqlite import SqliteStore

    return SqliteStore


def _consul() -> type[Store]:
    from leadership.backends.consul import ConsulStore

    return ConsulStore


def _etcd() -> type[Store]:
    from leadership.backends.etcd import EtcdStore

    return EtcdStore


def _zookeeper() -> type[Store]:
    from leadership.backends.zookeeper import ZooKeeperStore

    return ZooKeeperStore


_STORES: dict[str, Callable[[], type[Store]]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "consul": _consul,
    "etcd": _etcd,
    "zookeeper": _zookeeper,
}


def connect(url: str, **options: Any) -> Store:
    """
    Make a store from its URL. Checks the arguments; does no network I/O.

    Args:
        url: `memory://`, `memory://name`, `sqlite:///relative.db`, `sqlite:////absolute.db`, and for many machines
            `consul://`, `etcd://` or `zookeeper://` with `[user:password@]host[:port][,host[:port]...][/path]`.
            Options may stand in its query too.
        options: The store's own options.

    Raises:
        ConfigError: An unknown scheme or option, a missing extra, an unusable address; the message names the remedy.
    """
    if not isinstance(url, str):
        msg = f"a store's URL must be text, not {url!r}"
        raise ConfigError(msg)
    scheme, separator, rest = url.partition("://")
    load = _STORES.get(scheme)
    if not separator or load is None:
        known = ", ".join(f"{name}://" for name in _STORES)
        msg = f"{without_secrets(url)!r} is no URL of a known store: it must begin with one of {known}"
        raise ConfigError(msg)
    address, _, query = rest.partition("?")
    given: dict[str, Any] = {}
    for name, value in [*parse_qsl(query, keep_blank_values=True), *options.items()]:
        if name in given:
            msg = f"the option {name!r} is given twice to {scheme}://: once is enough"
            raise ConfigError(msg)
        given[name] = value
    store = load()
    known_options = set(inspect.signature(store).parameters) - {"address", "path"}
    for name in given:
        if name not in known_options:
            known = ", ".join(sorted(known_options)) or "none"
            shown = repr(name) if name.isidentifier() else "of that name (a ? in a password is written %3F)"
            msg = f"{scheme}:// has no option {shown}; it has: {known}"
            raise ConfigError(msg)
    return store.from_address(address, **given)


def without_secrets(url: str) -> str:
    """
    A URL as it can be shown, whether it is a good one or not.
    """
    url = re.sub(r"^((?:[\w+.-]*:)?/+|).*@", r"\1***@", url, flags=re.DOTALL)
    return re.sub(r"(?i)\b(password|token)=[^&]*", r"\1=***", url)

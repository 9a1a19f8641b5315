"""
The way to a store that other processes can reach, too.
"""

from __future__ import annotations

from leadership import ConfigError, connect
from leadership.store import Store


def reach(url: str) -> Store:
    """
    Connect to a store.

    Raises:
        ConfigError: The URL cannot be used, or names a store of this process alone.
    """
    store = connect(url)
    if store.guarantees.scope == "process":
        store.close()
        msg = f"{url} reaches no other process, so that there is nobody to elect or to ask: use sqlite:///path"
        raise ConfigError(msg)
    return store

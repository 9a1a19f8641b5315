"""
What every store refuses: to be used in another process than the one that made it, or after its end.
"""

from __future__ import annotations

import os

from leadership.errors import ConfigError


def check_usable(url: str, pid: int, *, ended: bool) -> None:
    """
    Refuse a store that cannot be used any more.

    Args:
        url: The store's.
        pid: The process that made it.
        ended: It is closed.

    Raises:
        ConfigError: It says what to do.
    """
    if os.getpid() != pid:
        msg = f"the store {url} was made before this process was forked: call connect() again"
        raise ConfigError(msg)
    if ended:
        msg = f"the store {url} is closed: call connect() again"
        raise ConfigError(msg)

"""
What is refused before anything starts: names, TTLs, numbers, metadata that nobody could use.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, cast

from leadership.errors import ConfigError

MOST_METADATA = 4096
"""
Bytes of metadata, as JSON.
"""

MOST_REASON = 1024
"""
Bytes of the operator's words on a resignation.
"""

_HANDLED = frozenset(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}

_RESET = "token_reset"
"""
What the record of an election says by itself.
"""
_UNSEEN = frozenset(("Cf", "Zl", "Zp", "Zs"))
_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""
Characters that turn the order in which a terminal shows what stands behind them.
"""


def check_name(what: str, name: object) -> str:
    """
    Refuse what is not a usable election or node name.

    Raises:
        ConfigError: It is not text, is empty, begins or ends with a slash, has a double slash or a control character.
    """
    if not isinstance(name, str):
        msg = f"the {what} name must be text, not {name!r}"
        raise ConfigError(msg)
    if not name.strip():
        msg = f"the {what} name must not be empty, and it is {name!r}"
        raise ConfigError(msg)
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        msg = f"the {what} name {name!r} has a control character or a lone surrogate: leave it out"
        raise ConfigError(msg)
    if what == "election" and (name.startswith("/") or name.endswith("/") or "//" in name):
        msg = f"the election name {name!r} begins or ends with a slash, or has a double one: leave it out"
        raise ConfigError(msg)
    return name


def check_ttl(ttl: object, *, least: float, most: float, store: str) -> float:
    """
    Refuse a TTL that is no number of seconds, or that the store would not keep.

    Raises:
        ConfigError: With the value and the nearest valid one.
    """
    if isinstance(ttl, bool) or not isinstance(ttl, int | float):
        msg = f"ttl must be a number of seconds, not {ttl!r}"
        raise ConfigError(msg)
    if not least <= ttl <= most:  # NaN fails both comparisons
        nearest = most if ttl > most else least
        kept = f"{least:g} to {most:g} seconds"
        msg = f"ttl={ttl!r} cannot be kept by {store}: it keeps {kept}; the nearest is {nearest:g}"
        raise ConfigError(msg)
    return float(ttl)


def check_number(what: str, value: object, *, least: float, exclusive: bool = False) -> float:
    """
    Refuse what is not a finite number of seconds in range.

    Raises:
        ConfigError: With the value.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        limit = sys.float_info.max  # more than which an int may be
        if value <= limit and (value > least or (value == least and not exclusive)):
            return float(value)
    bound = "more than" if exclusive else "at least"
    msg = f"{what} must be a number of seconds, {bound} {least:g}, not {value!r}"
    raise ConfigError(msg)


def check_timeout(timeout: object) -> float | None:
    """
    Refuse what is neither None nor a number of seconds. A past moment is now, and a wait is at most what a thread can.

    Raises:
        ConfigError: With the value.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout != timeout:  # noqa: PLR0124 - NaN
        msg = f"timeout must be a number of seconds or None, not {timeout!r}"
        raise ConfigError(msg)
    return min(max(0.0, timeout), threading.TIMEOUT_MAX)


def check_signals(signals: object) -> tuple[signal.Signals, ...]:
    """
    Refuse what is not a list of signals that a process can handle.

    Raises:
        ConfigError: With the value.
    """
    if not isinstance(signals, Iterable) or isinstance(signals, str | bytes):
        msg = f"signals must be a list of signals, or () for none, not {signals!r}"
        raise ConfigError(msg)
    out: dict[signal.Signals, None] = {}
    for number in cast("Iterable[object]", signals):
        if isinstance(number, bool) or not isinstance(number, int) or number not in _HANDLED:
            msg = f"signals must be such as signal.SIGTERM that a process can handle, and {number!r} is not"
            raise ConfigError(msg)
        out[signal.Signals(number)] = None
    return tuple(out)


def check_reason(reason: object) -> str | None:
    """
    Refuse a reason that could not be recorded and shown on one line.

    Raises:
        ConfigError: It is not text, shows nothing, has a control character, is too long, or means something else.
    """
    if reason is None:
        return None
    if not isinstance(reason, str):
        msg = f"reason must be text, not {reason!r}"
        raise ConfigError(msg)
    kinds = {unicodedata.category(character) for character in reason}
    if not reason.strip() or kinds <= _UNSEEN:
        msg = f"reason must say something, and it is {reason!r}: leave it out, or say why"
        raise ConfigError(msg)
    if not kinds.isdisjoint(("Cc", "Cs", "Zl", "Zp")):
        msg = f"reason {reason!r} has a control character, a line break or a lone surrogate: say it on one line"
        raise ConfigError(msg)
    if not _TURNS.isdisjoint(reason):
        msg = f"reason {reason!r} has a character that turns the order of what is read: leave it out"
        raise ConfigError(msg)
    if reason.strip() == _RESET:
        msg = f"reason {reason!r} is what the record of an election says when the store has lost its data: use words"
        raise ConfigError(msg)
    size = len(reason.encode())
    if size > MOST_REASON:
        msg = f"reason has {size} bytes, and at most {MOST_REASON} are kept: shorten it, or name a ticket"
        raise ConfigError(msg)
    return reason


def check_metadata(metadata: object) -> Mapping[str, Any] | None:
    """
    Refuse what is not a small JSON object.

    Raises:
        ConfigError: With the value's fault.
    """
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping):
        msg = f"metadata must be a mapping, not {metadata!r}"
        raise ConfigError(msg)
    given: dict[Any, Any] = {**metadata}
    try:
        text = json.dumps(given, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        msg = f"metadata must be JSON: {error}"
        raise ConfigError(msg) from None
    size = len(text.encode())
    if size > MOST_METADATA:
        msg = f"metadata has {size} bytes as JSON, and at most {MOST_METADATA} are kept: publish an address instead"
        raise ConfigError(msg)
    kept: Mapping[str, Any] = json.loads(text)
    if kept != given:
        msg = f"metadata must be JSON as it stands, with text as keys: {metadata!r} would come back as {kept!r}"
        raise ConfigError(msg)
    return kept

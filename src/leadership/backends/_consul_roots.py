"""
Which parts of Consul's keys are read and watched: a few beginnings of names that cover all elections, never all keys.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable


def plain(key: str) -> str:
    """
    The longest beginning of a key that survives being part of a URL's path.

    Consul refuses characters that cannot be printed, and a part `.` or `..` would be resolved.
    """
    end = next((at for at, character in enumerate(key) if not character.isprintable()), len(key))
    root = key[:end]
    while root.rpartition("/")[2] in (".", ".."):
        root = root[: root.rindex("/") + 1] if "/" in root else ""
    return root


def roots(keys: Collection[str], most: int, least: str = "") -> list[str]:
    """
    At most so many beginnings, as long as can be, that cover all keys; more only where their first characters differ.

    Args:
        least: What all keys begin with, and no root is shorter than.
    """
    found = _covering(keys)
    if len(found) <= most:
        return found
    low, high = max(1, len(least)), max(map(len, found))
    while low < high:  # the longest common length that leaves few enough
        middle = (low + high + 1) // 2
        if len({key[:middle] for key in found}) <= most:
            low = middle
        else:
            high = middle - 1
    groups: dict[str, list[str]] = {}
    for key in found:
        groups.setdefault(key[:low], []).append(key)
    return _covering(plain(_common(group)) or least for group in groups.values())


def _common(keys: list[str]) -> str:
    """
    What all of them begin with, character by character.
    """
    first, last = min(keys), max(keys)
    return next((first[:at] for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), first)


def _covering(keys: Iterable[str]) -> list[str]:
    """
    Those that do not begin with another.
    """
    found: list[str] = []
    for key in sorted({plain(key) for key in keys}):
        if not found or not key.startswith(found[-1]):
            found.append(key)
    return found

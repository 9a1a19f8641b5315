"""
The parents of entries: persistent nodes, made where they are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leadership.backends import _zookeeper_wire as wire
from leadership.backends._zookeeper_layout import SIDE, parents
from leadership.backends._zookeeper_wire import Fault, Request, WireError


class Folders:
    """
    The parents of entries that are known to be there.
    """

    def __init__(self, acl: Sequence[Any]) -> None:
        self.acl = acl
        self._known: set[str] = set()

    def missing(self, folders: Sequence[str]) -> list[Request]:
        """
        Requests that make folders, and those above them, where they are not known to be there.
        """
        wanted = dict.fromkeys(each for folder in folders for each in parents(folder) if each not in self._known)
        return [wire.create(each, b"", self.acl, wire.PERSISTENT) for each in wanted]

    def made(self, folders: Sequence[str]) -> None:
        """
        They are there.
        """
        for folder in folders:
            self._known.update(parents(folder))

    def forget(self, folder: str) -> None:
        """
        It was seen to be gone, or one above it.
        """
        self._known.difference_update([*parents(folder), f"{folder}{SIDE}"])


def not_permitted(answers: Sequence[Any]) -> WireError | None:
    """
    Of the answers to requests that make folders: the one that says that it is not permitted.
    """
    refused = (each for each in answers if isinstance(each, WireError) and each.fault is Fault.NO_AUTH)
    return next(refused, None)

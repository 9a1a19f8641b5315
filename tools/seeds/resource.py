"""
What leaders write to: a resource that looks at the token, and a twin that takes everything.
"""

from __future__ import annotations


class Resource:
    """
    Takes a write if no greater token was seen before. The twin takes all, and counts what the fence has kept out.
    """

    def __init__(self) -> None:
        self.highest = 0
        self.taken = self.refused = 0
        self.twin_highest = self.twin_stale = 0
        """What the twin took though a later term had written: the run has teeth where it is more than nothing."""
        self._writers: dict[int, str] = {}

    def write(self, token: int, writer: str) -> str | None:
        """
        One write; what is wrong with it, if anything is.
        """
        if token < self.twin_highest:
            self.twin_stale += 1
        self.twin_highest = max(self.twin_highest, token)
        if token < self.highest:
            self.refused += 1
            return None
        self.highest = token
        self.taken += 1
        first = self._writers.setdefault(token, writer)
        return None if first == writer else f"{writer} and {first} have both written with token {token}"

    def reset(self) -> None:
        """
        An operator has been told that tokens begin anew.
        """
        self.highest = self.twin_highest = 0
        self._writers.clear()

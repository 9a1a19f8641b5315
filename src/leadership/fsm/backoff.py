"""
How long to wait before the next campaign: arithmetic only.

Exponential growth with equal jitter: the delay stays in [d/2, d], so it is bounded and does not shrink as failures add
up ("decorrelated" jitter shrinks). After M. Brooker, "Exponential Backoff And Jitter", 2015.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from leadership.errors import ConfigError

LEAST, MOST = 0.001, 86_400.0
"""
Seconds: a shorter wait is a busy loop, a longer one is a decision that nobody meant to make.
"""


@dataclass(frozen=True, slots=True)
class Backoff:
    """
    The waits between failed campaigns. Immutable.

    Attributes:
        initial: Seconds before the first retry, at the most.
        maximum: The longest wait in seconds; None for half of the lease's TTL, for a follower 7.5.
        factor: By what each failure multiplies the wait.
        retries: Failures in a row before the candidate gives up and goes idle; None for never.
    """

    initial: float = 0.25
    maximum: float | None = None
    factor: float = 2.0
    retries: int | None = None

    def __post_init__(self) -> None:
        faults: list[str] = []
        if not _is_number(self.initial) or not LEAST <= self.initial <= MOST:
            faults.append(f"initial must be {LEAST:g} to {MOST:g} seconds, not {self.initial!r}")
        if self.maximum is not None and (not _is_number(self.maximum) or not LEAST <= self.maximum <= MOST):
            faults.append(f"maximum must be {LEAST:g} to {MOST:g} seconds or None, not {self.maximum!r}")
        elif self.maximum is not None and not faults and self.maximum < self.initial:
            faults.append(f"maximum ({self.maximum!r}) must not be less than initial ({self.initial!r})")
        if not _is_number(self.factor) or not 1 <= self.factor < math.inf:
            faults.append(f"factor must be a number of at least 1, not {self.factor!r}")
        if self.retries is not None and (not _is_whole(self.retries) or self.retries < 0):
            faults.append(f"retries must be a whole number of at least 0 or None, not {self.retries!r}")
        if faults:
            raise ConfigError("Backoff: " + "; ".join(faults))

    def ceiling(self, failures: int, ttl: float) -> float:
        """
        The longest that the wait after `failures` failures in a row (1 or more) may be, in seconds.
        """
        cap = ttl / 2 if self.maximum is None else self.maximum
        grown = min(math.log(cap / min(self.initial, cap)), max(0, failures - 1) * math.log(self.factor))
        return min(cap, self.initial * math.exp(grown))

    def delay(self, failures: int, ttl: float, draw: float) -> float:
        """
        The wait after `failures` failures in a row, in seconds.

        Args:
            failures: 1 or more.
            ttl: The lease's TTL in seconds.
            draw: A number from [0, 1), drawn by the caller: nothing here is random.
        """
        ceiling = self.ceiling(failures, ttl)
        return ceiling / 2 + ceiling / 2 * draw

    def allows(self, failures: int) -> bool:
        """
        Whether one more campaign may follow after `failures` failures in a row.
        """
        return self.retries is None or failures <= self.retries


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)

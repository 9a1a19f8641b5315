"""
What a candidate was given, checked by its face.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leadership.fsm.backoff import Backoff
from leadership.store import Timing


@dataclass(frozen=True, slots=True)
class CandidateSettings:
    """
    See `Candidate` for what each means. Immutable.
    """

    ttl: float
    grace: float | None
    backoff: Backoff
    cool_down: float
    on_callback_error: str
    metadata: Mapping[str, Any] | None
    timing: Timing

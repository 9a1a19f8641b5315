"""
Which trace a call of the user's belongs to. A record is made on the engine's thread, where the caller's context is not
set, so it is asked for at the call.
"""

from __future__ import annotations

import sys
from typing import NamedTuple


class Trace(NamedTuple):
    """
    A span of OpenTelemetry's, as its log correlation writes it.
    """

    trace_id: str | None = None
    """32 hex digits."""
    span_id: str | None = None
    """16 hex digits."""


NONE = Trace()


def present() -> Trace:
    """
    The caller's span, if the program has imported OpenTelemetry's API and is within one. Nothing is imported here.

    Never raises: another thread may be importing the API just now, and a span may be anybody's class.
    """
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return NONE
    try:
        context = api.get_current_span().get_span_context()
        return Trace(f"{context.trace_id:032x}", f"{context.span_id:016x}") if context.is_valid else NONE
    except Exception:  # noqa: BLE001 - a name for the log is not worth a start or stop
        return NONE

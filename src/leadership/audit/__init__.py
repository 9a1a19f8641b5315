"""
Audits: read, shown, judged.
"""

from __future__ import annotations

from leadership.audit.judgement import Finding, Judgement, Place, Span, Verdict
from leadership.audit.kinds import KINDS
from leadership.audit.read import Line, read
from leadership.audit.show import show
from leadership.audit.tell import tell, timeline
from leadership.audit.verify import verify

__all__ = [
    "KINDS",
    "Finding",
    "Judgement",
    "Line",
    "Place",
    "Span",
    "Verdict",
    "read",
    "show",
    "tell",
    "timeline",
    "verify",
]

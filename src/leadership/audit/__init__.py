"""
Audits, read.
"""

from __future__ import annotations

from leadership.audit.read import Line, read
from leadership.audit.show import show

__all__ = ["Line", "read", "show"]

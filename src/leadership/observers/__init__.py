"""
What hears of every transition: one file a sink.

An observer is called with one frozen record. It can neither change an election nor hold it up.
"""

from __future__ import annotations

from leadership.observers._protocol import Observer
from leadership.observers.audit import AuditLog
from leadership.observers.history import History
from leadership.observers.log import LogObserver

__all__ = ["AuditLog", "History", "LogObserver", "Observer"]

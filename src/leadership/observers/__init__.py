"""
What hears of every transition: one file a sink.

An observer is called with one frozen record. It can neither change an election nor hold it up.
"""

from __future__ import annotations

from leadership.fsm.record import Renewal
from leadership.observers._protocol import DropObserver, Observer, RenewalObserver
from leadership.observers.audit import AuditLog
from leadership.observers.history import History
from leadership.observers.log import LogObserver
from leadership.observers.opentelemetry import OpenTelemetryObserver
from leadership.observers.prometheus import PrometheusObserver

__all__ = [
    "AuditLog",
    "DropObserver",
    "History",
    "LogObserver",
    "Observer",
    "OpenTelemetryObserver",
    "PrometheusObserver",
    "Renewal",
    "RenewalObserver",
]

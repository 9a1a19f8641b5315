"""
Metrics and traces for OpenTelemetry.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from leadership.errors import ConfigError
from leadership.fsm.record import Renewal, Transition
from leadership.fsm.row import DemotionCause, Disposition
from leadership.fsm.states import CandidateState
from leadership.observers._measures import BUCKETS, METRICS, RENEWAL_DURATION, RENEWAL_HEADROOM, Measures, Metric

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
    from opentelemetry.trace import Span, TracerProvider

INSTALL: Final = "pip install leadership[otel]"
SCOPE: Final = "leadership"
TERM_SPAN: Final = "leadership.term"
VOLUNTARY: Final = frozenset({DemotionCause.RESIGNED, DemotionCause.STOPPED})
_LEADER: Final = CandidateState.LEADER.value


class OpenTelemetryObserver:
    """
    Metrics of what a candidate or follower does, and a span for each term. Thread-safe; one serves any number of them.

    A term's span begins at the election and ends at the demotion, with the cause; its status is an error unless the
    candidate resigned or was stopped. Renewals that failed are its events. A span is exported when it ends: that of a
    process that is killed is never seen. A term that began before the observer was subscribed has none.

    Whether somebody leads is asked of the lease's deadline at each collection. In a forked child it begins anew.
    """

    def __init__(
        self, *, meter_provider: MeterProvider | None = None, tracer_provider: TracerProvider | None = None
    ) -> None:
        """
        Args:
            meter_provider: Where metrics go; None for the one that the process has set, now or later.
            tracer_provider: Where spans go; None for the one that the process has set, now or later.

        Raises:
            ConfigError: opentelemetry-api is not installed.
        """
        try:
            from opentelemetry import context, metrics, trace
        except ImportError as error:
            msg = f"OpenTelemetryObserver needs opentelemetry-api, and {error}: {INSTALL}"
            raise ConfigError(msg) from error
        self._trace = trace
        self._no_parent = context.Context()
        self._observation = metrics.Observation
        library = version("leadership")
        self._tracer = trace.get_tracer(SCOPE, library, tracer_provider)
        self._measures = Measures()
        self._closed = False
        self._reset()
        meter: Any = metrics.get_meter(SCOPE, library, meter_provider)
        self._histograms: dict[Metric, Any] = {}
        for metric in METRICS:
            self._instrument(meter, metric)
        _living.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._spans: dict[str, Span] = {}
        """The terms that have not ended, by incarnation."""

    def _instrument(self, meter: Any, metric: Metric) -> None:
        unit = metric.unit or f"{{{metric.counted}}}"
        if metric.kind == "histogram":
            self._histograms[metric] = meter.create_histogram(
                metric.name, unit, metric.about, explicit_bucket_boundaries_advisory=BUCKETS[metric]
            )
        elif metric.kind == "counter":
            meter.create_observable_counter(metric.name, [self._reader(metric)], unit, metric.about)
        else:
            meter.create_observable_gauge(metric.name, [self._reader(metric)], unit, metric.about)

    def _reader(self, metric: Metric) -> Callable[[CallbackOptions], Iterator[Observation]]:
        names = [attribute(label) for label in metric.labels]

        def read(_options: CallbackOptions) -> Iterator[Observation]:
            if self._closed:
                return
            for labels, value in self._measures.read(metric).items():
                yield self._observation(value, dict(zip(names, labels, strict=True)))

        return read

    def __call__(self, record: Transition) -> None:
        """
        Count one record; begin or end a term's span.
        """
        self._measures.transition(record)
        if record.machine != "candidate" or record.disposition != Disposition.GO:
            return
        with self._lock:
            self._end(record)  # also one whose end was missed
            if record.dest == _LEADER and not self._closed:
                self._spans[record.incarnation] = self._tracer.start_span(
                    TERM_SPAN,
                    context=self._no_parent,  # whatever the host's code has set on this thread is not ours
                    start_time=_nanoseconds(record.at),
                    attributes={
                        "leadership.election": record.election,
                        "leadership.node": record.node,
                        "leadership.token": record.token or 0,
                        "leadership.attempt": record.attempt,
                    },
                )

    def _end(self, record: Transition) -> None:
        span = self._spans.pop(record.incarnation, None)
        if span is None:
            return
        cause = record.cause
        span.set_attribute("leadership.cause", "unknown" if cause is None else cause.value)
        span.set_attribute("leadership.renewals", record.renewals)
        if record.reason is not None:
            span.set_attribute("leadership.reason", record.reason)
        if cause not in VOLUNTARY:
            if record.error is not None:
                span.set_attribute("error.type", record.error.partition(":")[0])
            words = record.error or ("its end was missed" if cause is None else cause.value)
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, words))
        span.end(_nanoseconds(record.at))

    def on_renewal(self, renewal: Renewal) -> None:
        """
        Count one renewal; one that failed is an event of its term's span.
        """
        self._measures.renewal(renewal)
        if self._closed:
            return
        if renewal.error is None:
            who = {attribute("election"): renewal.election, attribute("node"): renewal.node}
            self._histograms[RENEWAL_DURATION].record(renewal.latency, who)
            self._histograms[RENEWAL_HEADROOM].record(renewal.headroom, who)
            return
        with self._lock:
            span = self._spans.get(renewal.incarnation)
        if span is not None:
            told: dict[str, str | float] = {
                "error.type": renewal.error.partition(":")[0],
                "exception.message": renewal.error,
                "leadership.renewal.headroom": renewal.headroom,
            }
            span.add_event("leadership.renewal_failed", told, _nanoseconds(renewal.at))

    def on_dropped(self, count: int) -> None:
        """
        Count what was missed.
        """
        self._measures.dropped(count)

    def close(self) -> None:
        """
        Measure no more, and end the spans of terms that have not ended, without a cause. Idempotent.

        OpenTelemetry keeps instruments for as long as their provider lives; these fall silent.
        """
        self._closed = True
        with self._lock:
            spans, self._spans = self._spans, {}
        for span in spans.values():
            span.end()


def attribute(label: str) -> str:
    """
    A label's name among OpenTelemetry's attributes.
    """
    words = {"source": "source_state", "dest": "dest_state"}
    return f"leadership.{words.get(label, label)}"


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1e6) * 1000


_living: Final[weakref.WeakSet[OpenTelemetryObserver]] = weakref.WeakSet()


def _forked_all() -> None:
    """
    In a forked child: the terms are the parent's to end, and the lock may have been held by another thread.
    """
    for observer in list(_living):
        observer._reset()  # noqa: SLF001 - of this module


os.register_at_fork(after_in_child=_forked_all)

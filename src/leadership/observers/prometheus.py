"""
Metrics for Prometheus.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from leadership.errors import ConfigError
from leadership.fsm.record import Renewal, Transition
from leadership.observers._measures import METRICS, Measures, Metric
from leadership.observers.log import log_event

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric as Family

INSTALL: Final = "pip install leadership[prometheus]"
MULTIPROCESS: Final = "PROMETHEUS_MULTIPROC_DIR"


class PrometheusObserver:
    """
    Counts for Prometheus what a candidate or follower does. Thread-safe; one serves any number of them.

    It is a collector of its registry: each scrape asks whether the lease's deadline is ahead, so that
    `leadership_is_leader` is never 1 past it, whatever hangs. In a forked child it begins anew.

    prometheus_client's multi-process mode does not see it: that mode adds up files, in which a process that hangs or
    was killed would lead for ever. Have the process that stands scraped itself, by the health app or a port of its own.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """
        Args:
            registry: Where to be scraped; None for prometheus_client's own default.

        Raises:
            ConfigError: prometheus_client is not installed, or the registry has such an observer already.
        """
        try:
            import prometheus_client
            from prometheus_client import core
        except ImportError as error:
            msg = f"PrometheusObserver needs prometheus_client, and {error}: {INSTALL}"
            raise ConfigError(msg) from error
        self._core: Any = core
        self._measures = Measures()
        if registry is None:
            registry = prometheus_client.REGISTRY
            if os.environ.get(MULTIPROCESS):
                log_event(logging.WARNING, "leadership.prometheus_multiprocess", variable=MULTIPROCESS)
        self._registry: CollectorRegistry | None = registry
        collector: Any = self  # not a subclass of Collector, whose module is imported late
        try:
            registry.register(collector)
        except ValueError as error:
            msg = f"the registry has such metrics already ({error}): give one PrometheusObserver to all candidates"
            raise ConfigError(msg) from error

    def __call__(self, record: Transition) -> None:
        """
        Count one record.
        """
        self._measures.transition(record)

    def on_renewal(self, renewal: Renewal) -> None:
        """
        Count one renewal.
        """
        self._measures.renewal(renewal)

    def on_dropped(self, count: int) -> None:
        """
        Count what was missed.
        """
        self._measures.dropped(count)

    def close(self) -> None:
        """
        Be scraped no more. Idempotent.
        """
        registry, self._registry = self._registry, None
        if registry is not None:
            collector: Any = self
            registry.unregister(collector)

    def describe(self) -> Iterator[Family]:
        """
        The metrics without samples: by them the registry knows their names.
        """
        for metric in METRICS:
            yield self._family(metric)

    def collect(self) -> Iterator[Family]:
        """
        The metrics as they are now.
        """
        for metric in METRICS:
            family = self._family(metric)
            if metric.kind == "histogram":
                for labels, (buckets, total) in self._measures.read_histogram(metric).items():
                    family.add_metric(labels, buckets, total)
            else:
                for labels, value in self._measures.read(metric).items():
                    family.add_metric(labels, value)
            yield family

    def _family(self, metric: Metric) -> Any:
        kinds = {
            "gauge": self._core.GaugeMetricFamily,
            "counter": self._core.CounterMetricFamily,
            "histogram": self._core.HistogramMetricFamily,
        }
        return kinds[metric.kind](metric.family, metric.about, labels=metric.labels)

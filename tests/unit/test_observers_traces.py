"""
Metrics and spans for OpenTelemetry, read back through its SDK's in-memory exporters.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from records import a_record, a_renewal

from leadership import Candidate, ConfigError, _clock
from leadership._runtime.candidate import CandidateDriver
from leadership.observers import OpenTelemetryObserver
from leadership.observers._measures import METRICS
from leadership.testing import Simulation


class Host:
    """
    A program that has set up OpenTelemetry.
    """

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])
        self.observer = OpenTelemetryObserver(meter_provider=self.meters, tracer_provider=self.tracers)

    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def metrics(self) -> dict[str, Any]:
        """
        The metrics of the library, by name.
        """
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            if scope.scope.name == "leadership"
            for metric in scope.metrics
        }

    def value(self, name: str, **attributes: str) -> float | None:
        """
        One data point of the candidate of these tests.
        """
        own = {"leadership.election": "jobs", "leadership.node": "ann"}
        wanted = own | {f"leadership.{key}": text for key, text in attributes.items()}
        found = [point.value for point in self.metrics()[name].data.data_points if dict(point.attributes) == wanted]
        return found[0] if found else None


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.meters.shutdown()
    made.tracers.shutdown()


def test_a_life_in_spans(sim: Simulation, host: Host) -> None:
    """
    Each term is a span from its election to its demotion, with its token and cause; only one lost is an error.
    """
    candidate = Candidate(sim.store, "jobs", node="ann", ttl=3.0, observers=[host.observer])
    candidate.start()
    sim.advance(10.0)
    sim.fault("partition", node="ann", seconds=5.0)
    sim.run_until(lambda: not candidate.is_leader)
    sim.run_until(lambda: candidate.is_leader)
    candidate.resign("deploy 42")

    lost, resigned = host.spans()
    begin, end = (
        record for record in candidate.history if record.token == 1 and "leader" in (record.source, record.dest)
    )
    assert ["leadership.term"] * 2 == [lost.name, resigned.name]
    assert lost.start_time == int(begin.at.timestamp() * 1e6) * 1000
    assert lost.end_time == int(end.at.timestamp() * 1e6) * 1000
    assert lost.parent is None
    assert {
        "leadership.election": "jobs",
        "leadership.node": "ann",
        "leadership.token": 1,
        "leadership.attempt": 1,
        "leadership.cause": "lease_expired",
        "leadership.renewals": end.renewals,
        "error.type": "StoreUnavailable",
    } == dict(lost.attributes or {})
    assert (StatusCode.ERROR, end.error) == (lost.status.status_code, lost.status.description)
    assert ["leadership.renewal_failed"] == [event.name for event in lost.events]

    assert StatusCode.UNSET == resigned.status.status_code
    told = dict(resigned.attributes or {})
    assert (2, "resigned", "deploy 42") == tuple(told[f"leadership.{key}"] for key in ("token", "cause", "reason"))
    assert () == resigned.events


def test_a_life_in_metrics(sim: Simulation, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The instruments have the names, kinds and units of the table, and count what the history says.
    """
    candidate = Candidate(sim.store, "jobs", node="ann", ttl=3.0, observers=[host.observer])
    candidate.start()
    driver = candidate._driver
    assert isinstance(driver, CandidateDriver)
    monkeypatch.setattr(_clock, "now", driver.engine.now)
    sim.advance(10.0)
    assert 1.0 == host.value("leadership.is_leader")
    assert 1.0 == host.value("leadership.state", machine="candidate", state="leader")
    candidate.stop()

    metrics = host.metrics()
    assert {metric.name for metric in METRICS} == metrics.keys()
    for metric in METRICS:
        assert metric.about == metrics[metric.name].description
        assert (metric.unit or f"{{{metric.counted}}}") == metrics[metric.name].unit
        assert (metric.kind == "counter") == getattr(metrics[metric.name].data, "is_monotonic", False)
    assert 0.0 == host.value("leadership.is_leader")
    assert 1.0 == host.value("leadership.terms.ended", cause="stopped")
    assert 1.0 == host.value(
        "leadership.transitions", machine="candidate", source_state="leader", trigger="stop", dest_state="resigning"
    )
    (headroom,) = metrics["leadership.renewal.headroom"].data.data_points
    assert sum(record.renewals for record in candidate.history) == headroom.count
    assert 1.5 < headroom.min <= headroom.max < 1.8


def test_a_missed_end_is_found(host: Host) -> None:
    """
    When the record of a demotion was dropped, the next record of that candidate ends the span, without a cause.
    """
    host.observer(a_record())
    host.observer(a_record(seq=9, source="campaigning", token=5))
    host.observer.close()

    first, second = host.spans()
    assert ("unknown", StatusCode.ERROR) == ((first.attributes or {})["leadership.cause"], first.status.status_code)
    assert 5 == (second.attributes or {})["leadership.token"]
    assert "leadership.cause" not in (second.attributes or {})


def test_a_closed_observer_is_silent(host: Host) -> None:
    """
    After close nothing is measured, and no span begins.
    """
    host.observer(a_record())
    host.observer.on_renewal(a_renewal())
    host.observer.close()
    before = {metric.name: metric.data.data_points[0].count for metric in host.metrics().values()}
    host.observer(a_record(incarnation="two"))
    host.observer.on_renewal(a_renewal())
    host.observer.close()
    assert 1 == len(host.spans())
    assert {"leadership.renewal.duration": 1, "leadership.renewal.headroom": 1} == before
    assert before == {metric.name: metric.data.data_points[0].count for metric in host.metrics().values()}


def test_the_hosts_span_is_no_parent(host: Host) -> None:
    """
    A term outlives whatever the host was doing when it began.
    """
    with host.tracers.get_tracer("host").start_as_current_span("request"):
        host.observer(a_record())
    host.observer(a_record(source="leader", trigger="stop", dest="resigning", cause=None))
    term = next(span for span in host.spans() if span.name == "leadership.term")
    assert None is term.parent


def test_a_host_without_a_provider_pays_little(sim: Simulation) -> None:
    """
    Where the process has set no provider, nothing is kept, exported or raised.
    """
    observer = OpenTelemetryObserver()
    candidate = Candidate(sim.store, "jobs", node="ann", ttl=3.0, observers=[observer])
    candidate.start()
    sim.advance(5.0)
    candidate.stop()
    observer.close()
    assert not isinstance(trace.get_tracer_provider(), TracerProvider)


def test_missing_api_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without opentelemetry-api the error says what to install.
    """
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigError, match=r"pip install leadership\[otel\]"):
        OpenTelemetryObserver()

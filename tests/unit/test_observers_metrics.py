"""
Metrics for Prometheus, read by its own client's parser.
"""

from __future__ import annotations

import os
import sys

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from records import a_record, a_renewal

from leadership import Candidate, ConfigError, DemotionCause, Follower, _clock
from leadership._runtime.candidate import CandidateDriver
from leadership.observers import PrometheusObserver
from leadership.observers._measures import METRICS
from leadership.testing import Simulation

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(registry: CollectorRegistry) -> Series:
    """
    What Prometheus would read: samples by name and labels.
    """
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    """
    One sample of the candidate or follower of these tests.
    """
    own = {"election": "jobs", "node": "ann"}
    wanted = {key: text for key, text in (own | labels).items() if text}
    return scrape(registry).get((name, tuple(sorted(wanted.items()))))


def follow_clock(candidate: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Let metrics be read by the clock of a simulated process.
    """
    driver = candidate._driver
    assert isinstance(driver, CandidateDriver)
    monkeypatch.setattr(_clock, "now", driver.engine.now)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_a_life_in_figures(sim: Simulation, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An election, a lease that expires in a partition, another election and a stop are counted as the records say.
    """
    candidate = Candidate(sim.store, "jobs", node="ann", ttl=3.0, observers=[PrometheusObserver(registry)])
    candidate.start()
    follow_clock(candidate, monkeypatch)
    sim.advance(10.0)
    assert 1.0 == value(registry, "leadership_is_leader")
    assert 1.0 == value(registry, "leadership_state", machine="candidate", state="leader")
    assert 0.0 == value(registry, "leadership_state", machine="candidate", state="backoff")
    assert 0.0 == value(registry, "leadership_terms_ended_total", cause="lease_expired")
    assert 10.0 == pytest.approx(
        value(registry, "leadership_state_time_seconds_total", machine="candidate", state="leader"), abs=0.2
    )
    assert 2.7 == pytest.approx(value(registry, "leadership_lease_duration_seconds"))

    sim.fault("partition", node="ann", seconds=5.0)
    sim.run_until(lambda: candidate.state == "backoff")
    sim.run_until(lambda: candidate.is_leader)
    candidate.stop()

    edges = {
        tuple(dict(labels)[key] for key in ("source", "trigger", "dest")): count
        for (name, labels), count in scrape(registry).items()
        if name == "leadership_transitions_total"
    }
    counted: dict[tuple[str, ...], float] = {}
    for record in candidate.history:
        edge = (record.source, record.trigger, record.dest)
        counted[edge] = counted.get(edge, 0) + 1
    assert counted == edges
    assert 1.0 == value(registry, "leadership_terms_ended_total", cause="lease_expired")
    assert 1.0 == value(registry, "leadership_terms_ended_total", cause="stopped")
    assert 0.0 == value(registry, "leadership_terms_ended_total", cause="superseded")
    renewals = sum(record.renewals for record in candidate.history)
    assert renewals == value(registry, "leadership_renewal_duration_seconds_count")
    assert renewals == value(registry, "leadership_renewal_headroom_seconds_bucket", le="+Inf")
    assert 0.0 == value(registry, "leadership_renewal_headroom_seconds_bucket", le="1.0")
    assert 1.0 == value(registry, "leadership_renewal_failures_total")
    waited = sum(record.duration for record in candidate.history if record.source == "backoff")
    assert waited == pytest.approx(
        value(registry, "leadership_state_time_seconds_total", machine="candidate", state="backoff")
    )


def test_a_stopped_candidate_is_idle(sim: Simulation, registry: CollectorRegistry) -> None:
    """
    After a stop it does not lead and is idle, its counts stay, and its past states have no place in the gauge.
    """
    candidate = Candidate(sim.store, "jobs", node="ann", ttl=3.0, observers=[PrometheusObserver(registry)])
    candidate.start()
    sim.advance(3.0)
    candidate.stop()

    assert 0.0 == value(registry, "leadership_is_leader")
    assert 1.0 == value(registry, "leadership_state", machine="candidate", state="idle")
    assert 0.0 == value(registry, "leadership_state", machine="candidate", state="leader")
    assert 1.0 == value(
        registry,
        "leadership_transitions_total",
        machine="candidate",
        source="campaigning",
        trigger="acquired",
        dest="leader",
    )


def test_nobody_leads_past_the_deadline(registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    At the lease's deadline the gauge is 0, though no record of a demotion has come; a renewal before it moves it.
    """
    observer = PrometheusObserver(registry)
    observer(a_record(election="jobs", node="ann", lease_deadline=27.5))
    now = [27.4]
    monkeypatch.setattr(_clock, "now", lambda: now[0])
    assert 1.0 == value(registry, "leadership_is_leader")
    now[0] = 27.5
    assert 0.0 == value(registry, "leadership_is_leader")
    assert 1.0 == value(registry, "leadership_state", machine="candidate", state="leader")

    observer.on_renewal(a_renewal(election="jobs", node="ann", lease_deadline=30.75))
    assert 1.0 == value(registry, "leadership_is_leader")
    observer.on_renewal(a_renewal(election="jobs", node="ann", lease_deadline=40.0, error="StoreUnavailable: no"))
    now[0] = 30.75
    assert 0.0 == value(registry, "leadership_is_leader")


def test_a_demotion_ends_it_before_the_deadline(registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whoever has resigned leads no more, though the record tells of a deadline that is still ahead.
    """
    monkeypatch.setattr(_clock, "now", lambda: 13.0)
    observer = PrometheusObserver(registry)
    who = {"election": "jobs", "node": "ann"}
    observer(a_record(**who))
    assert 1.0 == value(registry, "leadership_is_leader")
    observer(a_record(**who, trigger="resign", source="leader", dest="resigning", cause=DemotionCause.RESIGNED))
    assert 0.0 == value(registry, "leadership_is_leader")


def test_time_in_a_state_never_falls(registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A scrape counts the present state; a record that then says that it was left earlier takes nothing back.
    """
    observer = PrometheusObserver(registry)
    observer(a_record(election="jobs", node="ann", monotonic=12.0))
    monkeypatch.setattr(_clock, "now", lambda: 20.0)
    leader = {"machine": "candidate", "state": "leader"}
    assert 8.0 == value(registry, "leadership_state_time_seconds_total", **leader)
    late = {"source": "leader", "trigger": "stop", "dest": "resigning", "monotonic": 19.0, "duration": 7.0}
    observer(a_record(election="jobs", node="ann", lease_deadline=None, **late))
    assert 8.0 == value(registry, "leadership_state_time_seconds_total", **leader)


def test_labels_have_few_values(sim: Simulation, registry: CollectorRegistry) -> None:
    """
    However many terms and failures there were, there are as many series as after the first of each kind.
    """
    candidate = Candidate(
        sim.store, "jobs", node="ann", ttl=3.0, cool_down=0.1, observers=[PrometheusObserver(registry)]
    )
    candidate.start()

    def unhappy() -> None:
        sim.run_until(lambda: candidate.is_leader)
        candidate.resign("deploy")
        sim.run_until(lambda: candidate.is_leader)
        sim.fault("expire", election="jobs")
        sim.run_until(lambda: not candidate.is_leader)
        sim.run_until(lambda: candidate.is_leader)
        sim.fault("partition", node="ann", seconds=5.0)
        sim.run_until(lambda: not candidate.is_leader)
        sim.run_until(lambda: candidate.is_leader)
        sim.advance(3.0)

    for _ in range(3):
        unhappy()
    before = scrape(registry).keys()
    for _ in range(10):
        unhappy()
    assert len(before) == len(scrape(registry))
    assert {"election", "node", "machine", "state", "trigger", "source", "dest", "cause", "le"} == {
        label for _, labels in before for label, _ in labels
    }


def test_families_are_typed_and_described(registry: CollectorRegistry) -> None:
    """
    Each metric is exposed under its name, with its kind and help, even before anything has happened.
    """
    PrometheusObserver(registry)
    families = {family.name: family for family in text_string_to_metric_families(generate_latest(registry).decode())}
    assert {metric.family.removesuffix("_total") for metric in METRICS} == families.keys()
    for metric in METRICS:
        family = families[metric.family.removesuffix("_total")]
        assert (metric.kind, metric.about) == (family.type, family.documentation)


def test_one_observer_for_many(sim: Simulation, registry: CollectorRegistry) -> None:
    """
    Candidates of several elections and a follower share an observer, each with series of its own.
    """
    observer = PrometheusObserver(registry)
    for election in ("jobs", "mail"):
        Candidate(sim.store, election, node="ann", ttl=3.0, observers=[observer]).start()
    Follower(sim.store, "jobs", observers=[observer]).start()
    sim.advance(3.0)

    states = {
        (dict(labels)["election"], dict(labels)["machine"], dict(labels)["state"])
        for (name, labels), held in scrape(registry).items()
        if name == "leadership_state" and held
    }
    expected = {("jobs", "candidate", "leader"), ("mail", "candidate", "leader"), ("jobs", "follower", "following")}
    assert expected == states
    leaders = [dict(labels)["election"] for name, labels in scrape(registry) if name == "leadership_is_leader"]
    assert ["jobs", "mail"] == sorted(leaders)


def test_two_incarnations_of_one_name(registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Two candidates under one name have one series: the name leads while either does.
    """
    monkeypatch.setattr(_clock, "now", lambda: 13.0)
    observer = PrometheusObserver(registry)
    observer(a_record(election="jobs", node="ann", incarnation="one"))
    waiting = {"source": "idle", "trigger": "start", "dest": "campaigning", "lease_deadline": None}
    observer(a_record(election="jobs", node="ann", incarnation="two", **waiting))
    assert 1.0 == value(registry, "leadership_is_leader")
    assert 1.0 == value(registry, "leadership_state", machine="candidate", state="campaigning")
    assert 1.0 == value(registry, "leadership_state", machine="candidate", state="leader")


def test_who_leads_already_is_known_by_the_next_renewal(
    sim: Simulation, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    An observer that is subscribed while the candidate leads knows it by its next renewal; one that came first, at once.
    """
    candidate = Candidate(sim.store, "jobs", node="ann", ttl=3.0)
    candidate.start()
    follow_clock(candidate, monkeypatch)
    sim.advance(10.0)
    candidate.subscribe(PrometheusObserver(registry))
    assert value(registry, "leadership_is_leader") is None
    sim.advance(1.1)  # it renews each second
    assert 1.0 == value(registry, "leadership_is_leader")
    assert 1.0 == value(registry, "leadership_state", machine="candidate", state="leader")
    assert 0.0 == value(registry, "leadership_terms_ended_total", cause="lease_expired")
    candidate.stop()
    assert 0.0 == value(registry, "leadership_is_leader")
    assert 1.0 == value(registry, "leadership_terms_ended_total", cause="stopped")


def test_what_is_unsubscribed_stands_still(
    sim: Simulation, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    After an observer was unsubscribed from a leader, the lease that it knew of runs out, and nobody leads.
    """
    candidate = Candidate(sim.store, "jobs", node="ann", ttl=3.0)
    unsubscribe = candidate.subscribe(PrometheusObserver(registry))
    candidate.start()
    follow_clock(candidate, monkeypatch)
    sim.advance(10.0)
    assert 1.0 == value(registry, "leadership_is_leader")
    unsubscribe()
    sim.advance(3.0)
    assert candidate.is_leader
    assert 0.0 == value(registry, "leadership_is_leader")


def test_the_metric_leads_before_an_audit_is_written(
    sim: Simulation, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    While a term waits for its audit, the metric says that the election is won, and `is_leader` that nobody may act.
    """
    candidate = Candidate(sim.store, "jobs", node="ann", ttl=3.0, observers=[PrometheusObserver(registry)])
    candidate._start().office.await_audit()
    follow_clock(candidate, monkeypatch)
    sim.advance(2.0)
    assert ("leader", False) == (candidate.state, candidate.is_leader)
    assert 1.0 == value(registry, "leadership_is_leader")


def test_a_second_observer_is_refused(registry: CollectorRegistry) -> None:
    """
    A registry takes one observer, and says what to do; after its close it takes another.
    """
    first = PrometheusObserver(registry)
    with pytest.raises(ConfigError, match="give one PrometheusObserver to all candidates"):
        PrometheusObserver(registry)
    first.close()
    first.close()
    assert {} == scrape(registry)
    PrometheusObserver(registry)


def test_what_was_missed_is_counted(registry: CollectorRegistry) -> None:
    """
    Dropped observations are a counter, which begins at 0.
    """
    observer = PrometheusObserver(registry)
    assert 0.0 == value(registry, "leadership_observations_dropped_total", election="", node="")
    observer.on_dropped(3)
    assert 3.0 == value(registry, "leadership_observations_dropped_total", election="", node="")


def test_illegal_events_move_nothing(registry: CollectorRegistry) -> None:
    """
    What the table refused is no transition.
    """
    PrometheusObserver(registry)(a_record(disposition="illegal", source="idle", dest="idle"))
    assert [] == [name for name, _ in scrape(registry) if name == "leadership_transitions_total"]


def test_nobody_leads_in_a_forked_child(registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    After a fork the child has no series of the parent's candidates.
    """
    monkeypatch.setattr(_clock, "now", lambda: 13.0)
    observer = PrometheusObserver(registry)
    observer(a_record(election="jobs", node="ann"))
    assert 1.0 == value(registry, "leadership_is_leader")
    observer._measures._reset()  # what the hook does; tests/real forks for real
    assert None is value(registry, "leadership_is_leader")


@pytest.mark.parametrize("registry_given", [True, False])
def test_multiprocess_mode_is_said(
    registry_given: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    On the default registry, a process in multi-process mode is warned that these metrics are not in its files.
    """
    monkeypatch.setitem(os.environ, "PROMETHEUS_MULTIPROC_DIR", "somewhere")
    PrometheusObserver(CollectorRegistry() if registry_given else None).close()
    said = [record.getMessage().split()[0] for record in caplog.records]
    assert ([] if registry_given else ["leadership.prometheus_multiprocess"]) == said


def test_missing_client_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without prometheus_client the error says what to install, and the module is imported all the same.
    """
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigError, match=r"pip install leadership\[prometheus\]"):
        PrometheusObserver()

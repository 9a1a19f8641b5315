"""
The alert rules, judged by Prometheus' own promtool on what PrometheusObserver says of simulated elections.

Each run is a few nodes in virtual time, scraped every 15 s; what was scraped is the input of a test of promtool.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from records import a_record
from servers._where import program

from leadership import Candidate, _clock
from leadership.observers import PrometheusObserver
from leadership.testing import Simulation

RULES = Path(__file__).parents[2] / "docs" / "alerts" / "leadership.rules.yml"
EVERY = 15.0
"""Seconds between scrapes."""
ALERTS = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}


class Site:
    """
    Three nodes, and the Prometheus that scrapes them.
    """

    def __init__(self, sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sim = sim
        self.monkeypatch = monkeypatch
        self.registries = {node: CollectorRegistry() for node in ("ann", "bob", "cat")}
        self.observers = {node: PrometheusObserver(registry) for node, registry in self.registries.items()}
        self.candidates = {
            node: Candidate(sim.store, "jobs", node=node, ttl=15.0, observers=[observer], log=False)
            for node, observer in self.observers.items()
        }
        self.gone: set[str] = set()
        """Nodes that do not answer."""
        self.scrapes: list[dict[str, float]] = []

    def start(self) -> None:
        for candidate in self.candidates.values():
            candidate.start()

    @property
    def leader(self) -> Candidate:
        (leader,) = [candidate for candidate in self.candidates.values() if candidate.is_leader]
        return leader

    def hand_over(self) -> None:
        """
        Have the leader resign, and another elected.
        """
        before = self.leader
        before.resign("deploy 42", cool_down=30.0)
        assert self.sim.run_until(lambda: any(each.is_leader for each in self.candidates.values()))
        assert before is not self.leader

    def scrape(self, amid: Callable[[], None] | None = None) -> None:
        """
        Read all nodes that answer, each by its own clock; what is done amid comes after the first, which is the leader.
        """
        read: dict[str, float] = {}
        nodes = [node for node in self.registries if node not in self.gone]
        for number, node in enumerate(sorted(nodes, key=lambda name: not self.candidates[name].is_leader)):
            registry = self.registries[node]
            if number == 1 and amid is not None:
                amid()
            if node in self.sim._stores.engines:
                self.monkeypatch.setattr(_clock, "now", self.sim._stores.engines[node].now)
            for family in text_string_to_metric_families(generate_latest(registry).decode()):
                for sample in family.samples:
                    labels = {**sample.labels, "instance": node}
                    told = ",".join(f"{name}={json.dumps(text)}" for name, text in sorted(labels.items()))
                    read[f"{sample.name}{{{told}}}"] = sample.value
        self.scrapes.append(read)

    def watch(self, minutes: float) -> None:
        """
        Let time pass, and scrape.
        """
        for _ in range(int(minutes * 60 / EVERY)):
            self.sim.advance(EVERY)
            self.scrape()

    def crash(self, node: str) -> None:
        self.sim.fault("crash", node=node)
        self.gone.add(node)

    def judged(self, folder: Path, expected: set[str]) -> str:
        """
        What promtool has against it that these alerts, and no others, have ever fired; nothing where it is so.
        """
        names = {series for read in self.scrapes for series in read}
        # Of a target that does not answer, Prometheus marks the series as stale.
        values = {name: " ".join(str(read.get(name, "stale")) for read in self.scrapes) for name in sorted(names)}
        ever = 'count by (alertname) (max_over_time(ALERTS{alertstate="firing"}[6h]))'
        samples = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(expected)]
        end = f"{int((len(self.scrapes) - 1) * EVERY)}s"
        test: dict[str, Any] = {
            "rule_files": [str(RULES)],
            "evaluation_interval": "15s",
            "tests": [
                {
                    "interval": "15s",
                    "input_series": [{"series": name, "values": text} for name, text in values.items()],
                    "promql_expr_test": [{"expr": ever, "eval_time": end, "exp_samples": samples}],
                }
            ],
        }
        file = folder / "test.yml"
        file.write_text(yaml.safe_dump(test, width=10**9))
        done = subprocess.run(
            [program("promtool"), "test", "rules", str(file)], check=False, capture_output=True, text=True
        )
        return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Any:
    with Simulation(seed=4) as sim:
        yield Site(sim, monkeypatch)


def test_rules_are_sound() -> None:
    """
    promtool finds nothing wrong with the rules, and each says what is the matter and what to do.
    """
    done = subprocess.run(
        [program("promtool"), "check", "rules", "--lint=all", "--lint-fatal", str(RULES)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (0, "") == (done.returncode, done.stderr)
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            assert {"summary", "description"} == rule["annotations"].keys()


def ordinary(site: Site) -> None:
    """
    A start, two deploys, one of them amid a scrape, the crash of a leader and a short outage of the store, in an hour.
    """
    site.start()
    site.watch(7)
    site.hand_over()
    site.watch(8)
    site.scrape(amid=site.hand_over)
    site.watch(15)
    site.crash(str(site.leader.node))
    site.watch(15)
    site.sim.fault("down", seconds=6.0)
    site.watch(15)


def two_leaders(site: Site) -> None:
    """
    Two nodes hold leases that have not run out.
    """
    for node in ("ann", "bob"):
        site.observers[node](a_record(election="jobs", node=node, lease_deadline=1e9))
    for _ in range(20):
        site.scrape()


def no_leader(site: Site) -> None:
    """
    The store is away for five minutes.
    """
    site.start()
    site.watch(10)
    site.sim.fault("down", seconds=300.0)
    site.watch(10)


def nobody_there(site: Site) -> None:
    """
    All nodes crash.
    """
    site.start()
    site.watch(10)
    for node in site.candidates:
        site.crash(node)
    site.watch(10)


def nobody_stands(site: Site) -> None:
    """
    All candidates were stopped.
    """
    site.start()
    site.watch(10)
    for candidate in site.candidates.values():
        candidate.stop()
    site.watch(5)


def flapping(site: Site) -> None:
    """
    Somebody ends the leader's session again and again.
    """
    site.start()
    site.watch(5)
    for _ in range(6):
        site.sim.fault("expire", election="jobs")
        site.watch(2)


def slow_store(site: Site) -> None:
    """
    Each renewal takes about three seconds.
    """
    site.start()
    site.watch(10)
    site.sim.fault("delay", node=str(site.leader.node), least=1.4, most=1.6)
    site.watch(10)


def too_slow(site: Site) -> None:
    """
    Records were dropped.
    """
    site.start()
    site.watch(5)
    site.observers["bob"].on_dropped(3)
    site.watch(5)


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (ordinary, set[str]()),
        (two_leaders, {"LeadershipTwoLeaders"}),
        (no_leader, {"LeadershipNoLeader"}),
        (nobody_there, {"LeadershipNoLeader"}),
        (nobody_stands, {"LeadershipNoLeader"}),
        (flapping, {"LeadershipFlapping"}),
        (slow_store, {"LeadershipRenewalHeadroomLow"}),
        (too_slow, {"LeadershipObservationsDropped"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_alert_fires_on_its_fault_only(
    run: Callable[[Site], None], expected: set[str], site: Site, tmp_path: Path
) -> None:
    """
    What goes wrong fires its alert and no other; what belongs to an ordinary day fires none.
    """
    run(site)
    assert "" == site.judged(tmp_path, expected)


def test_every_alert_has_a_fault() -> None:
    """
    No rule is without a run above that fires it.
    """
    marks = test_each_alert_fires_on_its_fault_only.pytestmark  # type: ignore[attr-defined]
    (runs,) = [mark.args[1] for mark in marks if mark.name == "parametrize"]
    assert set.union(*(expected for _, expected in runs)) == ALERTS

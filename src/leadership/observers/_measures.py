"""
What the observers of metrics count, whatever system they hand it to.

Law 1: whether somebody leads is asked of the lease's deadline when it is read, never remembered: no metric says it past
the local deadline, whether or not the demotion was processed. A resignation shows when its record has come through the
observers' thread, which is at once unless an observer is slow.
Law 2: labels have few values: elections, nodes, and words of the machines' tables. No token, term, attempt or error.
Law 3: what is counted never goes down while the process lives. A candidate that was stopped is `idle` and does not
lead; its counts stay, because the last of them would be lost to whoever reads now and then.
"""

from __future__ import annotations

import os
import threading
import weakref
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, NamedTuple

from leadership import _clock
from leadership.fsm.record import Renewal, Transition
from leadership.fsm.row import DemotionCause, Disposition
from leadership.fsm.states import CandidateState, FollowerState

STATES: Final = {
    "candidate": tuple(state.value for state in CandidateState),
    "follower": tuple(state.value for state in FollowerState),
}
_IDLE: Final = CandidateState.IDLE.value
_LEADER: Final = CandidateState.LEADER.value


class Metric(NamedTuple):
    """
    What is measured, and what it is called.
    """

    name: str
    """By OpenTelemetry's conventions."""
    kind: str
    """`gauge`, `counter` or `histogram`."""
    unit: str
    """As UCUM says it; empty for what has none."""
    counted: str
    """What is counted, where nothing is measured: `transition`."""
    labels: tuple[str, ...]
    about: str

    @property
    def family(self) -> str:
        """
        The name by Prometheus' conventions: what an OpenTelemetry exporter makes of the other one.
        """
        unit = "_seconds" if self.unit == "s" else ""
        return self.name.replace(".", "_") + unit + ("_total" if self.kind == "counter" else "")


WHO: Final = ("election", "node")
IS_LEADER: Final = Metric(
    "leadership.is_leader", "gauge", "", "leader", WHO, "1 while the candidate leads, asked when it is read; else 0."
)
STATE: Final = Metric(
    "leadership.state", "gauge", "", "machine", (*WHO, "machine", "state"), "1 for the present state, 0 for the others."
)
STATE_TIME: Final = Metric(
    "leadership.state.time",
    "counter",
    "s",
    "",
    (*WHO, "machine", "state"),
    "Time spent in each state, the present one included; what was waited between campaigns is `backoff`.",
)
TRANSITIONS: Final = Metric(
    "leadership.transitions",
    "counter",
    "",
    "transition",
    (*WHO, "machine", "trigger", "source", "dest"),
    "Transitions by the edge of the machine that was taken.",
)
TERMS_ENDED: Final = Metric(
    "leadership.terms.ended", "counter", "", "term", (*WHO, "cause"), "Terms that have ended, by cause."
)
RENEWAL_DURATION: Final = Metric(
    "leadership.renewal.duration", "histogram", "s", "", WHO, "From sending a renewal to its acknowledgement."
)
RENEWAL_HEADROOM: Final = Metric(
    "leadership.renewal.headroom", "histogram", "s", "", WHO, "What was left of the lease when it was renewed."
)
RENEWAL_FAILURES: Final = Metric(
    "leadership.renewal.failures", "counter", "", "renewal", WHO, "Renewals that were not acknowledged."
)
LEASE_DURATION: Final = Metric(
    "leadership.lease.duration",
    "gauge",
    "s",
    "",
    WHO,
    "How long the last acknowledged renewal keeps the lease by the local clock, from the moment it was sent.",
)
DROPPED: Final = Metric(
    "leadership.observations.dropped",
    "counter",
    "",
    "observation",
    (),
    "Records and renewals that these metrics have missed, because observers were too slow.",
)
METRICS: Final = (
    IS_LEADER,
    STATE,
    STATE_TIME,
    TRANSITIONS,
    TERMS_ENDED,
    RENEWAL_DURATION,
    RENEWAL_HEADROOM,
    RENEWAL_FAILURES,
    LEASE_DURATION,
    DROPPED,
)
BUCKETS: Final = {
    RENEWAL_DURATION: (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    RENEWAL_HEADROOM: (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0),
}
"""
Upper bounds in seconds.
"""

Labels = tuple[str, ...]
Samples = dict[Labels, float]


class Histogram:
    """
    How many values were not above each bound, and their sum.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """
        Count a value.
        """
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> list[tuple[str, float]]:
        """
        Each bound as text, with how many values were not above it.
        """
        bounds = [*map(str, self.bounds), "+Inf"]
        return list(zip(bounds, map(float, accumulate(self.counts)), strict=True))


@dataclass(slots=True)
class _Life:
    """
    One machine that runs.
    """

    state: str
    since: float
    """On the clock of deadlines."""
    deadline: float | None = None


@dataclass(slots=True)
class _Counts:
    """
    What only rises, by labels.
    """

    transitions: Samples = field(default_factory=dict[Labels, float])
    terms_ended: Samples = field(default_factory=dict[Labels, float])
    failures: Samples = field(default_factory=dict[Labels, float])
    state_time: Samples = field(default_factory=dict[Labels, float])
    shown_time: Samples = field(default_factory=dict[Labels, float])
    """Time in states as it was read last, which included a state that had not been left."""
    histograms: dict[Metric, dict[Labels, Histogram]] = field(
        default_factory=lambda: {metric: {} for metric in BUCKETS}
    )


class Measures:
    """
    Counts what the observer lane tells it, and is read by any thread. Readers and the lane wait for each other, for as
    long as it takes to copy some numbers; the engine waits for neither.
    """

    def __init__(self) -> None:
        self._reset()
        _living.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._lives: dict[Labels, dict[str, _Life]] = {}
        """By election, node and machine, then by incarnation."""
        self._leases: Samples = {}
        self._counts = _Counts()
        self._dropped = 0

    # -- told on the observer lane ------------------------------------------------------------------------------

    def transition(self, record: Transition) -> None:
        """
        Count a record.
        """
        if record.disposition != Disposition.GO:
            return
        who = (record.election, record.node)
        key = (*who, record.machine)
        with self._lock:
            counts = self._counts
            if key not in self._lives:
                self._begin(key)
            _add(counts.transitions, (*key, record.trigger, record.source, record.dest))
            if record.source != _IDLE:
                _add(counts.state_time, (*key, record.source), record.duration)
            if record.cause is not None:
                _add(counts.terms_ended, (*who, record.cause.value))
            lives = self._lives[key]
            if record.dest == _IDLE:
                lives.pop(record.incarnation, None)
            else:
                deadline = record.lease_deadline if record.dest == _LEADER else None
                lives[record.incarnation] = _Life(record.dest, record.monotonic, deadline)

    def _begin(self, key: Labels) -> None:
        """
        Counters that may have to rise begin at 0: a rise from nothing is seen by nobody.
        """
        self._lives[key] = {}
        election, node, machine = key
        if machine == "candidate":
            for cause in DemotionCause:
                self._counts.terms_ended.setdefault((election, node, cause.value), 0.0)
            self._counts.failures.setdefault((election, node), 0.0)

    def renewal(self, renewal: Renewal) -> None:
        """
        Count a renewal. Only leaders renew: whoever is not known yet, because it led when it was subscribed to, leads.
        """
        who = (renewal.election, renewal.node)
        key = (*who, "candidate")
        with self._lock:
            if key not in self._lives:
                self._begin(key)
            lives = self._lives[key]
            if renewal.incarnation not in lives:
                lives[renewal.incarnation] = _Life(_LEADER, renewal.monotonic, renewal.lease_deadline)
            if renewal.error is not None:
                _add(self._counts.failures, who)
                return
            for metric, value in ((RENEWAL_DURATION, renewal.latency), (RENEWAL_HEADROOM, renewal.headroom)):
                kept = self._counts.histograms[metric]
                if who not in kept:
                    kept[who] = Histogram(BUCKETS[metric])
                kept[who].add(value)
            self._leases[who] = renewal.lease_deadline - renewal.monotonic + renewal.latency
            life = lives[renewal.incarnation]
            if life.state == _LEADER:
                life.deadline = renewal.lease_deadline

    def dropped(self, count: int) -> None:
        """
        Count what was missed.
        """
        with self._lock:
            self._dropped += count

    # -- read by any thread -------------------------------------------------------------------------------------

    def read(self, metric: Metric) -> Samples:
        """
        The samples of a metric at this moment, by the values of its labels.
        """
        now = _clock.now()
        with self._lock:
            if metric is IS_LEADER:
                return dict(self._leaders(now))
            if metric is STATE:
                return dict(self._states())
            if metric is STATE_TIME:
                return self._state_time(now)
            if metric is DROPPED:
                return {(): float(self._dropped)}
            kept = {
                TRANSITIONS: self._counts.transitions,
                TERMS_ENDED: self._counts.terms_ended,
                RENEWAL_FAILURES: self._counts.failures,
                LEASE_DURATION: self._leases,
            }
            return dict(kept[metric])

    def read_histogram(self, metric: Metric) -> dict[Labels, tuple[list[tuple[str, float]], float]]:
        """
        By the values of its labels: the cumulative counts, and the sum.
        """
        with self._lock:
            kept = self._counts.histograms[metric]
            return {labels: (histogram.cumulative(), histogram.sum) for labels, histogram in kept.items()}

    def _leaders(self, now: float) -> Iterator[tuple[Labels, float]]:
        for (election, node, machine), lives in self._lives.items():
            if machine == "candidate":
                leads = any(life.deadline is not None and now < life.deadline for life in lives.values())
                yield (election, node), float(leads)

    def _states(self) -> Iterator[tuple[Labels, float]]:
        for key, lives in self._lives.items():
            present = {life.state for life in lives.values()} or {_IDLE}
            for state in STATES[key[2]]:
                yield (*key, state), float(state in present)

    def _state_time(self, now: float) -> Samples:
        counts = self._counts
        times = dict(counts.state_time)
        for key, lives in self._lives.items():
            for life in lives.values():
                _add(times, (*key, life.state), max(0.0, now - life.since))
        for labels, spent in times.items():  # a counter never goes down, and a record may come later than its moment
            times[labels] = counts.shown_time[labels] = max(spent, counts.shown_time.get(labels, 0.0))
        return times


def _add(samples: Samples, labels: Labels, much: float = 1.0) -> None:
    samples[labels] = samples.get(labels, 0.0) + much


_living: Final[weakref.WeakSet[Measures]] = weakref.WeakSet()


def _forked_all() -> None:
    """
    In a forked child: nobody leads here, nothing was counted, and the lock may have been held by another thread.
    """
    for measures in list(_living):
        measures._reset()  # noqa: SLF001 - of this module


os.register_at_fork(after_in_child=_forked_all)

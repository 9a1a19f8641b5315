"""
Renewals, as observers hear of them, and what an observer has missed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from records import a_renewal

from leadership import Candidate, ConfigError, Transition
from leadership._runtime import dispatch, keeper
from leadership._runtime.dispatch import Dispatcher
from leadership._runtime.renewals import listener as looked_up
from leadership.fsm.record import Renewal
from leadership.testing import Simulation


class Listener:
    """
    Keeps what it is told.
    """

    def __init__(self) -> None:
        self.records: list[Transition] = []
        self.renewals: list[Renewal] = []
        self.missed: list[int] = []

    def __call__(self, record: Transition) -> None:
        self.records.append(record)

    def on_renewal(self, renewal: Renewal) -> None:
        self.renewals.append(renewal)

    def on_dropped(self, count: int) -> None:
        self.missed.append(count)


def test_each_renewal_is_told(sim: Simulation) -> None:
    """
    A leader's renewals are told with what was left of the lease, as many as its record counts at the end.
    """
    listener = Listener()
    candidate = Candidate(sim.store, "jobs", node="ann", ttl=3.0, observers=[listener, lambda _record: None])
    candidate.start()
    sim.advance(10.5)
    candidate.stop()

    ends = [record for record in listener.records if record.source == "leader"]
    assert [len(listener.renewals)] == [record.renewals for record in ends]
    assert {("jobs", "ann", 1, None)} == {(r.election, r.node, r.token, r.error) for r in listener.renewals}
    assert {ends[0].incarnation} == {renewal.incarnation for renewal in listener.renewals}
    for renewal in listener.renewals:
        assert 1.7 == pytest.approx(renewal.headroom + renewal.latency, abs=0.2)
        assert 2.7 == pytest.approx(renewal.lease_deadline - renewal.monotonic + renewal.latency)


def test_failed_renewals_are_told_before_the_end(sim: Simulation) -> None:
    """
    Renewals that fail are told with their error and ever less headroom, and the deadline does not move.
    """
    listener = Listener()
    candidate = Candidate(sim.store, "jobs", node="ann", ttl=3.0, observers=[listener])
    candidate.start()
    sim.advance(4.0)
    deadline = listener.renewals[-1].lease_deadline
    sim.fault("down")
    sim.run_until(lambda: not candidate.is_leader)

    failed = [renewal for renewal in listener.renewals if renewal.error is not None]
    assert len(failed) >= 2
    assert sorted((renewal.headroom for renewal in failed), reverse=True) == [r.headroom for r in failed]
    assert {deadline} == {renewal.lease_deadline for renewal in failed}
    assert all(str(renewal.error).startswith("StoreUnavailable: ") for renewal in failed)


def test_nobody_else_hears_of_renewals(sim: Simulation) -> None:
    """
    One who waits has no lease to renew, and is told nothing.
    """
    leads, waits = Listener(), Listener()
    first = Candidate(sim.store, "jobs", node="ann", ttl=3.0, observers=[leads])
    first.start()
    sim.run_until(lambda: first.is_leader)
    second = Candidate(sim.store, "jobs", node="bob", ttl=3.0, observers=[waits])
    second.start()
    sim.advance(10.0)

    assert leads.renewals
    assert [] == waits.renewals


def test_an_observer_is_told_what_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    When the lane was full, an observer that wants to know is told how many of its own calls were dropped.
    """
    monkeypatch.setattr(dispatch, "CAPACITY", 2)
    dispatcher = Dispatcher()
    free, busy = threading.Event(), threading.Event()
    listener, other = Listener(), Listener()

    def slow() -> None:
        busy.set()
        free.wait(30.0)

    one, two = looked_up(listener), looked_up(other)
    dispatcher.put(slow)
    assert busy.wait(30.0)
    for _ in range(5):
        dispatcher.put(listener.on_renewal, a_renewal(), on_dropped=one.on_dropped)  # two fit
    dispatcher.put(other, None, on_dropped=two.on_dropped)
    free.set()
    dispatcher.drain(30.0)

    assert [3] == listener.missed
    assert 2 == len(listener.renewals)
    assert [1] == other.missed
    assert 4 == dispatcher.dropped


class Changeable(Listener):
    """
    An observer whose attributes are code, and can come to grief at any time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.broken = False
        self.looked_up_by: set[str] = set()

    def __getattribute__(self, name: str) -> Any:
        if name in ("on_renewal", "on_dropped"):
            if object.__getattribute__(self, "broken"):
                msg = "gone"
                raise RuntimeError(msg)
            object.__getattribute__(self, "looked_up_by").add(threading.current_thread().name)
        return object.__getattribute__(self, name)


def two_elections(sim: Simulation, observer: Callable[..., Any] | None = None) -> tuple[Candidate, Candidate]:
    """
    Two leaders of one process that share a session; the first has an observer.
    """
    observers = [] if observer is None else [observer]
    first = Candidate(sim.store, "first", node="ann", ttl=3.0, observers=observers)
    second = Candidate(sim.store, "second", node="ann", ttl=3.0)
    for candidate in (first, second):
        candidate.start()
    sim.run_until(lambda: first.is_leader and second.is_leader)
    return first, second


def test_methods_of_an_observer_are_looked_up_when_it_is_given(sim: Simulation) -> None:
    """
    Once, by whoever gives it: an observer whose attributes raise later stops neither its own election nor another.
    """
    observer = Changeable()
    first, second = two_elections(sim, observer)
    assert {threading.current_thread().name} == observer.looked_up_by
    observer.broken = True
    sim.advance(20.0)

    assert (True, True) == (first.is_leader, second.is_leader)
    assert 1 == len({record.token for record in second.history if record.dest == "leader"})
    assert len(object.__getattribute__(observer, "renewals")) > 10, "by the method that was found"


def test_fault_of_one_leader_keeps_no_renewal_from_another(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    All who share a session are extended before any observer is told, and a fault on the way is logged.
    """
    broken: list[str] = []

    def tell(driver: Any, *_told: object) -> None:
        if driver.election in broken:
            msg = "a bug"
            raise RuntimeError(msg)

    monkeypatch.setattr(keeper, "tell_renewal", tell)
    first, second = two_elections(sim)
    assert first._driver is not None
    assert second._driver is not None
    assert first._driver.campaign.keeper is second._driver.campaign.keeper
    broken += ["first", "second"]
    sim.advance(20.0)

    assert (True, True) == (first.is_leader, second.is_leader)


def test_leader_whose_lease_is_not_extended_is_demoted(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Whatever fault keeps renewals from a term, its own deadline ends it, though its session lives on, and others keep
    their leases.
    """
    first, second = two_elections(sim)
    assert first._driver is not None

    def renewed(_event: object) -> None:
        msg = "a bug"
        raise RuntimeError(msg)

    monkeypatch.setattr(first._driver, "renewed", renewed)
    sim.run_until(lambda: not first.is_leader)
    sim.advance(3.0)

    ends = [(record.trigger, str(record.cause)) for record in first.history if record.source == "leader"]
    assert [("lease_expired", "lease_expired")] == ends[:1]
    assert 1 == sum(record.dest == "leader" for record in second.history)
    assert second.is_leader
    assert "leadership.engine_fault" in caplog.text


class Raises(Listener):
    """
    Nobody knows how it wants to be told.
    """

    @property
    def on_renewal(self) -> Any:
        msg = "not today"
        raise RuntimeError(msg)


class Awaits(Listener):
    """
    Nobody would await it.
    """

    async def on_renewal(self, renewal: Renewal) -> None:  # type: ignore[override]  # as above
        self.renewals.append(renewal)


class TakesNothing(Listener):
    """
    It could not be told how many.
    """

    def on_dropped(self) -> None:  # type: ignore[override]  # as above
        self.missed.append(1)


@pytest.mark.parametrize(
    ("observer", "says"),
    [
        (Raises(), "an observer's on_renewal raises RuntimeError when it is looked up: not today"),
        (Awaits(), r"an observer's on_renewal needs a function of \(renewal\), and .* is a coroutine function"),
        (TakesNothing(), r"an observer's on_dropped needs a function of \(count\), and .* takes \(\)"),
    ],
)
def test_methods_that_could_not_be_called_are_refused(observer: Listener, says: str) -> None:
    """
    When the observer is given or subscribed, not at the first renewal.
    """
    with pytest.raises(ConfigError, match=says):
        Candidate("memory://", "jobs", observers=[observer])
    candidate = Candidate("memory://", "jobs")
    with pytest.raises(ConfigError, match=says):
        candidate.subscribe(observer)


def test_an_observer_without_words_for_itself_ends_no_lane() -> None:
    """
    One that raises, and whose repr() raises as well: it is logged, and its neighbours are told on.
    """

    class Wordless:
        def __call__(self, _record: object) -> None:
            raise ValueError

        def __repr__(self) -> str:
            raise SystemExit

    dispatcher, told = Dispatcher(), Listener()
    for _ in range(2):
        dispatcher.put(Wordless(), None)
        dispatcher.put(told, None)
    dispatcher.drain(30.0)

    assert 2 == len(told.records)

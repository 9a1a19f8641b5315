"""
The whole public API, with the types that a user sees. Never run: mypy --strict and pyright read it.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, assert_type

import leadership
from leadership import (
    AsyncCandidate,
    AsyncFollower,
    AsyncTerm,
    AuditLog,
    Backoff,
    Candidate,
    CandidateState,
    ConfigError,
    DemotionCause,
    Follower,
    FollowerState,
    IllegalTransition,
    Leader,
    LeadershipError,
    NotLeader,
    Store,
    StoreRefused,
    StoreUnavailable,
    Term,
    Timing,
    Transition,
    connect,
)
from leadership.health import HealthApp
from leadership.observers import (
    DropObserver,
    Observer,
    OpenTelemetryObserver,
    PrometheusObserver,
    Renewal,
    RenewalObserver,
)
from leadership.testing import Simulation, make_term


def use_stores() -> Store:
    """
    From a URL, with or without options; a context manager.
    """
    with connect("memory://") as store:
        assert_type(store, Store)
        assert_type(store.url, str)
        assert_type(store.timing(15.0), Timing)
        store.close()
    return connect("sqlite:///leadership.db")


def use_candidate(store: Store, candidate: Candidate) -> None:
    """
    All that a candidate has.
    """
    Candidate("memory://", "jobs")
    Candidate(
        store,
        "jobs",
        "node",
        ttl=15.0,
        grace=5.0,
        backoff=Backoff(initial=0.1, factor=2.0, maximum=5.0, retries=None),
        cool_down=1.0,
        on_callback_error="keep",
        observers=[print, AuditLog("audit.jsonl")],
        metadata={"address": "10.0.0.1:80", "tags": ["a"]},
        log=False,
    )
    candidate.start()
    assert_type(candidate.stop(), bool)
    assert_type(candidate.stop(timeout=1.0), bool)
    assert_type(candidate.resign(), bool)
    assert_type(candidate.resign("reason", rejoin=False, cool_down=1.0, timeout=2.0), bool)
    candidate.run()
    candidate.run(signals=(signal.SIGTERM,))
    with candidate as same:
        assert_type(same, Candidate)
    assert_type(candidate.election, str)
    assert_type(candidate.node, str | None)
    assert_type(candidate.state, CandidateState)
    assert_type(candidate.is_leader, bool)
    assert_type(candidate.term, Term | None)
    assert_type(candidate.leader, Leader | None)
    assert_type(candidate.is_stale, bool)
    assert_type(candidate.timing, Timing)
    assert_type(candidate.history, tuple[Transition, ...])
    assert_type(candidate.diagram(), str | bytes)
    assert_type(candidate.diagram(format="dot"), str | bytes)
    assert_type(candidate.wait_elected(), Term | None)
    assert_type(candidate.wait_elected(timeout=1.0), Term | None)
    assert_type(candidate.wait_leader(1.0), Leader | None)
    assert_type(candidate.elections(), Iterator[bool])
    assert_type(candidate.subscribe(print), Callable[[], None])
    assert_type(candidate.liveness_fds(), tuple[int, ...])
    use_status(candidate)


def use_status(candidate: Candidate) -> None:
    """
    A candidate at one moment.
    """
    status = candidate.status()
    assert_type(status.as_dict(), dict[str, Any])
    assert_type(status.election, str)
    assert_type(status.node, str | None)
    assert_type(status.state, CandidateState)
    assert_type(status.since, str | None)
    assert_type(status.why, str)
    assert_type(status.is_leader, bool)
    assert_type(status.token, int | None)
    assert_type(status.lease_remaining, float | None)
    assert_type(status.leader, str | None)
    assert_type(status.is_stale, bool)
    assert_type(status.last_error, str | None)
    assert_type(status.attempts, int)
    assert_type(status.next_retry, float | None)
    assert_type(status.renewal_overdue, bool)
    assert_type(status.running_callbacks, tuple[str, ...])
    assert_type(status.timing, Timing)


def use_callbacks(candidate: Candidate, follower: Follower) -> None:
    """
    Decorators give back the function that they were given, with its own type.
    """

    @candidate.on_elected
    def lead(term: Term) -> int:
        term.check()
        return term.token

    assert_type(lead(make_term()), int)

    @candidate.on_demoted
    def stand_down(term: Term, cause: DemotionCause) -> str:
        return f"{term.token} {cause.value}"

    assert_type(stand_down(make_term(token=2, lasts=1.0), DemotionCause.RESIGNED), str)

    @candidate.on_leader_changed
    @follower.on_leader_changed
    def changed(leader: Leader | None) -> None:
        print(leader)

    @candidate.on_transition
    @follower.on_transition
    def moved(transition: Transition) -> None:
        print(transition.as_dict())

    @candidate.on_error
    @follower.on_error
    def failed(error: BaseException) -> None:
        print(error)


def use_term(term: Term) -> None:
    """
    All that a term has.
    """
    assert_type(term.election, str)
    assert_type(term.node, str)
    assert_type(term.token, int)
    assert_type(term.elected_at, datetime)
    assert_type(term.deadline, float)
    assert_type(term.is_current, bool)
    assert_type(term.remaining(), float)
    assert_type(term.wait(), bool)
    assert_type(term.wait(timeout=1.0), bool)
    assert_type(term.cause, DemotionCause | None)
    assert_type(term.detail, str)
    assert_type(term.reason, str | None)
    term.check()


def use_leader(leader: Leader) -> None:
    """
    All that a leader has.
    """
    assert_type(leader.node, str)
    assert_type(leader.token, int)
    assert_type(leader.metadata, Mapping[str, Any])
    assert_type(leader.is_self, bool)


def use_transition(transition: Transition) -> None:
    """
    All that a record has.
    """
    assert_type(transition.seq, int)
    assert_type(transition.at, datetime)
    assert_type(transition.monotonic, float)
    assert_type((transition.machine, transition.election, transition.node), tuple[str, str, str])
    assert_type((transition.boot, transition.incarnation), tuple[str, str])
    assert_type((transition.trigger, transition.source, transition.dest), tuple[str, str, str])
    assert_type(transition.guard, str | None)
    assert_type(transition.disposition, str)
    assert_type(transition.cause, DemotionCause | None)
    assert_type((transition.reason, transition.error, transition.term), tuple[str | None, str | None, str | None])
    assert_type((transition.token, transition.attempt, transition.revision), tuple[int | None, int, int | None])
    assert_type(transition.lease_deadline, float | None)
    assert_type((transition.duration, transition.renewals), tuple[float, int])
    assert_type((transition.trace_id, transition.span_id), tuple[str | None, str | None])
    assert_type(transition.as_dict(), dict[str, Any])


def use_timing(timing: Timing) -> None:
    """
    All figures.
    """
    assert_type(timing.ttl + timing.effective_ttl + timing.renew_interval + timing.steps_down_after, float)
    assert_type(timing.crash_takeover + timing.death_takeover + timing.resign_takeover, float)
    assert_type(timing.clock_drift, float)
    assert_type(timing.as_dict(), dict[str, float])


def use_follower(store: Store) -> None:
    """
    All that a follower has.
    """
    with Follower(store, "jobs", backoff=Backoff(), observers=(print,), log=True) as follower:
        assert_type(follower.state, FollowerState)
        assert_type(follower.election, str)
        assert_type(follower.leader, Leader | None)
        assert_type(follower.is_stale, bool)
        assert_type(follower.wait_leader(timeout=1.0), Leader | None)
        assert_type(follower.leaders(), Iterator[Leader | None])
        assert_type(follower.history, tuple[Transition, ...])
        assert_type(follower.status().as_dict(), dict[str, Any])
        assert_type(follower.diagram(), str | bytes)
        assert_type(follower.subscribe(print), Callable[[], None])
    follower.start()
    assert_type(follower.stop(), bool)
    follower.run()


async def use_asyncio(store: Store) -> None:
    """
    The same words, awaited.
    """
    async with AsyncCandidate(store, "jobs", "a", ttl=15.0, metadata={}) as candidate:
        assert_type(await candidate.wait_elected(timeout=1.0), AsyncTerm | None)
        assert_type(await candidate.wait_leader(), Leader | None)
        assert_type(await candidate.resign("reason", rejoin=True, cool_down=1.0, timeout=2.0), bool)
        assert_type(candidate.elections(), AsyncIterator[bool])
        assert_type(candidate.term, AsyncTerm | None)
        assert_type(candidate.is_leader, bool)
        assert_type(candidate.state, CandidateState)
        assert_type(candidate.timing, Timing)
        assert_type(candidate.status().running_callbacks, tuple[str, ...])
        assert_type(await candidate.stop(), bool)

        @candidate.on_elected
        async def lead(term: AsyncTerm) -> None:
            assert_type(await term.wait(1.0), bool)
            assert_type((term.token, term.is_current, term.remaining()), tuple[int, bool, float])
            assert_type((term.cause, term.detail, term.reason), tuple[DemotionCause | None, str, str | None])
            assert_type((term.election, term.node, term.elected_at), tuple[str, str, datetime])
            term.check()

        @candidate.on_demoted
        def stand_down(term: Term, cause: DemotionCause) -> None:
            print(term, cause)

        await lead(AsyncTerm(make_term()))
        stand_down(make_term(), DemotionCause.STOPPED)
    async with AsyncFollower(store, "jobs") as follower:
        assert_type(follower.state, FollowerState)
        assert_type(follower.leaders(), AsyncIterator[Leader | None])
        async for leader in follower.leaders():
            assert_type(leader, Leader | None)
    await asyncio.wait_for(candidate.run(), 1.0)


def use_errors(candidate: Candidate) -> None:
    """
    One base, children by what the caller can do.
    """
    try:
        candidate.run()
    except (StoreUnavailable, StoreRefused):
        raise
    except (ConfigError, NotLeader, IllegalTransition) as error:
        assert_type(error, ConfigError | NotLeader | IllegalTransition)
    except LeadershipError as error:
        print(error)


def use_observers(candidate: Candidate, follower: AsyncFollower) -> None:
    """
    Metrics, traces, and the health app.
    """
    for each in (PrometheusObserver(), OpenTelemetryObserver()):
        observer: Observer = each
        renewals: RenewalObserver = each
        drops: DropObserver = each
        candidate.subscribe(observer)
        print(renewals.on_renewal, drops.on_dropped)
        each.close()
    app = HealthApp(candidate, follower, node="a")
    assert_type(app.answer("GET", "/leader").body, bytes)


def use_renewal(renewal: Renewal) -> None:
    """
    What is told of one.
    """
    assert_type(renewal.headroom, float)
    assert_type(renewal.error, str | None)


def use_testing() -> None:
    """
    Virtual time.
    """
    with Simulation(seed=1) as sim:
        candidate = Candidate(sim.store, "jobs", node="a")
        candidate.start()
        assert_type(sim.run_until(lambda: candidate.is_leader, timeout=1.0), bool)
        sim.fault("partition", node="a", seconds=1.0)
        sim.advance(1.0)
        sim.heal()
        assert_type(sim.now, float)


assert_type(leadership.__all__, list[str])

"""
A follower in trouble: it says that it does not know, is never stuck, and gives up only what cannot be mended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import pytest
from witness import path, witness_leaders

from leadership import Backoff, Candidate, Follower, StoreRefused, StoreUnavailable
from leadership.store import Fact, Holder, Notify, Watch, WatchEvent
from leadership.testing import Simulation
from leadership.testing._store import SimulatedStore

FOLLOWERS = ""
"""The simulated process of followers that stand on `sim.store` itself."""


@pytest.fixture
def leader(sim: Simulation) -> Candidate:
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0, metadata={"at": "10.0.0.1:80"})
    candidate.start()
    candidate.wait_elected()
    return candidate


@pytest.fixture
def follower(sim: Simulation) -> Follower:
    return Follower(sim.store, "jobs")


def node(follower: Follower) -> str | None:
    return None if follower.leader is None else follower.leader.node


def test_a_broken_watch_makes_it_stale(sim: Simulation, follower: Follower, leader: Candidate) -> None:
    """
    Cut off, it keeps the last leader and says that it is stale; healed, it knows again. Both are told.
    """
    told = witness_leaders(follower)
    follower.start()
    sim.advance(1.0)
    sim.fault("partition", node=FOLLOWERS)
    sim.advance(25.0)
    assert ("a", True) == (node(follower), follower.is_stale)
    assert follower.state in ("syncing", "error", "backoff")
    sim.heal()
    sim.advance(1.0)

    assert ("a", False, "following") == (node(follower), follower.is_stale, follower.state)
    assert ["a", "a stale", "a"] == told
    assert leader.is_leader


def test_nobody_new_is_told_twice(sim: Simulation, follower: Follower, leader: Candidate) -> None:
    """
    Five hours of looking again tell nothing when nothing has changed.
    """
    told = witness_leaders(follower)
    follower.start()
    sim.advance(5 * 3600.0)

    assert ["a"] == told
    assert 2 == len(follower.history)
    assert leader.is_leader


def test_a_change_that_no_watch_told_is_found(sim: Simulation, follower: Follower, leader: Candidate) -> None:
    """
    The truth is read again every 15 seconds, whatever the watch says.
    """
    follower.start()
    sim.advance(1.0)
    sim._network.server.elections["jobs"].watchers.clear()  # the watch has gone deaf without saying so
    leader.stop()
    sim.advance(15.1)

    assert "vacant" == follower.state


def test_recovers_after_a_wipe(sim: Simulation, follower: Follower, leader: Candidate) -> None:
    """
    A store that has lost its data, and counts its tokens anew, is believed again.
    """
    for _ in range(5):
        leader.resign(cool_down=0.0)
        leader.wait_elected()
    follower.start()
    assert follower.wait_leader() is not None
    leader.stop()
    sim.fault("wipe")
    sim.advance(1.0)
    other = Candidate(sim.store, "jobs", node="b", ttl=3.0)
    other.start()
    other.wait_elected()
    sim.advance(16.0)

    assert ("b", 1, False) == (node(follower), follower.leader and follower.leader.token, follower.is_stale)


FAULTS: dict[str, Callable[[Simulation], None]] = {
    "hang": lambda sim: sim.fault("hang"),
    "down": lambda sim: sim.fault("down"),
    "partition": lambda sim: sim.fault("partition", node=FOLLOWERS),
    "replies lost": lambda sim: sim.fault("lose_replies", node=FOLLOWERS),
    "half of all lost": lambda sim: sim.fault("loss", node=FOLLOWERS, part=0.5),
    "stall": lambda sim: sim.fault("stall", node=FOLLOWERS),
    "slow": lambda sim: sim.fault("delay", node=FOLLOWERS, least=2.0, most=6.0),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("started", ["before", "within"])
def test_is_never_stuck(sim: Simulation, follower: Follower, fault: str, started: str) -> None:
    """
    Whatever lasted for a minute, half a minute after its end it follows the leader that there is.
    """
    leader = Candidate(sim.store, "jobs", node="a", ttl=3.0)
    leader.start()
    if started == "before":
        follower.start()
    sim.advance(1.0)
    FAULTS[fault](sim)
    follower.start()
    sim.advance(60.0)
    sim.heal()
    sim.advance(30.0)

    assert ("following", "a", False) == (follower.state, node(follower), follower.is_stale)
    assert [] == [record for record in follower.history if record.disposition == "illegal"]


def test_retries_are_spaced(sim: Simulation, follower: Follower) -> None:
    """
    An hour without a store costs few attempts, and an error told for each.
    """
    errors: list[BaseException] = []
    follower.on_error(errors.append)
    sim.fault("down")
    follower.start()
    sim.advance(3600.0)

    assert 3600 / 15 <= len(errors) <= 3600 / 2
    assert "StoreUnavailable: the simulated store refuses connections" == follower.status().last_error


def test_a_refusal_ends_it(sim: Simulation, follower: Follower) -> None:
    """
    Credentials that are refused end it in idle with the error, raised by run, wait_leader and leaders.
    """
    sim.fault("refuse", node=FOLLOWERS)
    errors: list[BaseException] = []
    follower.on_error(errors.append)
    with pytest.raises(StoreRefused):
        follower.run()
    assert (["idle", "syncing", "error", "idle"], [StoreRefused]) == (path(follower), [type(error) for error in errors])
    for call in (follower.wait_leader, lambda: list(follower.leaders())):
        with pytest.raises(StoreRefused, match="these credentials"):
            call()
    sim.heal()
    follower.start()

    assert follower.wait_leader(timeout=1.0) is None
    assert "vacant" == follower.state


def test_retries_end_only_where_that_was_asked(sim: Simulation) -> None:
    """
    With Backoff(retries=2) three attempts are made, and the error of the last is raised.
    """
    sim.fault("partition", node=FOLLOWERS)
    follower = Follower(sim.store, "jobs", backoff=Backoff(retries=2))
    with pytest.raises(StoreUnavailable, match="read: no answer within 5 s"):
        follower.run()

    assert 3 == path(follower).count("syncing")


def test_the_view_of_a_candidate_outlives_its_retries(sim: Simulation) -> None:
    """
    A leader that may not retry its campaigns has one read that fails: it leads on, and does not stop following.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=15.0, backoff=Backoff(retries=0))
    clock = sim.store.seen_by("a").engine.now
    sim.advance(17.5 - clock() % 15.0)  # so that renewals, every 5 s from here, lie between the reads, every 15 s
    candidate.start()
    candidate.wait_elected()
    sim.advance(15.0 - clock() % 15.0)
    sim.fault("lose_replies", node="a", seconds=5.5)
    assert sim.run_until(lambda: candidate.is_stale, timeout=20.0)
    sim.advance(60.0)

    assert (True, False) == (candidate.is_leader, candidate.is_stale)


def test_watches_that_close_at_once_are_spaced(
    sim: Simulation, follower: Follower, leader: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A store that can be read, and closes each watch as soon as it is opened, is not asked in a busy loop.
    """
    watch, opened = SimulatedStore.watch, list[float]()

    def closing(store: SimulatedStore, election: str, notify: Notify) -> Watch:
        if store.node == FOLLOWERS:
            opened.append(sim.now)
            error = StoreUnavailable("this watch has ended")
            sim._world.loop.call_later(0.001, lambda: notify(WatchEvent(Fact.WATCH_CLOSED, error=error)))
        return watch(store, election, notify)

    monkeypatch.setattr(SimulatedStore, "watch", closing)
    follower.start()
    sim.advance(60.0)

    assert 5 < len(opened) < 40
    assert "a" == node(follower)


def test_failures_are_forgotten_when_a_leader_is_seen(
    sim: Simulation, leader: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    One retry is allowed, and three reads fail, with the truth read in between: that is one failure at a time.
    """
    read, fails = SimulatedStore.read, list[str]()

    async def reading(store: SimulatedStore, elections: Sequence[str]) -> Mapping[str, Holder | None]:
        if store.node == FOLLOWERS and fails:
            raise StoreUnavailable(fails.pop())
        return await read(store, elections)

    monkeypatch.setattr(SimulatedStore, "read", reading)
    follower = Follower(sim.store, "jobs", backoff=Backoff(retries=1))
    follower.start()
    for number in range(3):
        assert sim.run_until(lambda: node(follower) == "a" and not follower.is_stale)
        fails.append(f"failure {number}")
        assert sim.run_until(lambda: follower.is_stale)

    assert sim.run_until(lambda: node(follower) == "a" and not follower.is_stale)


def slow_reads(monkeypatch: pytest.MonkeyPatch, *, fails: bool) -> list[float]:
    """
    Have the next read of the followers answered three seconds after the store was asked, or fail by then; when one was
    added to the list.
    """
    read, slow = SimulatedStore.read, list[float]()

    async def reading(store: SimulatedStore, elections: Sequence[str]) -> Mapping[str, Holder | None]:
        seconds = slow.pop() if store.node == FOLLOWERS and slow else 0.0
        found = await read(store, elections)
        await asyncio.sleep(seconds)
        if seconds and fails:
            msg = "it took too long"
            raise StoreUnavailable(msg)
        return found

    monkeypatch.setattr(SimulatedStore, "read", reading)
    return slow


def test_a_read_that_was_overtaken_sets_nothing_back(
    sim: Simulation, follower: Follower, leader: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    While a read is under way another leads, and the watch tells: what the read has found is not believed any more.
    """
    second = Candidate(sim.store, "jobs", node="b", ttl=3.0)
    second.start()
    told = witness_leaders(follower)
    follower.start()
    sim.advance(1.0)
    slow = slow_reads(monkeypatch, fails=False)
    slow.append(3.0)
    assert sim.run_until(lambda: not slow), "the truth is read again"
    sim.advance(0.1)
    leader.stop()
    assert sim.run_until(lambda: node(follower) == "b")
    sim.advance(5.0)

    assert "b" == node(follower)
    assert ["a", "nobody", "b"] == told


def test_a_read_that_fails_late_says_nothing_of_now(
    sim: Simulation, follower: Follower, leader: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A read fails after a later one was answered: the view is as fresh as that, and no error is told.
    """
    follower.start()
    sim.advance(1.0)
    slow = slow_reads(monkeypatch, fails=True)
    slow.append(3.0)
    assert sim.run_until(lambda: not slow)
    sim.fault("partition", node=FOLLOWERS, seconds=0.1)  # its watch breaks, and it reads anew
    sim.advance(1.0)
    assert ("a", False) == (node(follower), follower.is_stale)
    sim.advance(5.0)

    assert "error" not in path(follower)
    assert ("a", False) == (node(follower), follower.is_stale)


def test_a_watch_that_speaks_after_its_end_is_not_heard(
    sim: Simulation, follower: Follower, leader: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Stores must not tell anything by a watch that was closed; one that does changes nothing.
    """
    watch, heard = SimulatedStore.watch, list[Notify]()

    def watching(store: SimulatedStore, election: str, notify: Notify) -> Watch:
        if store.node == FOLLOWERS:
            heard.append(notify)
        return watch(store, election, notify)

    monkeypatch.setattr(SimulatedStore, "watch", watching)
    follower.start()
    sim.advance(1.0)
    sim.fault("partition", node=FOLLOWERS, seconds=0.1)
    sim.advance(5.0)
    assert 2 == len(heard)
    sim._world.loop.call_soon(heard[0], WatchEvent(Fact.LEADER_OBSERVED, holder=Holder("ghost", 99, "s", {})))
    sim.advance(1.0)

    assert "a" == node(follower)

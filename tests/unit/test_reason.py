"""
Why a term ended, as those learn who follow: the operator's words and the program's own.
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest
from witness import path

from leadership import Candidate, ConfigError, Follower, connect
from leadership._runtime.api import request_resign
from leadership._runtime.cleanup import PATIENCE
from leadership.checks import MOST_REASON
from leadership.fsm.record import Transition
from leadership.store import Entry, Fact, Outcome, Reply, WatchEvent
from leadership.testing import Simulation


def standing(sim: Simulation, node: str, **settings: float) -> Candidate:
    candidate = Candidate(sim.store, "jobs", node=node, ttl=3.0, **settings)  # type: ignore[arg-type]  # seconds only
    candidate.start()
    sim.advance(0.1)
    return candidate


def following(sim: Simulation) -> Follower:
    follower = Follower(sim.store, "jobs")
    follower.start()
    sim.advance(0.1)
    return follower


def asks(sim: Simulation, reason: str | None, token: int = 1) -> None:
    """
    An operator's request, made now.
    """
    engine, call = sim.store.engine, partial(sim.store.request_resign, "jobs", token, reason)
    engine.call_soon(engine.request, "ask", call, 1.0, lambda _reply, _late: None)


def ends(follower: Follower) -> list[tuple[str, str | None]]:
    """
    Where each record leads that left a leader, and its reason.
    """
    return [(record.dest, record.reason) for record in follower.history if record.source == "following"]


def reasons(records: tuple[Transition, ...]) -> set[str | None]:
    return {record.reason for record in records} - {None}


def test_followers_learn_why_a_leader_resigned(sim: Simulation) -> None:
    """
    The reason is on the record of the vacancy and in the status, until a term ends without one.
    """
    candidate, follower = standing(sim, "a", cool_down=0.5), following(sim)
    assert follower.status().reason is None
    candidate.resign("deploy 42")
    sim.advance(0.1)
    assert [("vacant", "deploy 42")] == ends(follower)
    assert "deploy 42" == follower.status().as_dict()["reason"]
    sim.advance(2.0)
    assert candidate.is_leader, "the next term, which the reason does not concern"
    candidate.resign()
    sim.advance(0.1)

    assert [("vacant", "deploy 42"), ("vacant", None)] == ends(follower)
    assert follower.status().reason is None


def test_leaving_the_contest_tells_why_too(sim: Simulation) -> None:
    """
    resign(rejoin=False) is a stop with a reason; a mere stop has none, and writes nothing.
    """
    candidate, follower = standing(sim, "a"), following(sim)
    candidate.resign("decommissioned", rejoin=False)
    candidate.start()
    sim.advance(0.5)
    candidate.stop()
    sim.advance(0.1)

    assert [("vacant", "decommissioned"), ("vacant", None)] == ends(follower)


def test_followers_learn_what_an_operator_asked_for(sim: Simulation) -> None:
    """
    The command's request reaches the leader's records and the followers' alike.
    """
    candidate, follower = standing(sim, "a", cool_down=9.0), following(sim)
    asks(sim, "disk is full")
    sim.advance(0.5)

    assert {"disk is full"} == reasons(candidate.history) == reasons(follower.history)
    assert [("vacant", "disk is full")] == ends(follower)


def test_a_term_that_ends_otherwise_has_no_reason(sim: Simulation) -> None:
    """
    An earlier term's reason is not taken for that of a crash.
    """
    candidate, follower = standing(sim, "a", cool_down=0.2), following(sim)
    candidate.resign("deploy 42")
    sim.advance(1.0)
    sim.fault("crash", node="a")
    sim.advance(10.0)

    assert [("vacant", "deploy 42"), ("vacant", None)] == ends(follower)


def test_a_watch_that_tells_two_changes_as_one_tells_why(sim: Simulation) -> None:
    """
    Where request and end are one look, the end brings the reason; the next leader's record carries it if it comes
    first.
    """
    standing(sim, "a")
    follower = following(sim)
    driver = follower._driver
    assert driver is not None
    assert driver.holder is not None
    driver.engine.call_soon(
        driver.observe, WatchEvent(Fact.KEY_DELETED, token=driver.holder.token, reason="seen as one")
    )
    sim.advance(0.01)
    assert [("vacant", "seen as one")] == ends(follower)


def test_the_successor_takes_over_in_one_record(sim: Simulation) -> None:
    """
    Following one and then another, without a vacancy seen between: that record says why the first is gone.
    """
    standing(sim, "a")
    follower = following(sim)
    driver = follower._driver
    assert driver is not None
    assert driver.holder is not None
    token = driver.holder.token
    successor = type(driver.holder)("b", token + 1, "b#1")
    for event in (
        WatchEvent(Fact.RESIGN_REQUESTED, token=token, reason="make room"),
        WatchEvent(Fact.LEADER_OBSERVED, holder=successor),
    ):
        driver.engine.call_soon(driver.observe, event)
    sim.advance(0.001)

    assert ("following", "make room") == ends(follower)[0]
    assert "make room" == follower.status().reason


def test_a_leader_does_not_obey_its_own_words(sim: Simulation) -> None:
    """
    The entry that tells why is an operator's request in form. It changes neither the cool-down nor the way.
    """
    candidate = standing(sim, "a", cool_down=0.1)
    candidate.resign("a long pause", cool_down=5.0)
    sim.advance(4.8)
    assert ["resigning", "backoff"] == path(candidate)[-2:]
    sim.advance(0.3)

    assert candidate.is_leader
    assert 1 == sum(record.trigger == "resign" for record in candidate.history)


@pytest.mark.parametrize("fault", ["lose_replies", "lose_requests"])
def test_a_store_that_does_not_answer_prevents_no_resignation(
    sim: Simulation, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The reason is asked for once, within the time of a call; then the release follows, and the log says so.
    """
    candidate, other = standing(sim, "a"), standing(sim, "b")
    sim.fault(fault, node="a", seconds=0.7)
    began = sim.now
    assert candidate.resign("deploy 42", cool_down=60.0)

    assert sim.now - began < 1.0, "a quarter of the TTL for the reason, and the release"
    sim.advance(0.2)
    assert other.is_leader
    assert ["leadership.reason_not_told"] == [
        record.getMessage().split()[0] for record in caplog.records if "reason" in record.getMessage().split()[0]
    ]


def test_without_a_reason_the_hand_over_takes_as_long_as_ever(sim: Simulation) -> None:
    """
    One call of the store is all, and a reason costs one more.
    """
    took = []
    for reason in (None, "deploy 42"):
        candidate, other = standing(sim, f"first {reason}"), standing(sim, f"second {reason}")
        began = sim.now
        candidate.resign(reason, cool_down=60.0)
        assert sim.run_until(lambda other=other: other.is_leader)  # type: ignore[misc]
        took.append(sim.now - began)
        candidate.stop()
        other.stop()

    call = 0.006
    assert took[0] < 3 * call
    assert took[1] < 4 * call


def test_reason_is_told_while_callbacks_still_run(sim: Simulation) -> None:
    """
    Followers know why before the vacancy; a leader whose callback needs a second does not release a moment later.
    """
    candidate, follower = standing(sim, "a"), following(sim)
    candidate.on_demoted(lambda _term, _cause: sim.sleep(1.0))
    began = sim.now
    candidate.resign("deploy 42", cool_down=60.0)

    assert 1.0 <= sim.now - began < 1.01
    sim.advance(0.1)
    assert [("vacant", "deploy 42")] == ends(follower)


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        (7, "must be text, not 7"),
        ("", "it is ''"),
        (" \t", "it is ' \\t'"),
        ("two\nlines", "a line break"),
        ("\x1b[2J", "a control character"),
        ("\u2028", "it is '\\u2028'"),
        ("a\u2028b", "a line break"),
        ("\ud800", "a lone surrogate"),
        ("\u200b\u2060 ", "it is '\\u200b\\u2060 '"),
        ("paid \u202egnp.exe", "turns the order"),
        ("\u2067x", "turns the order"),
        ("token_reset", "what the record of an election says when the store has lost its data"),
        ("é" * (MOST_REASON // 2 + 1), f"1026 bytes, and at most {MOST_REASON}"),
    ],
)
def test_reason_that_cannot_be_used_is_refused(sim: Simulation, reason: str, says: str) -> None:
    """
    Text that shows something, on one line and in its own order, of at most 1 KiB, and no word that records use for
    something else: or a ConfigError, and nothing has happened.
    """
    candidate = standing(sim, "a")
    for rejoin in (True, False):
        with pytest.raises(ConfigError) as refused:
            candidate.resign(reason, rejoin=rejoin)
        assert says in str(refused.value)
    with pytest.raises(ConfigError):
        request_resign(sim.store, "jobs", 1, reason)
    assert candidate.is_leader


def test_any_words_are_a_reason(sim: Simulation) -> None:
    """
    Quotes, other scripts with their joiners, and wide spaces are kept as they are, up to the last byte.
    """
    candidate, follower = standing(sim, "a"), following(sim)
    reason = '"déploiement" \u00a0 北京 \U0001f680 मैं\u200dक '.ljust(MOST_REASON - 20, "x")
    candidate.resign(reason)
    sim.advance(0.1)

    assert [("vacant", reason)] == ends(follower)


@pytest.mark.parametrize("later", [None, "let me in"])
@pytest.mark.parametrize("first", ["an operator", "the leader"])
def test_first_words_for_a_term_stand(sim: Simulation, first: str, later: str | None) -> None:
    """
    Who asks again while callbacks run, in other words or in none, changes neither the leader's record nor a follower's.
    """
    candidate, follower = standing(sim, "a", cool_down=9.0), following(sim)
    candidate.on_demoted(lambda _term, _cause: sim.sleep(1.0))
    if first == "an operator":
        asks(sim, "maintenance of the disk")
    else:
        candidate.resign("maintenance of the disk", timeout=0.0)
    sim.advance(0.2)
    asks(sim, later)
    sim.advance(0.2)
    assert "following" == follower.state.value
    sim.advance(2.0)

    assert [("vacant", "maintenance of the disk")] == ends(follower)
    assert {"maintenance of the disk"} == reasons(candidate.history)


@pytest.mark.parametrize("later", [None, "let me in"])
def test_follower_keeps_the_first_words(sim: Simulation, later: str | None) -> None:
    """
    On a store that tells every request, too.
    """
    standing(sim, "a")
    follower = following(sim)
    driver = follower._driver
    assert driver is not None
    for event in (
        WatchEvent(Fact.RESIGN_REQUESTED, token=1, reason=None),
        WatchEvent(Fact.RESIGN_REQUESTED, token=1, reason="disk is full"),
        WatchEvent(Fact.RESIGN_REQUESTED, token=1, reason=later),
        WatchEvent(Fact.KEY_DELETED, token=1, reason=later),
    ):
        driver.engine.call_soon(driver.observe, event)
    sim.advance(0.001)

    assert [("vacant", "disk is full")] == ends(follower)


def test_words_are_heard_after_a_request_without(sim: Simulation) -> None:
    """
    Where the first request had none, those that come before the end tell the followers why.
    """
    candidate, follower = standing(sim, "a", cool_down=9.0), following(sim)
    candidate.on_demoted(lambda _term, _cause: sim.sleep(1.0))
    asks(sim, None)
    sim.advance(0.2)
    asks(sim, "sorry: disk is full")
    sim.advance(2.0)

    assert [("vacant", "sorry: disk is full")] == ends(follower)
    assert set() == reasons(candidate.history), "it had resigned already"


@pytest.mark.parametrize("again", [None, "other words"])
@pytest.mark.parametrize("scheme", ["memory", "sqlite"])
def test_store_keeps_the_first_words(tmp_path: Path, scheme: str, again: str | None) -> None:
    """
    Who begins to watch after both requests learns the first words, too.
    """

    async def told() -> set[str | None]:
        store = connect("memory://" if scheme == "memory" else f"sqlite:///{tmp_path / 'jobs.db'}")
        session = await store.open_session(3.0, lambda _event: None)
        entry = Entry("jobs", "ann", "jobs/ann/1", {}, 0)
        token = (await session.acquire(entry)).token
        assert token is not None
        for reason in ("disk is full", again):
            assert Outcome.DONE is (await store.request_resign("jobs", token, reason)).outcome
        heard: asyncio.Queue[WatchEvent] = asyncio.Queue()
        watch = store.watch("jobs", heard.put_nowait)
        assert Fact.LEADER_OBSERVED is (await asyncio.wait_for(heard.get(), 30.0)).fact
        await session.release(entry)
        found: set[str | None] = set()
        async with asyncio.timeout(30.0):
            while (event := await heard.get()).fact is not Fact.KEY_DELETED:
                found.add(event.reason)
        watch.close()
        await store.aclose()
        return found | {event.reason}

    assert {"disk is full"} == asyncio.run(told()) - {None}


def test_an_earlier_store_s_term_explains_no_later_one(sim: Simulation) -> None:
    """
    A store that has lost its data grants the same token again: that term's end is not the old one's.
    """
    candidate, follower = standing(sim, "a"), following(sim)
    candidate.resign("old reason", rejoin=False)
    sim.advance(0.5)
    assert "old reason" == follower.status().reason
    sim.fault("wipe")
    successor = Candidate(sim.store, "jobs", node="bob", ttl=3.0)
    successor.start()
    sim.run_until(lambda: successor.is_leader)
    assert sim.run_until(lambda: follower.leader is not None), "it reads the truth again"
    assert [1] == [record.token for record in successor.history if record.dest == "leader"], "the token of before"
    successor.stop()
    sim.advance(0.5)

    assert [("vacant", "old reason"), ("vacant", None)] == ends(follower)
    assert follower.status().reason is None


def test_a_follower_that_starts_again_knows_nothing(sim: Simulation) -> None:
    """
    What it heard before it was stopped is of no term that it follows now.
    """
    standing(sim, "a")
    follower = following(sim)
    driver = follower._driver
    assert driver is not None
    request = WatchEvent(Fact.RESIGN_REQUESTED, token=1, reason="old reason")
    driver.engine.call_soon(driver.observe, request)
    sim.advance(0.001)
    follower.stop()
    follower.start()
    sim.advance(0.1)
    driver.engine.call_soon(driver.observe, WatchEvent(Fact.KEY_DELETED, token=1))
    sim.advance(0.001)

    assert ("vacant", None) == ends(follower)[-1]


@pytest.mark.parametrize(("grace", "most"), [(0.0, PATIENCE), (1.0, 1.0), (None, 3.75)])
def test_words_that_the_store_does_not_take_wait_no_longer_than_the_grace(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch, grace: float | None, most: float
) -> None:
    """
    A store that answers all but the request delays the release by the grace at most, and by a quarter of a second where
    the grace is shorter.
    """

    async def hang(*_asked: object) -> Reply:
        await asyncio.sleep(60.0)
        return Reply(Outcome.DONE)

    candidate = Candidate(sim.store, "jobs", node="a", ttl=15.0, grace=grace)
    candidate.start()
    assert sim.run_until(lambda: candidate.is_leader)
    assert candidate._driver is not None
    monkeypatch.setattr(candidate._driver.store, "request_resign", hang)
    began = sim.now
    assert candidate.resign("deploy 42", cool_down=60.0)

    assert most == pytest.approx(sim.now - began, abs=0.05)
    sim.advance(60.0)

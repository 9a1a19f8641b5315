"""
Why a term ends: each cause once, and on_demoted exactly once with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from witness import path, witness

from leadership import Backoff, Candidate, DemotionCause, StoreRefused, StoreUnavailable, Term
from leadership.store import Holder
from leadership.testing import Simulation
from leadership.testing._store import SimulatedStore

C = DemotionCause
TTL = 3.0


def resigned(_sim: Simulation, candidate: Candidate) -> None:
    candidate.resign(cool_down=0.0)


def stopped(_sim: Simulation, candidate: Candidate) -> None:
    candidate.stop()


def lease_expired(sim: Simulation, _candidate: Candidate) -> None:
    sim.fault("partition", node="a")


def session_lost(sim: Simulation, _candidate: Candidate) -> None:
    sim.fault("expire", election="jobs")


def deleted(sim: Simulation, _candidate: Candidate) -> None:
    sim.fault("delete", election="jobs")


def superseded(sim: Simulation, _candidate: Candidate) -> None:
    # The deletion is not seen, only who comes after it.
    sim.fault("partition", node="a", seconds=0.5)
    sim.advance(0.1)
    sim.fault("steal", election="jobs")


def store_error(sim: Simulation, _candidate: Candidate) -> None:
    sim.fault("refuse", node="a")


def callback_failed(_sim: Simulation, candidate: Candidate) -> None:
    @candidate.on_elected
    def fails(term: Term) -> None:
        if term.token == 1:
            msg = "disk full"
            raise OSError(msg)


ENDS: dict[DemotionCause, Callable[[Simulation, Candidate], None]] = {
    C.RESIGNED: resigned,
    C.STOPPED: stopped,
    C.LEASE_EXPIRED: lease_expired,
    C.SESSION_LOST: session_lost,
    C.DELETED: deleted,
    C.SUPERSEDED: superseded,
    C.STORE_ERROR: store_error,
    C.CALLBACK_FAILED: callback_failed,
}
WORDS = {
    C.RESIGNED: "it resigned",
    C.STOPPED: "it was stopped",
    C.LEASE_EXPIRED: (
        "its lease reached the local deadline: no renewal was acknowledged within 2.7 s;"
        " the last one: renew session: no answer within 0.75 s"
    ),
    C.SESSION_LOST: "its session has ended",
    C.DELETED: "its entry was deleted by somebody else",
    C.SUPERSEDED: "somebody else holds the election",
    C.STORE_ERROR: "the store refuses it: the simulated store refuses these credentials",
    C.CALLBACK_FAILED: "a callback failed: disk full",
}


def test_every_cause_is_tested() -> None:
    """
    The table of this file has all causes that there are.
    """
    assert set(C) == set(ENDS) == set(WORDS)


@pytest.mark.parametrize("cause", ENDS)
def test_a_term_ends_with_its_cause(sim: Simulation, cause: DemotionCause) -> None:
    """
    on_demoted is called exactly once with the cause; term, record and words agree; nothing is current before it.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    told = witness(candidate)
    seen: list[tuple[bool, bool, Term | None]] = []
    candidate.on_demoted(lambda term, _cause: seen.append((term.is_current, candidate.is_leader, candidate.term)))
    candidate.start()
    term = candidate.wait_elected()
    assert term is not None
    sim.advance(1.0)
    ENDS[cause](sim, candidate)
    sim.run_until(lambda: len(seen) > 0, timeout=TTL + 1.0)
    sim.advance(0.0)

    assert ["elected 1", f"demoted 1 {cause.value}"] == told[:2]
    assert [(False, False, None)] == seen[:1]
    assert (cause, WORDS[cause]) == (term.cause, term.detail.partition(": the store says")[0])
    (record,) = (record for record in candidate.history if record.token == 1 and record.source == "leader")
    assert (cause, 1, "jobs/a/1") == (record.cause, record.token, record.term)
    sim.heal()
    sim.release("jobs")
    sim.advance(60.0)
    assert 1 == sum(line.startswith("demoted 1 ") for line in told)


@pytest.mark.parametrize("cause", [cause for cause in ENDS if cause not in (C.STOPPED, C.STORE_ERROR)])
def test_it_leads_again(sim: Simulation, cause: DemotionCause) -> None:
    """
    Whatever ended the term, when the trouble is over the candidate is elected again by itself, with a greater token.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    told = witness(candidate)
    candidate.start()
    candidate.wait_elected()
    ENDS[cause](sim, candidate)
    sim.run_until(lambda: not candidate.is_leader, timeout=TTL + 1.0)
    sim.heal()
    sim.release("jobs")

    term = candidate.wait_elected(timeout=3 * TTL)
    assert term is not None
    assert term.token > 1
    sim.advance(0.1)
    assert f"elected {term.token}" == told[-1]


def test_belief_ends_at_the_deadline_without_anybody(sim: Simulation) -> None:
    """
    A leader whose process stands still does not believe after its deadline, though nothing has processed the end.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    told = witness(candidate)
    candidate.start()
    term = candidate.wait_elected()
    assert term is not None
    sim.fault("stall", node="a")
    sim.advance(TTL)

    assert ("leader", False, None) == (candidate.state, candidate.is_leader, candidate.term)
    assert (False, None) == (term.is_current, term.cause)
    sim.heal()
    sim.advance(0.1)
    assert ["elected 1", f"demoted 1 {term.cause}"] == told


def test_the_deadline_precedes_the_stores(sim: Simulation) -> None:
    """
    A leader that is cut off gives up a tenth of the TTL before the store does; the next is elected after that.
    """
    first, second = (Candidate(sim.store, "jobs", node=node, ttl=TTL) for node in ("a", "b"))
    first.start()
    first.wait_elected()
    second.start()
    sim.advance(10.0)
    sim.fault("partition", node="a")
    sim.run_until(lambda: not first.is_leader)
    gave_up = sim.now
    assert second.wait_elected(timeout=TTL) is not None

    network = 0.01
    assert 0.1 * TTL <= sim.now - gave_up <= 0.1 * TTL + TTL / 3 + network


def test_a_lost_packet_ends_no_term(sim: Simulation) -> None:
    """
    A cut shorter than two thirds of the TTL costs nothing but a late renewal, which the status shows.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    candidate.start()
    term = candidate.wait_elected()
    sim.advance(0.9)
    sim.fault("partition", node="a")
    assert sim.run_until(lambda: candidate.status().renewal_overdue, timeout=TTL)
    assert candidate.is_leader
    sim.heal()
    sim.advance(60.0)

    assert term is candidate.term
    assert not candidate.status().renewal_overdue


def test_a_lost_watch_ends_no_term(sim: Simulation) -> None:
    """
    When only the watch has broken the leader looks whether its entry stands, and leads on.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    candidate.start()
    term = candidate.wait_elected()
    for _ in range(10):
        sim.fault("partition", node="a", seconds=0.01)
        sim.advance(0.5)

    assert term is candidate.term


def test_a_deletion_that_was_not_seen_is_found(sim: Simulation) -> None:
    """
    An entry deleted while the watch was cut is missed by the next read, within a TTL, and the term ends.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    told = witness(candidate)
    candidate.start()
    candidate.wait_elected()
    sim.advance(0.1)
    sim._network.server.elections["jobs"].watchers.clear()  # the watch has gone deaf without saying so
    sim.fault("delete", election="jobs")
    assert sim.run_until(lambda: not candidate.is_leader, timeout=TTL + 0.1)
    sim.advance(0.1)

    assert "demoted 1 deleted" == told[1]


@pytest.mark.parametrize(
    ("fault", "hung", "cause"),
    [("expire", False, C.SESSION_LOST), ("delete", False, C.DELETED), ("expire", True, C.DELETED)],
    ids=["session", "entry", "nobody answers"],
)
def test_a_read_that_is_quicker_than_the_watch_tells_the_same(
    sim: Simulation, fault: str, hung: bool, cause: DemotionCause
) -> None:
    """
    What one of five runs of all tests seems to have met: an operator revoked a lease a moment before the view was read,
    as it is once in a TTL, and the read came before the watch's word: the term ended as `deleted`. A store that does
    not say what has become of the session is not waited for.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    told = witness(candidate)
    candidate.start()
    assert candidate.wait_elected(1.0)
    sim.advance(0.1)
    driver: Any = candidate._driver
    sim._network.server.elections["jobs"].watchers.clear()  # the watch's word, and the session's own, are on their way
    driver.campaign.keeper._on_fact = lambda _event: None
    sim.fault(fault, election="jobs")
    driver.follower.read_now()
    assert sim.run_until(lambda: candidate.leader is None, timeout=0.1)
    if hung:
        sim.fault("hang")
    asked = sim.now
    assert sim.run_until(lambda: len(told) == 2, timeout=0.3)

    assert f"demoted 1 {cause.value}" == told[1]
    assert (sim.now - asked > 0.2) is hung


def test_a_wiped_store_is_led_again(sim: Simulation, caplog: pytest.LogCaptureFixture) -> None:
    """
    A store that has lost its data ends the term; the next has a greater token all the same, and says `token_reset`.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL, cool_down=0.0)
    candidate.start()
    for _ in range(5):
        candidate.wait_elected()
        candidate.resign()
    term = candidate.wait_elected()
    assert term is not None
    with caplog.at_level(logging.WARNING, "leadership"):
        sim.fault("wipe")
        sim.run_until(lambda: not candidate.is_leader)
        again = candidate.wait_elected(timeout=3 * TTL)
    assert again is not None

    assert (C.SESSION_LOST, term.token + 1) == (term.cause, again.token)
    assert ["token_reset"] == [record.reason for record in candidate.history if record.reason]
    assert any(record.message.startswith("leadership.token_reset") for record in caplog.records)


# -- refused for good ---------------------------------------------------------------------------------------------


def test_revoked_credentials_end_in_idle(sim: Simulation) -> None:
    """
    A leader whose credentials are revoked is demoted at its next renewal, ends in idle, and says why to everybody.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    told = witness(candidate)
    errors: list[BaseException] = []
    candidate.on_error(errors.append)
    candidate.start()
    candidate.wait_elected()
    sim.fault("refuse", node="a")
    assert sim.run_until(lambda: candidate.state == "idle", timeout=2 * TTL)

    assert ["elected 1", "demoted 1 store_error"] == told
    assert ["leader", "error", "idle"] == path(candidate)[2:]
    assert {StoreRefused} == {type(error) for error in errors}
    assert "StoreRefused: the simulated store refuses these credentials" == candidate.status().last_error
    late: list[BaseException] = []
    candidate.on_error(late.append)
    sim.advance(0.1)
    assert [StoreRefused] == [type(error) for error in late]


def test_a_leader_that_may_read_no_more_does_not_lead_on_blindly(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    etcd asks nobody who renews a lease: a leader whose role was revoked renewed on, and its view had ended for good at
    the first read that was refused. It led for ever, and was never told that an operator had deleted its entry.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    told = witness(candidate)
    candidate.start()
    candidate.wait_elected()
    refused = refuse_reads(monkeypatch)
    assert sim.run_until(lambda: candidate.state == "idle", timeout=2 * TTL)
    assert ["elected 1", "demoted 1 store_error"] == told
    assert "StoreRefused: nobody may read" == candidate.status().last_error

    refused.clear()
    candidate.start()
    assert candidate.wait_elected(timeout=TTL) is not None
    assert not candidate.is_stale
    sim.fault("delete", election="jobs")
    sim.advance(0.5)
    assert "demoted 2 deleted" == told[3]


def test_a_view_that_was_refused_between_two_attempts_begins_anew(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    While a candidate waits to stand again nothing of it can be ended by a refusal: it sees again when it stands.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    told = witness(candidate)
    candidate.start()
    candidate.wait_elected()
    candidate.resign(cool_down=3 * TTL)
    refused = refuse_reads(monkeypatch)
    sim.advance(2 * TTL)
    assert "backoff" == candidate.state
    refused.clear()
    assert candidate.wait_elected(timeout=2 * TTL) is not None
    sim.fault("delete", election="jobs")
    sim.advance(0.5)
    assert "demoted 2 deleted" == told[3]


def refuse_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """
    Refuse reads of the store, and nothing else, until the list is empty.
    """
    reasons = ["nobody may read"]
    read = SimulatedStore.read

    async def refuses(store: SimulatedStore, elections: Sequence[str]) -> Mapping[str, Holder | None]:
        if reasons:
            raise StoreRefused(reasons[0])
        return await read(store, elections)

    monkeypatch.setattr(SimulatedStore, "read", refuses)
    return reasons


def test_a_refused_candidate_says_so_everywhere(sim: Simulation) -> None:
    """
    run(), wait_elected(), wait_leader() and elections() raise what ended the candidate for good.
    """
    sim.fault("refuse", node="a")
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    with pytest.raises(StoreRefused):
        candidate.run()
    assert ["idle", "campaigning", "error", "idle"] == path(candidate)
    for call in (candidate.wait_elected, candidate.wait_leader, lambda: list(candidate.elections()), candidate.run):
        with pytest.raises(StoreRefused, match="refuses these credentials"):
            call()


def test_a_refused_candidate_can_be_started_again(sim: Simulation) -> None:
    """
    When the operator has mended the credentials, start() stands again and the old error is forgotten.
    """
    sim.fault("refuse", node="a")
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL)
    with pytest.raises(StoreRefused):
        candidate.run()
    sim.heal()
    candidate.start()

    assert candidate.wait_elected(timeout=TTL) is not None
    assert list(zip([False, True], candidate.elections(), strict=False)) == [(False, False), (True, True)]


def test_start_while_giving_up_is_remembered(sim: Simulation) -> None:
    """
    Whoever mends the credentials in on_error and starts again is heard, though the clean-up is still under way. The
    start was forgotten, and the candidate stayed idle.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL, grace=1.0)

    @candidate.on_elected
    def lead(term: Term) -> None:
        term.wait()
        sim.sleep(0.5)

    @candidate.on_error
    def mend(error: BaseException) -> None:
        if isinstance(error, StoreRefused):
            assert "error" == candidate.state
            sim.heal()
            candidate.start()

    candidate.start()
    candidate.wait_elected()
    sim.fault("refuse", node="a")

    assert sim.run_until(lambda: candidate.term is not None and candidate.term.token == 2, timeout=10.0)
    assert candidate.wait_elected(0.0) is not None


def test_retries_end_only_where_that_was_asked(sim: Simulation) -> None:
    """
    With Backoff(retries=2) a store that is down ends the candidate after three campaigns; the error says why.
    """
    sim.fault("down")
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL, backoff=Backoff(retries=2))
    with pytest.raises(StoreUnavailable, match="refuses connections"):
        candidate.run()

    assert 3 == path(candidate).count("campaigning")


def test_failures_are_forgotten_after_a_term_of_a_whole_ttl(sim: Simulation) -> None:
    """
    One retry is allowed, and three sessions are lost, each after a long term: that is one failure at a time.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=TTL, backoff=Backoff(retries=1))
    candidate.start()
    for _ in range(3):
        assert sim.run_until(lambda: candidate.is_leader)
        sim.advance(2 * TTL)
        sim.fault("expire", election="jobs")
        assert sim.run_until(lambda: not candidate.is_leader)

    assert sim.run_until(lambda: candidate.is_leader)

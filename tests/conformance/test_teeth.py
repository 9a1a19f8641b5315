"""
The conformance suite can fail: each of its tests condemns a store with a fault that it is there to find.
"""

from __future__ import annotations

import pytest
from conformance import broken_attempts as attempts
from conformance import broken_entries as entries
from conformance import broken_sessions as sessions
from conformance import broken_watches as watches
from conformance.planted import Part, Planted

from leadership.testing import _conformance_stage as stage
from leadership.testing.conformance import StoreConformance

FACTS = [name for name in dir(StoreConformance) if name.startswith("test_")]

# The fault, the test that must find it, and what that test must say.
TEETH: list[tuple[Part, str, str]] = [
    (entries.BeginsAtZero, "test_vacant_election_is_granted", "at least 1"),
    (entries.GrantsAnew, "test_same_entry_is_answered_with_the_same_token", "with its token"),
    (entries.TakesOver, "test_another_session_is_refused", "refused while another session"),
    (entries.NamesTheAsker, "test_another_session_is_refused", "names who leads"),
    (entries.KeepsReleased, "test_release_frees_the_election", "made the election vacant"),
    (entries.ForgetsTokens, "test_release_frees_the_election", "is greater than"),
    (entries.ReleasesAnyones, "test_release_touches_no_other_entry", "compares session and key"),
    (entries.ReleasesByKey, "test_release_touches_no_other_entry", "compares session and key"),
    (entries.ReleasesBySession, "test_release_touches_no_other_entry", "compares session and key"),
    (entries.RefusesAbsent, "test_release_touches_no_other_entry", "a release is done"),
    (entries.Adopts, "test_earlier_entry_is_never_adopted", "another key is a new term"),
    (attempts.LastToComeLeads, "test_late_acquire_changes_nothing", "while a later attempt of its session"),
    (attempts.AnswersForTheLater, "test_late_acquire_changes_nothing", "while a later attempt of its session"),
    (attempts.RefusesTooLate, "test_late_acquire_changes_nothing", "leaves the entry of the later attempt alone"),
    (attempts.BeginsAnotherTerm, "test_late_acquire_changes_nothing", "leaves the entry of the later attempt alone"),
    (attempts.LateOnesWait, "test_late_acquire_changes_nothing", "waits for nothing"),
    (attempts.LateOnesWait, "test_late_acquire_takes_no_place", "waits for nothing"),
    (attempts.LateOnesTakeThePlace, "test_late_acquire_takes_no_place", "the earlier never leads"),
    (attempts.LastToComeLeads, "test_later_of_two_acquires_at_once_leads", "the later attempt's entry leads"),
    (attempts.LooksAndThenLeaps, "test_later_of_two_acquires_at_once_leads", "the later attempt's entry leads"),
    (attempts.ComparesSessions, "test_numbers_of_others_do_not_count", "leads when it asks again"),
    (attempts.ComparesElections, "test_numbers_of_others_do_not_count", "an acquire of a vacant election"),
    (entries.ForgetsTokensOfSessions, "test_tokens_rise_however_a_term_ends", "greater than those of earlier terms"),
    (entries.IgnoresAbove, "test_token_exceeds_what_the_process_has_seen", "token_reset=True"),
    (entries.CriesWolf, "test_token_exceeds_what_the_process_has_seen", "token_reset is False"),
    (entries.TwoWinners, "test_one_of_twenty_wins", "exactly one of twenty"),
    (entries.RefusesForGood, "test_one_who_waits_leads_after_the_release", "leads when it asks again"),
    (entries.WrongTurn, "test_one_who_waits_leads_after_the_release", "TURN of its own"),
    (entries.KeepsWithdrawn, "test_entry_that_was_withdrawn_never_leads", "leads when it asks again"),
    (entries.KeepsReplaced, "test_entry_that_was_withdrawn_never_leads", "leads when it asks again"),
    (entries.OneEntryEach, "test_one_session_leads_many_elections", "whatever its session does elsewhere"),
    (entries.LosesMetadata, "test_metadata_comes_back", "as they were given"),
    (entries.FlattensMetadata, "test_metadata_comes_back", "as they were given"),
    (entries.FoldsCase, "test_odd_names_are_kept_apart", "is no other's"),
    (entries.CutsNames, "test_odd_names_are_kept_apart", "is no other's"),
    (entries.DecodesNames, "test_odd_names_are_kept_apart", "is no other's"),
    (entries.AcceptsAnyName, "test_unusable_names_are_refused", "raises a ConfigError"),
    (entries.ReadsWhatItKnows, "test_several_elections_are_read_at_once", "just the elections asked for"),
    (entries.RenewsTooSeldom, "test_timing_is_consistent", "renew_interval ≤"),
    (entries.BelievesTooLong, "test_timing_is_consistent", "steps_down_after ≤"),
    (entries.ClampsTtl, "test_bad_ttl_is_refused", "raises a ConfigError"),
    (entries.RefusesWithoutValue, "test_bad_ttl_is_refused", "names what was refused"),
    (entries.ReachesTheStars, "test_store_says_what_it_is", "scope is one of"),
    (sessions.SharesIds, "test_sessions_never_share_an_id", "no earlier session's"),
    (sessions.GrantsLess, "test_vacant_election_is_granted", "asked for"),
    (sessions.EndKeepsEntries, "test_end_frees_all_entries", "holds nothing"),
    (sessions.EndsTheNeighbours, "test_end_frees_all_entries", "holds nothing"),
    (sessions.EndsOnce, "test_ended_session_does_nothing_more", "is no error"),
    (sessions.RenewRevives, "test_ended_session_does_nothing_more", "has ended is refused"),
    (sessions.AcquiresWhenDead, "test_ended_session_does_nothing_more", "acquires nothing"),
    (sessions.RenewRevives, "test_lapsed_session_does_not_come_back", "has ended is refused"),
    (sessions.EndsEarly, "test_session_that_is_not_renewed_ends", "lasts at least 90%"),
    (sessions.NeverEnds, "test_session_that_is_not_renewed_ends", "leads when it asks again"),
    (sessions.EndsEarly, "test_watch_tells_that_a_session_has_lapsed", "lasts at least 90%"),
    (sessions.SilentLapse, "test_watch_tells_that_a_session_has_lapsed", "LEASE_EXPIRED with the token"),
    (sessions.AlarmsEarly, "test_watch_tells_that_a_session_has_lapsed", "lasts at least 90%"),
    (sessions.RenewsNothing, "test_renewing_keeps_a_session_alive", "in time"),
    (sessions.RenewsForALongTime, "test_renewing_keeps_a_session_alive", "is vacant at the latest"),
    (sessions.CountsFromTheFuture, "test_renewing_keeps_a_session_alive", "a moment that has been"),
    (sessions.CloseLeavesSessions, "test_closing_a_store_ends_its_sessions", "has ended its sessions"),
    (sessions.ClosesOnce, "test_closing_a_store_ends_its_sessions", "closed twice"),
    (sessions.OpenForEver, "test_calls_of_a_closed_store_fail", "raises a LeadershipError"),
    (sessions.RefusesTheSecond, "test_many_begin_at_once", "refused nothing"),
    (sessions.LockedByCancel, "test_cancelled_call_leaves_the_store_usable", "calls go on"),
    (sessions.HangsWhenCancelled, "test_cancelled_call_leaves_the_store_usable", "that is cancelled ends"),
    (sessions.RaisesOnTheLoop, "test_release_frees_the_election", "division by zero"),
    (watches.BeginsInSilence, "test_watch_begins_with_the_truth", "begins with VACANT_OBSERVED"),
    (watches.BeginsVacant, "test_watch_begins_with_the_truth", "begins with LEADER_OBSERVED"),
    (watches.SilentWhenGone, "test_watch_tells_each_change", "KEY_DELETED or LEASE_EXPIRED"),
    (watches.SilentWhenGone, "test_end_frees_all_entries", "KEY_DELETED or LEASE_EXPIRED"),
    (watches.GoneWithoutToken, "test_watch_tells_each_change", "KEY_DELETED or LEASE_EXPIRED"),
    (watches.TellsHalf, "test_watch_tells_each_change", "LEADER_OBSERVED brings"),
    (watches.TellsLate, "test_watch_keeps_the_order_of_the_store", "in the order"),
    (watches.TalksAfterClose, "test_closed_watch_is_silent", "tells nothing"),
    (watches.FinishesItsSentence, "test_closed_watch_is_silent", "before its first fact"),
    (watches.ClosesAll, "test_many_watches_of_one_election", "KEY_DELETED or LEASE_EXPIRED"),
    (watches.OneListener, "test_many_watches_of_one_election", "LEADER_OBSERVED when"),
    (watches.WatchesByPrefix, "test_watch_hears_its_own_election_only", "of no other election"),
    (watches.MixesUpWhatIsGone, "test_watch_hears_its_own_election_only", "of no other election"),
    (watches.LosesTheReason, "test_request_to_resign_reaches_the_watches", "the token and the reason"),
    (watches.TellsNewRequestsOnly, "test_request_to_resign_is_told_to_who_comes_later", "to who comes later"),
    (watches.RequestDeposes, "test_request_to_resign_reaches_the_watches", "ends no term"),
    (watches.RequestOutlivesTheTerm, "test_request_to_resign_reaches_the_watches", "not for the next"),
    (watches.AsksAnyone, "test_request_to_resign_compares_the_token", "refused while nobody leads"),
    (watches.AsksInSpiteOfItself, "test_request_to_resign_compares_the_token", "told to nobody"),
    (watches.LosesTheReason, "test_watch_tells_why_a_term_ended", "not later than the end"),
    (watches.TellsTheReasonTooLate, "test_watch_tells_why_a_term_ended", "not later than the end"),
    (watches.BlamesTheNext, "test_watch_tells_why_a_term_ended", "not later than the end: None"),
    (watches.SeesTheLatestOnly, "test_reason_outlives_a_quick_successor", "before it tells of the next"),
    (watches.TellsOffTheLoop, "test_watch_begins_with_the_truth", "on the event loop"),
]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "PATIENCE", 0.1)


@pytest.mark.parametrize(("fault", "fact", "says"), TEETH, ids=[f"{row[0].__name__}-{row[1]}" for row in TEETH])
def test_fault_is_found(fault: Part, fact: str, says: str) -> None:
    """
    A store with one fault is condemned by the test of the fact that it breaks, in words that name the fact.
    """
    suite = Planted(fault)
    if fault in (sessions.EndsEarly, sessions.AlarmsEarly):
        suite.ttl = 1.0  # what comes at half of it is late where the machine stands still for the rest
    with pytest.raises((AssertionError, RuntimeError)) as caught:
        getattr(suite, fact)()
    assert says in str(caught.value)


def test_hanging_store_is_found() -> None:
    """
    A call that never answers fails its test in bounded time.
    """

    class Brief(Planted):
        ttl = tick = 0.05

    with pytest.raises(AssertionError, match="no call hangs"):
        Brief(sessions.Hangs).test_vacant_election_is_granted()


def test_every_fact_has_teeth() -> None:
    """
    There is a fault for every test of the suite, and each test states its fact.
    """
    assert set(FACTS) == {fact for _, fact, _ in TEETH}
    assert [] == [name for name in FACTS if not getattr(StoreConformance, name).__doc__]

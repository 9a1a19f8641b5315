"""
What an attack on the judge of audits once got past it: hidden overlaps, lost processes, edited copies, gaps too small.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from audits import Audit, Line, dest, night, source, write, written

from leadership.audit import Judgement, Verdict, _work, verify


def kinds(judged: Judgement) -> set[str]:
    """
    What was found, remarks left out.
    """
    return {finding.kind for finding in judged.findings if finding.verdict is not Verdict.VALID}


# -- overlaps ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("between", [True, False])
def test_a_third_term_hides_no_overlap_on_a_shared_clock(tmp_path: Path, between: bool) -> None:
    """
    Ann and cyd share a clock and led at once for 0.04 s, whatever a node with a clock of its own did in between.
    """
    audits = {
        "ann": Audit("ann", clock="one").stand(0.0).elected(1.0, 1).renewed(5.0).stopped(9.0),
        "cyd": Audit("cyd", clock="one").stand(0.0).elected(8.96, 3).stopped(12.0),
    }
    if between:
        audits["bob"] = Audit("bob").stand(0.0).elected(9.01, 2).stopped(9.03)
    judged = verify(written(tmp_path, audits))

    assert (Verdict.INVALID, {"overlap"}) == (judged.verdict, kinds(judged))
    assert "for 0.040 s" in judged.findings[0].what


def test_a_wall_clock_that_was_set_hides_no_overlap_on_a_shared_clock(tmp_path: Path) -> None:
    """
    The wall clock was set back within the first term: the shared clock still tells the overlap, and as one.
    """
    ann = Audit("ann", clock="one").stand(0.0).elected(1.0, 1).renewed(9.0).renewed(17.0).renewed(24.0)
    ann.skew = -1000.0
    ann.expired(32.9)
    bob = Audit("bob").stand(0.0).elected(15.0, 2).stopped(16.0)
    cyd = Audit("cyd", clock="one", skew=-1000.0).stand(0.0).elected(26.0, 3).stopped(30.0)
    judged = verify(written(tmp_path, {"ann": ann, "bob": bob, "cyd": cyd}))

    overlaps = [finding for finding in judged.findings if finding.kind == "overlap"]
    assert ["two leaders of 'orders' for 4.000 s"] == [finding.what.split(",")[0] for finding in overlaps]
    assert "token_order" not in kinds(judged)


def test_one_name_on_two_hosts_is_no_common_clock(tmp_path: Path) -> None:
    """
    Two processes of one name without a clock: 0.08 s are undecided, and 5 s an overlap, though a clock was set since.
    """
    for began, verdict, kind in ((9.91, Verdict.UNKNOWN, "undecided"), (5.0, Verdict.INVALID, "overlap")):
        one = Audit("ann", boot="b1").stand(0.0).elected(1.0, 1).expired()
        one.skew = 5.0
        one.stand(50.0).elected(60.0, 3).stopped(62.0)
        two = Audit("ann", boot="b2").stand(0.0).elected(began, 2).stopped(15.0)
        judged = verify(written(tmp_path, {"one": one, "two": two}))

        assert (verdict, {kind}) == (judged.verdict, kinds(judged))
        assert "was set by +5.000 s between two of its terms" in judged.findings[-1].what


def test_a_reset_and_a_clock_that_is_off_make_no_overlap(tmp_path: Path) -> None:
    """
    Bob's clock is 5 s behind and the store lost its data: which of two terms came before the loss is not known.
    """
    ann = Audit("ann").stand(0.0).elected(1.0, 1).stopped(6.0).stand(80.0)
    ann.elected(100.0, 1, reason="token_reset").stopped(102.0)
    bob = Audit("bob", skew=-5.0).stand(0.0).elected(7.0, 2).expired().stand(91.0).elected(102.1, 2).stopped(108.0)
    judged = verify(written(tmp_path, {"ann": ann, "bob": bob}))

    assert (Verdict.UNKNOWN, {"token_reset", "clock_skew"}) == (judged.verdict, kinds(judged))


# -- deadlines ---------------------------------------------------------------------------------------------------------


def test_a_deadline_never_goes_back(tmp_path: Path) -> None:
    """
    A demotion that names a deadline before that of the election, to have its belief end early, is a fault.
    """
    audits = night()
    audits["cedar"].change(dest("error"), lease_deadline=5008.5)
    judged = verify(written(tmp_path, audits))

    assert (Verdict.INVALID, {"past_deadline"}) == (judged.verdict, kinds(judged))
    assert "went back by" in judged.findings[0].what


def test_deadlines_that_cannot_be_judged_are_unknown_once(tmp_path: Path) -> None:
    """
    Without the line that says how long a lease lasts any deadline would do: that is said, once for the process.
    """
    birch = night()["birch"]
    del birch.lines[1]
    judged = verify(birch.write(tmp_path / "birch.jsonl"))

    assert (Verdict.UNKNOWN, ["unknown_lease"]) == (judged.verdict, [finding.kind for finding in judged.findings])


# -- what is missing ---------------------------------------------------------------------------------------------------


def test_a_lost_process_of_a_node_is_missed_though_a_later_one_is_given(tmp_path: Path) -> None:
    """
    Bob saw ann lead with token 1: the audit of ann's second process, which began after that, does not tell of it.
    """
    first = Audit("ann", boot="b1").stand(0.0).elected(1.0, 1).expired()
    second = Audit("ann", boot="b2").stand(30.0).elected(31.0, 3).stopped(35.0)
    bob = Audit("bob").stand(0.5).sees(1.2, "ann", 1).elected(12.0, 2).expired()
    assert Verdict.VALID is verify(written(tmp_path, {"first": first, "second": second, "bob": bob})).verdict
    judged = verify([second.write(tmp_path / "second.jsonl"), bob.write(tmp_path / "bob.jsonl")])
    assert (Verdict.UNKNOWN, {"missing_node"}) == (judged.verdict, kinds(judged))

    first.lines = first.lines[:3]  # its end is cut off
    judged = verify(written(tmp_path, {"first": first, "second": second, "bob": bob}))
    assert (Verdict.UNKNOWN, {"truncated"}) == (judged.verdict, kinds(judged))


def test_a_node_that_has_records_of_another_election_only(tmp_path: Path) -> None:
    """
    Ann's audit of another election was given, and none of this one.
    """
    ann = Audit("ann", election="stock").stand(0.0).elected(1.0, 1).stopped(5.0)
    bob = Audit("bob").stand(0.0).sees(1.2, "ann", 1)
    judged = verify(written(tmp_path, {"ann": ann, "bob": bob}))

    assert (Verdict.UNKNOWN, {"missing_node"}) == (judged.verdict, kinds(judged))
    assert "that tells of this election" in judged.findings[0].what


def test_a_token_that_was_seen_in_two_hands(tmp_path: Path) -> None:
    """
    Birch saw aspen and eve lead with one token: one of them is missing, and the token was used twice.
    """
    birch = Audit("birch").stand(0.0).sees(1.0, "aspen", 1).sees(20.0, "eve", 1)
    judged = verify(birch.write(tmp_path / "birch.jsonl"))

    assert (Verdict.INVALID, {"reused_token", "missing_node"}) == (judged.verdict, kinds(judged))
    assert "wiped while nobody remembered" in judged.findings[0].what


@pytest.mark.parametrize(("until", "kind"), [(40.0, "truncated"), (16.0, "unfinished")])
def test_a_demotion_that_was_cut_off_shows_by_later_lines(tmp_path: Path, until: float, kind: str) -> None:
    """
    Ann's process lived on for more than a lease after bob was elected: its demotion is missing; else it may have died.
    """
    ann = Audit("ann", clock="one").stand(0.0).elected(1.0, 1).sees(until, "eve", 0)
    ann.lines[-1]["leader"] = None
    bob = Audit("bob", clock="one").stand(0.0).elected(15.0, 2).stopped(18.0)
    judged = verify(written(tmp_path, {"ann": ann, "bob": bob}))

    assert [kind] == [finding.kind for finding in judged.findings]
    assert (Verdict.UNKNOWN if kind == "truncated" else Verdict.VALID) is judged.verdict


@pytest.mark.parametrize(("lost", "verdict"), [(0, Verdict.INVALID), (1, Verdict.INVALID), (2, Verdict.UNKNOWN)])
def test_a_gap_excuses_no_more_than_it_lost(tmp_path: Path, lost: int, verdict: Verdict) -> None:
    """
    Two records are missing: a gap of views alone, or of one record, does not explain them.
    """
    birch = night()["birch"]
    at = birch.lines.index(birch.records()[3])
    gap: Line = {"v": 1, "kind": "gap", "at": birch.lines[at]["at"], "boot": birch.boot, "lost": lost, "error": "full"}
    gap["since"] = gap["at"]
    birch.lines[at - 1 : at + 1] = [gap]
    judged = verify(birch.write(tmp_path / "birch.jsonl"))

    assert (verdict, {"gap", "missing_records"}) == (judged.verdict, kinds(judged))


# -- copies ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, -1])
def test_two_copies_that_differ_are_proof(tmp_path: Path, order: int) -> None:
    """
    One copy tells of a shorter term than the other: invalid in whichever order they are given.
    """
    honest, edited = night()["cedar"], night()["cedar"]
    edited.change(dest("error"), cause="superseded", trigger="superseded")
    paths = [honest.write(tmp_path / "honest.jsonl"), edited.write(tmp_path / "edited.jsonl")]
    judged = verify(paths[::order])

    assert Verdict.INVALID is judged.verdict
    assert "edited_record" in kinds(judged)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("order", [1, -1])
def test_a_copy_that_was_made_earlier_yields(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: int, shared: bool
) -> None:
    """
    A copy that ends within a term is no unfinished term where another tells of its end, in one process or in two.
    """
    if shared:
        monkeypatch.setattr(_work, "MUCH", 0)
        monkeypatch.setattr("os.cpu_count", lambda: 2)
    whole = night()["birch"]
    early = night()["birch"].lines[:4]
    other = Audit("aspen").stand(0.0).stopped(0.5).lines  # begins with another process: it is judged in another part
    paths = [whole.write(tmp_path / "whole.jsonl"), write(tmp_path / "early.jsonl", [*other, *early])]
    judged = verify(paths[::order])

    assert (Verdict.VALID, ()) == (judged.verdict, judged.findings)
    assert ["resigned", "stopped"] == [span.cause for span in judged.spans]


def test_two_copies_in_two_parts_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Copies that two processes have judged are compared as those are that one has.
    """
    monkeypatch.setattr(_work, "MUCH", 0)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    edited = night()["birch"].change(source("leader"), reason="maintenance")
    other = Audit("aspen").stand(0.0).stopped(0.5).lines
    honest = night()["birch"].write(tmp_path / "honest.jsonl")
    judged = verify([honest, write(tmp_path / "edited.jsonl", [*other, *edited.lines])])

    assert (Verdict.INVALID, {"edited_record"}) == (judged.verdict, kinds(judged))


def test_a_compressed_copy_beside_the_original_and_a_file_twice_in_one(tmp_path: Path) -> None:
    """
    The same lines again, after their header, are a copy and no broken sequence.
    """
    path = night()["birch"].write(tmp_path / "birch.jsonl.1")
    packed = tmp_path / "birch.jsonl.1.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    twice = tmp_path / "twice.jsonl"
    twice.write_bytes(path.read_bytes() * 2)

    for files in ([path, packed], [twice]):
        judged = verify(files)
        assert (Verdict.VALID, (), 2) == (judged.verdict, judged.findings, len(judged.spans))


@pytest.mark.parametrize("number", range(2, 8))
def test_a_single_line_that_is_there_twice_is_found(tmp_path: Path, number: int) -> None:
    """
    A record that is repeated without the header before it is a broken sequence still, the first one, too.
    """
    birch = night()["birch"]
    birch.lines.insert(number + 1, birch.lines[number])
    judged = verify(birch.write(tmp_path / "birch.jsonl"))

    assert Verdict.INVALID is judged.verdict
    assert "broken_sequence" in kinds(judged)

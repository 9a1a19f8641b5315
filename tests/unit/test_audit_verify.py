"""
What the judge of audits finds: each fault planted alone, beside a twin without it that is judged valid.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from audits import Audit, dest, last_hash, night, source, written

from leadership.audit import KINDS, Finding, Verdict, verify
from leadership.audit._deadlines import fault_of_term
from leadership.errors import ConfigError

Plant = Callable[[dict[str, Audit]], object]


def findings(folder: Path, audits: dict[str, Audit], **options: object) -> tuple[Verdict, list[Finding]]:
    """
    What is found in the audits, remarks left out.
    """
    judged = verify(written(folder, audits), **options)  # type: ignore[arg-type]
    assert {finding.kind for finding in judged.findings} <= KINDS.keys()
    return judged.verdict, [finding for finding in judged.findings if finding.verdict is not Verdict.VALID]


@pytest.mark.parametrize("clock", [None, "one"])
def test_a_clean_night_is_valid(tmp_path: Path, clock: str | None) -> None:
    """
    Nothing is found where nothing is wrong, whether the nodes share a clock or not; and the terms are told.
    """
    judged = verify(written(tmp_path, night(aspen=clock, birch=clock, cedar=clock)))

    assert (Verdict.VALID, ()) == (judged.verdict, judged.findings)
    assert [
        (3, "birch", "resigned", "drill", 2),
        (5, "cedar", "lease_expired", None, 1),
        (7, "birch", "stopped", None, 0),
    ] == [(span.token, span.node, span.cause, span.reason, span.renewals) for span in judged.spans]
    assert (("orders",), ("aspen", "birch", "cedar"), 3, 18) == (
        judged.elections,
        judged.nodes,
        judged.files,
        judged.records,
    )


def twice(token: int, at: float, *, first: int = 3) -> Plant:
    """
    Birch is elected again at a moment with a token.
    """

    def plant(audits: dict[str, Audit]) -> None:
        birch = audits["birch"] = Audit("birch", clock="one")
        birch.stand(0.1).elected(1.0, first).resigned(8.0).stand(12.0).elected(at, token).stopped(25.0)
        audits["aspen"].lines = [line for line in audits["aspen"].lines if line["kind"] != "leader"]

    return plant


TWINS = [twice(7, 21.5), twice(6, 20.0)]
"""The plants that make a node's audit anew, with figures in which nothing is wrong."""

PLANTS: dict[str, tuple[Plant, str]] = {
    "overlap": (twice(7, 16.8), "cedar"),
    "reused_token": (twice(5, 21.5), "cedar"),
    "token_order": (twice(2, 21.5), "birch"),
    "illegal_transition": (
        lambda a: a["cedar"].change(source("leader"), dest="backoff").drop(source("error"), renumber=True),
        "cedar",
    ),
    "missing_records": (lambda a: a["cedar"].drop(dest("error")), "cedar"),
    "past_deadline": (lambda a: a["cedar"].change(dest("error"), lease_deadline=31.0), "cedar"),
    "elected_twice": (lambda a: a["birch"].drop(dest("resigning"), renumber=True), "birch"),
    "demoted_without_elected": (lambda a: a["cedar"].drop(dest("leader"), renumber=True), "cedar"),
    "no_cause": (lambda a: a["cedar"].change(dest("error"), cause=None), "cedar"),
    "broken_sequence": (lambda a: a["cedar"].change(dest("backoff"), source="resigning"), "cedar"),
    "damaged_record": (lambda a: a["cedar"].change(dest("leader"), token=None), "cedar"),
}


@pytest.mark.parametrize("kind", PLANTS)
def test_a_planted_fault_is_found_and_named(tmp_path: Path, kind: str) -> None:
    """
    One promise is broken: the verdict is invalid, and a finding of that kind names the node and shows the line.
    """
    plant, node = PLANTS[kind]
    audits = night(aspen="one", birch="one", cedar="one")
    plant(audits)
    verdict, found = findings(tmp_path, audits)

    assert Verdict.INVALID is verdict
    named = [finding for finding in found if finding.kind == kind]
    assert named, found
    assert node in named[0].what
    assert named[0].places
    for place in named[0].places:
        assert node in place.text or len(named[0].places) > 1
        assert 0 < place.line <= len(Path(place.file).read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("twin", TWINS)
def test_a_twin_without_the_fault_is_valid(tmp_path: Path, twin: Plant) -> None:
    """
    What the plants make anew is judged valid when the figures are right.
    """
    audits = night(aspen="one", birch="one", cedar="one")
    twin(audits)

    assert (Verdict.VALID, []) == findings(tmp_path, audits)


def test_an_overlap_has_its_interval_and_its_lines(tmp_path: Path) -> None:
    """
    From the second election to the first one's deadline: with both elections and the demotion as evidence.
    """
    audits = night(aspen="one", birch="one", cedar="one")
    twice(7, 16.8)(audits)
    _, found = findings(tmp_path, audits)

    assert ["overlap"] == [finding.kind for finding in found]
    assert "two leaders of 'orders' for 3.190 s" in found[0].what
    assert found[0].began is not None
    assert found[0].ended is not None
    assert 3.19 == pytest.approx(found[0].ended - found[0].began)
    assert ("cedar", "birch") == found[0].nodes
    assert ["cedar elected", "birch elected", "cedar demoted"] == [
        " ".join(place.text.split()[2:4]) for place in found[0].places
    ]


def test_wall_clocks_prove_an_overlap_that_is_longer_than_their_error(tmp_path: Path) -> None:
    """
    Without a common clock an overlap of 3.2 s is one, and one within the error of the clocks is undecided.
    """
    audits = night()
    twice(7, 16.8)(audits)

    assert [(Verdict.INVALID, "overlap")] == [(f.verdict, f.kind) for f in findings(tmp_path, audits)[1]]
    assert [(Verdict.UNKNOWN, "undecided")] == [
        (f.verdict, f.kind) for f in findings(tmp_path, audits, clock_error=4.0)[1]
    ]


def test_a_lease_that_was_over_when_it_was_granted(tmp_path: Path) -> None:
    """
    A guard that cannot have held: elected after the deadline, or demoted by it before it passed.
    """
    late, early = night(), night()
    late["cedar"].change(dest("leader"), lease_deadline=5008.0)
    early["cedar"].change(dest("error"), monotonic=5019.0)

    assert "was elected 0.010 s after the deadline" in findings(tmp_path, late)[1][0].what
    assert ["illegal_transition"] == [finding.kind for finding in findings(tmp_path, early)[1]]


def test_leaving_office_late_is_no_fault(tmp_path: Path) -> None:
    """
    A process that stood still says so after its deadline, whatever the trigger: belief had ended by the clock.
    """
    for willing in (False, True):
        audits = night()
        cedar = audits["cedar"] = Audit("cedar")
        cedar.stand(0.2).elected(8.01, 5).renewed(11.0)
        cedar.resigned(21.0) if willing else cedar.expired(21.0)
        judged = verify(written(tmp_path, audits))

        assert (Verdict.VALID, ["late"]) == (judged.verdict, [finding.kind for finding in judged.findings])


@pytest.mark.parametrize(("moved", "fault"), [(0.0, False), (-1.0, True), (0.001, True)])
def test_nothing_moves_a_deadline_but_a_renewal(moved: float, fault: bool) -> None:
    """
    In a term without a renewal the deadline at its end is the one that it began with, to the digit.
    """
    elected = {"lease_deadline": 12.0}
    left = {"lease_deadline": 12.0 + moved, "renewals": 0, "monotonic": 10.0}

    assert fault is (fault_of_term(elected, left, 3.0) is not None)


@pytest.mark.parametrize(("began", "kinds"), [(8.0, []), (7.999, ["overlap"])])
def test_terms_may_touch_on_a_shared_clock(tmp_path: Path, began: float, kinds: list[str]) -> None:
    """
    One term begins at the very moment at which the one before it ends: that is no overlap, and a millisecond is one.
    """
    birch, cedar = Audit("birch", clock="one"), Audit("cedar", clock="one")
    birch.stand(0.1).elected(1.0, 3).resigned(8.0)
    cedar.stand(0.2).elected(began, 5).resigned(10.0)

    assert kinds == [finding.kind for finding in findings(tmp_path, {"birch": birch, "cedar": cedar})[1]]


@pytest.mark.parametrize("number", range(2, 9))
@pytest.mark.parametrize("plant", ["edit", "drop", "swap"])
def test_a_chain_shows_what_was_done_to_a_line(tmp_path: Path, plant: str, number: int) -> None:
    """
    An edited, dropped or swapped line of a chained audit makes it invalid, and the finding shows where.
    """
    path = night()["birch"].write(tmp_path / "birch.jsonl", chain=True)
    assert Verdict.VALID is verify(path).verdict
    lines = path.read_bytes().splitlines(keepends=True)
    match plant:
        case "edit":
            lines[number] = lines[number].replace(b'"attempt":1', b'"attempt":2')
        case "drop":
            del lines[number]
        case _:
            lines[number - 1], lines[number] = lines[number], lines[number - 1]
    path.write_bytes(b"".join(lines))
    judged = verify(path)

    assert Verdict.INVALID is judged.verdict
    edited = [finding for finding in judged.findings if finding.kind == "edited_record"]
    assert number + 1 in {place.line for finding in edited for place in finding.places}


def test_a_whole_term_that_was_taken_out_shows_by_its_numbers(tmp_path: Path) -> None:
    """
    What is left is a life without a break, from standing to the next election; only the numbers tell.
    """
    birch = night()["birch"]
    for number in range(2, 6):
        birch.drop(lambda line, number=number: line["seq"] == number)  # type: ignore[misc]
    verdict, found = findings(tmp_path, {"birch": birch})

    assert (Verdict.INVALID, ["missing_records"]) == (verdict, [finding.kind for finding in found])
    assert "4 record(s) of 'birch'" in found[0].what


def test_a_chain_does_not_end(tmp_path: Path) -> None:
    """
    Hashes that were taken out from some line on leave lines that can be edited: an audit that is chained stays so.
    """
    path = night()["birch"].write(tmp_path / "birch.jsonl", chain=True)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[4:] = [re.sub(rb',"prev":"[0-9a-f]{64}"', b"", line) for line in lines[4:]]
    path.write_bytes(b"".join(lines))
    judged = verify(path)

    assert Verdict.INVALID is judged.verdict
    assert any("has no hash of the line before" in finding.what for finding in judged.findings)


def test_a_truncated_tail_shows_by_its_anchor(tmp_path: Path) -> None:
    """
    Without the hash that was kept elsewhere a cut tail cannot be seen; with it, it is invalid and named.
    """
    path = night()["birch"].write(tmp_path / "birch.jsonl", chain=True)
    anchor = last_hash(path)
    assert Verdict.VALID is verify(path, anchors=[anchor]).verdict
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))

    assert Verdict.VALID is verify(path).verdict
    judged = verify(path, anchors=[anchor.upper()])
    assert (Verdict.INVALID, "truncated") == (judged.verdict, judged.findings[0].kind)
    assert anchor in judged.findings[0].what


def test_an_anchor_is_a_hash(tmp_path: Path) -> None:
    """
    What is no SHA-256, and an error of clocks that is no number, are refused.
    """
    path = night()["birch"].write(tmp_path / "birch.jsonl")
    with pytest.raises(ConfigError, match="64 hexadecimal digits, not 'abc'"):
        verify(path, anchors=["abc"])
    with pytest.raises(ConfigError, match="clock_error"):
        verify(path, clock_error=-1.0)

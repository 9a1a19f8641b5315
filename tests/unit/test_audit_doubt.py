"""
What the judge of audits cannot know, and says: missing nodes and files, clocks that are off, what could not be written.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from audits import Audit, Line, dest, last_hash, night, source, write, written

from leadership.audit import Finding, Judgement, Verdict, verify
from leadership.observers import AuditLog


def only(judged: Judgement, *, remarks: bool = False) -> Finding:
    """
    The one finding, which has to be the only one.
    """
    found = [finding for finding in judged.findings if remarks or finding.verdict is not Verdict.VALID]
    assert 1 == len(found), found
    return found[0]


# -- what others saw ---------------------------------------------------------------------------------------------------


def test_a_missing_node_is_named(tmp_path: Path) -> None:
    """
    Aspen saw cedar lead with token 5: without cedar's audit nothing is proved, and it is named.
    """
    audits = night()
    del audits["cedar"]
    finding = only(verify(written(tmp_path, audits)))

    assert ("missing_node", Verdict.UNKNOWN, ("cedar",)) == (finding.kind, finding.verdict, finding.nodes)
    assert "with token 5" in finding.what
    assert "aspen sees cedar lead" in finding.places[0].text


@pytest.mark.parametrize("clock", [None, "one"])
def test_a_truncated_tail_shows_by_others_eyes(tmp_path: Path, clock: str | None) -> None:
    """
    Aspen saw birch lead with token 7, and birch's audit ends before it.
    """
    audits = night(aspen=clock, birch=clock, cedar=clock)
    audits["birch"].lines = audits["birch"].lines[:-3]
    finding = only(verify(written(tmp_path, audits)))

    assert ("truncated", Verdict.UNKNOWN, ("birch",)) == (finding.kind, finding.verdict, finding.nodes)
    assert "token 7" in finding.what


def test_a_grant_that_was_never_taken_is_no_fault(tmp_path: Path) -> None:
    """
    Others may see a token of a node whose audit goes on without it: the answer was lost, and nobody believed.
    """
    audits = night()
    audits["aspen"].sees(22.0, "cedar", 6)

    assert Verdict.VALID is verify(written(tmp_path, audits)).verdict


def test_a_grant_after_the_end_is_no_fault(tmp_path: Path) -> None:
    """
    A simulated life was once judged unknown: a node stopped while its request was under way, and others saw the grant.
    """
    audits = night()
    audits["birch"].sees(31.0, "cedar", 8)  # cedar had stopped a second before
    assert Verdict.VALID is verify(written(tmp_path, audits)).verdict
    audits["birch"].sees(50.0, "cedar", 9)
    assert "truncated" == only(verify(written(tmp_path, audits))).kind


def test_a_token_that_two_have(tmp_path: Path) -> None:
    """
    Aspen saw cedar lead with the token with which birch was elected.
    """
    for before in (True, False):  # whether it had seen birch lead with it, too
        audits = night()
        aspen = audits["aspen"]
        aspen.lines = [line for line in aspen.lines if before or line["kind"] != "leader"]
        aspen.sees(22.0, "cedar", 7)
        judged = verify(written(tmp_path, audits))

        assert (Verdict.INVALID, "reused_token") == (judged.verdict, only(judged).kind)


# -- clocks ------------------------------------------------------------------------------------------------------------


def handovers(skew: float, *, sees: bool = False, back: bool = True) -> dict[str, Audit]:
    """
    Birch resigns and cedar is elected, then the other way round; cedar's wall clock is off.
    """
    birch, cedar = Audit("birch"), Audit("cedar", skew=skew)
    birch.stand(0.0).elected(1.0, 1)
    cedar.stand(1.5 if sees else 0.0)
    if sees:
        cedar.sees(1.6, "birch", 1)
    birch.resigned(8.0)
    cedar.elected(8.01, 2)
    birch.stand(9.0)
    if back:
        cedar.resigned(15.0)
        birch.elected(15.01, 3).stopped(20.0)
    else:
        cedar.stopped(15.0)
        birch.stopped(20.0)
    return {"birch": birch, "cedar": cedar}


@pytest.mark.parametrize("skew", [3.0, -3.0])
def test_a_clock_that_is_off_is_named(tmp_path: Path, skew: float) -> None:
    """
    One node's clock is 3 s off, ahead or behind: hand-overs in both directions say which and by how much at least.
    """
    assert Verdict.VALID is verify(written(tmp_path, handovers(0.0))).verdict
    finding = only(verify(written(tmp_path, handovers(skew))))

    assert ("clock_skew", Verdict.UNKNOWN) == (finding.kind, finding.verdict)
    assert (("birch", "cedar") if skew > 0 else ("cedar", "birch")) == finding.nodes
    assert "at least 2.9" in finding.what
    assert 2 == len(finding.places)


def test_what_was_seen_tells_of_clocks_too(tmp_path: Path) -> None:
    """
    With hand-overs in one direction only, a clock that is ahead of the other looks like a vacancy; but cedar saw birch.
    """
    assert Verdict.VALID is verify(written(tmp_path, handovers(3.0, back=False))).verdict
    assert Verdict.UNKNOWN is verify(written(tmp_path, handovers(-3.0, back=False))).verdict
    finding = only(verify(written(tmp_path, handovers(-3.0, sees=True, back=False))))

    assert "clock_skew" == finding.kind


def test_an_overlap_that_no_clock_explains(tmp_path: Path) -> None:
    """
    Hand-overs in both directions agree with the clocks but for one: no difference of clocks explains it, two led.
    """
    birch, cedar = Audit("birch"), Audit("cedar")
    birch.stand(0.0).elected(1.0, 1).resigned(8.0).stand(9.0)
    cedar.stand(0.0).elected(8.01, 2).resigned(12.0).stand(13.0)
    birch.elected(12.01, 3).renewed(15.0).resigned(20.0)
    cedar.elected(17.0, 4).stopped(22.0)
    judged = verify(written(tmp_path, {"birch": birch, "cedar": cedar}))

    assert (Verdict.INVALID, "overlap") == (judged.verdict, judged.findings[0].kind)


def test_a_clock_that_was_set_is_remarked(tmp_path: Path) -> None:
    """
    Wall clock and clock of deadlines part within a term: said, and no fault.
    """
    audits = {"birch": night()["birch"]}
    for line in audits["birch"].lines[4:]:
        line["at"] = line["at"].replace("T03:00", "T03:10")
    finding = only(verify(written(tmp_path, audits)), remarks=True)

    assert ("clock_step", Verdict.VALID) == (finding.kind, finding.verdict)


def test_tokens_that_began_anew(tmp_path: Path) -> None:
    """
    A store that lost its data is announced by a record: its tokens are not held against it, nor is all well.
    """
    for reason, expected in (
        ("token_reset", (Verdict.UNKNOWN, "token_reset")),
        (None, (Verdict.INVALID, "token_order")),
    ):
        birch = Audit("birch").stand(0.0).elected(1.0, 30).resigned(8.0).stand(9.0)
        birch.elected(12.0, 2, reason=reason).resigned(14.0).stand(15.0).elected(16.0, 3).stopped(17.0)
        finding = only(verify(written(tmp_path, {"birch": birch})))

        assert expected == (finding.verdict, finding.kind)


# -- what is not there -------------------------------------------------------------------------------------------------


def test_an_audit_that_ends_within_a_term(tmp_path: Path) -> None:
    """
    A process that died leaves its term open: a remark, that says what came after.
    """
    audits = night()
    audits["cedar"].lines = audits["cedar"].lines[:4]
    judged = verify(written(tmp_path, audits))

    finding = only(judged, remarks=True)
    assert ("unfinished", Verdict.VALID, Verdict.VALID) == (finding.kind, finding.verdict, judged.verdict)
    assert "after the deadline" in finding.what
    assert [None] == [span.ended for span in judged.spans if span.node == "cedar"]
    last = Audit("birch").stand(0.0).elected(1.0, 1)
    assert "may still run" in only(verify(written(tmp_path, {"birch": last})), remarks=True).what
    killed = {"birch": last, "cedar": Audit("cedar").stand(0.5).elected(2.0, 2).stopped(3.0)}
    assert "the process had died" in only(verify(written(tmp_path, killed)), remarks=True).what


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_a_torn_line_is_said(tmp_path: Path) -> None:
    """
    Half a line at the end, in the middle, or with a whole one behind it.
    """
    path = night()["birch"].write(tmp_path / "birch.jsonl")
    whole = lines_of(path)
    for torn in (
        [*whole, whole[3][:50]],
        [*whole[:4], whole[3][:50] + b"\n", *whole[4:]],
        [*whole[:4], whole[3][:50], *whole[4:]],
    ):
        path.write_bytes(b"".join(torn))
        finding = only(verify(path))
        assert ("torn", Verdict.UNKNOWN) == (finding.kind, finding.verdict)


def test_a_clock_that_becomes_another_one(tmp_path: Path) -> None:
    """
    A second header says that a process's clock is another one: terms under it are compared by the wall clock again.
    """
    audits = night(aspen="one", birch="one", cedar="one")
    birch = audits["birch"]
    again = {key: value for key, value in birch.lines[0].items() if key not in ("file", "previous")}
    birch.lines.insert(4, {**again, "clock": "other"})
    for line in birch.lines[5:]:
        line["monotonic"] += 1e6
        if line["lease_deadline"]:
            line["lease_deadline"] += 1e6
    birch.change(lambda line: line["seq"] == 3, duration=7.0 + 1e6)  # within the first term: its clock ran on, far
    birch.lines[5]["renewals"] = 1_000_000
    judged = verify(written(tmp_path, audits))

    assert {"clock_step"} == {finding.kind for finding in judged.findings}
    assert (Verdict.VALID, 3) == (judged.verdict, len(judged.spans))


def test_a_gap_explains_missing_records(tmp_path: Path) -> None:
    """
    What could not be written is unknown, and not held against the node.
    """
    birch = night()["birch"]
    at = birch.lines.index(birch.records()[3])
    gap = {"v": 1, "kind": "gap", "at": birch.lines[at]["at"], "boot": birch.boot, "lost": 2, "error": "no space"}
    gap["since"] = gap["at"]
    birch.lines[at - 1 : at + 1] = [gap]
    judged = verify(birch.write(tmp_path / "birch.jsonl"))

    assert Verdict.UNKNOWN is judged.verdict
    assert {"gap", "missing_records"} == {
        finding.kind for finding in judged.findings if finding.verdict is not Verdict.VALID
    }


def test_records_before_the_first_are_missing(tmp_path: Path) -> None:
    """
    An audit that begins in the middle of a life is not held against the node.
    """
    birch = night()["birch"]
    birch.drop(dest("campaigning")).drop(dest("leader"))
    finding = only(verify(birch.write(tmp_path / "birch.jsonl")))

    assert ("missing_records", Verdict.UNKNOWN) == (finding.kind, finding.verdict)


@pytest.mark.parametrize(("table", "says"), [("0123456789ab", "none of this version's"), (None, "no header names it")])
def test_an_unknown_table(tmp_path: Path, table: str | None, says: str) -> None:
    """
    Rows of a table of another version are not judged, and all else is.
    """
    birch = night()["birch"]
    birch.lines[0]["tables"] = {} if table is None else {"candidate": table}
    birch.change(source("leader"), trigger="wind")
    finding = only(verify(birch.write(tmp_path / "birch.jsonl")))

    assert ("unknown_table", Verdict.UNKNOWN) == (finding.kind, finding.verdict)
    assert says in finding.what


def test_an_event_that_was_refused(tmp_path: Path) -> None:
    """
    The table declared it impossible and nothing moved: a remark.
    """
    birch = Audit("birch").stand(0.0)
    refused = {**birch.lines[-1], "seq": 2, "trigger": "renewed", "source": "campaigning", "disposition": "illegal"}
    birch.lines.append({**refused, "guard": None})
    finding = only(verify(birch.write(tmp_path / "birch.jsonl")), remarks=True)

    assert ("refused_event", Verdict.VALID) == (finding.kind, finding.verdict)
    birch.lines[-1]["trigger"] = "contended"  # the table has an answer to that
    assert "illegal_transition" == only(verify(birch.write(tmp_path / "birch.jsonl"))).kind


def test_what_is_too_much_is_counted(tmp_path: Path) -> None:
    """
    Of a kind that occurs very often some are listed, and the others counted.
    """
    birch = night()["birch"]
    torn = [f'{{"v":1,"kind":"transition","seq":{number}'.encode() + b"\n" for number in range(1000)]
    path = birch.write(tmp_path / "birch.jsonl")
    path.write_bytes(path.read_bytes() + b"".join(torn))
    judged = verify(path)

    assert 201 == len(judged.findings)
    assert "800 more of this kind are not listed" == judged.findings[-1].what


# -- files -------------------------------------------------------------------------------------------------------------


def rotated(folder: Path, *, chain: bool = False) -> list[Path]:
    """
    Birch's night in three files.
    """
    lines = night()["birch"].lines
    header, candidate, records = lines[0], lines[1], lines[2:]
    paths, previous, prev = [], None, None
    for number, part in ((1, records[:2]), (2, records[2:5]), (3, records[5:])):
        path = folder / ("birch.jsonl" if number == 3 else f"birch.jsonl.{number}")
        head = {**header, "file": number, "previous": previous}
        write(path, [head, candidate, *part], chain=chain, prev=prev)
        prev = last_hash(path)
        previous = {"name": path.name, "sha256": prev}
        paths.append(path)
    return paths


@pytest.mark.parametrize("chain", [False, True])
def test_rotated_files_in_any_order(tmp_path: Path, chain: bool) -> None:
    """
    The files of an audit follow each other by their numbers, in whichever order they are given; packed, too.
    """
    paths = rotated(tmp_path, chain=chain)
    assert Verdict.VALID is verify(paths[-1], rotated=True).verdict
    assert Verdict.VALID is verify([paths[2], paths[0], paths[1], paths[0]]).verdict
    packed = tmp_path / "birch.jsonl.1.gz"
    packed.write_bytes(gzip.compress(paths[0].read_bytes()))
    paths[0].unlink()
    judged = verify(paths[-1], rotated=True)

    assert (Verdict.VALID, 3, 8) == (judged.verdict, judged.files, judged.records)


@pytest.mark.parametrize("chain", [False, True])
def test_a_missing_rotated_file_is_named(tmp_path: Path, chain: bool) -> None:
    """
    The file after it says which; the records in it are unknown, and their absence is not held against anybody.
    """
    paths = rotated(tmp_path, chain=chain)
    judged = verify([paths[0], paths[2]])

    assert Verdict.UNKNOWN is judged.verdict
    assert {"missing_file", "missing_records"} == {f.kind for f in judged.findings if f.verdict is not Verdict.VALID}
    assert "'birch.jsonl.2', which was not given" in next(f.what for f in judged.findings if f.kind == "missing_file")


@pytest.mark.parametrize(("chain", "verdict"), [(False, Verdict.UNKNOWN), (True, Verdict.INVALID)])
def test_the_end_of_a_rotated_file_is_held_against_the_next(tmp_path: Path, chain: bool, verdict: Verdict) -> None:
    """
    The next file has the hash of the last line before it, chained or not.
    """
    paths = rotated(tmp_path, chain=chain)
    paths[0].write_bytes(paths[0].read_bytes().replace(b'"attempt":1', b'"attempt":7'))
    judged = verify(paths)

    assert verdict is judged.verdict
    assert "edited_record" in {finding.kind for finding in judged.findings}


def test_many_processes_in_one_file_and_copies(tmp_path: Path) -> None:
    """
    Lines of several processes in one file are judged apart; a second audit of the same candidate is no second term.
    """
    audits = night()
    every: list[Line] = [line for audit in audits.values() for line in audit.lines]
    shared = write(tmp_path / "all.jsonl", sorted(every, key=lambda line: (line["kind"] != "header", line["at"])))
    copy = audits["cedar"].write(tmp_path / "copy.jsonl")
    judged = verify([shared, copy])

    assert (Verdict.VALID, 3) == (judged.verdict, len(judged.spans))


def test_files_and_elections_without_end(tmp_path: Path) -> None:
    """
    An empty audit says nothing; elections are judged apart.
    """
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    assert (Verdict.VALID, 0, 1) == ((judged := verify(empty)).verdict, judged.records, judged.files)
    one = Audit("birch").stand(0.0).elected(1.0, 1).stopped(5.0)
    other = Audit("birch", election="stock", boot="b2").stand(0.0).elected(1.0, 1).stopped(5.0)
    judged = verify(written(tmp_path, {"one": one, "other": other}))

    assert (Verdict.VALID, ("orders", "stock")) == (judged.verdict, judged.elections)
    assert 2 == len(json.loads(json.dumps(judged.as_dict()))["spans"])
    assert () == verify(written(tmp_path, {"one": one, "other": other}), spans=False).spans


def test_what_an_audit_log_writes_is_valid(tmp_path: Path) -> None:
    """
    A real candidate's audit, chained and rotated.
    """
    from leadership import Candidate
    from leadership.testing import Simulation

    path = tmp_path / "ann.jsonl"
    options: dict[str, Any] = {"chain": True, "rotate_bytes": 4096}
    with AuditLog(path, **options) as audit, Simulation(seed=1) as sim:
        candidate = Candidate(sim.store, "jobs", node="ann", ttl=3.0, observers=[audit], log=False)
        candidate.start()
        for _ in range(20):
            sim.run_until(lambda: candidate.is_leader)
            candidate.resign(cool_down=0.5)
    judged = verify(path, rotated=True)

    assert (Verdict.VALID, 20) == (judged.verdict, len(judged.spans))
    assert judged.files > 3

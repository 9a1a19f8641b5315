"""
The command on audits: verdicts as exit statuses, terms as text, JSON for other programs.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from audits import Audit, last_hash, night, written
from records import a_record, some_records

from leadership.cli import _verify, main
from leadership.observers import AuditLog


def files(paths: list[Path]) -> list[str]:
    return [str(path) for path in paths]


def two_leaders(node: str = "birch") -> dict[str, Audit]:
    """
    A night in which birch is elected while cedar leads.
    """
    audits = night(aspen="one", birch="one", cedar="one")
    birch = audits["birch"] = Audit(node, clock="one")
    birch.stand(0.1).elected(1.0, 3).resigned(8.0).stand(12.0).elected(16.8, 7).stopped(25.0)
    del audits["aspen"]
    return audits


def test_verify_says_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The verdict comes first, then what was read; exit status 0.
    """
    assert 0 == main(["audit", "verify", *files(written(tmp_path, night()))])
    said = capsys.readouterr().out.splitlines()
    assert "valid: all that the audits tell agrees with the tables and the promises" == said[0]
    assert "18 records, 3 nodes, 1 election, 3 files" == said[-1]


def test_verify_says_invalid_with_the_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A finding comes with the lines that prove it, by file and number; exit status 1.
    """
    assert 1 == main(["audit", "verify", *files(written(tmp_path, two_leaders()))])
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("invalid: ")
    assert said[2].startswith("invalid: overlap: two leaders of 'orders' for 3.190 s")
    assert f"    {tmp_path}/cedar.jsonl:4: 2026-01-02 03:00:08.010 cedar elected with token 5" == said[3]


def test_verify_says_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A node's audit is missing: exit status 3; the terms are in the JSON, which is one line.
    """
    audits = night()
    del audits["cedar"]
    paths = files(written(tmp_path, audits))
    assert 3 == main(["audit", "verify", *paths])
    assert capsys.readouterr().out.startswith("unknown: ")
    assert 3 == main(["audit", "verify", "--json", *paths])
    judged = json.loads(capsys.readouterr().out)
    assert ("unknown", ["missing_node"], [3, 7]) == (
        judged["verdict"],
        [finding["kind"] for finding in judged["findings"]],
        [span["token"] for span in judged["spans"]],
    )


def test_verify_takes_anchors_and_the_error_of_clocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A hash that was kept elsewhere, and how far clocks may be apart.
    """
    path = night()["birch"].write(tmp_path / "birch.jsonl", chain=True)
    anchor = last_hash(path)
    assert 0 == main(["audit", "verify", str(path), "--anchor", anchor])
    assert 1 == main(["audit", "verify", str(path), "--anchor", anchor, "--anchor", "0" * 64])
    assert "truncated" in capsys.readouterr().out
    assert 2 == main(["audit", "verify", str(path), "--anchor", "tail"])
    assert "an anchor is a SHA-256" in capsys.readouterr().err
    assert 3 == main(["audit", "verify", *files(written(tmp_path, night())), "--clock-error", "2"])


def test_verify_refuses_what_is_no_audit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A missing file and one of another kind: exit status 2, and a sentence.
    """
    other = tmp_path / "x.txt"
    other.write_text("hello\n")
    assert 2 == main(["audit", "verify", str(other)])
    assert 2 == main(["audit", "verify", str(tmp_path / "none")])
    assert "is not an audit" in capsys.readouterr().err


def test_timeline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Terms in order with token, node, times, cause and reason; vacancies between; what taking over took.
    """
    assert 0 == main(["audit", "timeline", *files(written(tmp_path, night()))])
    assert (
        """\
orders
  from (UTC)               to                       length    token  node    ended by
  2026-01-02 03:00:01.000  2026-01-02 03:00:08.000  7.000 s   3      birch   resigned (drill)
                                                    0.010 s          vacant
  2026-01-02 03:00:08.010  2026-01-02 03:00:19.990  11.980 s  5      cedar   lease_expired
                                                    1.510 s          vacant
  2026-01-02 03:00:21.500  2026-01-02 03:00:25.000  3.500 s   7      birch   stopped
  3 terms of 2 nodes
  handed over by resigning or stopping: 1 time, vacant for 0.010 s in all, 0.010 s in the median, 0.010 s at most
  taken over after any other end: 1 time, vacant for 1.510 s in all, 1.510 s in the median, 1.510 s at most

"""
        == capsys.readouterr().out
    )


def test_timeline_marks_overlaps_and_open_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Two leaders at once are marked; a term in which the audit ends has no end; an election without a leader is named.
    """
    audits = two_leaders()
    audits["birch"].lines = audits["birch"].lines[:-2]
    audits["other"] = Audit("dogwood", election="stock").stand(0.0).stopped(1.0)
    paths = files(written(tmp_path, audits))
    assert 0 == main(["audit", "timeline", *paths])
    said = capsys.readouterr().out
    assert "  !! two leaders of 'orders' for 3.190 s, from" in said
    assert re.search(r"7 +birch +the audit ends within the term\n", said)
    assert "stock\n  nobody led\n" in said
    assert 0 == main(["audit", "timeline", "--election", "stock", *paths])
    assert "orders" not in capsys.readouterr().out
    assert 2 == main(["audit", "timeline", "--election", "none", *paths])
    assert "they tell of orders, stock" in capsys.readouterr().err


@pytest.mark.parametrize("action", ["verify", "timeline", "show"])
def test_text_of_an_audit_controls_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str], action: str) -> None:
    """
    Names with escape sequences and newlines are shown as JSON shows them.
    """
    audits = two_leaders("bi\x1b[31m\nrch\u202e")
    audits["birch"].lines[4]["reason"] = "\x07bell\n"
    audits["birch"].lines.append(
        {"v": 1, "kind": "gap", "at": "\x1b[0m", "boot": "b", "lost": 1, "since": "\x1b", "error": "\n"}
    )
    main(["audit", action, *files(written(tmp_path, audits))])
    said = capsys.readouterr().out
    assert all(line.isprintable() for line in said.splitlines())
    assert "rch" in said


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_show_json_is_for_jq(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The real jq takes what `audit show --json` gives, line by line.
    """
    assert 0 == main(["audit", "show", "--json", *files(written(tmp_path, night()))])
    shown = capsys.readouterr().out
    asked = ["jq", "-r", 'select(.cause != null) | "\\(.node) \\(.token) \\(.cause)"']
    answer = subprocess.run(asked, input=shown, capture_output=True, text=True, check=True)
    assert ["birch 3 resigned", "cedar 5 lease_expired", "birch 7 stopped"] == answer.stdout.splitlines()


def test_diagram_counts_rotated_and_packed_audits_of_both_machines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    `diagram --audit` takes files as `AuditLog` leaves them, compressed ones among them, and either machine's records.
    """
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, rotate_bytes=4096) as audit:
        for record in some_records(42):  # elected ten times
            audit.submit(record)
        for seq, (source, dest) in enumerate((("idle", "syncing"), ("syncing", "vacant")), 1):
            names = {"machine": "follower", "incarnation": "f", "lease_deadline": None}
            trigger = "start" if source == "idle" else "vacant_observed"
            audit.submit(a_record(seq=seq, source=source, dest=dest, trigger=trigger, guard=None, **names))
    first = tmp_path / "audit.jsonl.1"
    (tmp_path / "audit.jsonl.1.gz").write_bytes(gzip.compress(first.read_bytes()))
    first.unlink()
    assert 0 == main(["diagram", "candidate", "--audit", str(path), "--rotated"])
    assert "campaigning --> leader : acquired ×11" in capsys.readouterr().out
    assert 0 == main(["diagram", "follower", "--audit", str(path)])
    assert "syncing --> vacant : vacant_observed ×1" in capsys.readouterr().out


def test_json_of_a_verdict_controls_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    C1 controls and marks that turn the direction of text are escapes, and come back whole.
    """
    audits = two_leaders("bi\x9b31mrch\u202e")
    paths = files(written(tmp_path, audits))
    assert 1 == main(["audit", "verify", "--json", *paths])
    said = capsys.readouterr().out
    assert said.isascii()
    assert "bi\x9b31mrch\u202e" in json.loads(said)["nodes"]


def test_an_error_that_nobody_foresaw_is_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Status 70 and a traceback, where Python itself would say 1, which is "invalid".
    """

    def broken(*_: object, **__: object) -> None:
        raise LookupError("planted")  # noqa: EM101

    monkeypatch.setattr(_verify, "verify", broken)
    assert 70 == main(["audit", "verify", *files(written(tmp_path, night()))])
    assert "LookupError: planted" in capsys.readouterr().err


def test_a_terminal_that_is_not_utf8(tmp_path: Path) -> None:
    """
    What it has no character for is an escape.
    """
    paths = files(written(tmp_path, two_leaders("birch\u00fc")))
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    run = [sys.executable, "-m", "leadership", "audit"]
    for action, status in (("verify", 1), ("timeline", 0), ("show", 0)):
        done = subprocess.run([*run, action, *paths], env=environment, capture_output=True, text=True, check=False)
        assert (status, "") == (done.returncode, done.stderr)
        assert "birch\\xfc" in done.stdout


def test_timeline_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    An election that is asked for, and audits that tell of none.
    """
    (tmp_path / "empty").touch()
    assert 2 == main(["audit", "timeline", "--election", "x", str(tmp_path / "empty")])
    assert capsys.readouterr().err.endswith("the audits tell nothing of the election 'x'; they tell of none\n")

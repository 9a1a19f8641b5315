"""
Audits as a person and as a program read them.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from records import a_record, some_records

from leadership.audit import read, show
from leadership.errors import ConfigError
from leadership.fsm.record import Transition
from leadership.observers import AuditLog


def written(path: Path, *records: Transition, **options: Any) -> Path:
    with AuditLog(path, **options) as audit:
        for record in records:
            audit.submit(record)
    return path


def test_records_are_aligned_lines_under_titles(tmp_path: Path) -> None:
    """
    A record is a line; columns stand under their titles.
    """
    path = written(
        tmp_path / "audit.jsonl",
        a_record(),
        a_record(
            source="leader",
            dest="error",
            trigger="lease_expired",
            cause="lease_expired",
            duration=12.3456,
            error="no reply",
        ),
        a_record(disposition="illegal", source="idle", dest="idle", trigger="settled", token=None, duration=0),
    )

    left = "2026-01-02 03:04:05.678  underwood  service/leader  candidate  "
    right = [
        "transition            trigger        cause          token  after",
        "campaigning → leader  acquired                      3      0.250 s",
        "leader → error        lease_expired  lease_expired  3      12.346 s  error=no reply",
        "idle (illegal)        settled                              0.000 s",
    ]
    titles, *lines = show([path])
    assert "time (UTC)               node       election        machine    " + right[0] == titles
    assert [left + text for text in right[1:]] == lines


def test_columns_do_not_get_narrower_in_a_long_audit(tmp_path: Path) -> None:
    """
    Lines far behind the first are aligned with those before them, and the titles are not repeated.
    """
    path = written(tmp_path / "audit.jsonl", *some_records(1200))

    lines = list(show([path]))
    assert 1201 == len(lines)
    assert {lines[0].index("trigger")} == {
        line.index(word) for line in lines[1:5] + lines[-4:] for word in _TRIGGERS if word in line
    }


_TRIGGERS = ("start", "acquired", "lease_expired  ", "settled", "backoff_elapsed")


def test_files_are_merged_by_time(tmp_path: Path) -> None:
    """
    The audits of several nodes are one story, in the order of their wall clocks.
    """
    begin = a_record().at
    files = [
        written(tmp_path / node, *(a_record(node=node, at=begin + timedelta(seconds=2 * n + offset)) for n in range(3)))
        for offset, node in enumerate(("claire", "frank"))
    ]

    nodes = [json.loads(line)["node"] for line in show(files, as_json=True)]
    assert ["claire", "frank"] * 3 == nodes


def test_rotated_files_are_shown_when_asked_for(tmp_path: Path) -> None:
    """
    With `rotated` the whole story is shown, else only the file that was named.
    """
    path = written(tmp_path / "audit.jsonl", *some_records(50), rotate_bytes=4096)

    assert list(range(1, 51)) == [json.loads(line)["seq"] for line in show([path], as_json=True, rotated=True)]
    assert 50 > len(list(show([path], as_json=True)))


def test_filters_by_election_and_node(tmp_path: Path) -> None:
    """
    Each filter leaves what it names, both together what both name.
    """
    path = written(
        tmp_path / "audit.jsonl", *(a_record(election=election, node=node) for election in "ab" for node in "xyz")
    )

    def found(election: str | None = None, node: str | None = None) -> list[str]:
        lines = map(json.loads, show([path], election, node, as_json=True))
        return [line["election"] + line["node"] for line in lines]

    assert ["ax", "ay", "az", "bx", "by", "bz"] == found()
    assert ["ax", "ay", "az"] == found(election="a")
    assert ["ay", "by"] == found(node="y")
    assert ["by"] == found(election="b", node="y")
    assert [] == found(election="c")


def test_json_is_what_was_written_and_where(tmp_path: Path) -> None:
    """
    A line of JSON has file, line and the fields; headers are left out.
    """
    path = written(tmp_path / "audit.jsonl", a_record())

    assert [{"file": str(path), "line": 2, "v": 1, "kind": "transition", **a_record().as_dict()}] == [
        json.loads(line) for line in show(path, as_json=True)
    ]


def test_what_is_missing_is_never_filtered_out(tmp_path: Path) -> None:
    """
    Gaps and torn lines are shown whatever the filter: they may hide what is asked for.
    """
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "audit.jsonl"
    audit = AuditLog(path)
    folder.rmdir()
    audit.submit(a_record())
    audit.close()
    folder.mkdir()
    audit.submit(a_record())
    audit.submit(a_record())
    audit.close()
    os.truncate(path, path.stat().st_size - 300)

    assert ["gap", "torn"] == [json.loads(line)["kind"] for line in show([path], election="another", as_json=True)]
    gap, torn = [line for line in show([path], election="another") if line.startswith("!!")]
    assert gap.startswith(f"!! {path}:2: 1 record(s) could not be written since 2026-01-02 03:04:05.678 ([Errno 2]")
    assert torn.startswith(f'!! {path}:4: not a whole line: {{"v":1,"kind":"transition"')


def test_nothing_to_show_is_nothing(tmp_path: Path) -> None:
    """
    Without a record there are no titles either.
    """
    path = written(tmp_path / "audit.jsonl", a_record())

    assert [] == list(show([path], election="another"))


def test_text_cannot_control_a_terminal(tmp_path: Path) -> None:
    """
    Escape sequences and newlines in an audit are shown as what they are.
    """
    path = written(tmp_path / "audit.jsonl", a_record(error="\x1b[2Jgone\nfake line", node="a\u202eb"))
    with path.open("ab") as file:
        file.write(b"\x1b[2J\n")

    lines = list(show([path]))
    assert 3 == len(lines)
    assert all(line.isprintable() for line in lines)


def test_strange_fields_do_not_raise(tmp_path: Path) -> None:
    """
    Lines that no AuditLog wrote are shown as far as they go.
    """
    path = tmp_path / "strange"
    kinds = ("transition", "gap", "torn", "header", "new")
    path.write_text("".join(json.dumps({"v": 1, "kind": kind, "duration": "long", "at": 7}) + "\n" for kind in kinds))
    path.write_text(path.read_text().replace('{"v": 1', '{"v":1'))

    assert [1, 2, 3, 4, 5] == [json.loads(line)["line"] for line in show([path], as_json=True)]
    assert 5 == sum(line.startswith("!! ") for line in show([path]))


def test_missing_file_is_said_before_the_first_line(tmp_path: Path) -> None:
    """
    `show` refuses what `read` refuses, when it is called.
    """
    with pytest.raises(ConfigError, match="No such file"):
        show([tmp_path / "missing"])
    with pytest.raises(ConfigError, match="No such file"):
        read([tmp_path / "missing"])

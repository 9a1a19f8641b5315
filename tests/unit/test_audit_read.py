"""
Reading audits: whole, packed, rotated and damaged ones, and files that are none.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from records import a_record, some_records

from leadership.audit import read
from leadership.errors import ConfigError
from leadership.observers import AuditLog


def written(path: Path, number: int = 3, **options: Any) -> Path:
    with AuditLog(path, **options) as audit:
        for record in some_records(number):
            audit.submit(record)
    return path


def numbered(path: Path, *, rotated: bool = False) -> list[tuple[int, str]]:
    return [(line.number, line.fields["kind"]) for line in read([path], rotated=rotated)]


def test_yields_file_number_and_fields(tmp_path: Path) -> None:
    """
    Each line comes with its file and its number, counted from 1.
    """
    path = written(tmp_path / "audit.jsonl")

    lines = list(read([path]))
    assert [(str(path), number) for number in (1, 2, 3, 4)] == [(line.file, line.number) for line in lines]
    assert [{"v": 1, "kind": "transition", **record.as_dict()} for record in some_records(3)] == [
        line.fields for line in lines[1:]
    ]


def test_reads_files_in_the_order_given(tmp_path: Path) -> None:
    """
    Any number of files are read, one after the other; one alone need not be in a list.
    """
    a, b = written(tmp_path / "a"), written(tmp_path / "b")

    assert [str(b)] * 4 + [str(a)] * 4 == [line.file for line in read([b, str(a)])]
    assert list(read([a])) == list(read(a)) == list(read(str(a)))


def test_packed_file_reads_as_the_plain_one(tmp_path: Path) -> None:
    """
    gzip is recognised by the content, whatever the name.
    """
    path = written(tmp_path / "audit.jsonl")
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(path.read_bytes()))

    assert [line.fields for line in read([path])] == [line.fields for line in read([packed])]


def test_rotated_files_are_read_before_theirs(tmp_path: Path) -> None:
    """
    Rotated files are read when asked for, in the order of their numbers, packed or not.
    """
    path = written(tmp_path / "audit.jsonl", 120, rotate_bytes=4096)
    second = tmp_path / "audit.jsonl.2"
    (tmp_path / "audit.jsonl.2.gz").write_bytes(gzip.compress(second.read_bytes()))
    second.unlink()
    (tmp_path / "audit.jsonl.2.bak").touch()
    (tmp_path / "audit.jsonl.10x").touch()

    lines = [line.fields for line in read([path], rotated=True) if line.fields["kind"] == "transition"]
    assert (tmp_path / "audit.jsonl.10").exists()
    assert list(range(1, 121)) == [line["seq"] for line in lines]
    assert {str(path)} == {line.file for line in read([path])}


def test_rotated_files_are_read_though_their_own_is_gone(tmp_path: Path) -> None:
    """
    The current file may be missing while rotated ones are there.
    """
    path = written(tmp_path / "audit.jsonl", 20, rotate_bytes=4096)
    path.unlink()

    assert {str(tmp_path / "audit.jsonl.1")} <= {line.file for line in read([path], rotated=True)}
    with pytest.raises(ConfigError, match="No such file"):
        read([path])


def test_empty_file_has_nothing_to_tell(tmp_path: Path) -> None:
    """
    A file without a line is an audit without records.
    """
    (tmp_path / "empty").touch()

    assert [] == numbered(tmp_path / "empty")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"v":1}', "an object without a kind"),
        ("[]", "not an object"),
        ('{"v":"1","kind":3}', "an object whose v or kind"),
    ],
)
def test_whole_line_that_is_none_of_an_audit_says_why(line: str, problem: str, tmp_path: Path) -> None:
    """
    JSON that is complete is not called half a line.
    """
    path = written(tmp_path / "audit.jsonl")
    with path.open("a") as file:
        file.write(line + "\n")
    fields = list(read([path]))[-1].fields
    assert ("torn", line) == (fields["kind"], fields["text"])
    assert fields["problem"].startswith(problem)


@pytest.mark.parametrize("cut", [1, 2, 5, 100, 300])
def test_torn_tail_is_reported(cut: int, tmp_path: Path) -> None:
    """
    Half a line at the end is reported with its number, and the lines before it are read.
    """
    path = written(tmp_path / "audit.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole[: -1 - cut])

    assert [(1, "header"), (2, "transition"), (3, "transition"), (4, "torn")] == numbered(path)
    torn = list(read([path]))[-1].fields
    assert ("not a whole line", True) == (
        torn["problem"],
        whole.decode().endswith(torn["text"] + whole[-1 - cut :].decode()),
    )


def test_file_that_is_one_torn_line_is_an_audit(tmp_path: Path) -> None:
    """
    A crash in the very first write does not make the file unreadable.
    """
    whole = written(tmp_path / "audit.jsonl").read_bytes()
    for size in (1, 3, 20):
        (tmp_path / "torn").write_bytes(whole[:size])

        assert [(1, "torn")] == numbered(tmp_path / "torn")


def test_whole_line_behind_half_a_line_is_saved(tmp_path: Path) -> None:
    """
    Where another process appended to a torn line, the torn half is reported and the whole line is read.
    """
    path = written(tmp_path / "audit.jsonl")
    first, second, third, fourth = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:100] + third[:50] + fourth + second.rstrip() + third)

    assert [(1, "header"), (2, "torn"), (2, "transition"), (3, "transition"), (3, "transition")] == numbered(path)
    assert [3, 1, 2] == [line.fields["seq"] for line in read([path]) if "seq" in line.fields]


def test_text_in_a_record_is_not_taken_for_a_line(tmp_path: Path) -> None:
    """
    An error message that looks like an audit's line is text, in a whole line and in a torn one.
    """
    path = tmp_path / "audit.jsonl"
    text = '{"v":1,"kind":"transition"}'
    with AuditLog(path) as audit:
        audit.submit(a_record(error=text))
    assert text == list(read([path]))[-1].fields["error"]

    path.write_bytes(path.read_bytes()[:-20])
    assert [(1, "header"), (2, "torn")] == numbered(path)


@pytest.mark.parametrize(
    "junk", [b"\0" * 200, b"\xff\xfe{}", b"[1]", b"null", b'{"v":"1"}', b'{"v":true,"kind":"gap"}', b"[" * 9999]
)
def test_damage_in_the_middle_is_reported(junk: bytes, tmp_path: Path) -> None:
    """
    Whatever stands between two lines is reported, and reading goes on behind it. Blank lines are nothing.
    """
    path = written(tmp_path / "audit.jsonl")
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:2], junk, b"", *lines[2:], b""]))

    assert [(1, "header"), (2, "transition"), (3, "torn"), (5, "transition"), (6, "transition")] == numbered(path)
    json.dumps([line.fields for line in read([path])])


def test_packed_file_without_its_end_is_reported(tmp_path: Path) -> None:
    """
    What can be unpacked is read; that the rest is missing is reported.
    """
    packed = gzip.compress(written(tmp_path / "audit.jsonl", 500).read_bytes())
    (tmp_path / "cut.gz").write_bytes(packed[: len(packed) // 2])

    lines = list(read([tmp_path / "cut.gz"]))
    assert 100 < len(lines) < 500
    assert ["header", "torn"] == [lines[0].fields["kind"], lines[-1].fields["kind"]]
    assert "EOFError" in lines[-1].fields["problem"]


@pytest.mark.parametrize(
    ("words", "content"),
    [
        ("is not an audit: it begins with b'hello'", b"hello\nworld\n"),
        ("is not an audit", b'{"seq":1}\n'),
        ("is not an audit", b"SQLite format 3\0"),
        ("is not an audit", b"\x1f\x8bnonsense"),
        ("schema 2, and this reads up to 1: upgrade leadership", b'{"v":2,"kind":"header"}\n'),
    ],
)
def test_file_that_is_no_audit_is_refused(words: str, content: bytes, tmp_path: Path) -> None:
    """
    A foreign file, or one of a later version, is a ConfigError that names it.
    """
    path = tmp_path / "foreign"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=str(path)) as caught:
        list(read([path]))

    assert words in str(caught.value)


def test_every_file_is_checked_before_the_first_line(tmp_path: Path) -> None:
    """
    A missing file is said before anything is read, also when it is the last one named.
    """
    path = written(tmp_path / "audit.jsonl")
    for bad in (tmp_path / "missing", tmp_path):
        with pytest.raises(ConfigError, match=r"cannot be read: (No such file|Is a directory)"):
            read([path, bad])
    with pytest.raises(ConfigError, match="No such file"):
        read([tmp_path / "no" / "folder"], rotated=True)

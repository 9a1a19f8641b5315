"""
The audit's lines, its arguments, its thread, and what it acknowledges.
"""

from __future__ import annotations

import errno
import itertools
import json
import logging
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from records import a_record, some_records

from leadership.errors import ConfigError
from leadership.fsm import CANDIDATE, FOLLOWER
from leadership.observers import AuditLog, _audit_file
from leadership.observers._audit_lines import AuditLines

TIMING = {"ttl": 15.0, "effective_ttl": 15.0}


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def records_of(path: Path) -> list[dict[str, Any]]:
    return [line for line in lines_of(path) if line["kind"] == "transition"]


class Answers:
    """
    What was acknowledged, in order, and by which thread.
    """

    def __init__(self, expected: int = 1) -> None:
        self.errors: list[BaseException | None] = []
        self.threads: set[str] = set()
        self._expected = expected
        self._complete = threading.Event()

    def __call__(self, error: BaseException | None) -> None:
        self.errors.append(error)
        self.threads.add(threading.current_thread().name)
        if len(self.errors) == self._expected:
            self._complete.set()

    def wait(self) -> list[BaseException | None]:
        assert self._complete.wait(10)
        return self.errors


def test_record_comes_back_as_it_was(tmp_path: Path) -> None:
    """
    Each record is a line with all its fields, in the order of submission.
    """
    records = some_records(500)
    with AuditLog(tmp_path / "audit.jsonl") as audit:
        for record in records:
            audit(record)

    assert [{"v": 1, "kind": "transition", **record.as_dict()} for record in records] == records_of(
        tmp_path / "audit.jsonl"
    )
    assert 0 == audit.failures


def test_any_text_is_written(tmp_path: Path) -> None:
    """
    Newlines, quotes and other scripts in an error do not break a line; a lone surrogate, which is no text, is escaped.
    """
    text = 'a\nb "c" \u2028 \u5927 \ud800 {"v":1}'
    with AuditLog(tmp_path / "audit.jsonl") as audit:
        audit.submit(a_record(error=text))

    assert [text.replace("\ud800", "\\ud800")] == [line["error"] for line in records_of(tmp_path / "audit.jsonl")]


def test_header_says_by_what_a_file_was_written(tmp_path: Path) -> None:
    """
    The first line names process, versions and the tables' digests; there is one for each process.
    """
    with AuditLog(tmp_path / "audit.jsonl", durability="group") as audit:
        for boot in ("boot-1", "boot-1", "boot-2"):
            audit.submit(a_record(boot=boot))

    first, *rest = lines_of(tmp_path / "audit.jsonl")
    assert ["transition", "transition", "header", "transition"] == [line["kind"] for line in rest]
    assert ("boot-2", False) == (rest[2]["boot"], "file" in rest[2])
    assert {
        "v": 1,
        "kind": "header",
        "boot": "boot-1",
        "pid": os.getpid(),
        "tables": {"candidate": CANDIDATE.digest(), "follower": FOLLOWER.digest()},
        "durability": "group",
        "chain": False,
        "clock": None,
        "file": 1,
        "previous": None,
    }.items() <= first.items()
    assert {"at", "host", "leadership", "python", "transitions"} <= first.keys()


def test_candidate_line_stands_before_its_records_in_each_file(tmp_path: Path) -> None:
    """
    What a candidate was promised is said once a file, and again in the file that follows.
    """
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(path)
    audit.header(
        boot="boot-1",
        clock="clock",
        incarnation="incarnation-1",
        election="service/leader",
        node="underwood",
        timing=TIMING,
    )
    audit.submit(a_record(incarnation="another"))
    audit.submit(a_record(seq=1))
    audit.submit(a_record(seq=2))
    audit.close()
    path.rename(tmp_path / "moved")
    audit.submit(a_record(seq=3))
    audit.close()

    kinds = [[line["kind"] for line in lines_of(file)] for file in (tmp_path / "moved", path)]
    assert [
        ["header", "transition", "candidate", "transition", "transition"],
        ["header", "candidate", "transition"],
    ] == kinds
    assert {
        "v": 1,
        "kind": "candidate",
        "at": a_record().at.isoformat(),
        "boot": "boot-1",
        "incarnation": "incarnation-1",
        "election": "service/leader",
        "node": "underwood",
        "timing": TIMING,
    } == lines_of(path)[1]


def test_candidate_that_is_idle_is_forgotten(tmp_path: Path) -> None:
    """
    An audit that serves many short-lived candidates does not keep what it knows of each.
    """
    with AuditLog(tmp_path / "audit.jsonl") as audit:
        for number in range(100):
            audit.header(boot="boot-1", clock=None, incarnation=f"{number}", election="e", node="n", timing=TIMING)
            audit.submit(a_record(incarnation=f"{number}", dest="leader"))
            audit.submit(a_record(incarnation=f"{number}", dest="idle"))

    assert 100 == sum(line["kind"] == "candidate" for line in lines_of(tmp_path / "audit.jsonl"))
    assert (0, 0) == (len(audit._lines._candidates), len(audit._lines._declared))


def test_many_threads_write_whole_lines(tmp_path: Path) -> None:
    """
    Records of any number of threads are all written, each thread's in its order.
    """
    with AuditLog(tmp_path / "audit.jsonl", chain=True) as audit:

        def write(name: str) -> None:
            for record in some_records(300, incarnation=name):
                audit.submit(record)

        threads = [threading.Thread(target=write, args=(str(number),)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    seqs: dict[str, list[int]] = {}
    for line in records_of(tmp_path / "audit.jsonl"):
        seqs.setdefault(line["incarnation"], []).append(line["seq"])
    assert {str(number): list(range(1, 301)) for number in range(8)} == seqs


def test_thread_exists_between_first_record_and_close(tmp_path: Path) -> None:
    """
    An audit that has nothing to write costs no thread; closing twice is closing once.
    """
    before = threading.active_count()
    audit = AuditLog(tmp_path / "audit.jsonl")
    audit.close()
    assert before == threading.active_count()

    audit.submit(a_record())
    assert before + 1 == threading.active_count()
    audit.close()
    audit.close()
    assert before == threading.active_count()


def test_record_after_close_is_written(tmp_path: Path) -> None:
    """
    An audit that was closed before its candidates loses nothing: it opens the file again.
    """
    audit = AuditLog(tmp_path / "audit.jsonl")
    for seq in (1, 2, 3):
        audit.submit(a_record(seq=seq))
        audit.close()

    assert [1, 2, 3] == [line["seq"] for line in records_of(tmp_path / "audit.jsonl")]


def test_closing_while_others_write_loses_nothing(tmp_path: Path) -> None:
    """
    A record that meets a `close` is written by the thread that ends or by the one after it.
    """
    audit = AuditLog(tmp_path / "audit.jsonl")

    def write() -> None:
        for record in some_records(2000):
            audit.submit(record)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        audit.close()
    writer.join()
    audit.close()

    assert list(range(1, 2001)) == [line["seq"] for line in records_of(tmp_path / "audit.jsonl")]


def test_record_that_comes_during_the_last_sync_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A thread that is about to end looks once more, under the lock under which records are put.
    """
    audit = AuditLog(tmp_path / "audit.jsonl")
    close = audit._file.close
    late = [a_record(seq=2)]

    def closing() -> None:
        close()
        while late:
            audit.submit(late.pop())

    monkeypatch.setattr(audit._file, "close", closing)
    audit.submit(a_record(seq=1))
    audit.close()

    assert [1, 2] == [line["seq"] for line in records_of(tmp_path / "audit.jsonl")]


def test_writes_itself_where_no_thread_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where the system has no thread left, the record is written by the caller, and the next one tries again.
    """
    answers = Answers()

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")  # noqa: EM101, TRY003 - as Python says it

    audit = AuditLog(tmp_path / "audit.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        audit.submit(a_record(seq=1), answers)
        assert [None] == answers.errors
    audit.submit(a_record(seq=2), answers)
    audit.close()

    assert {threading.current_thread().name, "leadership-audit"} == answers.threads
    assert [1, 2] == [line["seq"] for line in records_of(tmp_path / "audit.jsonl")]


@pytest.mark.parametrize(
    ("waits", "options"),
    [
        (False, {}),
        (False, {"durability": "group"}),
        (True, {"durability": "sync"}),
        (True, {"required": True}),
        (True, {"required": True, "durability": "group"}),
    ],
)
def test_waits_says_whether_a_term_needs_the_record(waits: bool, options: dict[str, Any], tmp_path: Path) -> None:
    """
    A term waits for its record when the audit is required, or promises that the disk has it.
    """
    assert waits == AuditLog(tmp_path / "audit.jsonl", **options).waits


def test_acknowledges_on_its_own_thread(tmp_path: Path) -> None:
    """
    Who asks is told after the write, and not on the thread that submitted.
    """
    answers = Answers()
    with AuditLog(tmp_path / "audit.jsonl", required=True) as audit:
        audit.submit(a_record(), answers)
        assert [None] == answers.wait()
        assert {"leadership-audit"} == answers.threads
        assert 1 == len(records_of(tmp_path / "audit.jsonl"))


def test_sync_acknowledges_after_the_disk_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    With durability `sync` the line is in the file, then synced, then acknowledged.
    """
    path = tmp_path / "audit.jsonl"
    events: list[tuple[str, int]] = []
    datasync = _audit_file._datasync

    def spy(fd: int) -> None:
        events.append(("sync", len(records_of(path))))
        datasync(fd)

    monkeypatch.setattr(_audit_file, "_datasync", spy)
    answers = Answers(100)
    with AuditLog(path, durability="sync") as audit:
        for seq, record in enumerate(some_records(100), 1):

            def acknowledge(error: BaseException | None, seq: int = seq) -> None:
                events.append(("acknowledged", seq))
                answers(error)

            audit.submit(record, acknowledge)
        assert [None] * 100 == answers.wait()

    synced = 0
    for kind, count in events:
        assert kind == "sync" or count <= synced
        synced = count if kind == "sync" else synced
    assert list(range(1, 101)) == [count for kind, count in events if kind == "acknowledged"]


def test_sync_shares_one_sync_among_those_who_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Records that came during a slow sync are synced together.
    """
    syncing, go_on = threading.Event(), threading.Event()
    calls: list[int] = []

    def slow(fd: int) -> None:
        calls.append(fd)
        syncing.set()
        assert go_on.wait(10)

    monkeypatch.setattr(_audit_file, "_datasync", slow)
    answers = Answers(51)
    with AuditLog(tmp_path / "audit.jsonl", durability="sync") as audit:
        audit.submit(a_record(seq=1), answers)
        assert syncing.wait(10)
        for seq in range(2, 52):
            audit.submit(a_record(seq=seq), answers)
        go_on.set()
        answers.wait()

    assert 2 == len(calls)


def test_group_syncs_although_nothing_more_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    With durability `group` a line is synced soon after it was written, without a further record.
    """
    synced = threading.Event()
    monkeypatch.setattr(_audit_file, "_datasync", lambda _fd: synced.set())
    with AuditLog(tmp_path / "audit.jsonl", durability="group") as audit:
        audit.submit(a_record())
        assert synced.wait(10)


def test_sync_that_fails_is_acknowledged_as_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A line that the disk may not keep counts as not written.
    """

    def fail(_fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(_audit_file, "_datasync", fail)
    answers = Answers()
    with AuditLog(tmp_path / "audit.jsonl", durability="sync") as audit:
        audit.submit(a_record(), answers)
        assert [OSError] == [type(error) for error in answers.wait()]

    assert 1 == audit.failures


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_acknowledgement_that_raises_hurts_nobody(
    error: type[BaseException], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    What an acknowledgement raises is logged, and the next record is written.
    """

    def broken(_error: BaseException | None) -> None:
        raise error

    with AuditLog(tmp_path / "audit.jsonl") as audit:
        audit.submit(a_record(), broken)
        audit.submit(a_record())

    assert 2 == len(records_of(tmp_path / "audit.jsonl"))
    assert ["leadership.audit_acknowledge_failed"] == [record.getMessage() for record in caplog.records]


def test_log_handler_that_exits_hurts_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A host's handler ends the program at an error, and the audit has one to tell of: the next record is written.
    """

    class Exits(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise SystemExit(record.name)

    def fail(_self: AuditLines, _item: object) -> None:
        raise OSError(28, "No space left on device")

    first, second, handler = Answers(), Answers(), Exits()
    logging.getLogger("leadership").addHandler(handler)
    try:
        with AuditLog(tmp_path / "audit.jsonl", required=True) as audit:
            with monkeypatch.context() as patch:
                patch.setattr(AuditLines, "write", fail)
                audit.submit(a_record(seq=1), first)
                assert [OSError] == [type(error) for error in first.wait()]
            audit.submit(a_record(seq=2), second)
            assert [None] == second.wait()
    finally:
        logging.getLogger("leadership").removeHandler(handler)

    assert [2] == [line["seq"] for line in records_of(tmp_path / "audit.jsonl")]


@pytest.mark.parametrize(
    ("words", "path", "options"),
    [
        ("is a directory", ".", {}),
        ("does not exist: make it first", "missing/audit.jsonl", {}),
        ("does not exist: make it first", "a_file/audit.jsonl", {}),
        ("not a regular file", "/dev/null", {}),
        ("names no file", "", {}),
        ("names no file", "a\0b", {}),
        ("text or a path, not 7", 7, {}),
        ("text or a path, not b'audit'", b"audit", {}),
        ("one of os, group, sync, not 'disk'", "audit.jsonl", {"durability": "disk"}),
        ("from 4096 upwards, not 100", "audit.jsonl", {"rotate_bytes": 100}),
        ("from 4096 upwards, not '1 MB'", "audit.jsonl", {"rotate_bytes": "1 MB"}),
        ("from 4096 upwards, not True", "audit.jsonl", {"rotate_bytes": True}),
    ],
)
def test_unusable_arguments_are_refused_at_once(
    words: str, path: Any, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What cannot work is a ConfigError that names the value, before anything is written.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_file").touch()
    with pytest.raises(ConfigError, match=r"audit|durability|rotate_bytes") as caught:
        AuditLog(path, **options)

    assert words in str(caught.value)
    assert ["a_file"] == [file.name for file in tmp_path.iterdir()]


def test_file_that_may_not_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Missing permission is said at construction.
    """
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everything
    with pytest.raises(ConfigError, match="cannot be written by this user"):
        AuditLog(tmp_path / "audit.jsonl")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_existing_file_that_may_not_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """
    So is that of a file which is there.
    """
    path = tmp_path / "audit.jsonl"
    path.touch()

    may_open = os.open

    def refuse(name: str, flags: int, *mode: int) -> int:
        if flags & os.O_ACCMODE == os.O_RDONLY:
            return may_open(name, flags, *mode)
        assert flags & os.O_APPEND, "which is allowed in more files than any other writing"
        raise OSError(number, os.strerror(number), name)

    monkeypatch.setattr(os, "open", refuse)  # root may write everything
    with pytest.raises(ConfigError, match="cannot be written by this user"):
        AuditLog(path)


@pytest.mark.parametrize("look", [1, 2, 3, 4])
def test_file_that_is_rotated_while_it_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: int) -> None:
    """
    A process that began while another rotated the file of both was told that it is no regular file, or not to be
    written: it was looked at several times, and had no name in between. A test of two processes had failed once; its
    error was not kept, and this explains it.
    """
    path = tmp_path / "audit.jsonl"
    path.touch()
    stat, looks = os.stat, itertools.count(1)

    def rotate(name: Any, **options: Any) -> os.stat_result:
        found = stat(name, **options)
        if str(path) == str(name) and look == next(looks):
            path.rename(tmp_path / "audit.jsonl.1")
        return found

    monkeypatch.setattr(os, "stat", rotate)
    with AuditLog(path) as audit:
        monkeypatch.undo()
        audit.submit(a_record())
    assert 1 == len(records_of(path))


def test_relative_path_means_the_folder_of_construction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A program that changes its folder later goes on with the same file.
    """
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    audit = AuditLog("audit.jsonl")
    monkeypatch.chdir(tmp_path / "elsewhere")
    audit.submit(a_record())
    audit.close()

    assert str(tmp_path / "audit.jsonl") == audit.path
    assert 1 == len(records_of(tmp_path / "audit.jsonl"))


@pytest.mark.parametrize("head", [b"hello", b"SQLite format 3\0", b"\x1f\x8b\x08", b'{"seq":1}'])
def test_file_that_is_not_an_audit_is_refused_and_left_alone(head: bytes, tmp_path: Path) -> None:
    """
    Nothing is appended to another program's file.
    """
    path = tmp_path / "notes.txt"
    path.write_bytes(head + b"\nmore\n")
    with pytest.raises(ConfigError) as caught:
        AuditLog(path)
    said = f"{str(path)!r} is not an audit: it begins with {head!r}; name another file, or move it away"
    assert said == str(caught.value)
    assert head + b"\nmore\n" == path.read_bytes()


@pytest.mark.parametrize("text", ["", "\n", '{"v"', '{"v":1,"kind":"header"'])
def test_beginning_of_an_audit_is_taken(text: str, tmp_path: Path) -> None:
    """
    An empty file, and one whose only line was cut short, are gone on with.
    """
    path = tmp_path / "audit.jsonl"
    path.write_text(text)
    AuditLog(path).close()


def test_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    """
    What the system cannot look up is refused at construction, with the remedy.
    """
    with pytest.raises(ConfigError, match="cannot be looked at: File name too long: name another file"):
        AuditLog(tmp_path / ("x" * 300))

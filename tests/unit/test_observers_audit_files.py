"""
The audit's files: rotation, chain, damage, full disks, several processes, forks and the end of the interpreter.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from records import a_record, some_records

from leadership.audit import read
from leadership.observers import AuditLog, _audit_file
from leadership.observers._audit_file import siblings


def all_lines(path: Path) -> list[dict[str, Any]]:
    return [line.fields for line in read([path], rotated=True)]


def seqs(path: Path) -> list[int]:
    return [line["seq"] for line in all_lines(path) if line["kind"] == "transition"]


def assert_chained(path: Path) -> None:
    """
    Every line of every file names the hash of the one before it.
    """
    before = None
    for file in [*(Path(sibling) for _, sibling in siblings(str(path))), path]:
        for raw in file.read_bytes().split(b"\n"):
            if raw:
                assert before == json.loads(raw)["prev"]
                before = hashlib.sha256(raw).hexdigest()


def write(audit: AuditLog, seq: int) -> None:
    """
    Have one record written and wait for it, without closing the file as `close` would.
    """
    answers: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    audit.submit(a_record(seq=seq), answers.put)
    assert answers.get(timeout=10) is None


@pytest.mark.parametrize("chain", [False, True])
def test_rotation_keeps_every_record(chain: bool, tmp_path: Path) -> None:
    """
    A file that is full gets the next number; all files together have all records, in order.
    """
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, rotate_bytes=10_000, chain=chain) as audit:
        for record in some_records(200):
            audit.submit(record)

    numbers = [number for number, _ in siblings(str(path))]
    assert list(range(1, len(numbers) + 1)) == numbers
    assert len(numbers) > 5
    assert list(range(1, 201)) == seqs(path)
    assert all(10_000 <= os.stat(sibling).st_size < 12_000 for _, sibling in siblings(str(path)))
    if chain:
        assert_chained(path)


def test_header_names_the_file_before(tmp_path: Path) -> None:
    """
    The first line of a file says its number, and name and last hash of the one before: the order is proved.
    """
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, rotate_bytes=4096) as audit:
        for record in some_records(30):
            audit.submit(record)

    rotated = [Path(sibling) for _, sibling in siblings(str(path))]
    for number, (before, file) in enumerate(zip(rotated, [*rotated[1:], path], strict=True), 2):
        last = before.read_bytes().rstrip(b"\n").rpartition(b"\n")[2]
        first = json.loads(file.read_bytes().partition(b"\n")[0])
        assert (number, {"name": before.name, "sha256": hashlib.sha256(last).hexdigest()}) == (
            first["file"],
            first["previous"],
        )


def test_numbers_go_on_when_rotated_files_are_archived(tmp_path: Path) -> None:
    """
    A number is not used again where rotated files were moved away or compressed.
    """
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, rotate_bytes=4096) as audit:
        for record in some_records(30):
            audit.submit(record)
    taken = [number for number, _ in siblings(str(path))]
    for _, sibling in siblings(str(path)):
        os.unlink(sibling)
    with AuditLog(path, rotate_bytes=4096) as audit:
        for record in some_records(10):
            audit.submit(record)
    number, sibling = siblings(str(path))[0]
    Path(sibling + ".gz").write_bytes(gzip.compress(Path(sibling).read_bytes()))
    os.unlink(sibling)
    path.unlink()
    with AuditLog(path, rotate_bytes=4096) as audit:
        audit.submit(a_record())

    assert taken[-1] + 1 == number
    assert (number + 1, {"name": path.name + f".{number}.gz", "sha256": None}) == (
        all_lines(path)[-2]["file"],
        all_lines(path)[-2]["previous"],
    )


def test_chain_goes_on_after_a_restart(tmp_path: Path) -> None:
    """
    A program that starts again continues the chain of the file that it finds.
    """
    path = tmp_path / "audit.jsonl"
    for boot in ("boot-1", "boot-2", "boot-3"):
        with AuditLog(path, chain=True) as audit:
            audit.submit(a_record(boot=boot, error="x" * 10_000))

    assert ["header", "transition"] * 3 == [line["kind"] for line in all_lines(path)]
    assert_chained(path)


def test_file_that_was_moved_is_begun_anew(tmp_path: Path) -> None:
    """
    When logrotate moves the file or somebody removes it, the next record is in a new one, and says by a header so.
    """
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(path)
    write(audit, 1)
    path.rename(tmp_path / "old")
    write(audit, 2)
    path.unlink()
    write(audit, 3)
    audit.close()

    assert [1] == seqs(tmp_path / "old")
    assert ["header", "transition"] == [line["kind"] for line in all_lines(path)]
    assert [3] == seqs(path)


def test_file_that_was_cut_is_begun_anew(tmp_path: Path) -> None:
    """
    When somebody empties the file, the next record has a header before it again.
    """
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(path, chain=True)
    for seq in (1, 2):
        write(audit, seq)
        if seq == 1:
            os.truncate(path, 0)
    audit.close()

    assert [("header", 1), ("transition", None)] == [(line["kind"], line.get("file")) for line in all_lines(path)]
    assert [2] == seqs(path)
    assert_chained(path)


@pytest.mark.parametrize("chain", [False, True])
def test_half_a_line_is_never_continued(chain: bool, tmp_path: Path) -> None:
    """
    After a loss of power, records go on behind the torn line, which the reader reports.
    """
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, chain=chain) as audit:
        audit.submit(a_record(seq=1))
        audit.submit(a_record(seq=2))
    os.truncate(path, path.stat().st_size - 20)
    with AuditLog(path, chain=chain) as audit:
        audit.submit(a_record(seq=3, boot="boot-2"))

    assert ["header", "transition", "torn", "header", "transition"] == [line["kind"] for line in all_lines(path)]
    assert [1, 3] == seqs(path)
    if chain:
        raw = path.read_bytes().split(b"\n")
        assert hashlib.sha256(raw[2]).hexdigest() == json.loads(raw[3])["prev"]


def test_rotation_that_is_refused_is_said_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Where a full file cannot be renamed, records go on in it, and it is tried again when it has grown by as much.
    """

    def refuse(_old: str, _new: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    path = tmp_path / "audit.jsonl"
    monkeypatch.setattr(os, "rename", refuse)
    with AuditLog(path, rotate_bytes=10_000) as audit:
        for record in some_records(40):
            audit.submit(record)

    assert list(range(1, 41)) == seqs(path)
    assert path.stat().st_size // 10_000 == len(caplog.records)
    assert {"leadership.audit_rotation_failed"} == {record.getMessage().split()[0] for record in caplog.records}


def test_lock_that_is_never_given_back_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A process that was frozen while it held the file's lock costs records, and a gap tells of them; it stops nobody.

    Only the first record waits for it: those behind it would queue up.
    """
    sleeps: list[float] = []
    monkeypatch.setattr(_audit_file, "PATIENCE", 0.2)
    monkeypatch.setattr(time, "sleep", sleeps.append)
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, chain=True) as audit:
        audit.submit(a_record(seq=1))
    with path.open("rb") as frozen:
        fcntl.flock(frozen, fcntl.LOCK_EX)
        audit.submit(a_record(seq=2))
        audit.close()
        slept = len(sleeps)
        audit.submit(a_record(seq=3))
        audit.close()
    assert (2, slept) == (audit.failures, len(sleeps))
    assert slept > 0

    audit.submit(a_record(seq=4))
    audit.close()
    gaps = [line for line in all_lines(path) if line["kind"] == "gap"]
    assert [(2, True)] == [(gap["lost"], "lock" in gap["error"]) for gap in gaps]
    assert [1, 4] == seqs(path)
    assert_chained(path)


def test_folder_that_vanishes_costs_records_not_elections(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    What cannot be written is counted, acknowledged as an error and said once; writing resumes by itself, with a gap.
    """
    path = tmp_path / "folder" / "audit.jsonl"
    path.parent.mkdir()
    errors: list[BaseException | None] = []
    audit = AuditLog(path, required=True)
    path.parent.rmdir()
    for seq in (1, 2, 3):
        audit.submit(a_record(seq=seq), errors.append)
    audit.close()
    path.parent.mkdir()
    audit.submit(a_record(seq=4), errors.append)
    audit.close()

    assert [FileNotFoundError] * 3 + [type(None)] == [type(error) for error in errors]
    assert 3 == audit.failures
    assert ["header", "gap", "transition"] == [line["kind"] for line in all_lines(path)]
    gap = all_lines(path)[1]
    assert (3, a_record().at.isoformat(), "boot-1") == (gap["lost"], gap["since"], gap["boot"])
    said = [record.getMessage().split()[0] for record in caplog.records]
    assert ["leadership.audit_failed", "leadership.audit_resumed"] == said


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_name_that_became_something_else_costs_records(make: Callable[[Path], None], tmp_path: Path) -> None:
    """
    Where a folder or a pipe has taken the file's name, nothing is written into it and nothing waits for it.
    """
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(path)
    make(path)
    audit.submit(a_record())
    audit.close()

    assert 1 == audit.failures


def test_file_that_is_another_at_each_look_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    On a file system whose files do not keep their numbers, writing fails with a reason instead of turning for ever.
    """
    errors: list[BaseException | None] = []
    monkeypatch.setattr(_audit_file.AuditFile, "_size", lambda _: None)
    audit = AuditLog(tmp_path / "audit.jsonl")
    audit.submit(a_record(), errors.append)
    audit.close()

    assert ["another one at each look" in str(error) for error in errors] == [True]


@pytest.mark.parametrize("first", ["", "half a line", "[]", '{"file":"x"}', '{"file":-1}'])
def test_full_file_without_a_header_is_rotated(first: str, tmp_path: Path) -> None:
    """
    A file whose first line is damaged counts as the first one.
    """
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, rotate_bytes=4096) as audit:
        path.write_text(first + "\n" + "x" * 5000)
        audit.submit(a_record())

    assert [(1, f"{path}.1")] == siblings(str(path))
    assert 2 == next(read([path])).fields["file"]


def test_gap_is_told_at_close(tmp_path: Path) -> None:
    """
    Where no record comes after the trouble, closing writes the gap.
    """
    path = tmp_path / "folder" / "audit.jsonl"
    path.parent.mkdir()
    audit = AuditLog(path)
    path.parent.rmdir()
    done: list[BaseException | None] = []

    def heal(error: BaseException | None) -> None:
        done.append(error)
        path.parent.mkdir()

    audit.submit(a_record(), heal)
    audit.close()

    assert ["header", "gap"] == [line["kind"] for line in all_lines(path)]


_PREAMBLE = """
import os, sys, threading
sys.path.insert(0, "tests")
from records import a_record, some_records
from leadership.observers import AuditLog
path = sys.argv[1]
"""


def python(script: str, *args: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _PREAMBLE + script, *map(str, args)], stdout=subprocess.PIPE, text=True
    )


def output(script: str, *args: str | Path) -> str:
    process = python(script, *args)
    out, _ = process.communicate(timeout=50)
    assert 0 == process.returncode
    return out


_FULL = """
import resource
chain = sys.argv[3] == "True"
with AuditLog(path + ".probe", chain=chain) as probe:
    for record in some_records(10):
        probe.submit(record)
limit = os.stat(probe.path).st_size + int(sys.argv[2])
audit = AuditLog(path, chain=chain)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
errors = []
for record in some_records(50):
    audit.submit(record, errors.append)
audit.close()
print(audit.failures, sum(error is not None for error in errors))
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
for record in some_records(60)[50:]:
    audit.submit(record, errors.append)
audit.close()
print(audit.failures)
"""


@pytest.mark.parametrize("chain", [False, True])
@pytest.mark.parametrize("room", [-5000, -400, -2, -1, 0, 1, 2, 250, 400])
def test_full_disk_costs_the_records_that_did_not_fit(room: int, chain: bool, tmp_path: Path) -> None:
    """
    Wherever in a line space ends (`room` bytes behind the tenth record), what fitted is whole, what is missing is
    counted, and what follows is written.
    """
    path = tmp_path / "audit.jsonl"
    first, then = output(_FULL, path, str(room), str(chain)).splitlines()

    failures, refused = map(int, first.split())
    assert failures == refused == int(then)
    assert room < -2 or failures == (41 if room == -2 else 40)
    lines = all_lines(path)
    assert {"header", "transition", "torn", "gap"} >= {line["kind"] for line in lines}
    assert [*range(1, 51 - failures), *range(51, 61)] == seqs(path)
    assert failures == sum(line["lost"] for line in lines if line["kind"] == "gap")


_WRITE = """
from leadership.observers import _audit_file
options = eval(sys.argv[3])
_audit_file.PATIENCE = 30.0  # each flushes to the disk while it has the lock, which may be busy
audits = [AuditLog(path, **options) for _ in range(2)]
for record in some_records(400):
    for number, audit in enumerate(audits):
        audit.submit(type(record)(**{name: getattr(record, name) for name in record.__slots__}
            | {"boot": sys.argv[2], "incarnation": sys.argv[2] + str(number)}))
for audit in audits:
    audit.close()
    assert not audit.failures
"""


@pytest.mark.parametrize(
    "options",
    [{}, {"chain": True}, {"rotate_bytes": 20_000}, {"rotate_bytes": 20_000, "chain": True, "durability": "sync"}],
    ids=["plain", "chained", "rotated", "all"],
)
def test_several_processes_share_a_file(options: dict[str, Any], tmp_path: Path) -> None:
    """
    Two processes with two audits each write one file: no line is torn or lost, no chain broken, each order kept.
    """
    path = tmp_path / "audit.jsonl"
    processes = [python(_WRITE, path, name, repr(options)) for name in ("a", "b")]
    for process in processes:
        process.communicate(timeout=50)
        assert 0 == process.returncode

    found: dict[str, list[int]] = {}
    for line in all_lines(path):
        assert line["kind"] in ("header", "transition")
        if line["kind"] == "transition":
            found.setdefault(line["incarnation"], []).append(line["seq"])
    assert {name: list(range(1, 401)) for name in ("a0", "a1", "b0", "b1")} == dict(sorted(found.items()))
    if options.get("chain"):
        assert_chained(path)


_FORK = """
done = threading.Event()
audit = AuditLog(path, chain=True)
audit.submit(a_record(seq=1), lambda error: done.set())
assert done.wait(10)
for seq in range(2, 202):
    audit.submit(a_record(seq=seq))
child = os.fork()
if child == 0:
    for seq in (1, 2):
        audit.submit(a_record(seq=seq, boot="child"))
    audit.close()
    os._exit(threading.active_count() - 1)
assert os.waitpid(child, 0)[1] == 0
for seq in (202, 203):
    audit.submit(a_record(seq=seq))
audit.close()
"""


def test_forked_child_writes_its_own_records_only(tmp_path: Path) -> None:
    """
    What waits at a fork is written by the parent, once; the child's audit works, with its own thread and header.
    """
    path = tmp_path / "audit.jsonl"
    output("import warnings; warnings.simplefilter('ignore')\n" + _FORK, path)

    lines = all_lines(path)
    written = {boot: [line["seq"] for line in lines if line.get("boot") == boot and "seq" in line] for boot in _BOOTS}
    assert {"boot-1": list(range(1, 204)), "child": [1, 2]} == written
    assert {"header", "transition"} == {line["kind"] for line in lines}
    assert_chained(path)


_BOOTS = ("boot-1", "child")


def test_nothing_is_lost_at_exit(tmp_path: Path) -> None:
    """
    A program that ends without closing its audit finds all its records in the file.
    """
    output("audit = AuditLog(path)\nfor record in some_records(1000): audit.submit(record)", tmp_path / "audit.jsonl")

    assert list(range(1, 1001)) == seqs(tmp_path / "audit.jsonl")


@pytest.mark.parametrize("early", [False, True])
def test_records_made_at_exit_are_written(early: bool, tmp_path: Path) -> None:
    """
    An exit function may still submit, whether it runs before or after the audit's own, when no thread can be started.
    """
    register = "import atexit; atexit.register(lambda: [audit.submit(record) for record in some_records(100)[1:]])\n"
    script = "audit = AuditLog(path)\naudit.submit(a_record())\n"
    if early:
        process = subprocess.run(
            [sys.executable, "-c", register + _PREAMBLE + script, tmp_path / "audit.jsonl"], check=True, timeout=50
        )
        assert 0 == process.returncode
    else:
        output(register + script, tmp_path / "audit.jsonl")

    assert list(range(1, 101)) == seqs(tmp_path / "audit.jsonl")


def test_disk_that_does_not_answer_bounds_close(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    `close` gives up after its time-out and says so; the record is written when the disk answers again.
    """
    release = threading.Event()
    audit = AuditLog(tmp_path / "audit.jsonl")

    def block(_error: BaseException | None) -> None:
        release.wait(10)

    audit.submit(a_record(seq=1), block)
    audit.submit(a_record(seq=2))
    audit.close(timeout=0.01)
    assert ["leadership.audit_close_timeout"] == [record.getMessage().split()[0] for record in caplog.records]

    release.set()
    audit.close()
    assert [1, 2] == seqs(tmp_path / "audit.jsonl")

"""
How audits are read for the judge: in one process or several, by orjson or by the standard library, to one verdict.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from audits import Audit, last_hash, night, write, written

from leadership.audit import Verdict, _json, _work, verify
from leadership.errors import ConfigError


def two_leaders() -> dict[str, Audit]:
    audits = night(aspen="one", birch="one", cedar="one")
    birch = audits["birch"] = Audit("birch", clock="one")
    birch.stand(0.1).elected(1.0, 3).resigned(8.0).stand(12.0).elected(16.8, 7).stopped(25.0)
    audits["cedar"].drop(lambda line: bool(line["seq"] == 1))
    return audits


def test_several_processes_come_to_the_same_judgement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Files that are dealt out to several processes are judged as in one.
    """
    paths = written(tmp_path, two_leaders())
    alone = verify(paths)
    monkeypatch.setattr(_work, "MUCH", 0)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    shared = verify(paths)

    assert Verdict.INVALID is alone.verdict
    assert {"overlap", "missing_records"} <= {finding.kind for finding in alone.findings}
    assert alone.spans == shared.spans
    assert sorted(map(str, alone.findings)) == sorted(map(str, shared.findings))
    assert (alone.records, alone.files, alone.nodes) == (shared.records, shared.files, shared.nodes)


def test_what_another_process_refuses_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A line of a later version is refused wherever it is read.
    """
    paths = written(tmp_path, two_leaders())
    for path in paths:
        path.write_bytes(path.read_bytes() + b'{"v":2,"kind":"transition"}\n')
    monkeypatch.setattr(_work, "MUCH", 0)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    with pytest.raises(ConfigError, match="upgrade leadership"):
        verify(paths)
    # The one that another process has.
    for path in paths[:-1]:
        path.write_bytes(path.read_bytes().rsplit(b"\n", 2)[0] + b"\n")
    with pytest.raises(ConfigError, match="upgrade leadership"):
        verify(paths)


def test_the_standard_library_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without the extra `audit` the judgement is the same.
    """
    paths = written(tmp_path, two_leaders())
    fast = verify(paths)
    monkeypatch.setattr(_work, "loads", _json.plain)

    assert fast == verify(paths)


def in_parts(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> list[tuple[Verdict, list[str]]]:
    """
    The judgement in one process and in several.
    """
    judged = [verify(paths)]
    with monkeypatch.context() as patch:
        patch.setattr(_work, "MUCH", 0)
        patch.setattr("os.cpu_count", lambda: 3)
        judged.append(verify(paths))
    return [(one.verdict, sorted(finding.kind for finding in one.findings)) for one in judged]


def test_copies_are_known_as_such_however_much_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A backup is judged with what it is a copy of, also where another process has begun it, and also when packed.
    """
    audits = night(aspen="one", birch="one", cedar="one")
    paths = written(tmp_path, audits)
    half = [*Audit("dogwood").stand(0.0).stopped(1.0).lines, *audits["birch"].lines[:5]]
    (tmp_path / "later").mkdir()
    backups = [write(tmp_path / "backup", half), write(tmp_path / "later" / "backup.gz", half)]
    alone, shared = in_parts([*backups, *paths], monkeypatch)

    assert (Verdict.VALID, []) == alone == shared


def test_a_rotated_file_elsewhere_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A file that another follows may have been moved, and begun by another process.
    """
    first, second = Audit("aspen").stand(0.0).stopped(1.0), Audit("birch").stand(2.0).stopped(3.0)
    (tmp_path / "archive").mkdir()
    old = first.write(tmp_path / "archive" / "a.jsonl.1", chain=True)
    second.lines[0] |= {"file": 2, "previous": {"name": "a.jsonl.1", "sha256": last_hash(old)}}
    new = write(tmp_path / "a.jsonl", second.lines, chain=True, prev=last_hash(old))
    other = Audit("cedar").stand(0.0).stopped(1.0).write(tmp_path / "c.jsonl")
    alone, shared = in_parts([new, other, old], monkeypatch)

    assert (Verdict.VALID, []) == alone == shared
    data = old.read_bytes()
    old.unlink()
    (tmp_path / "archive" / "a.jsonl.1.gz").write_bytes(gzip.compress(data))
    assert [(Verdict.VALID, [])] * 2 == in_parts([new, other, tmp_path / "archive" / "a.jsonl.1.gz"], monkeypatch)

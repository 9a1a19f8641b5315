"""
The JSON Schema of an audit's lines is what an AuditLog writes.
"""

from __future__ import annotations

import errno
import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from audits import night
from records import some_records

from leadership import Candidate, Follower
from leadership.audit import read
from leadership.observers import AuditLog
from leadership.observers._audit_lines import SCHEMA
from leadership.testing import Simulation

DOCUMENT: dict[str, Any] = json.loads(files("leadership.audit").joinpath("schema.json").read_text(encoding="utf-8"))


def validator() -> Any:
    """
    A checker of single lines.
    """
    checker = jsonschema.validators.validator_for(DOCUMENT)
    checker.check_schema(DOCUMENT)
    return checker(DOCUMENT)


def faults(line: dict[str, Any]) -> list[str]:
    """
    What is wrong with a line, and the keys that the schema does not know.
    """
    known = DOCUMENT["$defs"][line["kind"]]["properties"]
    said = [error.message for error in validator().iter_errors(line)]
    return said + [f"unknown key {key}" for key in line if key not in known]


def audited(path: Path) -> list[dict[str, Any]]:
    """
    What is written of a candidate and a follower in an election with faults, chained and rotated.
    """
    with AuditLog(path, chain=True, rotate_bytes=4096) as audit, Simulation(seed=1) as sim:
        candidate = Candidate(sim.store, "jobs", node="ann", ttl=3.0, observers=[audit], log=False)
        follower = Follower(sim.store, "jobs", observers=[audit], log=False)
        candidate.start()
        follower.start()
        sim.advance(10.0)
        sim.fault("partition", node="ann", seconds=5.0)
        sim.advance(20.0)
        candidate.resign("drill", cool_down=0.5)
        sim.advance(20.0)
        candidate.stop()
        follower.stop()
    return [line.fields for line in read(path, rotated=True)]


def test_what_is_written_is_of_the_schema(tmp_path: Path) -> None:
    """
    Each line of a real audit agrees with the schema, and has no key that it does not list.
    """
    lines = audited(tmp_path / "audit.jsonl")

    assert {"header", "candidate", "transition"} <= {line["kind"] for line in lines}
    assert [] == [(line, faults(line)) for line in lines if faults(line)]


def test_a_gap_is_of_the_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A disk that was full for a while leaves a line of its kind.
    """
    write = os.write
    full = True

    def broken(fd: int, data: bytes) -> int:
        if full and data.startswith(b'{"v":1,"kind":"transition"'):
            raise OSError(errno.ENOSPC, "no space left")
        return write(fd, data)

    path = tmp_path / "audit.jsonl"
    monkeypatch.setattr(os, "write", broken)
    with AuditLog(path) as audit:
        audit.submit(some_records(1)[0])
    full = False
    with AuditLog(path) as audit:
        for record in some_records(3)[1:]:
            audit.submit(record)
    gaps = [line.fields for line in read(path) if line.fields["kind"] == "gap"]

    assert 1 == len(gaps)
    assert [] == faults(gaps[0])


def test_the_tests_own_lines_are_of_the_schema() -> None:
    """
    What the judge's tests feed it is what the schema says, but for what they leave out of headers.
    """
    lines = [line for audit in night().values() for line in audit.lines if line["kind"] != "header"]

    assert {"candidate", "transition", "leader"} == {line["kind"] for line in lines}
    assert [] == [faults(line) for line in lines if faults(line)]


def test_the_schema_refuses(tmp_path: Path) -> None:
    """
    A line of another version, of no kind, or without a key is none of it.
    """
    line = next(line for line in audited(tmp_path / "audit.jsonl") if line["kind"] == "transition")
    check = validator()

    assert check.is_valid(line)
    for change in (
        {"v": SCHEMA + 1},
        {"kind": "verse"},
        {"at": "today"},
        {"seq": 0},
        {"cause": "tired"},
        {"prev": "x"},
    ):
        assert not check.is_valid({**line, **change}), change
    for key in ("v", "seq", "boot", "lease_deadline"):
        assert not check.is_valid({name: value for name, value in line.items() if name != key}), key

"""
What is no line of an audit is found at the intake: it is damage, it is told, and nothing behind it ever sees it.
"""

from __future__ import annotations

import copy
import gzip
import hashlib
import json
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from audits import night, write, written
from records import a_record, some_records

from leadership.audit import Judgement, Verdict, _json, _work, read, show, tell, timeline, verify
from leadership.audit._shape import fault
from leadership.audit.report import render
from leadership.observers import AuditLog

VALUES: list[Any] = [
    None, True, 5, -1, 0.5, 2**63, 10**30, float("nan"), float("inf"), "", "x", "\ud800", "\x1b[31m", [], ["a"], {},
    {"a": 1}, {"node": [], "token": []}, {"node": "z", "token": "q"}, {"sha256": []}, "2026-02-30T00:00:00+00:00",
]  # fmt: skip
GAP = {"v": 1, "kind": "gap", "at": "2026-01-02T03:00:29+00:00", "boot": "boot-aspen", "lost": 0, "error": "full"}


def one_of_each() -> list[dict[str, Any]]:
    """
    A line of each kind, as an audit has it.
    """
    lines = [*night()["aspen"].lines, {**GAP, "since": GAP["at"], "leaders": 1}]
    return list({line["kind"]: line for line in lines}.values())


def mutations() -> Iterator[dict[str, Any]]:
    """
    Those lines with a key gone, or with a value that is another.
    """
    for line in one_of_each():
        for key in [*line, "prev", "trace_id", "span_id"]:
            yield {name: value for name, value in line.items() if name != key}
            for value in VALUES:
                yield {**line, key: value}
        for key, inner in line.items():
            if isinstance(inner, dict):
                for name in inner:
                    yield {**line, key: {each: inner[each] for each in inner if each != name}}
                    yield from ({**line, key: {**inner, name: value}} for value in VALUES)


def strict(text: str) -> Any:
    """
    Read JSON that may have no NaN.
    """

    def refuse(constant: str) -> Any:
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


def all_of_it(paths: list[Path]) -> Judgement:
    """
    Judge, tell, draw and show audits: none of it may raise, and all of it can be printed.
    """
    judged = verify(paths)
    "\n".join([*tell(judged), *timeline(judged), *show(paths), render(judged, read(paths))]).encode()
    strict(json.dumps(judged.as_dict()))
    for line in show(paths, as_json=True):
        strict(line)
    return judged


def test_what_the_schema_refuses_the_intake_refuses() -> None:
    """
    Over some thousand mutated lines; and a whole line is refused by neither.
    """
    document = json.loads(files("leadership.audit").joinpath("schema.json").read_text(encoding="utf-8"))
    check = jsonschema.validators.validator_for(document)(document)
    lines = list(mutations())
    refused = [line for line in lines if isinstance(line.get("kind"), str) and not check.is_valid(line)]

    assert 1000 < len(refused) < len(lines)
    assert [] == [line for line in refused if fault(line) is None and line["v"] < 2]  # a later one is refused whole
    assert [None] * 5 == [fault(line) for line in one_of_each()]


def test_what_is_mutated_is_judged_without_a_crash(tmp_path: Path) -> None:
    """
    Each mutation of a line is read to an end; what has not the shape is invalid, and with it the whole.
    """
    lines, others = night()["aspen"].lines, night()
    del others["aspen"]
    rest = written(tmp_path, others)
    path = tmp_path / "aspen.jsonl"
    for mutated in list(mutations())[::13]:
        if "v" not in mutated or "kind" not in mutated or mutated["v"] in (5, 2**63, 10**30):  # a later one is refused
            continue
        place = next((at for at, line in enumerate(lines) if line["kind"] == mutated["kind"]), 3)
        changed = copy.deepcopy(lines)
        changed[place] = {key: mutated[key] for key in ("v", "kind", *mutated) if key in mutated}
        path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in changed))
        judged = all_of_it([path, *rest])
        if isinstance(mutated["kind"], str) and fault(mutated) is not None:
            assert Verdict.INVALID is judged.verdict, mutated


STRANGE: dict[str, Callable[[str], str]] = {
    "not a number": lambda text: text.replace('"attempt":1', '"attempt":NaN'),
    "no number under a key of its own": lambda text: text[:-1] + ',"new":[NaN]}',
    "too large for a float": lambda text: text[:-1] + ',"new":1e999}',
    "a lone surrogate": lambda text: text.replace('"node":"birch"', '"node":"\\ud800"'),
    "a lone surrogate in a key": lambda text: text[:-1] + ',"\\udfff":1}',
    "digits without end": lambda text: text.replace('"attempt":1', f'"attempt":{"9" * 5000}'),
    **{
        f"nested {deep} deep": lambda text, deep=deep: text[:-1] + f',"new":{"[" * deep}{"]" * deep}}}'  # type: ignore[misc]
        for deep in (33, 500, 990, 1020, 2000, 100_000)
    },
    **{
        f"a node nested {deep} deep": lambda text, deep=deep: text.replace('"birch"', "[" * deep + "]" * deep)  # type: ignore[misc]
        for deep in (1, 500, 990, 2000)
    },
}
"""What the two parsers take in different ways, or one of them only."""


@pytest.mark.parametrize("parser", ["installed", "plain"])
@pytest.mark.parametrize("strange", STRANGE)
def test_the_verdict_hangs_on_no_parser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strange: str, parser: str
) -> None:
    """
    A line that JSON cannot say, or that is nested too deeply, is damage: invalid, with its place, and told as text.
    """
    if parser == "plain":
        monkeypatch.setattr(_work, "loads", _json.plain)
    path = night()["birch"].write(tmp_path / "birch.jsonl")
    lines = path.read_text().splitlines()
    lines[3] = STRANGE[strange](lines[3])
    path.write_text("".join(f"{line}\n" for line in lines))
    judged = all_of_it([path])

    damaged = [finding for finding in judged.findings if finding.kind == "damaged_record"]
    assert (Verdict.INVALID, [4]) == (judged.verdict, [place.line for finding in damaged for place in finding.places])
    assert ["torn"] == [line.fields["kind"] for line in read(path) if line.number == 4]


@pytest.mark.parametrize("parser", ["installed", "plain"])
def test_what_json_can_say_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parser: str) -> None:
    """
    Pairs of surrogates are a character, and a later version may add keys: objects and lists among them.
    """
    if parser == "plain":
        monkeypatch.setattr(_work, "loads", _json.plain)
    lines = night()["birch"].lines
    lines[0]["host"], lines[4]["reason"], lines[5]["new"] = "\U0001f600", "\ud83d\ude00", {"a": [{"b": 1.5}]}

    assert Verdict.VALID is verify(write(tmp_path / "birch.jsonl", lines, chain=True)).verdict


def test_a_deadline_that_is_no_number_hides_no_overlap(tmp_path: Path) -> None:
    """
    NaN compares as false with everything, so that it would be on neither side of any bound.
    """
    audits = night(birch="one", cedar="one")
    audits["cedar"].change(lambda line: line["dest"] == "error", lease_deadline=float("nan"))

    assert Verdict.INVALID is verify(written(tmp_path, audits)).verdict


def test_a_packed_audit_that_is_cut_at_its_beginning(tmp_path: Path) -> None:
    """
    It is a damaged audit as the plain one is: unknown, and the others are judged.
    """
    paths = written(tmp_path, night())
    whole = gzip.compress(paths[0].read_bytes())
    for data in (whole[:1], whole[:2], whole[:3], whole[:12], whole[:40], whole[:20] + b"\0\xff" * 40):
        (tmp_path / "cut.gz").write_bytes(data)
        judged = all_of_it([tmp_path / "cut.gz", *paths])

        assert (Verdict.UNKNOWN, {"torn"}) == (judged.verdict, {finding.kind for finding in judged.findings})
        assert 18 == judged.records


def test_an_error_that_utf8_cannot_say_is_written_as_one_that_it_can(tmp_path: Path) -> None:
    """
    The name of a file in an exception may have lone surrogates; the audit of it is an honest one.
    """
    with AuditLog(tmp_path / "audit.jsonl") as audit:
        audit.submit(a_record(error="OSError: 'caf\udce9 \U0001f600'"))

    lines = [line.fields for line in read(tmp_path / "audit.jsonl")]
    assert ["header", "transition"] == [line["kind"] for line in lines]
    assert "OSError: 'caf\\udce9 \U0001f600'" == lines[1]["error"]


def test_a_chain_goes_on_behind_blank_lines(tmp_path: Path) -> None:
    """
    Whoever writes leaves them out as whoever reads does.
    """
    path = tmp_path / "audit.jsonl"
    for record in some_records(2):
        with AuditLog(path, chain=True) as audit:
            audit.submit(record)
        with path.open("ab") as file:
            file.write(b" \n\t\n\n")

    assert [] == [finding for finding in verify(path).findings if finding.kind == "edited_record"]


def test_an_anchor_before_a_torn_line_is_found(tmp_path: Path) -> None:
    """
    The hash of a line counts whatever stands behind it.
    """
    path = night()["birch"].write(tmp_path / "birch.jsonl")
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:4], b'{"v":1,"ki', *lines[4:], b""]))

    assert Verdict.UNKNOWN is verify(path, anchors=[hashlib.sha256(lines[3]).hexdigest()]).verdict


def test_many_lines_run_together_are_taken_apart(tmp_path: Path) -> None:
    """
    However many stand behind half a line, each is read.
    """
    lines = night()["birch"].write(tmp_path / "birch.jsonl").read_bytes().splitlines()
    run = tmp_path / "run.jsonl"
    run.write_bytes(lines[0] + b"\n" + b'{"v":1,"ki' + lines[1] * 3000 + b"\n")

    assert ["header", "torn"] + ["candidate"] * 3000 == [line.fields["kind"] for line in read(run)]

"""
Reports of audits: what the page is told, that it is whole by itself, and that nothing in an audit can act on it.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from report_scenes import Planted, overlap, simulated

from leadership.audit import Finding, Judgement, Line, Verdict, read, verify
from leadership.audit._report.machine import MACHINE, edges, svg
from leadership.audit.report import FINDINGS, is_report, render
from leadership.cli import main
from leadership.fsm.row import Disposition

EVIL = "<!--<script></script </script><script>alert(1)</script><img src=x onerror=alert(2)>\u202e\u2028'\"&amp;@CODE@"


def told(page: str) -> dict[str, Any]:
    """
    What a page is told.
    """
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert match is not None
    data: dict[str, Any] = json.loads(match[1])
    return data


def report(paths: Iterable[Path], **options: Any) -> str:
    paths = list(paths)
    return render(verify(paths), read(paths), **options)


class Tags(HTMLParser):
    """
    The tags of a page, and what stands in those whose content is code.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.code: dict[str, list[str]] = {"script": [], "style": []}
        self.policy = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [f"{name}={value}" for name, value in attrs if name in ("src", "href", "srcset", "action")]
        self.links += [name for name, _ in attrs if name == "style" or name.startswith("on")]
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.policy = dict(attrs)["content"] or ""

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] in self.code:
            self.code[self.tags[-1]].append(data)


def test_page_is_whole_by_itself(tmp_path: Path) -> None:
    """
    Nothing in it is fetched: no link leads out, no address stands in style or code, and its policy forbids the rest.
    """
    page = Tags(report(simulated(tmp_path)))
    assert ["href=#timeline"] == page.links
    assert {"link", "img", "iframe", "object", "base"}.isdisjoint(page.tags)
    data, code = page.code["script"]
    (style,) = page.code["style"]
    assert ["http://www.w3.org/2000/svg"] == re.findall(r"\w+://[^\s\"'`]+", code + style)
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|import|innerHTML|eval|sendBeacon)\b", code)
    assert not re.search(r"url\(|@import", style)
    assert json.loads(data)
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (code, style)]
    assert (
        f"default-src 'none'; script-src 'sha256-{digests[0]}'; style-src 'sha256-{digests[1]}'; "
        "base-uri 'none'; form-action 'none'"
    ) == page.policy


def test_nothing_in_an_audit_becomes_markup(tmp_path: Path) -> None:
    """
    Names, reasons, errors and a title full of markup and of marks change no tag of the page, and are told as text.
    """
    evil, tame = tmp_path / "evil", tmp_path / "tame"
    pages = []
    for folder, word in ((evil, EVIL), (tame, "plain")):
        folder.mkdir()
        scene = Planted(folder, word)
        scene.move(word, 0.0, "stood")
        scene.move(word, 1.0, "elected", 1)
        scene.move(word, 10.0, "lapsed", 1, reason=word, error=word)
        paths = scene.write()
        judgement = verify(paths)
        finding = Finding("overlap", Verdict.INVALID, word, (), election=word, nodes=(word,), began=1.0, ended=2.0)
        pages.append(render(replace(judgement, findings=(finding,)), read(paths), title=word))
    parsed = [Tags(page) for page in pages]
    assert parsed[1].tags == parsed[0].tags
    assert parsed[1].code["script"][1] == parsed[0].code["script"][1]
    raw = pages[0].partition('id="data">')[2].partition("</script>")[0]
    assert {"<", ">", "&"}.isdisjoint(raw), "an end tag may be written in more ways than one"
    data = told(pages[0])
    shown = EVIL.replace("\u202e", "\\u202e").replace("\u2028", "\\u2028")
    assert [shown] == data["elections"] == data["nodes"]
    assert [shown, shown] in data["words"]
    assert shown == data["findings"][0]["what"]
    assert "\u202e" not in pages[0]


def test_every_row_of_the_table_is_drawn() -> None:
    """
    Each row that leaves a state is counted on one arrow, each arrow is in the picture once, and so is each state.
    """
    rows = [row for row in MACHINE.table if row.disposition is Disposition.GO]
    counted = [(edge["source"], of, edge["dest"]) for edge in edges() for of in edge["of"]]
    assert sorted((str(row.source), f"{row.trigger}/{row.guard_name or ''}", str(row.dest)) for row in rows) == sorted(
        counted
    )
    picture = svg()
    assert [str(number) for number in range(len(edges()))] == re.findall(r'data-edge="(\d+)"', picture)
    assert sorted(map(str, MACHINE.states)) == sorted(re.findall(r'data-state="(\w+)"', picture))


def test_lanes_tell_the_records(tmp_path: Path) -> None:
    """
    Unpacked, the columns are the records of each node, in their order, to the microsecond and the line.
    """
    paths = overlap(tmp_path)
    data = told(report(paths))
    unpacked = []
    for lane in data["lanes"]:
        times, lines = itertools.accumulate(lane["t"]), itertools.accumulate(lane["line"])
        for at, number, move, token in zip(times, lines, lane["move"], lane["token"], strict=True):
            source, trigger, dest, cause, _, _ = data["moves"][move]
            unpacked.append((data["base"] + at, data["nodes"][lane["n"]], number, source, trigger, dest, cause, token))
    assert [
        (
            round(1_000_000 * _unix(line)),
            line.fields["node"],
            line.number,
            line.fields["source"],
            line.fields["trigger"],
            line.fields["dest"],
            line.fields["cause"] or "",
            line.fields["token"] or 0,
        )
        for line in read(paths)
        if line.fields["kind"] == "transition"
    ] == unpacked


def _unix(line: Line) -> float:
    from datetime import datetime

    return datetime.fromisoformat(line.fields["at"]).timestamp()


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    """
    Gaps with their times and lanes, torn lines, records without a time, and files given twice: none goes unsaid.
    """
    (path, *others) = overlap(tmp_path)
    gap = {"v": 1, "kind": "gap", "at": "2026-01-02T03:05:00+00:00", "boot": "boot-ann", "lost": 7}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**gap, "since": "2026-01-02T03:04:40+00:00", "error": "disk full"}) + "\n")
        file.write('{"v":1,"kind":"transition","seq":99,"at":[],"node":{},"election":[1]}\n')
        file.write('{"v":1,"kind":"transition","se\n')
    judgement = Judgement(Verdict.UNKNOWN, (), (), 14, 3, ("jobs",), ("ann",))
    data = told(render(judgement, read([path, *others, others[0]])))
    gap_told, timeless, torn = data["missing"]
    assert "7 record(s) could not be written: disk full" == gap_told["what"]
    assert (35.0, 55.0) == (gap_told["began"] / 1e6, gap_told["ended"] / 1e6)
    assert ["ann"] == [data["nodes"][data["lanes"][lane]["n"]] for lane in gap_told["lanes"]]
    assert "cannot be read: its boot is missing" == timeless["what"]
    assert "cannot be read: not a whole line" == torn["what"]
    assert {"transitions": 14, "missing": 3, "told twice": 5} == data["counts"]


def test_processes_of_one_name_have_a_lane_each_while_both_live(tmp_path: Path) -> None:
    """
    A restarted process goes on in its lane; a second one beside it, under the same name, gets another.
    """
    scene = Planted(tmp_path)
    scene.move("ann", 0.0, "stood", incarnation="first", seq=1)
    scene.move("ann", 1.0, "elected", 1, incarnation="first", seq=2)
    scene.move("ann", 0.5, "stood", incarnation="beside", seq=1)
    scene.move("ann", 5.0, "stood", incarnation="later", seq=1)
    data = told(report(scene.write()))
    assert [(1, [0, 2]), (2, [0])] == [(lane["k"], lane["runs"]) for lane in data["lanes"]]


def test_tokens_that_a_browser_cannot_count_are_text(tmp_path: Path) -> None:
    """
    A token of ZooKeeper's size is told to its last digit.
    """
    scene = Planted(tmp_path)
    scene.move("ann", 0.0, "stood")
    scene.move("ann", 1.0, "elected", 2**63 - 1)
    data = told(report(scene.write()))
    assert [0, "9223372036854775807"] == data["lanes"][0]["token"]
    assert ["9223372036854775807"] == [span[2] for span in data["spans"]]


def test_findings_that_are_too_many_are_counted() -> None:
    """
    Beyond a thousand, findings are left off, and it is said how many of which kind.
    """
    finding = Finding("gap", Verdict.UNKNOWN, "x", ())
    judgement = Judgement(Verdict.UNKNOWN, (finding,) * (FINDINGS + 5), (), 0, 0, (), ())
    data = told(render(judgement, ()))
    assert (FINDINGS, {"gap": 5}) == (len(data["findings"]), data["left"])


@pytest.mark.parametrize("name", sorted(path.name for path in files("leadership.audit._report").iterdir()))
def test_parts_are_short_and_end_nothing(name: str) -> None:
    """
    A part of the page has no more than 400 lines, like any file of the package, and holds no end of its own tag.
    """
    part = files("leadership.audit._report") / name
    if name.endswith((".js", ".css", ".html")):
        text = part.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 400
        assert name.endswith(".html") or not re.search(r"</(script|style)|<!--|@[A-Z]+@", text, re.IGNORECASE)


class TestCommand:
    """
    `leadership audit report`.
    """

    def test_report_of_valid_audits(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """
        The page is written, the verdict said on a line, and the status is 0.
        """
        output = tmp_path / "night.html"
        audits = [str(path) for path in simulated(tmp_path)]
        assert 0 == main(["audit", "report", *audits, "-o", str(output), "--title", "A night"])
        assert f"valid: 2 remarks, 25 records, 4 terms; {output}\n" == capsys.readouterr().out
        page = output.read_text(encoding="utf-8")
        assert is_report(page)
        assert "<title>A night: valid</title>" in page

    def test_verdict_is_the_status(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """
        Invalid is 1 and unknown is 3, as for verify; the report is written all the same, over an earlier one.
        """
        output = tmp_path / "night.html"
        audits = [str(path) for path in overlap(tmp_path)]
        assert 1 == main(["audit", "report", *audits, "--output", str(output)])
        assert f"invalid: 1 finding, 14 records, 3 terms; {output}\n" == capsys.readouterr().out
        assert "Verdict: <strong>invalid</strong>" in output.read_text(encoding="utf-8")
        with Path(audits[2]).open("a", encoding="utf-8") as file:
            file.write('{"v":1,"ki')
        assert 3 == main(["audit", "report", audits[2], "--output", str(output)])
        assert "Verdict: <strong>unknown</strong>" in output.read_text(encoding="utf-8")

    def test_what_is_no_report_is_not_replaced(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """
        An audit named by mistake as the output stays as it is: status 2, and one line that names a remedy.
        """
        first, second, third = (str(path) for path in overlap(tmp_path))
        before = Path(third).read_bytes()
        assert 2 == main(["audit", "report", first, second, "--output", third])
        said = capsys.readouterr().err
        assert (
            f"leadership: audit: --output {third!r} exists and is no report, so that it is not replaced; "
            "remove it, or name another file\n"
        ) == said
        assert before == Path(third).read_bytes()

    def test_an_audit_is_not_replaced_though_it_is_empty(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """
        Not by its own name, nor by another one; an empty file that is none of the audits is.
        """
        empty, link, other = (tmp_path / name for name in ("empty", "link", "other"))
        empty.touch()
        other.touch()
        link.symlink_to(empty)
        for output in (empty, link):
            assert 2 == main(["audit", "report", str(empty), "-o", str(output)])
            assert f"--output {str(output)!r} is one of the audits" in capsys.readouterr().err
        assert b"" == empty.read_bytes()
        assert 0 == main(["audit", "report", str(empty), "-o", str(other)])
        assert is_report(other.read_text(encoding="utf-8"))

    def test_folder_that_is_missing(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """
        Said before anything is read.
        """
        output = str(tmp_path / "nowhere" / "x.html")
        assert 2 == main(["audit", "report", "no-such-audit", "-o", output])
        assert f"there is no folder {str(tmp_path / 'nowhere')!r}; make it" in capsys.readouterr().err

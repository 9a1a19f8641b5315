"""
Pictures say what the tables say, and can be read.
"""

from __future__ import annotations

import os
import re
import runpy
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from records import a_record

from leadership import diagram
from leadership._arrows import AnyMachine, AnyRow, Class, arrows
from leadership.errors import ConfigError
from leadership.fsm import CANDIDATE, FOLLOWER
from leadership.fsm.record import Transition
from leadership.fsm.row import Disposition

ROOT = Path(__file__).parent.parent.parent
KINDS = ("candidate", "follower")
GENERATED = runpy.run_path(str(ROOT / "tools" / "generated.py"), run_name="generated")


def rows(kind: str, disposition: Disposition) -> list[AnyRow]:
    machine: AnyMachine = diagram.KINDS[kind]
    return [row for row in machine.table if row.disposition is disposition]


def labels(text: str) -> dict[tuple[str, str], list[str]]:
    """
    The labels of a DOT text's arrows, by their ends.
    """
    found: dict[tuple[str, str], list[str]] = {}
    text = text.replace("\N{NO-BREAK SPACE}", " ")
    for source, dest, label in re.findall(r'^  (\w+) -> (\w+) \[label="([^"]*)"', text, re.MULTILINE):
        found.setdefault((source, dest), []).append(label)
    return found


def looks(text: str, source: str, dest: str, word: str) -> dict[str, str]:
    """
    The attributes of the arrow that bears a word.
    """
    (attributes,) = (
        found
        for found in re.findall(rf"^  {source} -> {dest} \[(.*)\]$", text, re.MULTILINE)
        if re.search(rf"\b{word}\b", found)
    )
    return dict(re.findall(r"(\w+)=\"?([#\w.]+)\"?", attributes.partition('",')[2]))


def transition(source: str, trigger: str, dest: str, **changes: Any) -> Transition:
    return a_record(source=source, trigger=trigger, dest=dest, **changes)


@pytest.fixture
def dot() -> None:
    """
    Graphviz is here; where CI lacks it, that is a failure.
    """
    if shutil.which("dot") is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have Graphviz's dot")
        pytest.skip("Graphviz's dot is not installed")


class TestContent:
    """
    What is drawn.
    """

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_move_is_an_arrow(self, kind: str) -> None:
        """
        Each row that leaves a state is on an arrow between its states, in DOT and in Mermaid.
        """
        in_dot = labels(diagram.draw(kind, "dot"))
        in_mermaid = diagram.draw(kind).replace(" : ", " ").splitlines()
        for row in rows(kind, Disposition.GO):
            assert row.dest is not None
            assert any(row.trigger in label for label in in_dot[row.source, row.dest])
            start = f"  {row.source} --> {row.dest} " if row.source != row.dest else f"  {row.source} "
            assert any(line.startswith(start) and row.trigger in line for line in in_mermaid)

    @pytest.mark.parametrize("kind", KINDS)
    def test_no_arrow_without_a_row(self, kind: str) -> None:
        """
        The arrows of a picture join the states that rows join, and no others.
        """
        expected = {(row.source, row.dest) for row in rows(kind, Disposition.GO)}
        assert expected == set(labels(diagram.draw(kind, "dot")))
        drawn = set(re.findall(r"^  (\w+) --> (\w+) :", diagram.draw(kind), re.MULTILINE))
        assert {(source, dest) for source, dest in expected if source != dest} == drawn

    @pytest.mark.parametrize("format", ["dot", "mermaid"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_reactions_are_inside_their_state(self, kind: str, format: str) -> None:
        """
        A row that stays is listed in its state's box with its effects; a compact picture leaves it out.
        """
        full, compact = (diagram.draw(kind, format, compact=compact) for compact in (False, True))
        assert isinstance(full, str)
        assert isinstance(compact, str)
        for row in rows(kind, Disposition.STAY):
            lines = [line for line in full.splitlines() if re.match(rf"  {row.source} (\[label=<|: )", line)]
            pattern = rf"\b{row.trigger}\b[^/]* / {', '.join(row.effects)}"
            assert any(re.search(pattern, line) for line in lines), row
            assert f"/ {row.effects[0]}" not in compact

    @pytest.mark.parametrize("format", ["dot", "mermaid"])
    def test_what_is_ignored_or_illegal_is_hidden(self, format: str) -> None:
        """
        An idle candidate ignores `contended` and cannot be `settled`; its box speaks of neither.
        """
        text = str(diagram.draw("candidate", format))
        box = "\n".join(line for line in text.splitlines() if re.match(r"  idle (\[label=<|: )", line))
        assert "release_orphan" in box
        assert "contended" not in box
        assert "settled" not in box

    def test_guards_and_callbacks_are_said(self) -> None:
        """
        A guard stands in brackets, a last alternative says which guard failed, a user's callback follows a slash.
        """
        text = labels(diagram.draw("candidate", "dot"))
        assert [r"  acquired\l     [lease_valid]\l     / on_elected\l"] == text["campaigning", "leader"]
        assert "acquired [not lease_valid]" in text["campaigning", "error"][0]
        assert text["leader", "error"][0].endswith(r"each / on_demoted\l")
        follower = labels(diagram.draw("follower", "dot"))
        assert "/ on_leader_changed(None)" in follower["following", "vacant"][0]

    def test_alternatives_with_one_end_are_one_reason(self) -> None:
        """
        `callback_failed` leads from leader to resigning by two guards: one line says both.
        """
        (label,) = (
            each for each in labels(diagram.draw("candidate", "dot"))["leader", "resigning"] if "failed" in each
        )
        assert 1 == label.count("callback_failed")
        assert "resign_on_failure" in label
        assert "or stop_on_failure" in label

    def test_a_fault_and_a_request_are_two_arrows(self) -> None:
        """
        Arrows are grouped by class too, so that leader -> resigning is one blue and one red dashed.
        """
        text = diagram.draw("candidate", "dot")
        asked = looks(text, "leader", "resigning", "stop")
        failed = looks(text, "leader", "resigning", "callback_failed")
        assert ("#0969da", "solid") == (asked["color"], asked["style"])
        assert ("#cf222e", "dashed") == (failed["color"], failed["style"])

    def test_classes_look_different(self) -> None:
        """
        Success is green, a timer grey and dotted, the engine's own step dark.
        """
        text = diagram.draw("candidate", "dot")
        assert "#1a7f37" == looks(text, "campaigning", "leader", "acquired")["color"]
        assert "dotted" == looks(text, "backoff", "campaigning", "backoff_elapsed")["style"]
        assert "#24292f" == looks(text, "resigning", "backoff", "settled")["color"]
        assert "#cf222e" == looks(text, "error", "idle", "settled")["color"]
        kinds = {arrow.kind for machine in (CANDIDATE, FOLLOWER) for arrow in arrows(machine, {})}  # type: ignore[arg-type]
        assert set(Class) == kinds

    def test_faults_bear_a_sign_in_mermaid(self) -> None:
        """
        Mermaid colours no arrows: each reason of a fault, and no other, begins with a warning sign.
        """
        text = diagram.draw("candidate")
        assert "campaigning --> error : ⚠ acquired" in text
        assert "<br/>⚠ session_lost<br/>⚠ store_error" in text
        assert "error --> resigning : stop" in text

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_beginning_and_the_current_state_are_marked(self, kind: str) -> None:
        """
        A dot leads to the initial state; the current one, and only it, has a thick or double border.
        """
        for state in diagram.KINDS[kind].states:
            dot, mermaid = diagram.draw(kind, "dot", current=state), diagram.draw(kind, current=state)
            assert "  initial -> idle\n" in dot
            assert "  [*] --> idle\n" in mermaid
            (marked,) = (line for line in dot.splitlines() if "peripheries=2" in line)
            assert marked.startswith(f"  {state} [")
            assert [state] == re.findall(r"class (\w+) current$", mermaid, re.MULTILINE)
        assert "peripheries" not in diagram.draw(kind, "dot")
        assert "current" not in re.sub("current_key", "", diagram.draw(kind))

    def test_compact_counts_a_long_list(self) -> None:
        """
        For a narrow page the ways to lose the leadership become their number.
        """
        lost = [row for row in rows("candidate", Disposition.GO) if (row.source, row.dest) == ("leader", "error")]
        assert f"⚠ lost: {len(lost)} reasons" in diagram.draw("candidate", compact=True).replace("<br/>", "")
        assert "lost:" not in diagram.draw("candidate")


class TestCounts:
    """
    A picture of what really happened.
    """

    COUNTS = {  # noqa: RUF012 - read only
        ("campaigning", "acquired", "leader"): 89,
        ("leader", "lease_expired", "error"): 5,
        ("leader", "renewed", "leader"): 1234,
    }

    @pytest.mark.parametrize("format", ["dot", "mermaid"])
    def test_counts_are_said(self, format: str) -> None:
        """
        What was seen bears its number, on an arrow or inside a state; what was not bears none.
        """
        text = str(diagram.draw("candidate", format, counts=self.COUNTS))
        assert "acquired ×89" in text
        assert "lease_expired ×5" in text
        assert "renewed ×1,234 [still_valid] / extend_lease" in text
        assert 3 == text.count("×")

    def test_width_grows_with_the_count(self) -> None:
        """
        The busiest arrow is the widest; one never seen is thin, grey and dashed.
        """
        text = diagram.draw("candidate", "dot", counts=self.COUNTS)
        often = looks(text, "campaigning", "leader", "acquired")
        seldom = looks(text, "leader", "error", "lease_expired")
        never = looks(text, "error", "idle", "settled")
        assert 5.8 == float(often["penwidth"]) > float(seldom["penwidth"]) > float(never["penwidth"])
        assert ("#909090", "dashed") == (never["color"], never["style"])

    def test_nothing_seen_yet(self) -> None:
        """
        Counts that are all empty draw every arrow thin.
        """
        text = diagram.draw("follower", "dot", counts={})
        assert {"0.6"} == set(re.findall(r"style=\w+, penwidth=([\d.]+)", text))

    def test_transitions_are_counted(self) -> None:
        """
        Transitions and audit lines count alike; headers, the other machine and what did not move do not count.
        """
        elected = transition("campaigning", "acquired", "leader")
        records: list[Transition | dict[str, Any]] = [
            {"header": 1, "schema": 1},
            elected,
            elected.as_dict(),
            transition("following", "leader_observed", "following", machine="follower"),
            transition("leader", "store_error", "leader", disposition="stay"),
            transition("leader", "start", "leader", disposition="illegal"),
        ]
        assert {("campaigning", "acquired", "leader"): 2} == diagram.count_transitions(records, "candidate")
        assert {("following", "leader_observed", "following"): 1} == diagram.count_transitions(records, "follower")

    def test_renewals_are_counted_too(self) -> None:
        """
        Renewals have no records: the record that ends a term brings their number.
        """
        records = [transition("leader", "resign", "resigning", renewals=7)] * 2
        expected = {("leader", "resign", "resigning"): 2, ("leader", "renewed", "leader"): 14}
        assert expected == diagram.count_transitions(records, "candidate")

    def test_a_loop_and_a_reaction_are_not_confused(self) -> None:
        """
        A follower's change of leader is counted on the arrow, not at the refresh that stays in the state.
        """
        text = diagram.draw("follower", "dot", counts={("following", "leader_observed", "following"): 3})
        assert 1 == text.count("×3")
        assert "×3" in labels(text)["following", "following"][0]


class TestTable:
    """
    The table in Markdown.
    """

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_cell_is_filled(self, kind: str) -> None:
        """
        There is a line for each trigger and a cell for each state, and none is empty.
        """
        machine = diagram.KINDS[kind]
        head, rule, *lines = diagram.table_markdown(kind).splitlines()
        assert ["trigger", *machine.states] == [cell.strip() for cell in head.strip("|").split("|")]
        assert len(machine.states) + 1 == rule.count("---")
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        assert list(machine.triggers) == [first for first, *_ in cells]
        assert {len(machine.states) + 1} == {len(line) for line in cells}
        assert all(all(line) for line in cells)

    def test_cells_say_their_rows(self) -> None:
        """
        Alternatives stand in order, with guard, next state, cause and effects; ignored and illegal have a sign.
        """
        table = diagram.table_markdown("candidate")
        assert "[lease_valid] **leader** arm_lease_timer, on_elected<br>else **error** cleanup" in table
        assert "[lease_valid] ·<br>else **error** (lease_expired) on_demoted, cleanup" in table
        (settled,) = (line for line in table.splitlines() if line.startswith("| settled |"))
        assert settled.startswith("| settled | ✗ | ✗ | ✗ |")


class TestBadInput:
    """
    Each is a ConfigError that names the value and the choices.
    """

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"kind": "leader"}, "candidate and follower, not 'leader'"),
            ({"format": "jpeg"}, "mermaid, dot, svg, png, not 'jpeg'"),
            ({"current": "following"}, "backoff, not in 'following'"),
            ({"counts": {("idle", "start", "leader"): 1}}, r"no transition \('idle', 'start', 'leader'\)"),
            ({"counts": {("idle", "start", "campaigning"): -1}}, "at least 0, not -1"),
        ],
    )
    def test_arguments(self, arguments: dict[str, Any], words: str) -> None:
        """
        An argument that is none of the choices is refused.
        """
        with pytest.raises(ConfigError, match=words):
            diagram.draw(**({"kind": "candidate"} | arguments))

    def test_kinds(self) -> None:
        """
        Tables and counts know the same two machines.
        """
        with pytest.raises(ConfigError, match="not 'x'"):
            diagram.table_markdown("x")
        with pytest.raises(ConfigError, match="not 'x'"):
            diagram.count_transitions([], "x")

    @pytest.mark.parametrize("format", ["svg", "png"])
    def test_no_graphviz(self, format: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """
        Without the program, the error says what to install and what works without it.
        """
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(ConfigError, match=r"apt install graphviz.* ask for mermaid or dot"):
            diagram.draw("candidate", format)

    def test_graphviz_that_fails(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """
        What the program says when it fails reaches the caller.
        """
        program = tmp_path / "dot"
        program.write_text("#!/bin/sh\necho no such font >&2\nexit 3\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(ConfigError, match=r"status 3.*no such font"):
            diagram.draw("candidate", "png")


class TestImages:
    """
    What Graphviz makes of it.
    """

    @pytest.mark.usefixtures("dot")
    @pytest.mark.parametrize("compact", [False, True])
    @pytest.mark.parametrize("kind", KINDS)
    def test_png_fits_a_page(self, kind: str, *, compact: bool) -> None:
        """
        A picture is not much wider than a page at 96 dots an inch; how wide its letters are is the fonts' business.
        """
        image = diagram.draw(kind, "png", compact=compact)
        assert isinstance(image, bytes)
        assert b"\x89PNG\r\n\x1a\n" == image[:8]
        width, height = struct.unpack(">II", image[16:24])
        assert 600 < width <= 1700
        assert 600 < height <= 1250

    @pytest.mark.usefixtures("dot")
    @pytest.mark.parametrize("kind", KINDS)
    def test_svg_has_every_state(self, kind: str) -> None:
        """
        SVG is text, and Graphviz understood every state and arrow.
        """
        image = diagram.draw(kind, "svg", current="idle")
        machine = diagram.KINDS[kind]
        assert len(machine.states) + 1 == image.count('class="node"')
        assert len(list(arrows(machine, {}))) + 1 == image.count('class="edge"')

    @pytest.mark.parametrize("kind", KINDS)
    def test_no_label_is_wide(self, kind: str) -> None:
        """
        A long list of reasons is broken into lines, so that no label is as wide as a page.
        """
        text = labels(
            diagram.draw(kind, "dot", counts={("idle", "start", "campaigning"): 10**6} if kind == "candidate" else {})
        )
        lines = [line for each in text.values() for label in each for line in label.split(r"\l")]
        assert max(map(len, lines)) <= 36


class TestPages:
    """
    README and docs show the tables as they are.
    """

    @pytest.mark.parametrize("page", GENERATED["pages"](), ids=lambda page: page.name)
    def test_generated_blocks_are_current(self, page: Path) -> None:
        """
        No picture or table in a page differs from what the machines' tables give; `make pictures` renews them.
        """
        text = page.read_text(encoding="utf-8")
        assert GENERATED["renewed"](text) == text
        assert text.count("<!-- generated:") == len(GENERATED["BLOCK"].findall(text))

    def test_readme_shows_the_candidate(self) -> None:
        """
        A reader of the README sees the machine.
        """
        assert diagram.draw("candidate", compact=True) in (ROOT / "README.md").read_text(encoding="utf-8")

    def test_a_stale_block_is_renewed(self) -> None:
        """
        What stands between the marks is replaced, the text around it kept.
        """
        stale = "a\n<!-- generated: table follower -->\nthe old one\n<!-- end generated -->\nb\n"
        fresh = GENERATED["renewed"](stale)
        assert fresh.startswith("a\n<!-- generated: table follower -->\n")
        assert diagram.table_markdown("follower") in fresh
        assert "the old one" not in fresh
        assert fresh.endswith("<!-- end generated -->\nb\n")

"""
How a demo is drawn.
"""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from leadership import connect
from leadership.cli._demo_picture import FROZEN, GONE, lanes, paths
from leadership.cli._demo_view import PlainView, best_view, line
from leadership.cli.demo import Demo


def move(node: str, at: float, source: str, dest: str, trigger: str = "trigger", **more: Any) -> dict[str, Any]:
    """
    A record of a transition.
    """
    record = {"node": node, "monotonic": at, "source": source, "dest": dest, "trigger": trigger, "token": None}
    return {**record, "cause": None, "reason": None, "duration": 0.5, **more}


RECORDS = [
    move("a", 100.0, "idle", "campaigning", "start"),
    move("b", 100.0, "idle", "campaigning", "start"),
    move("a", 101.0, "campaigning", "leader", "acquired", token=7),
    {"node": "a", "dest": FROZEN, "monotonic": 102.0},
    move("b", 103.0, "campaigning", "leader", "acquired", token=12),
    {"node": "b", "dest": GONE, "monotonic": 105.0},
    move("a", 106.0, "leader", "error", "lease_expired", token=7, cause="lease_expired"),
    move("a", 110.0, "error", "backoff", "settled"),
]


class Interrupted:
    """
    A process, while whose making Ctrl+C is pressed.
    """

    pid = 4711
    is_alive = True

    def __init__(self, *_args: Any, **_options: Any) -> None:
        self.stdin, self.stdout = io.StringIO(), io.StringIO()
        signal.raise_signal(signal.SIGINT)

    def kill(self) -> None:
        signal.raise_signal(signal.SIGINT)  # the user is impatient
        self.is_alive = False

    def wait(self, _timeout: float | None = None) -> int:
        return -signal.SIGKILL


def test_interruption_leaves_no_process_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    Whoever interrupts a demo in the midst of a start, and again in the midst of its end, finds every process ended.
    """
    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    demo = Demo(connect("memory://"), tmp_path, PlainView())
    for name in ("amber", "birch"):
        with pytest.raises(KeyboardInterrupt):
            demo.start(name)
    with pytest.raises(KeyboardInterrupt):
        demo.end()

    processes: list[Any] = [node.process for node in demo.nodes.values()]
    assert [False, False] == [process.is_alive for process in processes]
    assert all(process.stdin.closed for process in processes)
    assert signal.default_int_handler is signal.getsignal(signal.SIGINT)


def test_lanes_show_who_was_what_when() -> None:
    """
    Four columns are a second here: who waited, led with which token, was frozen, killed, or stepped down.
    """
    assert [
        "   0s      2s      4s      6s      8s      10s",
        "a  ····7███▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒-----------------",
        "b  ············2███████✗",
    ] == lanes(RECORDS, ["a", "b"], width=41)


def test_paths_are_counted() -> None:
    """
    Each way once, in the order in which it was first taken; what no machine did is none.
    """
    assert [
        "       idle ──▶ campaigning  start ×2",
        "campaigning ──▶ leader       acquired ×2",
        "     leader ──▶ error        lease_expired ×1",
        "      error ──▶ backoff      settled ×1",
    ] == paths(RECORDS)


def test_successor_may_be_told_before_the_resignation(tmp_path: Path) -> None:
    """
    Two processes tell of a hand-over, in any order: the demo waited ten seconds for a record that it had shown already.
    """
    with connect("memory://") as store:
        demo = Demo(store, tmp_path, PlainView())
        demo._news.put(move("b", 2.0, "campaigning", "leader", "acquired", token=4))
        demo._news.put(move("a", 1.0, "leader", "resigning", "resign", token=3, cause="resigned"))
        demo.until(lambda record: record["source"] == "leader", "a has resigned", patience=0.0)
        assert 4 == demo.until_elected(above=3)["token"]


def test_line_says_everything() -> None:
    """
    When, who, from where to where, why, token, cause, reason, how long.
    """
    record = move("a", 1.0, "leader", "resigning", "resign", token=7, cause="resigned", reason="new kernel")
    assert [
        *("1.500", "s", "a", "leader", "→", "resigning", "resign", "token", "7", "cause", "resigned"),
        *("(new", "kernel)", "after", "500.0", "ms"),
    ] == line(1.5, record).split()


def test_plain_view_prints_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Without a terminal every transition is a line as it is.
    """
    view = PlainView()
    with view.live():
        view.say("once upon a time", "bold")
        view.node("a", 1, "leader", 7)
        view.transition(1.0, RECORDS[0])
    assert f"once upon a time\n{line(1.0, RECORDS[0])}\n" == capsys.readouterr().out


def test_rich_view_shows_lines_and_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """
    With rich the lines stand above a table of the nodes; text with brackets is no markup.
    """
    pytest.importorskip("rich")
    from leadership.cli._demo_view import RichView

    view = RichView()
    with view.live():
        view.say("[bold] is said as it is", "bold")
        view.transition(1.0, RECORDS[0])
        view.node("amber", 4711, "leader", 7)
    out = capsys.readouterr().out
    assert "[bold] is said as it is\n" in out
    assert line(1.0, RECORDS[0]) in out
    (row,) = [text for text in out.splitlines() if "amber" in text]
    assert ["amber", "4711", "leader", "7"] == row.replace("│", " ").split()


def test_terminal_without_rich_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The command works without the extra `cli`, on a terminal too.
    """
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert isinstance(best_view(plain=False), PlainView)

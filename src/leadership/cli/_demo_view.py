"""
How a demo is shown: as plain lines, or on a terminal with `rich` as a table that lives.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from leadership.cli._common import put

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

_STYLES = {
    "leader": "bold green",
    "campaigning": "yellow",
    "resigning": "blue",
    "error": "red",
    "backoff": "magenta",
    "killed": "bold red",
    "frozen": "cyan",
}


class View(Protocol):
    """
    Where a demo shows itself.
    """

    def live(self) -> AbstractContextManager[object]:
        """
        While the processes run.
        """
        ...

    def say(self, text: str, style: str = "") -> None:
        """
        A line of the narrator's.
        """

    def transition(self, seconds: float, record: Mapping[str, Any]) -> None:
        """
        A node has moved, `seconds` after the beginning.
        """

    def node(self, name: str, pid: int, state: str, token: int | None = None) -> None:
        """
        What a node is now.
        """


def best_view(*, plain: bool) -> View:
    """
    The table on a terminal where rich is installed, else plain lines.
    """
    if not plain and sys.stdout.isatty():
        try:
            return RichView()
        except ImportError:
            pass  # the command works without the extra `cli`
    return PlainView()


def line(seconds: float, record: Mapping[str, Any]) -> str:
    """
    A transition in words: when, who, from where to where, why, the token, how long the state before lasted.
    """
    move = f"{record['source']} → {record['dest']}"
    token = "" if record["token"] is None else f"token {record['token']}"
    cause = "" if record["cause"] is None else f"cause {record['cause']}"
    reason = "" if record["reason"] is None else f"({record['reason']})"
    after = f"after {record['duration'] * 1000:,.1f} ms"
    words = "  ".join(word for word in (token, cause, reason, after) if word)
    return f"{seconds:8.3f} s  {record['node']:<6} {move:<23} {record['trigger']:<15} {words}"


class PlainView:
    """
    Lines, for a pipe, a log or a terminal without rich.
    """

    def live(self) -> AbstractContextManager[object]:
        return nullcontext()

    def say(self, text: str, style: str = "") -> None:  # noqa: ARG002 - plain
        put(text)

    def transition(self, seconds: float, record: Mapping[str, Any]) -> None:
        put(line(seconds, record))

    def node(self, name: str, pid: int, state: str, token: int | None = None) -> None:
        """
        The lines have said it.
        """


class RichView:
    """
    The nodes as a table under the lines.

    Raises:
        ImportError: rich is not installed.
    """

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False)
        self._nodes: dict[str, tuple[int, str, int | None]] = {}
        self._live: Live | None = None

    def live(self) -> AbstractContextManager[object]:
        from rich.live import Live

        self._live = Live(self._table(), console=self._console, auto_refresh=False)
        return self._live

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table("node", "pid", "state", "token")
        for name, (pid, state, token) in self._nodes.items():
            shown = Text(f"{state:<12}", _STYLES.get(state, "dim"))
            table.add_row(name, str(pid), shown, "" if token is None else str(token))
        return table

    def say(self, text: str, style: str = "") -> None:
        from rich.text import Text

        self._console.print(Text(text, style), soft_wrap=True)  # a style given to `print` would colour the table too

    def transition(self, seconds: float, record: Mapping[str, Any]) -> None:
        self.say(line(seconds, record), _STYLES.get(record["dest"], ""))

    def node(self, name: str, pid: int, state: str, token: int | None = None) -> None:
        self._nodes[name] = (pid, state, token)
        if self._live is not None:
            self._live.update(self._table(), refresh=True)

"""
Pictures of the two machines, written from their tables, and the tables themselves in Markdown.

The writers are pure: text in, text out; only SVG and PNG run a program, Graphviz's `dot`.

What makes a picture readable: top to bottom; one line a reason; arrows grouped by (source, dest, class), so that a
fault and a request between the same two states stay two arrows; classes told apart by style as well as by colour;
reactions that leave no state inside its box; what is ignored or illegal left to the table.
"""

from __future__ import annotations

import html
import math
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, cast, overload

from leadership._arrows import AnyMachine, AnyRow, Arrow, Class, Counts, arrows, reactions
from leadership.errors import ConfigError
from leadership.fsm import CANDIDATE, FOLLOWER, CandidateTrigger
from leadership.fsm.record import Transition
from leadership.fsm.row import Disposition

FORMATS: Final = ("mermaid", "dot", "svg", "png")
KINDS: Final = {machine.name: cast("AnyMachine", machine) for machine in (CANDIDATE, FOLLOWER)}

_LOOK: Final[Mapping[Class, tuple[str, str]]] = {
    Class.SUCCESS: ("#1a7f37", "solid"),
    Class.FAULT: ("#cf222e", "dashed"),
    Class.USER: ("#0969da", "solid"),
    Class.TIMER: ("#57606a", "dotted"),
    Class.ENGINE: ("#24292f", "solid"),
}
_LEGEND: Final = "green: success   red, dashed: fault   blue: asked for   grey, dotted: timer   black: the engine"
_FILL: Final[Mapping[str, str]] = {
    "idle": "#eeeeee",
    "campaigning": "#fff3cd",
    "syncing": "#fff3cd",
    "leader": "#cdeccd",
    "following": "#cdeccd",
    "resigning": "#d6e4f7",
    "vacant": "#d6e4f7",
    "error": "#f8d0cc",
    "backoff": "#fbe3cf",
}
# Where Graphviz, left alone, would draw a line through the label of another.
_PORT: Final[Mapping[tuple[str, str, str], str]] = {("follower", "syncing", "error"): ", headport=w"}


@overload
def draw(
    kind: str,
    format: Literal["mermaid", "dot", "svg"] = ...,
    *,
    current: str | None = ...,
    counts: Counts | None = ...,
    compact: bool = ...,
) -> str: ...
@overload
def draw(
    kind: str, format: str, *, current: str | None = ..., counts: Counts | None = ..., compact: bool = ...
) -> str | bytes: ...
def draw(
    kind: str,
    format: str = "mermaid",
    *,
    current: str | None = None,
    counts: Counts | None = None,
    compact: bool = False,
) -> str | bytes:
    """
    Draw a machine. Safe to call from any thread; SVG and PNG run the program `dot` and wait for it.

    Args:
        kind: `candidate` or `follower`.
        format: `mermaid`, `dot`, `svg` (text) or `png` (bytes).
        current: The state to mark.
        counts: How often each (source, trigger, dest) was seen (`count_transitions`): said in the labels, and drawn as
            the width of the arrows; what was never seen is thin and grey.
        compact: For a narrow page: a long list of reasons becomes its length, and reactions inside a state are left
            out.

    Raises:
        ConfigError: An argument is none of the choices, a count belongs to no row of the table, or Graphviz is missing.
    """
    machine = _machine(kind)
    if format not in FORMATS:
        msg = f"the format of a picture is one of {', '.join(FORMATS)}, not {format!r}"
        raise ConfigError(msg)
    if current is not None and current not in list(machine.states):
        msg = f"a {kind} is in one of {', '.join(machine.states)}, not in {current!r}"
        raise ConfigError(msg)
    _check_counts(machine, counts or {})
    if format == "mermaid":
        return _mermaid(machine, current, counts or {}, compact=compact)
    text = _dot(machine, current, counts, compact=compact)
    if format == "dot":
        return text
    image = _run_dot(text, format)
    return image.decode() if format == "svg" else image


def count_transitions(records: Iterable[Transition | Mapping[str, Any]], kind: str) -> Counter[tuple[str, str, str]]:
    """
    How often a machine went from one state to another, for `draw(counts=...)`.

    Renewals, which have no records of their own, are taken from the records that count them.

    Args:
        records: Transitions, or lines of an audit as mappings; headers and records of the other machine do not count.
        kind: `candidate` or `follower`.

    Raises:
        ConfigError: `kind` is neither.
    """
    machine = _machine(kind)
    counts: Counter[tuple[str, str, str]] = Counter()
    for record in records:
        line = record.as_dict() if isinstance(record, Transition) else record
        if line.get("machine") != machine.name or line.get("disposition") != Disposition.GO:
            continue
        source = line["source"]
        counts[source, line["trigger"], line["dest"]] += 1
        if line.get("renewals"):
            counts[source, CandidateTrigger.RENEWED.value, source] += line["renewals"]
    return counts


def table_markdown(kind: str) -> str:
    """
    A machine's whole table in Markdown: a line a trigger, a column a state, every cell filled.

    A bold word is the state that follows, `·` is ignored, `✗` is illegal, and anything else is done in place.

    Raises:
        ConfigError: `kind` is neither `candidate` nor `follower`.
    """
    machine = _machine(kind)
    lines = [f"| trigger | {' | '.join(machine.states)} |", "|---" * (len(machine.states) + 1) + "|"]
    for trigger in machine.triggers:
        cells = (_cell(machine.cell(state, trigger)) for state in machine.states)
        lines.append(f"| {trigger} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(rows: Sequence[AnyRow]) -> str:
    words: list[str] = []
    for row in rows:
        condition = f"[{row.guard_name}]" if row.guard_name else "else" if len(rows) > 1 else ""
        goes = f"**{row.dest}**" if row.dest else ""
        cause = f"({row.cause})" if row.cause else ""
        done = {Disposition.IGNORE: "·", Disposition.ILLEGAL: "✗"}.get(row.disposition, ", ".join(row.effects))
        words.append(" ".join(filter(None, (condition, goes, cause, done))))
    return "<br>".join(words)


def _machine(kind: str) -> AnyMachine:
    if kind not in KINDS:
        msg = f"the machines are {' and '.join(KINDS)}, not {kind!r}"
        raise ConfigError(msg)
    return KINDS[kind]


def _check_counts(machine: AnyMachine, counts: Counts) -> None:
    known = {(row.source, row.trigger, row.dest or row.source) for row in machine.table}
    for key, count in counts.items():
        if key not in known:
            msg = (
                f"the {machine.name}'s table has no transition {key!r}: counted by another version, or a broken audit?"
            )
            raise ConfigError(msg)
        if count < 0:
            msg = f"the count of {key!r} must be at least 0, not {count!r}"
            raise ConfigError(msg)


def _mermaid(machine: AnyMachine, current: str | None, counts: Counts, *, compact: bool) -> str:
    """
    A Mermaid state diagram. Its arrows take no colour, so that faults bear a sign.
    """
    lines = ["---", f"title: {machine.name}", "---", "stateDiagram-v2", "  direction TB"]
    lines += [f"  classDef {state} fill:{_FILL[state]},stroke:#555,color:#111" for state in machine.states]
    if current is not None:
        lines.append("  classDef current stroke:#111,stroke-width:4px")
    lines.append(f"  [*] --> {machine.initial}")
    drawn = list(arrows(machine, counts))
    for state in machine.states:
        # An arrow from a state to itself would bear its label across its neighbours': it is said inside.
        loops = [arrow for arrow in drawn if arrow.source == arrow.dest == state]
        inside = [" ".join(line.strip() for line in loop.lines(compact=compact)) for loop in loops]
        inside += [] if compact else reactions(machine, state, counts)
        lines += [f'  state "{state}" as {state}'] if inside else []
        lines += [f"  {state} : {line}" for line in inside]
    # Mermaid lays out in the order of the text: with the ways home last, no label lies on another.
    for arrow in sorted(drawn, key=lambda arrow: arrow.dest == machine.initial):
        if arrow.source != arrow.dest:
            label = "<br/>".join(arrow.lines(compact=compact, sign="⚠ " if arrow.kind is Class.FAULT else ""))
            lines.append(f"  {arrow.source} --> {arrow.dest} : {label}")
    lines += [f"  class {state} {state}" for state in machine.states]
    if current is not None:
        lines.append(f"  class {current} current")
    return "\n".join(lines) + "\n"


def _dot(machine: AnyMachine, current: str | None, counts: Counts | None, *, compact: bool) -> str:
    """
    The machine in Graphviz's language.
    """
    font = 'fontname="Helvetica,Arial,sans-serif"'
    lines = [
        f"digraph {machine.name} {{",
        f'  graph [rankdir=TB, nodesep=0.3, ranksep=0.45, mclimit=4, {font}, fontsize=10, label="{_LEGEND}"]',
        f'  node [shape=box, style="rounded,filled", color="#555555", {font}, fontsize=12]',
        f"  edge [{font}, fontsize=10, arrowsize=0.7]",
        '  initial [shape=point, width=0.18, color="#24292f"]',
        f"  initial -> {machine.initial}",
    ]
    for state in machine.states:
        mark = ", peripheries=2, penwidth=2.5, color=black" if state == current else ""
        inside = [] if compact else [html.escape(line) for line in reactions(machine, state, counts or {})]
        small = "".join(f'<br align="left"/><font point-size="10">{line}</font>' for line in inside)
        label = f"<b>{state}</b>" + (f'{small}<br align="left"/>' if inside else "")
        lines.append(f'  {state} [label=<{label}>, fillcolor="{_FILL[state]}"{mark}]')
    drawn = list(arrows(machine, counts or {}))
    most = None if counts is None else max(arrow.count for arrow in drawn)
    for arrow in drawn:
        # Two spaces keep the text off its line; SVG drops those that may break.
        label = "".join(f"  {line}\\l" for line in arrow.lines(compact=compact)).replace("  ", "\N{NO-BREAK SPACE}" * 2)
        port = _PORT.get((machine.name, arrow.source, arrow.dest), "")
        lines.append(f'  {arrow.source} -> {arrow.dest} [label="{label}", {_stroke(arrow, most)}{port}]')
    return "\n".join([*lines, "}"]) + "\n"


def _stroke(arrow: Arrow, most: int | None) -> str:
    """
    How an arrow looks: by its class, and by how often it was seen where `most` says that somebody counted.
    """
    color, style = _LOOK[arrow.kind]
    width = 1.4
    if most is not None and not arrow.count:
        color, style, width = "#909090", "dashed", 0.6
    elif most is not None:
        width = 0.8 + 5 * math.log1p(arrow.count) / math.log1p(most)
    return f'color="{color}", fontcolor="{color}", style={style}, penwidth={width:.1f}'


def _run_dot(text: str, format: str) -> bytes:
    try:
        # SVG has no dots: a resolution would only cut it off (Graphviz 2.43).
        command = ["dot", f"-T{format}", *(["-Gdpi=96"] if format == "png" else [])]
        done = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
    except FileNotFoundError:
        msg = (
            f"format={format!r} needs the program `dot`, which was not found: install Graphviz "
            "(apt install graphviz, brew install graphviz), or ask for mermaid or dot"
        )
        raise ConfigError(msg) from None
    if done.returncode:
        msg = f"`dot` could not draw the picture (status {done.returncode}): {done.stderr.decode(errors='replace')}"
        raise ConfigError(msg)
    return done.stdout

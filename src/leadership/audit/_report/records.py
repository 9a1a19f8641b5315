"""
Records for the page: lanes of what each node went through, in columns that JSON keeps short.

A lane is one machine under one node's name in one election. Times are whole microseconds since the earliest one, each
but the first as the difference to the one before; what a transition was is a number of the list of moves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from leadership.audit.read import TORN, Line

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LISTED: Final = 1000
"""What is missing, in entries; more are only counted."""
EXACT: Final = 2**53
"""From here on a browser's numbers are not exact, and a token is told as text."""


def micros(at: datetime) -> int:
    """
    Microseconds of Unix time.
    """
    return (at - EPOCH) // timedelta(microseconds=1)


def moment(value: object) -> int | None:
    """
    The time that a line tells, in microseconds of Unix time; None where it tells none.
    """
    try:
        at = datetime.fromisoformat(str(value))
        return micros(at if at.tzinfo is not None else at.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


def printable(value: object) -> str:
    """
    Text that can neither hide nor turn what stands beside it.
    """
    text = "" if value is None else str(value)
    return text if text.isprintable() else "".join(each if each.isprintable() else _escape(each) for each in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def told(value: object) -> str:
    """
    What a line tells as text, whatever it is.
    """
    return value if isinstance(value, str) else "" if value is None else str(value)


def number(value: object) -> int:
    """
    A count that a line tells, or 0.
    """
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < EXACT else 0


def token(value: object) -> int | str | None:
    """
    A token, exact.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if abs(value) < EXACT else str(value)


class Names:
    """
    Texts, each told once and named by its number afterwards.
    """

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}

    def __call__(self, name: Any) -> int:
        numbers = self._numbers
        known = numbers.get(name)
        return numbers.setdefault(name, len(numbers)) if known is None else known

    def texts(self) -> list[str]:
        """
        All of them, in the order of their numbers.
        """
        return [printable(name) for name in self._numbers]

    def all(self) -> list[Any]:
        """
        The same, as they came.
        """
        return list(self._numbers)


class _Row(NamedTuple):
    seq: int
    at: int
    move: int
    token: int | str | None
    renewals: int
    file: int
    line: int
    duration: int
    words: int | None


@dataclass(slots=True)
class _Run:
    """
    One candidate or follower object, from its first record to its last.
    """

    rows: dict[tuple[int, int, int], _Row] = field(default_factory=dict[tuple[int, int, int], _Row])
    boots: set[str] = field(default_factory=set[str])

    def in_order(self) -> list[_Row]:
        return sorted(self.rows.values(), key=lambda row: row.seq)


class Records:
    """
    What is read of the audits, line by line, for `as_dict`.
    """

    def __init__(self) -> None:
        self.elections = Names()
        self.nodes = Names()
        self.files = Names()
        self._moves = Names()
        self._words = Names()
        self._runs: dict[tuple[int, int, str], dict[str, _Run]] = {}
        self._missing: list[dict[str, Any]] = []
        self._counts: Counter[str] = Counter()
        self._ttls: dict[int, float] = {}

    def take(self, lines: Iterable[Line]) -> None:
        """
        Take the lines of audits, of any order and number.
        """
        for line in lines:
            kind = line.fields["kind"]
            if kind == "transition":
                self._transition(line)
            elif kind == "candidate":
                self._candidate(line)
            elif kind == "gap":
                self._gap(line)
            elif kind == TORN:
                self._note(line, f"cannot be read: {printable(line.fields.get('problem'))}", None, None, "")

    def _transition(self, line: Line) -> None:
        fields = line.fields
        at = moment(fields.get("at"))
        seq = fields.get("seq")
        if at is None or not isinstance(seq, int):
            self._note(line, "tells no time or no number of its record, so that it has no place here", None, None, "")
            return
        get = fields.get
        source, trigger, dest = told(get("source")), told(get("trigger")), told(get("dest"))
        move = self._moves((source, trigger, dest, told(get("cause")), told(get("disposition")), told(get("guard"))))
        words = (told(get("reason")), told(get("error")))
        lane = (self.elections(told(get("election"))), self.nodes(told(get("node"))), told(get("machine")))
        run = self._run(lane, told(get("incarnation")))
        run.boots.add(told(get("boot")))
        duration = fields.get("duration")
        row = _Row(
            seq,
            at,
            move,
            token(fields.get("token")),
            number(fields.get("renewals")),
            self.files(line.file),
            line.number,
            round(duration * 1e6) if isinstance(duration, int | float) and 0 <= duration < EXACT / 1e6 else 0,
            self._words(words) if any(words) else None,
        )
        if run.rows.setdefault((seq, at, move), row) is not row:
            self._counts["told twice"] += 1
        else:
            self._counts["transitions"] += 1

    def _run(self, lane: tuple[int, int, str], incarnation: str) -> _Run:
        runs = self._runs.get(lane)
        if runs is None:
            runs = self._runs[lane] = {}
        run = runs.get(incarnation)
        if run is None:
            run = runs[incarnation] = _Run()
        return run

    def _candidate(self, line: Line) -> None:
        timing = line.fields.get("timing")
        ttl = timing.get("effective_ttl") if isinstance(timing, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if isinstance(ttl, int | float) and 0 < ttl < EXACT:
            election = self.elections(told(line.fields.get("election")))
            self._ttls[election] = max(self._ttls.get(election, 0.0), float(ttl))

    def _gap(self, line: Line) -> None:
        fields = line.fields
        lost, error = printable(fields.get("lost")), printable(fields.get("error"))
        what = f"{lost} record(s) could not be written: {error}"
        self._note(line, what, moment(fields.get("since")), moment(fields.get("at")), told(fields.get("boot")))

    def _note(self, line: Line, what: str, began: int | None, ended: int | None, boot: str) -> None:
        self._counts["missing"] += 1
        if len(self._missing) < LISTED:
            place = {"file": self.files(line.file), "line": line.number, "what": what}
            self._missing.append({**place, "began": began, "ended": ended, "boot": boot})

    def earliest(self) -> int | None:
        """
        The earliest time that was told, in microseconds of Unix time.
        """
        starts = [row.at for runs in self._runs.values() for run in runs.values() for row in run.rows.values()]
        return min([*starts, *(note["began"] for note in self._missing if note["began"] is not None)], default=None)

    def as_dict(self, base: int) -> dict[str, Any]:
        """
        JSON-able values; times count from `base`.
        """
        lanes: list[dict[str, Any]] = []
        boots: dict[str, list[int]] = {}
        for (election, node, machine), runs in self._runs.items():
            for number_, track in enumerate(_tracks(list(runs.values())), 1):
                for boot in {boot for run in track for boot in run.boots}:
                    boots.setdefault(boot, []).append(len(lanes))
                lanes.append({"e": election, "n": node, "m": printable(machine), "k": number_, **_columns(track, base)})
        return {
            "moves": [[printable(word) for word in move] for move in self._moves.all()],
            "words": [[printable(word) for word in words] for words in self._words.all()],
            "lanes": lanes,
            "missing": [
                {
                    **{key: note[key] for key in ("file", "line", "what")},
                    "began": None if note["began"] is None else note["began"] - base,
                    "ended": None if note["ended"] is None else note["ended"] - base,
                    "lanes": boots.get(note["boot"], []),
                }
                for note in self._missing
            ],
            "counts": dict(self._counts),
            "ttls": {str(election): ttl for election, ttl in self._ttls.items()},
        }


def _tracks(runs: list[_Run]) -> list[list[_Run]]:
    """
    The objects that bore one name, one behind the other; those that lived at the same time side by side.
    """
    tracks: list[tuple[int, list[_Run]]] = []
    for run in sorted(runs, key=lambda run: run.in_order()[0].at):
        rows = run.in_order()
        for place, (ended, track) in enumerate(tracks):
            if ended <= rows[0].at:
                track.append(run)
                tracks[place] = (rows[-1].at, track)
                break
        else:
            tracks.append((rows[-1].at, [run]))
    return [track for _, track in tracks]


def _columns(track: list[_Run], base: int) -> dict[str, Any]:
    """
    The records of a lane as columns. `runs`: where each object's begin; `before`: how long its first source had lasted.
    """
    rows: list[_Row] = []
    runs: list[int] = []
    before: list[int] = []
    for run in track:
        ordered = run.in_order()
        runs.append(len(rows))
        before.append(ordered[0].duration)
        rows += ordered
    times = [row.at - base for row in rows]
    lines = [row.line for row in rows]
    files = [row.file for row in rows]
    return {
        "runs": runs,
        "before": before,
        "t": _differences(times),
        "move": [row.move for row in rows],
        "token": [0 if row.token is None else row.token for row in rows],
        "renewals": [row.renewals for row in rows],
        "line": _differences(lines),
        "file": [[i, file] for i, file in enumerate(files) if not i or file != files[i - 1]],
        "word": {str(i): row.words for i, row in enumerate(rows) if row.words is not None},
    }


def _differences(values: list[int]) -> list[int]:
    return [value - before for value, before in zip(values, [0, *values], strict=False)]

"""
Whether a line has what its kind has: each key of `schema.json`, of its type, with a value that can be.

What comes through here may be judged and drawn without another look at its types. It is stricter than the schema where
a reader's language decides: whole numbers are written without a fraction, and no number reaches 2**63.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from operator import itemgetter
from typing import Any, Final

from leadership.audit._json import DEEP
from leadership.fsm.row import DemotionCause, Disposition

Fields = Mapping[str, Any]
Types = Mapping[str, tuple[type, ...]]

LIMIT: Final = 2**63
"""
Numbers are nearer to 0 than this; so much a store's token has room for.
"""
_LOW: Final = -LIMIT
_LEAST, _MOST = -float(LIMIT), float(LIMIT)
_NONE: Final = type(None)
_TEXT, _WHOLE, _NUMBER = (str,), (int,), (float, int)
_NESTED: Final = frozenset({dict, list})
_SHAPES: Final = 1000
"""Shapes that are remembered."""
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", re.ASCII).fullmatch
_moment: Final = datetime.fromisoformat
_HASH: Final = re.compile("[0-9a-f]{64}").fullmatch
_DIGEST: Final = re.compile("[0-9a-f]{12}").fullmatch
_LINE: Final[Types] = {"v": _WHOLE, "kind": _TEXT, "at": _TEXT, "boot": _TEXT}
_NAMES: Final[Types] = {"incarnation": _TEXT, "election": _TEXT, "node": _TEXT}
_HOT: Final = itemgetter(
    "at", "seq", "monotonic", "duration", "attempt", "renewals", "token", "revision", "lease_deadline", "machine",
    "disposition", "cause",
)  # fmt: skip
_WORDS: Final = frozenset(
    itertools.product(("candidate", "follower"), map(str, Disposition), [None, *map(str, DemotionCause)])
)
_DURABILITIES: Final = frozenset({"os", "group", "sync"})


def fault(fields: Fields) -> str | None:
    """
    Why an object is no line of an audit; None for one that is, also where its `v` is a later one.
    """
    kind = _KINDS.get(fields["kind"])
    if kind is None:
        return f"there is no kind {fields['kind']!r}"
    # The keys in their order, and their types: whoever writes audits has few.
    keys, types = tuple(fields), tuple(map(type, fields.values()))
    if keys != kind.keys or types not in kind.known:
        why = kind.look(fields)
        if why is not None:
            return why
        if keys != kind.keys or len(kind.known) == _SHAPES:
            kind.keys = keys
            kind.known.clear()
        if not kind.more(fields):
            kind.known.add(types)
    return kind.values(fields)


class _Kind:
    """
    What a kind of line has, and the shapes that were found to be right before.
    """

    def __init__(self, types: Types, values: Callable[[Fields], str | None], optional: Types | None = None) -> None:
        self.values = values
        self.keys: tuple[str, ...] = ()
        """Those of the latest line that was looked at."""
        self.known: set[tuple[type, ...]] = set()
        """The types of these keys that are right."""
        self._types = {**_LINE, **types}
        self._optional = {"prev": (str, _NONE), **(optional or {})}

    def look(self, fields: Fields) -> str | None:
        """
        Look at a line key by key.
        """
        for key in self._types:
            if key not in fields:
                return f"its {key} is missing"
        for key, value in fields.items():
            wanted = self._types.get(key) or self._optional.get(key)
            if wanted is not None and type(value) not in wanted:
                return f"its {key} is of type {type(value).__name__}"
        return next(filter(None, map(_fault_of_nesting, self.more(fields))), None)

    def more(self, fields: Fields) -> list[Any]:
        """
        The objects and lists under keys that are not known here.
        """
        known = self._types.keys() | self._optional.keys()
        return [value for key, value in fields.items() if type(value) in _NESTED and key not in known]


def _fault_of_nesting(value: Any) -> str | None:
    """
    Whether an object or a list has too many others within each other, the line around it counted.
    """
    level: list[Any] = [value]
    for _ in range(1, DEEP):
        inner: list[Iterable[Any]] = [each.values() if type(each) is dict else each for each in level]
        level = [each for values in inner for each in values if type(each) in _NESTED]
        if not level:
            return None
    return f"it is nested more than {DEEP} deep"


def _fault_of_time(fields: Fields, key: str) -> str | None:
    try:
        if _TIME(fields[key]):
            _moment(fields[key])
            return None
    except ValueError:
        pass
    return f"its {key} is no time"


def _fault_of_number(name: str, value: Any) -> str | None:
    if type(value) not in _NUMBER:
        return f"its {name} is of type {type(value).__name__}"
    return None if -LIMIT < value < LIMIT else f"its {name} is no number that can be"


def _fault_of_line(f: Fields) -> str | None:
    """
    What may be wrong with the values that each kind has; and with the keys that none has.
    """
    prev = f.get("prev")
    if prev is not None and not _HASH(prev):
        return "its prev is no hash"
    if f["v"] < 1:
        return "its v is below 1"
    return _fault_of_time(f, "at")


def _transition(f: Fields) -> str | None:
    at, seq, monotonic, duration, attempt, renewals, token, revision, deadline, machine, disposition, cause = _HOT(f)
    # NaN is neither less nor more than anything; of several whole numbers one that is negative or large makes the union
    # so. A float is compared with a float far faster than with a whole number of this size.
    if not (
        seq
        and 0 <= seq | attempt | renewals < LIMIT
        and _LEAST < monotonic < _MOST
        and 0.0 <= duration < _MOST
        and (token is None or _LOW < token < LIMIT)
        and (revision is None or _LOW < revision < LIMIT)
        and (deadline is None or _LEAST < deadline < _MOST)
    ):
        return "one of its numbers is none that can be"
    if (machine, disposition, cause) not in _WORDS:
        return f"there is no machine {machine!r}, disposition {disposition!r} or cause {cause!r}"
    try:
        # As an AuditLog writes times; what else is one is seen below.
        if len(at) == 32 and at[7] == "-" and at[10] == "T" and at[19] == "." and at[26:] == "+00:00":
            _moment(at)
            if f["v"] == 1 and "prev" not in f:
                return None
    except ValueError:
        pass
    return _fault_of_line(f)


def _leader(f: Fields) -> str | None:
    leader = f["leader"]
    if leader is not None:
        if type(leader.get("node")) is not str or type(leader.get("token")) is not int:
            return "its leader has no node or no token"
        if not -LIMIT < leader["token"] < LIMIT:
            return "its leader's token is no number that can be"
    why = None if leader is None or len(leader) == 2 else _fault_of_nesting(leader)
    return why or _fault_of_number("monotonic", f["monotonic"]) or _fault_of_line(f)


def _header(f: Fields) -> str | None:
    if not all(type(digest) is str and _DIGEST(digest) for digest in f["tables"].values()):
        return "its tables have no digests"
    if f["durability"] not in _DURABILITIES:
        return f"there is no durability {f['durability']!r}"
    if ("file" in f) != ("previous" in f):
        return "it has one of file and previous, and not the other"
    if not 0 < f.get("file", 1) < LIMIT:
        return "its file is no number of a file"
    previous = f.get("previous")
    if previous is not None:
        digest = previous.get("sha256", False)
        if type(previous.get("name")) is not str or not (digest is None or (type(digest) is str and _HASH(digest))):
            return "its previous has no name or no hash"
    return (None if previous is None else _fault_of_nesting(previous)) or _fault_of_line(f)


def _candidate(f: Fields) -> str | None:
    faults = (_fault_of_number(f"timing's {key}", value) for key, value in f["timing"].items())
    return next(filter(None, faults), None) or _fault_of_line(f)


def _gap(f: Fields) -> str | None:
    if not (0 <= f["lost"] < LIMIT and 0 <= f.get("leaders", 0) < LIMIT):
        return "one of its numbers is none that can be"
    return _fault_of_time(f, "since") or _fault_of_line(f)


_KINDS: Final = {
    "header": _Kind(
        {
            "host": _TEXT,
            "pid": _WHOLE,
            "leadership": (str, _NONE),
            "python": _TEXT,
            "transitions": (str, _NONE),
            "tables": (dict,),
            "durability": _TEXT,
            "chain": (bool,),
        },
        _header,
        {"clock": (str, _NONE), "file": _WHOLE, "previous": (dict, _NONE)},
    ),
    "candidate": _Kind({**_NAMES, "timing": (dict,)}, _candidate),
    "transition": _Kind(
        {
            "seq": _WHOLE,
            "monotonic": _NUMBER,
            "machine": _TEXT,
            **_NAMES,
            "trigger": _TEXT,
            "source": _TEXT,
            "dest": _TEXT,
            "guard": (str, _NONE),
            "disposition": _TEXT,
            "cause": (str, _NONE),
            "reason": (str, _NONE),
            "error": (str, _NONE),
            "term": (str, _NONE),
            "token": (int, _NONE),
            "attempt": _WHOLE,
            "revision": (int, _NONE),
            "lease_deadline": (float, int, _NONE),
            "duration": _NUMBER,
            "renewals": _WHOLE,
        },
        _transition,
        {"trace_id": _TEXT, "span_id": _TEXT},
    ),
    "leader": _Kind({**_NAMES, "monotonic": _NUMBER, "leader": (dict, _NONE)}, _leader),
    "gap": _Kind({"lost": _WHOLE, "since": _TEXT, "error": _TEXT}, _gap, {"leaders": _WHOLE}),
}

"""
Reading audit files, whole or damaged.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import zlib
from collections.abc import Generator, Iterable, Iterator
from typing import Any, Final, NamedTuple, cast

from leadership.audit._json import closely
from leadership.audit._shape import fault
from leadership.errors import ConfigError
from leadership.observers._audit_file import siblings
from leadership.observers._audit_lines import SCHEMA, START, is_beginning

TORN: Final = "torn"
"""
The kind of what cannot be read: half a line, left by a full disk or by loss of power, or damage.
"""

_GZIP: Final = b"\x1f\x8b\x08"
"""How a compressed file begins: gzip, deflated."""


class Line(NamedTuple):
    """
    One line of an audit.
    """

    file: str
    number: int
    """Counted from 1."""
    fields: dict[str, Any]
    """As written; `kind` says what it is. For one that cannot be read: `kind` torn, `problem`, `text`;
    and `damaged`, true, where it is a whole line that no AuditLog writes."""


Path = str | os.PathLike[str]
Files = Iterable[Path] | Path


def read(files: Files, *, rotated: bool = False) -> Iterator[Line]:
    """
    Read audits line by line, file by file in the order given; gzip is recognised. Holds one line in memory.

    What cannot be read is reported as a line of kind `torn`, and reading goes on behind it.

    Args:
        files: The files.
        rotated: Read the rotated files of each before it, in order.

    Raises:
        ConfigError: A file is missing, cannot be opened, is no audit or one of a later version. Raised at once, except
            for a line of a later version that follows others.
    """
    paths = checked(files, rotated=rotated)
    return (line for path in paths for line in _lines(path))


def checked(files: Files, *, rotated: bool) -> list[str]:
    """
    The names of the files, with the rotated ones before each if they are wanted; each begins as an audit does.

    Raises:
        ConfigError: See `read`.
    """
    paths: list[str] = []
    for file in as_list(files):
        before = _rotated(file) if rotated else []
        paths += before if before and not os.path.exists(file) else [*before, file]
    for path in paths:
        _check(path)
    return paths


def as_list(files: Files) -> list[str]:
    """
    The names of the files; one may be given as it is.
    """
    return [os.fspath(file) for file in ([files] if isinstance(files, str | os.PathLike) else files)]


def _rotated(path: str) -> list[str]:
    path = os.path.realpath(path)  # an AuditLog follows links, too
    return [sibling for _, sibling in siblings(path)] if os.path.isdir(os.path.dirname(path)) else []


@contextlib.contextmanager
def opened(path: str) -> Generator[Iterable[bytes], None, None]:
    """
    The lines of a file, unpacked.

    Raises:
        ConfigError: It cannot be opened.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below; what the reader raises is another matter
    except OSError as error:
        msg = f"the audit {path!r} cannot be read: {error.strerror}; name a file that an AuditLog has written"
        raise ConfigError(msg) from error
    with file:
        if _is_packed(file.peek(3)):
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield unpacked
        else:
            yield file


def _is_packed(beginning: bytes) -> bool:
    return beginning != b"" and _GZIP.startswith(beginning[:3])


def _check(path: str) -> None:
    """
    Refuse a file that does not begin as an audit does. An empty one is an audit that has nothing to tell.

    So is a compressed one that cannot be unpacked: whoever reads it is told that it is damaged.
    """
    with opened(path) as file:
        try:
            first = next((line.strip() for line in file if line.strip()), b"")
        except (EOFError, OSError, zlib.error) as error:
            if isinstance(file, gzip.GzipFile):
                return
            msg = f"the audit {path!r} cannot be read: {error}"
            raise ConfigError(msg) from error
    if not is_beginning(first):
        msg = f"{path!r} is not an audit: it begins with {first[:40]!r}; name a file that an AuditLog has written"
        raise ConfigError(msg)


def _lines(path: str) -> Iterator[Line]:
    number = 0
    with opened(path) as file:
        try:
            for number, raw in enumerate(file, 1):
                for fields in parse(raw, path, number):
                    yield Line(path, number, fields)
        except (EOFError, OSError, zlib.error) as error:  # a compressed file without its end, a bad disk
            yield Line(path, number + 1, {"kind": TORN, "problem": f"{type(error).__name__}: {error}", "text": ""})


def parse(raw: bytes, path: str, number: int) -> Iterator[dict[str, Any]]:
    """
    The objects of a line: one; or none if it is blank, or several if whole lines stand behind half a line.

    Raises:
        ConfigError: It is of a later version.
    """
    text = raw.strip()
    if not text:
        return
    whole = _object(text)
    for fields in _behind(text) if whole is None else [whole]:
        if fields["kind"] != TORN and fields["v"] > SCHEMA:
            later = fields["v"]
            msg = f"{path!r}, line {number}, is of schema {later}, and this reads up to {SCHEMA}: upgrade leadership"
            raise ConfigError(msg)
        yield fields


def _behind(text: bytes) -> list[dict[str, Any]]:
    """
    Half a line, and the whole ones behind it, of other processes: within an object of theirs the mark cannot occur.
    """
    half, *rest = text.split(START)
    found: list[dict[str, Any]] = []
    while rest and (half or len(rest) > 1):
        fields = _object(START + rest[-1].rstrip())
        if fields is None:
            break
        found.append(fields)
        rest.pop()
    text = START.join([half, *rest]).strip()
    if text:
        found.append(_object(text) or _torn(text, _problem(text)))
    return found[::-1]


def _torn(text: bytes, problem: str, **more: Any) -> dict[str, Any]:
    return {"kind": TORN, "problem": problem, "text": text.decode(errors="backslashreplace"), **more}


def _problem(text: bytes) -> str:
    try:
        value, _ = closely(text)
    except ValueError:
        return "not a whole line"
    if not isinstance(value, dict):
        return "not an object"
    return "an object without a kind" if "kind" not in value else "an object whose v or kind is none of an audit's"


def _object(text: bytes) -> dict[str, Any] | None:
    """
    What a line is if it is a whole one; None for all that is none, whatever else it is.
    """
    try:
        value, why = closely(text)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    line = cast("dict[str, Any]", value)
    if not line and why is not None:
        return _torn(text, why, damaged=True) if text.startswith(START) else None
    if "v" not in line or not isinstance(line.get("kind"), str):
        return None
    if type(line["v"]) is int and line["v"] > SCHEMA:
        return line
    why = why or fault(line)
    return line if why is None else _torn(text, why, damaged=True)

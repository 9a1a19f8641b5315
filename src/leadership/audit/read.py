"""
Reading audit files, whole or damaged.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import zlib
from collections.abc import Generator, Iterable, Iterator
from typing import Any, Final, NamedTuple, cast

from leadership.errors import ConfigError
from leadership.observers._audit_file import siblings
from leadership.observers._audit_lines import SCHEMA, START, is_beginning

TORN: Final = "torn"
"""
The kind of what cannot be read: half a line, left by a full disk or by loss of power, or damage.
"""

_GZIP: Final = b"\x1f\x8b"


class Line(NamedTuple):
    """
    One line of an audit.
    """

    file: str
    number: int
    """Counted from 1."""
    fields: dict[str, Any]
    """As written; `kind` says what it is. For one that cannot be read: `kind` torn, `problem`, `text`."""


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
    paths: list[str] = []
    for file in as_list(files):
        before = _rotated(file) if rotated else []
        paths += before if before and not os.path.exists(file) else [*before, file]
    for path in paths:
        _check(path)
    return (line for path in paths for line in _lines(path))


def as_list(files: Files) -> list[str]:
    """
    The names of the files; one may be given as it is.
    """
    return [os.fspath(file) for file in ([files] if isinstance(files, str | os.PathLike) else files)]


def _rotated(path: str) -> list[str]:
    path = os.path.realpath(path)  # an AuditLog follows links, too
    return [sibling for _, sibling in siblings(path)] if os.path.isdir(os.path.dirname(path)) else []


@contextlib.contextmanager
def _opened(path: str) -> Generator[Iterable[bytes], None, None]:
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below; what the reader raises is another matter
    except OSError as error:
        msg = f"the audit {path!r} cannot be read: {error.strerror}; name a file that an AuditLog has written"
        raise ConfigError(msg) from error
    with file:
        if file.peek(2).startswith(_GZIP):
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield unpacked
        else:
            yield file


def _check(path: str) -> None:
    """
    Refuse a file that does not begin as an audit does. An empty one is an audit that has nothing to tell.
    """
    with _opened(path) as file:
        try:
            first = next((line.strip() for line in file if line.strip()), b"")
        except (EOFError, OSError, zlib.error) as error:
            msg = f"the audit {path!r} cannot be unpacked: {error}"
            raise ConfigError(msg) from error
    if not is_beginning(first):
        msg = f"{path!r} is not an audit: it begins with {first[:40]!r}; name a file that an AuditLog has written"
        raise ConfigError(msg)


def _lines(path: str) -> Iterator[Line]:
    number = 0
    with _opened(path) as file:
        try:
            for number, raw in enumerate(file, 1):
                for fields in _parse(raw, path, number):
                    yield Line(path, number, fields)
        except (EOFError, OSError, zlib.error) as error:  # a compressed file without its end, a bad disk
            yield Line(path, number + 1, {"kind": TORN, "problem": f"{type(error).__name__}: {error}", "text": ""})


def _parse(raw: bytes, path: str, number: int) -> Iterator[dict[str, Any]]:
    text = raw.strip()
    if not text:
        return
    fields = _object(text)
    if fields is None:
        # Behind half a line there may be a whole one, of another process: within an object the mark cannot occur.
        half, mark, rest = text.rpartition(START)
        fields = _object(mark + rest) if half else None
        if fields is None:
            yield {"kind": TORN, "problem": _problem(text), "text": text.decode(errors="backslashreplace")}
            return
        yield from _parse(half, path, number)
    if fields["v"] > SCHEMA:
        msg = f"{path!r}, line {number}, is of schema {fields['v']}, and this reads up to {SCHEMA}: upgrade leadership"
        raise ConfigError(msg)
    yield fields


def _problem(text: bytes) -> str:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return "not a whole line"
    if not isinstance(value, dict):
        return "not an object"
    return "an object without a kind" if "kind" not in value else "an object whose v or kind is none of an audit's"


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        fields: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    line = cast("dict[str, Any]", fields)
    return line if type(line.get("v")) is int and isinstance(line.get("kind"), str) else None

"""
JSON of audits, read to the same end whichever parser is installed.

`loads` is for the lines that an AuditLog writes, and fast; it may refuse what `Text` then looks at closely. What it
accepts, the one parser and the other accept alike: no NaN or infinity, no lone surrogate, nothing but UTF-8. How deep
values are nested is seen afterwards.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, Final, NoReturn, cast

DEEP: Final = 32
"""
Objects and lists within each other. An audit's have two.
"""
_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"')
_BRACKETS: Final = re.compile(rb"[\[\]{}]")


def _refuse(constant: str) -> NoReturn:
    msg = f"{constant} is no JSON"
    raise ValueError(msg)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        _refuse(text)
    return number


_decode: Final = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite).decode


def plain(raw: bytes) -> Any:
    """
    Read a line by the standard library.

    Raises:
        ValueError: It is no JSON, or has to be looked at closely.
    """
    if b"\\ud" in raw or b"\\uD" in raw:
        msg = "there may be a lone surrogate"
        raise ValueError(msg)
    try:
        return _decode(raw.decode())
    except RecursionError as error:
        raise ValueError(str(error)) from None


try:
    import orjson
except ImportError:  # the extra `audit` is not installed: the standard library does, at a quarter of the speed
    loads: Callable[[bytes], Any] = plain
else:
    loads = orjson.loads
"""
Reads a line by the fastest parser that there is; it raises ValueError where it has to be looked at closely.
"""


def closely(text: bytes) -> tuple[Any, str | None]:
    """
    Read a line, and say what is in it that no audit has.

    Returns:
        The value, and the fault. Of what is nested too deeply the value is an empty object.

    Raises:
        ValueError: It is no JSON whatever.
    """
    deep = _depth(text)
    if deep > DEEP:
        return {}, f"it is nested {deep} deep"
    try:
        value: Any = json.loads(text.decode(), parse_int=_whole)
    except RecursionError as error:  # brackets that do not match
        raise ValueError(str(error)) from None
    return value, _fault(value)


def _whole(digits: str) -> float:
    """
    A whole number; as a fraction where it has more digits than a whole number may be read from.
    """
    return int(digits) if len(digits) < 40 else float(digits)


def _depth(text: bytes) -> int:
    """
    How deep a line is nested; 0 where its brackets do not match.
    """
    deepest, within = 0, bytearray()
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", text)):
        if bracket in b"[{":
            within += b"]" if bracket == b"[" else b"}"
            deepest = max(deepest, len(within))
        elif not within or within.pop() != bracket[0]:
            return 0
    return 0 if within else deepest


def _fault(value: Any) -> str | None:
    """
    What is in a value that JSON cannot say, or no UTF-8 has. It is not nested deeply.
    """
    if isinstance(value, str):
        return None if value.isascii() or not _SURROGATE.search(value) else "a text in it has a lone surrogate"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"there is {value} in it, which is no number"
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        return next(filter(None, map(_fault, [*items, *items.values()])), None)
    if isinstance(value, list):
        return next(filter(None, map(_fault, cast("list[object]", value))), None)
    return None


_SURROGATE: Final = re.compile("[\ud800-\udfff]")

"""
README and docs, read: their fences, and the marks before them.

A mark is a comment on a line of its own before a fence:

* `<!-- skip: reason -->`: it cannot be executed here;
* `<!-- file: name -->`: it is saved under that name, for the fences that follow;
* `<!-- interrupted -->`: it runs until SIGINT, which it gets after its first line of output;
* `<!-- output -->`: what the fence before it prints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

_MARK = re.compile(r"<!-- (\w+)(?:: (.+?))? -->")


@dataclass(frozen=True)
class Fence:
    """
    A block of code.
    """

    page: Path
    line: int
    language: str
    marks: Mapping[str, str]
    text: str
    generated: bool

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def fences(page: Path) -> Iterator[Fence]:
    """
    The fences of a page, in order.
    """
    marks: dict[str, str] = {}
    generated = False
    inside: tuple[int, str] | None = None
    text: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if inside is not None:
            if line == "```":
                yield Fence(page, *inside, marks, "".join(f"{each}\n" for each in text), generated)
                inside, text, marks = None, [], {}
            else:
                text.append(line)
        elif line.startswith("```"):
            inside = (number, line.removeprefix("```"))
        elif line.startswith(("<!-- generated", "<!-- end generated")):
            generated = line.startswith("<!-- generated")
        elif mark := _MARK.fullmatch(line):
            marks[mark[1]] = mark[2] or ""
        elif line:
            marks = {}


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """
    The lines of a page that are neither code nor generated, with their numbers.
    """
    code = generated = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            code = not code
        elif line.startswith(("<!-- generated", "<!-- end generated")):
            generated = line.startswith("<!-- generated")
        elif not code and not generated:
            yield number, line

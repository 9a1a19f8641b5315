"""
One mutant, and how it is planted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class Stale(Exception):
    """
    The code has changed, and the mutant cannot be planted any more.
    """


@dataclass(frozen=True, slots=True)
class Mutant:
    """
    A fault in one place of the package.
    """

    name: str
    """The mechanism that is broken."""
    what: str
    """What goes wrong, in a sentence."""
    file: str
    """Where, relative to the package."""
    old: str
    """The text that stands there, exactly once."""
    new: str
    """What stands there instead."""
    tests: tuple[str, ...]
    """Those that are to find it, as pytest names them, the fastest first."""
    survives: str = ""
    """Why no test can find it; empty where one has to."""

    def mutated(self, text: str) -> str:
        """
        The text of its file with the fault.

        Raises:
            Stale: What is to be replaced is not there exactly once, or the result is no Python.
        """
        count = text.count(self.old)
        if count != 1:
            msg = f"mutant {self.name!r}: {self.file} has its text {count} times, not once: adapt it to the code"
            raise Stale(msg)
        changed = text.replace(self.old, self.new)
        try:
            compile(changed, self.file, "exec")
        except SyntaxError as error:
            msg = f"mutant {self.name!r}: {self.file} is no Python with it: {error}"
            raise Stale(msg) from error
        return changed

    def plant(self, package: Path) -> None:
        """
        Change a copy of the package.

        Raises:
            Stale: See `mutated`.
        """
        path = package / self.file
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            msg = f"mutant {self.name!r}: {self.file} is not there any more: adapt it to the code"
            raise Stale(msg) from None
        changed = self.mutated(text)
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()  # a file of the same second and size would be taken for the one that was compiled
        path.write_text(changed, encoding="utf-8")

"""
The audit of `leadership run`, whose trouble is said to whoever started it.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from leadership import AuditLog
from leadership.cli._common import say


class SpokenAudit(AuditLog):
    """
    An audit that says on stderr, once, that it cannot be written.
    """

    _told = False

    def _say(self, error: BaseException | None) -> None:
        if error is not None and not self._told:
            self._told = True
            why = (
                error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
            )
            say(f"the audit {self.path!r} cannot be written: {why}; going on without it")
        super()._say(error)


@contextmanager
def spoken(path: str | None) -> Generator[tuple[AuditLog, ...]]:
    """
    The observers of a run with `--audit path`; at the end it is said how many records are missing, if any.

    Raises:
        ConfigError: The path cannot be used.
    """
    if path is None:
        yield ()
        return
    audit = SpokenAudit(path)
    try:
        yield (audit,)
    finally:
        audit.close()
        if audit.failures:
            say(f"the audit {audit.path!r} has lost {audit.failures} record(s), which could not be written")

"""
A report of audits, judged, rendered and written: for `leadership audit report` and for the demo.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from leadership.audit import Judgement, Verdict, read, verify
from leadership.audit.read import checked
from leadership.audit.report import is_report, render
from leadership.cli._common import put
from leadership.cli._verify import STATUS
from leadership.errors import ConfigError

_BEGINNING: Final = 200
"""Characters of a file that tell whether it is a report."""


def run_report(args: argparse.Namespace) -> int:
    """
    Judge audits and write the report of them; the exit status is the verdict.
    """
    options = {"rotated": args.rotated, "clock_error": args.clock_error, "anchors": args.anchor}
    judgement = write_report(args.files, args.output, args.title, **options)
    put(f"{in_words(judgement)}; {args.output}")
    return STATUS[judgement.verdict]


def write_report(audits: Sequence[str], output: str, title: str, *, rotated: bool = False, **options: Any) -> Judgement:
    """
    Judge audits and write the report of them. A file that is no report is not replaced, unless it is empty and none of
    the audits.

    Args:
        audits: The files.
        output: Where to.
        title: Of the page.
        rotated: Also the rotated files of each.
        options: Of `verify`.

    Raises:
        ConfigError: The audits cannot be read (see `read`), or the report cannot be written.
    """
    _check(output)  # before anything is read, which may take a while
    if any(os.path.exists(output) and os.path.samefile(output, path) for path in checked(audits, rotated=rotated)):
        msg = f"--output {output!r} is one of the audits, and would be replaced; name another file"
        raise ConfigError(msg)
    judgement = verify(audits, rotated=rotated, **options)
    page = render(judgement, read(audits, rotated=rotated), title=title)
    try:
        Path(output).write_text(page, encoding="utf-8")
    except OSError as error:
        msg = f"--output {output!r} cannot be written: {error.strerror}"
        raise ConfigError(msg) from None
    return judgement


def in_words(judgement: Judgement) -> str:
    """
    A judgement on a line.
    """
    remarks = sum(finding.verdict is Verdict.VALID for finding in judgement.findings)
    told = (
        (len(judgement.findings) - remarks, "finding"),
        (remarks, "remark"),
        (judgement.records, "record"),
        (len(judgement.spans), "term"),
    )
    counts = [f"{count:,} {word}{'' if count == 1 else 's'}" for count, word in told if count or word == "record"]
    return f"{judgement.verdict}: {', '.join(counts)}"


def _check(output: str) -> None:
    folder = os.path.dirname(output) or "."
    if not os.path.isdir(folder):
        msg = f"--output {output!r}: there is no folder {folder!r}; make it, or name another file"
        raise ConfigError(msg)
    if not os.path.isfile(output):
        return
    try:
        with open(output, encoding="utf-8", errors="replace") as file:
            beginning = file.read(_BEGINNING)
    except OSError as error:
        msg = f"--output {output!r} cannot be read, to see whether it is a report: {error.strerror}; name another file"
        raise ConfigError(msg) from None
    if beginning and not is_report(beginning):
        msg = (
            f"--output {output!r} exists and is no report, so that it is not replaced; remove it, or name another file"
        )
        raise ConfigError(msg)

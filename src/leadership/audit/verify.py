"""
The verdict on a set of audits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from leadership.audit._files import check_anchors
from leadership.audit._found import Findings, worst
from leadership.audit._work import judge_parts
from leadership.audit.court import Court
from leadership.audit.judgement import Judgement
from leadership.audit.read import Files, checked
from leadership.checks import check_number
from leadership.errors import ConfigError

CLOCK_ERROR: Final = 0.1
"""
Seconds by which the wall clocks of two nodes may differ: what NTP keeps on a busy network, with much to spare.
"""


def verify(
    files: Files,
    *,
    rotated: bool = False,
    clock_error: float = CLOCK_ERROR,
    anchors: Iterable[str] = (),
    spans: bool = True,
) -> Judgement:
    """
    Judge audits of any number of nodes, in any order, rotated, compressed or damaged.

    What can be known of it and what cannot: docs/verdicts.md. The kinds of findings: `KINDS`. Memory grows with the
    number of terms, by about 130 bytes each without `spans`, and not with the number of records. Where there is much to
    read, and several files, it is read by several processes.

    Args:
        files: The files.
        rotated: Also the rotated files of each.
        clock_error: Seconds by which the wall clocks of two nodes may differ. It is not used for nodes on one machine.
        anchors: Hashes (SHA-256, hexadecimal) of last lines, that were kept elsewhere: without the line of each, the
            end of an audit is missing.
        spans: Return all terms, too.

    Raises:
        ConfigError: See `read`; or an argument cannot be used.
    """
    error = check_number("clock_error", clock_error, least=0.0)
    wanted = frozenset(map(_check_anchor, anchors))
    paths = checked(files, rotated=rotated)
    parts = judge_parts(paths, wanted)
    court = Court(parts, clock_error=error, spans=spans)
    court.judge()
    findings = Findings()
    for found in (*(part.findings for part in parts), court.findings):
        findings.extend(found)
    groups = [group for part in parts for group in part.files]
    check_anchors(wanted, {anchor for part in parts for anchor in part.anchors}, groups, findings)
    listed = findings.all()
    elections = {name for part in parts for name in part.elections | part.packed.elections}
    return Judgement(
        verdict=worst(listed),
        findings=listed,
        spans=tuple(court.spans),
        records=sum(part.records for part in parts),
        files=sum(len(group) for group in groups),
        elections=tuple(sorted(elections)),
        nodes=tuple(sorted({node for part in parts for node in part.nodes})),
    )


def _check_anchor(anchor: object) -> str:
    if not isinstance(anchor, str) or re.fullmatch("[0-9a-fA-F]{64}", anchor) is None:
        msg = f"an anchor is a SHA-256 of 64 hexadecimal digits, not {anchor!r}"
        raise ConfigError(msg)
    return anchor.lower()

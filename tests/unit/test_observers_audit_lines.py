"""
A line of an audit is written by hand, because it is written often; it is the JSON of the record all the same.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from records import a_record

from leadership.fsm.row import DemotionCause
from leadership.observers._audit_lines import _members


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"election": 'quote " backslash \\ slash / tab \t', "node": "Ærøskøbing 北京 \U0001f600"},
        {"error": "StoreError: line\nline\x00\x1f\x7f\u2028", "reason": "\\ said"},
        {"cause": DemotionCause.LEASE_EXPIRED, "token": 2**63, "revision": 0, "lease_deadline": 1e-9},
        {"cause": None, "token": None, "revision": None, "lease_deadline": None, "guard": None, "term": None},
        {"monotonic": 1e300, "duration": 0.1 + 0.2, "renewals": 10**20},
    ],
    ids=["plain", "names", "control", "numbers", "nothing", "large"],
)
def test_line_is_the_json_of_the_record(changes: dict[str, Any]) -> None:
    """
    Between the braces stands, byte for byte, what `json.dumps` makes of `as_dict()`.
    """
    record = a_record(**changes)

    assert json.dumps(record.as_dict(), separators=(",", ":")) == f"{{{_members(record)}}}"

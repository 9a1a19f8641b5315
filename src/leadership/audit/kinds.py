"""
The kinds of findings, in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # invalid
        "overlap": "Two candidates of one election believed at the same time that they led.",
        "reused_token": "Two terms of one election have the same fencing token.",
        "token_order": "A later term has a lower fencing token than an earlier one.",
        "illegal_transition": "A record is no row of the table that its process went by, or its guard is untrue.",
        "past_deadline": "A leader was elected, or was renewed, when its deadline had passed.",
        "elected_twice": "A candidate was elected while its own term had not ended.",
        "demoted_without_elected": "A candidate left office without having been elected.",
        "no_cause": "A term ended without a cause.",
        "broken_sequence": "A record does not follow the one before it of the same candidate or follower.",
        "edited_record": "A line of a chained audit is not what its successor or its audit's end says it is.",
        "damaged_record": "A line lacks what its kind has, or has it in a form that no audit is written in.",
        # invalid or unknown
        "missing_records": "Records of a candidate or follower are missing between two others, or before its first.",
        "truncated": "The end of an audit is missing: a hash that was kept, later lines or what others saw say so.",
        # unknown
        "gap": "Records could not be written when they were made, and are lost.",
        "torn": "A line cannot be read: half a line, or damage.",
        "missing_file": "A rotated file that another follows was not given.",
        "missing_node": "Others saw a node lead of which no audit was given.",
        "unknown_table": "No header names the table that a process went by, or it is one of another version.",
        "unknown_lease": "No line says how long a candidate's lease lasts: its deadlines are not judged.",
        "clock_skew": "The order of events at the store contradicts the wall clocks of two nodes.",
        "undecided": "Two terms are closer to each other than the wall clocks of their nodes can tell.",
        "token_reset": "The store had lost its data, and tokens began anew: their order says nothing across it.",
        # remarks
        "unfinished": "An audit ends within a term: its process died or still runs, or its end is missing.",
        "late": "A process stood still and left office after its deadline; by the clock its belief had ended there.",
        "refused_event": "The table refused an event as impossible; nothing moved, and it is a bug of the library.",
        "clock_step": "The wall clock of a node was set while it ran.",
    }
)
"""
Each kind of finding with what it says. Which verdict a finding leads to is its own.
"""

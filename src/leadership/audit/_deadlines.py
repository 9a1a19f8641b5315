"""
Was a deadline kept? Pure functions of the records in which a term begins and ends.

`is_leader` turns false by the clock when the deadline passes, whatever the process does. So a record that leaves office
later is no fault, whatever its trigger: the process stood still. Faults are: an election whose deadline had passed, and
a deadline that the renewals counted cannot have reached, each of which has to come before the deadline then in force,
or that went back.
"""

from __future__ import annotations

from typing import Any, Final

_ROUNDING: Final = 1e-6


def fault_of_election(elected: dict[str, Any], longest: float) -> str | None:
    """
    What is wrong with the deadline of an election, in words; None if nothing is.

    Args:
        elected: The record.
        longest: Seconds that a lease lasts.
    """
    ahead = elected["lease_deadline"] - elected["monotonic"]
    if ahead <= 0:
        return f"was elected {-ahead:.3f} s after the deadline of its own lease"
    if ahead > longest + _ROUNDING:
        return f"was elected for {ahead:.3f} s, and its lease lasts {longest:g} s"
    return None


def fault_of_term(elected: dict[str, Any], left: dict[str, Any], longest: float) -> str | None:
    """
    What is wrong with the deadline that was in force when a term ended, in words; None if nothing is.
    """
    first, last, renewals = elected["lease_deadline"], left["lease_deadline"], left["renewals"]
    if first is None:
        return None
    moved = last - first
    if moved < 0 and renewals:
        return f"had a deadline that went back by {-moved:.3f} s: a renewal moves it forward, or not at all"
    if renewals == 0 and moved != 0:
        return f"led past its deadline: it was moved by {moved:.3f} s without a renewal"
    if moved > renewals * longest + _ROUNDING:
        return (
            f"led past its deadline: {renewals} renewal(s) of {longest:g} s cannot have moved it by {moved:.3f} s:"
            " one of them came after it had passed"
        )
    ahead = last - left["monotonic"]
    if ahead > longest + _ROUNDING:
        return f"had a deadline {ahead:.3f} s ahead, and its lease lasts {longest:g} s"
    return None

"""
Mutants of what bears witness: audits and their judge, metrics.
"""

from __future__ import annotations

from typing import Final

from mutants.mutant import Mutant

AUDITS: Final = (
    Mutant(
        "chain is not checked",
        "A line that was edited or taken out does not show.",
        "audit/_work.py",
        'elif chained and fields["prev"] != wanted:',
        "elif False:",
        ("tests/unit/test_audit_verify.py",),
    ),
    Mutant(
        "chain may end",
        "A line without a hash, of a process that writes hashes, is taken.",
        "audit/_work.py",
        "elif not chained and boot in self._chained:",
        "elif False:",
        ("tests/unit/test_audit_verify.py::test_a_chain_does_not_end",),
    ),
    Mutant(
        "numbers are not checked",
        "Records may be missing between two that agree.",
        "audit/model.py",
        '            f["seq"] != life.seq + 1\n            or source',
        "            source",
        ("tests/unit/test_audit_verify.py::test_a_whole_term_that_was_taken_out_shows_by_its_numbers",),
    ),
    Mutant(
        "a gap excuses everything",
        "A gap that tells of one lost record excuses a thousand.",
        "audit/model.py",
        "        if told >= many:",
        "        if told:",
        ("tests/unit/test_audit_attacks.py",),
    ),
    Mutant(
        "illegal row passes",
        "A transition that no table has is no finding.",
        "audit/model.py",
        "            if row not in legal:",
        "            if False:",
        ("tests/unit/test_audit_verify.py",),
    ),
    Mutant(
        "two who touch overlap",
        "A term that begins at the very moment at which the one before it ends is called an overlap.",
        "audit/court.py",
        "if gap < 0 and not (anew and",
        "if gap <= 0 and not (anew and",
        ("tests/unit/test_audit_verify.py::test_terms_may_touch_on_a_shared_clock",),
    ),
    Mutant(
        "overlap has to be longer than clocks differ",
        "On a clock that two processes share, an overlap of less than 0.1 s passes.",
        "audit/court.py",
        "if gap < 0 and not (anew and",
        "if gap < -self.clocks.error and not (anew and",
        ("tests/unit/test_audit_verify.py::test_terms_may_touch_on_a_shared_clock",),
    ),
    Mutant(
        "unknown is valid",
        "What could not be judged is called valid.",
        "audit/_found.py",
        "    return max((finding.verdict for finding in findings), key=_WEIGHT.__getitem__, default=Verdict.VALID)",
        "    found = {finding.verdict for finding in findings}\n"
        "    return Verdict.INVALID if Verdict.INVALID in found else Verdict.VALID",
        ("tests/unit/test_audit_doubt.py", "tests/unit/test_audit_verify.py"),
    ),
    Mutant(
        "late election is legal",
        "A term that began after its own deadline is no finding.",
        "audit/_deadlines.py",
        "    if ahead <= 0:",
        "    if False:",
        ("tests/unit/test_audit_verify.py",),
    ),
    Mutant(
        "renewal from nothing is legal",
        "A deadline that went back without a renewal is no finding.",
        "audit/_deadlines.py",
        "    if renewals == 0 and moved != 0:",
        "    if False:",
        ("tests/unit/test_audit_verify.py::test_nothing_moves_a_deadline_but_a_renewal",),
    ),
    Mutant(
        "anchor is not looked for",
        "An audit whose end was cut off is whole.",
        "audit/_files.py",
        "        if anchor not in found:",
        "        if False:",
        ("tests/unit/test_audit_verify.py",),
    ),
    Mutant(
        "one token for two",
        "Two who were elected with the same token are no finding.",
        "audit/court.py",
        "        elif one.term.token == tenure.term.token:",
        "        elif False:",
        ("tests/unit/test_audit_doubt.py", "tests/unit/test_audit_verify.py"),
    ),
    Mutant(
        "missing node is not missed",
        "The audit of one who led is not there, and nobody says so.",
        "audit/court.py",
        "        for node, views in missing.items():\n            self._unknown(election, node, views)",
        "        del missing",
        ("tests/unit/test_audit_doubt.py",),
    ),
)

METRICS: Final = (
    Mutant(
        "gauge stays at 1 after the demotion",
        "`leadership_is_leader` says 1 until the old deadline, though the term has ended.",
        "observers/_measures.py",
        "deadline = record.lease_deadline if record.dest == _LEADER else None",
        "deadline = record.lease_deadline",
        ("tests/unit/test_observers_metrics.py::test_a_demotion_ends_it_before_the_deadline",),
    ),
    Mutant(
        "gauge without a deadline",
        "A process that hangs says for ever that it leads.",
        "observers/_measures.py",
        "life.deadline is not None and now < life.deadline",
        "life.deadline is not None",
        ("tests/unit/test_observers_metrics.py",),
    ),
    Mutant(
        "gauge in a forked child",
        "The child of a leader says that it leads.",
        "observers/_measures.py",
        "        measures._reset()  # noqa: SLF001 - of this module",
        "        del measures",
        ("tests/real/test_health.py::test_nobody_leads_in_a_forked_child",),
    ),
    Mutant(
        "renewals do not move the gauge",
        "`leadership_is_leader` falls to 0 after the first lease.",
        "observers/_measures.py",
        "                life.deadline = renewal.lease_deadline",
        "                pass",
        ("tests/unit/test_observers_metrics.py",),
    ),
)

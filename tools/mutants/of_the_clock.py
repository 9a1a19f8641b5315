"""
Mutants of time: the lease's deadline, its margin and clock, and who believes until when.
"""

from __future__ import annotations

from typing import Final

from mutants.mutant import Mutant

LIVES: Final = "tests/model/test_seeds.py::test_hundreds_of_lives[consul]"

CLOCK: Final = (
    Mutant(
        "renewal counted from its reply",
        "The deadline is later than the store’s, by as long as the reply was on its way.",
        "_runtime/keeper.py",
        "since = sent if reply.since is None else reply.since",
        "since = now if reply.since is None else reply.since",
        ("tests/unit/test_lease.py", "tests/unit/test_renewals.py"),
    ),
    Mutant(
        "grant counted from its reply",
        "The first deadline of a session is later than the store’s.",
        "_runtime/keeper.py",
        "deadline = sent + session.ttl * (1 - MARGIN)",
        "deadline = self.engine.now() + session.ttl * (1 - MARGIN)",
        ("tests/unit/test_lease.py",),
    ),
    Mutant(
        "no margin at a renewal",
        "A clock that is slower than the store’s lets a leader believe after its lease.",
        "_runtime/keeper.py",
        "since + session.ttl * (1 - MARGIN))",
        "since + session.ttl)",
        (LIVES,),
    ),
    Mutant(
        "no margin at all",
        "The same, from the first lease on, because the margin is nothing.",
        "store.py",
        "MARGIN = 0.1\n",
        "MARGIN = 0.0\n",
        ("tests/unit/test_demotion.py", "tests/unit/test_status.py", "tests/real/test_sqlite_paths.py"),
    ),
    Mutant(
        "what a renewal proves is not asked",
        "A store that says from when on a lease counts (ZooKeeper) is not heeded: the deadline is too late.",
        "_runtime/keeper.py",
        "since = sent if reply.since is None else reply.since",
        "since = sent",
        ("tests/unit/test_lease.py",),
    ),
    Mutant(
        "deadline goes back",
        "An acknowledgement that was overtaken by a later one moves the deadline back.",
        "_runtime/keeper.py",
        "self.deadline = max(self.deadline, since + session.ttl * (1 - MARGIN))",
        "self.deadline = since + session.ttl * (1 - MARGIN)",
        ("tests/unit/test_lease.py",),
    ),
    Mutant(
        "acknowledgement of another session",
        "The late answer to an old session’s renewal, a refusal, ends the new one.",
        "_runtime/keeper.py",
        "        if session is not self.session:\n            return\n        if not late:",
        "        if not late:",
        ("tests/unit/test_lease.py",),
    ),
    Mutant(
        "session granted too late is taken",
        "A grant that was longer on its way than it lasts is used to ask with.",
        "_runtime/keeper.py",
        "            if self.engine.now() >= deadline:\n                self._leftovers.add(session)",
        "            if False:\n                self._leftovers.add(session)",
        ("tests/unit/test_lease.py",),
    ),
    Mutant(
        "wall clock",
        "Deadlines are on the wall clock, which jumps.",
        "_clock.py",
        "time.clock_gettime(time.CLOCK_BOOTTIME)",
        "time.time()",
        ("tests/unit/test_clock.py", "tests/real/test_process.py::test_a_stopped_leader_does_not_believe"),
    ),
    Mutant(
        "monotonic clock",
        "Deadlines stand still while the machine is suspended, and the store’s do not.",
        "_clock.py",
        "time.clock_gettime(time.CLOCK_BOOTTIME)",
        "time.monotonic()",
        ("tests/unit/test_clock.py",),
    ),
    Mutant(
        "engine on another clock",
        "The engine’s loop has the clock of asyncio, and compares deadlines of one clock with moments of another.",
        "_runtime/process.py",
        "        return _clock.now()\n\n\nclass ThreadEngine",
        "        return super().time()\n\n\nclass ThreadEngine",
        ("tests/unit/test_clock.py",),
    ),
    Mutant(
        "belief without a deadline",
        "A leader whose process stood still believes until its engine has found out.",
        "term.py",
        "return not self._over and self._clock() < self._deadline",
        "return not self._over",
        ("tests/unit/test_term.py",),
    ),
    Mutant(
        "belief after the end",
        "A term that has ended before its deadline is current until then.",
        "term.py",
        "return not self._over and self._clock() < self._deadline",
        "return self._clock() < self._deadline",
        ("tests/unit/test_term.py",),
    ),
    Mutant(
        "belief at the deadline",
        "The moment of the deadline itself counts as the leader’s, and as the next one’s.",
        "term.py",
        "return not self._over and self._clock() < self._deadline",
        "return not self._over and self._clock() <= self._deadline",
        ("tests/unit/test_term.py",),
    ),
    Mutant(
        "wait beyond the deadline",
        "`Term.wait` sleeps until somebody processes the end, and not until the deadline.",
        "term.py",
        "until = self._deadline if give_up is None else min(self._deadline, give_up)",
        "until = self._deadline + 60.0 if give_up is None else give_up",
        ("tests/unit/test_term.py",),
    ),
    Mutant(
        "renewal does not reach the term",
        "The session’s deadline moves and the term’s does not: a healthy leader is demoted after one lease.",
        "_runtime/candidate_effects.py",
        "    driver.office.extend(driver.ctx.lease_deadline)\n",
        "",
        ("tests/unit/test_renewals.py", "tests/unit/test_callbacks.py"),
    ),
    Mutant(
        "deadline that nobody watches",
        "Belief ends, and the demotion is not told until a renewal is answered.",
        "_runtime/keeper.py",
        "            self._expiry = self.engine.call_at(self.deadline, self.check_expiry)\n\n    def _schedule",
        "            pass\n\n    def _schedule",
        ("tests/unit/test_demotion.py", "tests/unit/test_recovery.py"),
    ),
    Mutant(
        "late grant is taken",
        "The machine takes an answer that comes later than its own lease for an election.",
        "fsm/candidate_table.py",
        "    return deadline > event.now",
        "    return True",
        ("tests/unit/test_fsm_guards.py",),
    ),
    Mutant(
        "late renewal revives",
        "A renewal that is acknowledged after the deadline goes on with a term that the user has seen end.",
        "fsm/candidate_table.py",
        "return ctx.lease_deadline > event.now and event.deadline is not None",
        "return event.deadline is not None",
        ("tests/unit/test_fsm_guards.py", "tests/model/test_tables.py"),
    ),
)

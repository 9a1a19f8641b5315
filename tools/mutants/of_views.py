"""
Mutants of followers: what is known of who leads, and when that is not known.
"""

from __future__ import annotations

from typing import Final

from mutants.mutant import Mutant

VIEWS: Final = (
    Mutant(
        "follower goes back to an older token",
        "An observation that comes late brings a former leader back.",
        "fsm/follower_table.py",
        "return event.confirmed or event.token > max(ctx.last_token, ctx.ended)",
        "return True",
        ("tests/unit/test_fsm_guards.py::test_guard",),
    ),
    Mutant(
        "ended entry is followed again",
        "Where nobody leads, a late observation of an entry that is gone makes a leader of it.",
        "fsm/follower_table.py",
        "    known = max(ctx.last_token, ctx.ended + 1)",
        "    known = ctx.last_token",
        ("tests/unit/test_fsm_guards.py::test_guard",),
    ),
    Mutant(
        "wiped store blinds the follower",
        "After a store has lost its data no leader is seen until its tokens have caught up.",
        "fsm/follower_table.py",
        "        ctx.ended = min(ctx.ended, event.token - 1)  # a store",
        "        pass  # a store",
        ("tests/model/test_tables.py::test_ends_from_before_a_wipe_are_forgotten",),
    ),
    Mutant(
        "overtaken read is believed",
        "A read that was under way when the watch told something newer sets the view back.",
        "_runtime/follower.py",
        "        if seen != self._seen:\n            if self.ctx",
        "        if False:\n            if self.ctx",
        ("tests/unit/test_follower_faults.py::test_a_read_that_was_overtaken_sets_nothing_back",),
    ),
    Mutant(
        "broken watch is not said",
        "A view that nothing renews any more passes for the truth.",
        "_runtime/follower.py",
        "        self._view(self.holder, stale=True)\n",
        "        self._view(self.holder, stale=False)\n",
        ("tests/unit/test_follower_faults.py::test_a_broken_watch_makes_it_stale",),
    ),
    Mutant(
        "truth is not read again",
        "What a watch has failed to tell is never found out.",
        "_runtime/follower.py",
        "        self._arm_reread()\n        self.read_now()",
        "        self._arm_reread()",
        ("tests/unit/test_follower_faults.py::test_a_broken_watch_makes_it_stale",),
    ),
    Mutant(
        "closed watch is heard",
        "A watch that was given up goes on to tell, beside the one in its place.",
        "_runtime/follower.py",
        "            if number == self._watch_number:",
        "            if number:",
        ("tests/unit/test_follower_faults.py::test_a_watch_that_speaks_after_its_end_is_not_heard",),
    ),
    Mutant(
        "failure of an old read counts",
        "A read that failed after a later one was answered sends the follower into an error.",
        "_runtime/follower.py",
        "            if self._read_at > sent and not reply.fatal:",
        "            if False:",
        ("tests/unit/test_follower_faults.py::test_a_read_that_fails_late_says_nothing_of_now",),
    ),
    Mutant(
        "same leader is told twice",
        "`on_leader_changed` is called though nothing has changed.",
        "_runtime/follower.py",
        "        if key == self._announced:\n            return",
        "        if False:\n            return",
        ("tests/unit/test_follower_faults.py::test_a_broken_watch_makes_it_stale",),
    ),
)

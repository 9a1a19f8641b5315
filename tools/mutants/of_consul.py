"""
Mutants of the store on Consul.
"""

from __future__ import annotations

from typing import Final

from mutants.mutant import Mutant

CONFORMANCE: Final = "tests/stores/test_consul_conformance.py::TestConsul::"
LOCKS: Final = "tests/stores/test_consul_locks.py::"
WATCHES: Final = "tests/stores/test_consul_watches.py::"

CONSUL: Final = (
    Mutant(
        "consul: token is the LockIndex",
        "The token counts the holders of one key, and begins again when the key was deleted.",
        "backends/_consul_changes.py",
        'int(answer[-2]["ModifyIndex"])',
        'int(answer[-2]["LockIndex"])',
        ("tests/stores/test_consul_locks.py::test_layout_is_that_of_consuls_own_lock",),
    ),
    Mutant(
        "consul: holder’s token is the CreateIndex",
        "The next term on a key that was left behind has the token of the one before.",
        "backends/_consul_entries.py",
        'lock.get("Session") or "", int(lock["ModifyIndex"]), int(lock["Flags"])',
        'lock.get("Session") or "", int(lock["CreateIndex"]), int(lock["Flags"])',
        ("tests/stores/test_consul_locks.py::test_tokens_rise_whatever_is_done_to_the_key",),
    ),
    Mutant(
        "consul: overwritten lock leads",
        "A write without a session over the lock goes unnoticed.",
        "backends/_consul_entries.py",
        'if side and beside is not None and index > int(beside["ModifyIndex"]):',
        "if False:",
        ("tests/stores/test_consul_locks.py::test_plain_write_ends_the_term",),
    ),
    Mutant(
        "consul: lock without a compare",
        "Another’s data at the place of the lock is overwritten.",
        "backends/_consul_entries.py",
        "    for name, index in ((key, lock), (beside, side)):",
        "    for name, index in ((beside, side),):",
        ("tests/stores/test_consul_locks.py::test_key_that_is_no_lock_is_refused",),
    ),
    Mutant(
        "consul: release without a compare",
        "A release deletes the lock, whoever holds it.",
        "backends/_consul_entries.py",
        '        operations += [operation("check-session", key, Session=session), operation("delete", key)]',
        '        operations += [operation("delete", key)]',
        ("tests/stores/test_consul_locks.py::test_release_leaves_anothers_lock",),
    ),
    Mutant(
        "consul: index that goes back is followed",
        "After a restore the states of the past are taken for overtaken ones, and nothing is told.",
        "backends/_consul_query.py",
        "            if snapshot.index < newest:",
        "            if False:",
        ("tests/stores/test_consul_watches.py::test_index_that_goes_backwards_is_no_end",),
    ),
    Mutant(
        "consul: old index is waited for",
        "A query that a restore has ended waits for the old index to be passed.",
        "backends/_consul_query.py",
        "index = 0 if snapshot.reset or abandoned else newest",
        "index = 0 if snapshot.reset else newest",
        ("tests/stores/test_consul_watches.py::test_index_that_goes_backwards_is_no_end",),
    ),
    Mutant(
        "consul: session is renewed after its end",
        "A server that knows of no such session is taken to have renewed it.",
        "backends/_consul_sessions.py",
        'answer.check("renewing the session (session:write)", 404).status == 200:',
        'answer.check("renewing the session (session:write)", 404).status in (200, 404):',
        (f"{CONFORMANCE}test_lapsed_session_does_not_come_back",),
    ),
    Mutant(
        "consul: denial of a server that just started is believed",
        "A server that has not read its log yet ends a session that lives.",
        "backends/_consul_sessions.py",
        "        if not exists(caller, session.id, until=until):\n            return Reply(Outcome.REFUSED)\n"
        "        time",
        "        return Reply(Outcome.REFUSED)\n        time",
        ("tests/stores/test_consul_sessions.py::test_denial_of_one_server_is_not_believed",),
    ),
    Mutant(
        "consul: session without its lock-delay",
        "The lock of a session that was ended is free at once, though its holder may still believe.",
        "backends/_consul_sessions.py",
        '"LockDelay": duration(lock_delay)',
        '"LockDelay": duration(0.0)',
        ("tests/stores/test_consul_locks.py::test_lock_delay_holds_the_lock_back",),
    ),
    Mutant(
        "consul: nobody asks again after the lock-delay",
        "Who asked while Consul held the lock back is never told to ask again.",
        "backends/_consul_session.py",
        "            self._try_later(entry)",
        "            pass",
        ("tests/stores/test_consul_locks.py::test_lock_delay_holds_the_lock_back",),
    ),
    Mutant(
        "consul: graceful end begins the lock-delay",
        "A session that is given up keeps its locks from everybody for the lock-delay.",
        "backends/_consul_session.py",
        "for name, (_key, token) in self._held.items()} if delay else {}",
        "for name, (_key, token) in self._held.items()} if delay and False else {}",
        ("tests/stores/test_consul_locks.py::test_lock_delay_holds_the_lock_back",),
    ),
    Mutant(
        "consul: end of the session is told after its terms",
        "A session that was destroyed looks like an operator’s deletion of the entry.",
        "backends/_consul_watch.py",
        "        if owner is not None and owner.holds(election.name):",
        "        if False:",
        ("tests/stores/test_consul_locks.py::test_end_of_the_session_is_told_before_that_of_its_terms",),
    ),
    Mutant(
        "consul: absent key without a pause",
        "A watch of a key that is not there asks again at each write of the whole store.",
        "backends/_consul_query.py",
        "            if in_vain > 1:",
        "            if False:",
        ("tests/stores/test_consul_watches.py::test_unrelated_writes_cost_few_requests",),
    ),
    Mutant(
        "consul: lost reply is not settled",
        "An acquire or a release whose answer was lost is not looked at again.",
        "backends/_consul_changes.py",
        "        except StoreUnavailable as error:\n            if until - now() < ENOUGH:\n                raise\n"
        "            lost = error",
        "        except StoreUnavailable as error:\n            raise\n            lost = error",
        ("tests/stores/test_consul_locks.py::test_lost_answers_are_settled",),
    ),
    Mutant(
        "consul: earlier attempt’s lock is adopted",
        "The lock of an earlier attempt of the session counts as the present one’s.",
        "backends/_consul_changes.py",
        '    if attempt.get("key") != entry.key:\n        return None',
        "    if False:\n        return None",
        (f"{CONFORMANCE}test_earlier_entry_is_never_adopted",),
    ),
    Mutant(
        "consul: late acquire is accepted",
        "An acquire that was held up on its way takes the later attempt’s place.",
        "backends/_consul_changes.py",
        "    if max(newest, number if isinstance(number, int) else 0) > entry.number:",
        "    if False:",
        (f"{CONFORMANCE}test_late_acquire_changes_nothing",),
    ),
)

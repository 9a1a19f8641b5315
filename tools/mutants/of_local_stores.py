"""
Mutants of the embedded stores.
"""

from __future__ import annotations

from typing import Final

from mutants.mutant import Mutant

CONFORMANCE: Final = "tests/conformance/test_conformance.py::"
STORE: Final = "tests/real/test_sqlite_store.py"
FAULTS: Final = "tests/real/test_sqlite_faults.py"

MEMORY: Final = (
    Mutant(
        "memory: release without a compare",
        "An earlier attempt’s release removes the present attempt’s entry.",
        "backends/memory.py",
        "election.holder.session == session and election.key == entry.key:",
        "election.holder.session == session:",
        (f"{CONFORMANCE}TestMemory::test_release_touches_no_other_entry",),
    ),
    Mutant(
        "memory: late acquire is accepted",
        "An acquire that was held up on its way takes the later attempt’s place.",
        "backends/memory.py",
        "            if election.number > entry.number:",
        "            if False:",
        (f"{CONFORMANCE}TestMemory::test_late_acquire_changes_nothing",),
    ),
    Mutant(
        "memory: tokens repeat",
        "The token counts from what the asking process knows, and not from the store’s own.",
        "backends/memory.py",
        "election.token = max(election.token, entry.above) + 1",
        "election.token = entry.above + 1",
        (f"{CONFORMANCE}TestMemory::test_tokens_rise_however_a_term_ends",),
    ),
    Mutant(
        "memory: lapsed lease is renewed",
        "A lease is not ended by time.",
        "backends/memory.py",
        "            self.expire(session)\n\n    def expire",
        "            pass\n\n    def expire",
        (f"{CONFORMANCE}TestMemory::test_session_that_is_not_renewed_ends",),
    ),
)

SQLITE: Final = (
    Mutant(
        "sqlite: transaction without BEGIN IMMEDIATE",
        "What a change has read may be changed by another before it writes.",
        "backends/_sqlite_database.py",
        'patiently(lambda: connection.execute("BEGIN IMMEDIATE"), until)\n            try:\n',
        'patiently(lambda: connection.execute("BEGIN"), until)\n            try:\n',
        ("tests/real/test_sqlite_store.py::test_a_writer_that_is_soon_done_is_waited_for",),
    ),
    Mutant(
        "sqlite: decided before the transaction",
        "Two who ask at once both find the election vacant, and the second takes it from the first.",
        "backends/_sqlite_entries.py",
        "        view = look(database, connection, [name])\n        if _is_anothers(view[name], session):\n"
        "            return Reply(Outcome.REFUSED, holder=view[name].holder), view\n        row",
        "        row",
        ("tests/conformance/test_conformance.py::TestSqlite::test_one_of_twenty_wins",),
    ),
    Mutant(
        "sqlite: boot id is ignored",
        "Deadlines of an earlier boot, on a clock that has begun anew, are believed.",
        "backends/_sqlite_view.py",
        '    same_boot = boot == place.boot != ""\n    if not',
        "    same_boot = True\n    if not",
        (f"{STORE}::test_a_deadline_of_another_boot_is_not_believed",),
    ),
    Mutant(
        "sqlite: time namespace is ignored",
        "Deadlines on a clock with another beginning are compared.",
        "backends/_sqlite_view.py",
        "if not (same_boot and time_namespace == place.time_namespace):",
        "if not same_boot:",
        (f"{FAULTS}::test_a_holder_with_another_clock_is_waited_for_by_its_counter",),
    ),
    Mutant(
        "sqlite: token counter goes back",
        "After a loss of power, tokens that were granted are granted again.",
        "backends/_sqlite_entries.py",
        "max(token, 0 if self._same_boot else self._reserved)",
        "token",
        ("tests/real/test_sqlite_store.py::test_tokens_rise_over_a_reopened_file_and_a_new_boot",),
    ),
    Mutant(
        "sqlite: token counter by election",
        "An election whose row was deleted begins again with token 1.",
        "backends/_sqlite_entries.py",
        "        return max(self._token, above, self._database.highest)",
        "        return above",
        ("tests/real/test_sqlite_store.py::test_two_stores_alternate_and_tokens_rise",),
    ),
    Mutant(
        "sqlite: reservation is not durable",
        "A block of tokens is granted from before it is on the disk.",
        "backends/_sqlite_entries.py",
        "with database.writing(until, durable=block_begins) as connection:",
        "with database.writing(until) as connection:",
        (f"{STORE}::test_a_reservation_is_on_the_disk_before_its_first_token",),
    ),
    Mutant(
        "sqlite: lost data is not said",
        "A file that was lost grants above what the process knows, and calls it no reset.",
        "backends/_sqlite_entries.py",
        "        return self._known(above) > self._token",
        "        return False",
        (f"{STORE}::test_a_store_that_lost_its_data_says_so",),
    ),
    Mutant(
        "sqlite: lapsed session is renewed",
        "A session whose deadline has passed is revived by its next renewal.",
        "backends/_sqlite_entries.py",
        "WHERE id = ? AND deadline > ?",
        "WHERE id = ? AND deadline > 0 * ?",
        ("tests/real/test_sqlite_store.py::test_a_session_that_is_not_renewed_is_taken_over_and_never_revived",),
    ),
    Mutant(
        "sqlite: row ends before the holder’s belief",
        "The row’s deadline is earlier than the holder’s, and another takes over while it believes.",
        "backends/_sqlite_entries.py",
        "            (time + ttl, session, time),",
        "            (time + ttl / 2, session, time),",
        (f"{STORE}::test_the_rows_deadline_is_never_before_the_holders",),
    ),
    Mutant(
        "sqlite: release of another’s entry",
        "A release removes whatever entry stands there.",
        "backends/_sqlite_entries.py",
        'f"{_VACATE} WHERE name = ? AND session = ? AND (key = ? OR number < ?)"',
        'f"{_VACATE} WHERE name = ? AND (session = ? OR 1) AND (key = ? OR number < ? OR 1)"',
        (f"{STORE}::test_a_release_touches_only_its_own_entry",),
    ),
    Mutant(
        "sqlite: release of another attempt",
        "An earlier attempt’s release removes the present attempt’s entry.",
        "backends/_sqlite_entries.py",
        'f"{_VACATE} WHERE name = ? AND session = ? AND (key = ? OR number < ?)"',
        'f"{_VACATE} WHERE name = ? AND session = ? AND (key = ? OR number < ? OR 1)"',
        ("tests/conformance/test_conformance.py::TestSqlite::test_release_touches_no_other_entry",),
    ),
    Mutant(
        "sqlite: late acquire is accepted",
        "An acquire that was held up on its way takes the later attempt’s place.",
        "backends/_sqlite_entries.py",
        "        if before == session and number > entry.number:",
        "        if False:",
        (f"{CONFORMANCE}TestSqlite::test_late_acquire_changes_nothing",),
    ),
    Mutant(
        "sqlite: who was taken over keeps its session",
        "The row of the session that is over stays, and can be renewed by who stood still.",
        "backends/_sqlite_entries.py",
        "            removed.append(before)\n            changed = _remove(connection, before)",
        "            changed = _held(connection, before)",
        ("tests/real/test_sqlite_faults.py::test_a_killed_holder_is_replaced_within_milliseconds",),
    ),
    Mutant(
        "sqlite: file may be another",
        "A database that was removed or replaced is believed in.",
        "backends/_sqlite_database.py",
        "        if self._look() == self._identity:\n            return",
        "        if self._identity:\n            return",
        (f"{FAULTS}::test_a_removed_database_gives_no_belief_and_a_new_one_is_led_again",),
    ),
    Mutant(
        "sqlite: log may be another",
        "A log that was removed parts those who use the file, and both lead.",
        "backends/_sqlite_database.py",
        'for suffix in ("", "-wal", "-shm"))',
        'for suffix in ("",))',
        ("tests/real/test_attacked.py::test_two_do_not_believe_when_the_log_is_removed",),
    ),
    Mutant(
        "sqlite: missing lock file proves a death",
        "Whoever removes a file ends another’s term.",
        "backends/_sqlite_liveness.py",
        "    except OSError:\n        return False\n    try:",
        "    except OSError:\n        return True\n    try:",
        (f"{STORE}::test_a_lock_file_that_was_removed_ends_no_term",),
    ),
    Mutant(
        "sqlite: any lock file proves a death",
        "A file that has taken the name of the holder’s lock is asked for its life.",
        "backends/_sqlite_liveness.py",
        "        if recorded is not None and identity(os.fstat(fd)) != recorded:",
        "        if False:",
        (f"{FAULTS}::test_a_removed_lock_file_proves_nothing",),
    ),
    Mutant(
        "sqlite: lock is inherited by a fork",
        "A child that outlives the leader attests the life of one who is dead.",
        "backends/_sqlite_liveness.py",
        "        close_in_child(self)\n\n    def _take",
        "\n    def _take",
        ("tests/real/test_fork.py::test_a_child_that_outlives_the_leader_holds_nothing",),
    ),
    Mutant(
        "sqlite: connection crosses a fork",
        "The child’s copy of the connection drops the parent’s locks when it is closed.",
        "backends/_sqlite_database.py",
        "        self.gate = threading.Lock()\n        close_before_fork(self)",
        "        self.gate = threading.Lock()",
        (
            "tests/real/test_sqlite_faults.py::test_a_file_that_could_not_be_closed_before_a_fork_is_refused_in_the_child",
        ),
    ),
    Mutant(
        "sqlite: death is not looked for",
        "A holder that was killed is waited for as one that hangs.",
        "backends/_sqlite_view.py",
        "    if time >= deadline or (same_boot and liveness.is_free(database.folder, session, lock)):",
        "    if time >= deadline:",
        (f"{FAULTS}::test_a_killed_holder_is_replaced_within_milliseconds",),
    ),
    Mutant(
        "sqlite: nobody rings",
        "A change is seen by others at their next poll only.",
        "backends/_sqlite_entries.py",
        "    database.ringer.tell(changed)\n    held",
        "    held",
        ("tests/real/test_sqlite_watches.py::test_another_store_is_told_within_milliseconds",),
    ),
    Mutant(
        "sqlite: error of ringing ends the thread",
        "A store that could not tell the others once does nothing any more.",
        "backends/_sqlite_worker.py",
        "        except Exception as error:  # noqa: BLE001 - whatever",
        "        except KeyError as error:  #",
        ("tests/real/test_sqlite_watches.py::test_a_fault_while_others_are_told_is_said_and_survived",),
    ),
)

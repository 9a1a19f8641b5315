"""
Mutants of the store on ZooKeeper.
"""

from __future__ import annotations

from typing import Final

from mutants.mutant import Mutant

CONFORMANCE: Final = "tests/stores/test_zookeeper_conformance.py::TestZooKeeper::"
SESSIONS: Final = "tests/stores/test_zookeeper_sessions.py::"
PROOF: Final = "tests/stores/test_zookeeper_proof.py::"

ZOOKEEPER: Final = (
    Mutant(
        "zookeeper: expiry is ignored",
        "The server says that the session is over, and nobody is told.",
        "backends/_zookeeper_session.py",
        "            self._notify(WatchEvent(Fact.SESSION_LOST, error=error))",
        "            del error",
        ("tests/stores/test_zookeeper_sessions.py::test_session_closed_by_an_operator_is_lost",),
    ),
    Mutant(
        "zookeeper: lost connection is not said",
        "A session that hangs in the air is no `SESSION_SUSPENDED`.",
        "backends/_zookeeper_session.py",
        "            self._notify(WatchEvent(Fact.SESSION_SUSPENDED, error=error))",
        "            del error",
        ("tests/stores/test_zookeeper_outages.py::test_server_killed_and_restarted_with_its_data",),
    ),
    Mutant(
        "zookeeper: watch is not set again",
        "A watch fires once, and the next change is not told.",
        "backends/_zookeeper_watch.py",
        "head_requests(seat.path, name, seat.trigger)",
        "head_requests(seat.path, name)",
        (f"{CONFORMANCE}test_watch_tells_each_change",),
    ),
    Mutant(
        "zookeeper: absent leader is not watched",
        "Where nobody leads, the next who does is not told of.",
        "backends/_zookeeper_watch.py",
        "return [wire.children(seat.path, seat.trigger) if exists else wire.exists(seat.path, seat.trigger)]",
        "return [wire.children(seat.path) if exists else wire.exists(seat.path)]",
        (f"{SESSIONS}test_absent_leader_is_watched",),
    ),
    Mutant(
        "zookeeper: everybody watches the first",
        "All who wait are woken by each end of a term, and not only the next.",
        "backends/_zookeeper_place.py",
        'self._before = entry.key, f"{self.path}/{names[index - 1]}"',
        'self._before = entry.key, f"{self.path}/{names[0]}"',
        ("tests/stores/test_zookeeper_sessions.py::test_turn_comes_to_the_next_only",),
    ),
    Mutant(
        "zookeeper: order by name",
        "The first by its whole name leads, which is random, and not the first by its number.",
        "backends/_zookeeper_layout.py",
        "return [name for _, name in sorted(found)]",
        "return sorted(name for _, name in found)",
        ("tests/stores/test_zookeeper_proof.py::test_contenders_are_ordered_by_number",),
    ),
    Mutant(
        "zookeeper: counter runs over",
        "When the numbers of 32 bits begin anew, those who come later lead.",
        "backends/_zookeeper_layout.py",
        "if found and max(found)[0] - min(found)[0] > _WRAP // 2:",
        "if False:",
        ("tests/stores/test_zookeeper_proof.py::test_counter_that_runs_over_keeps_the_order",),
    ),
    Mutant(
        "zookeeper: token is the node’s number",
        "Tokens begin again when the election’s path was removed.",
        "backends/_zookeeper_place.py",
        'node.name, node.token = created.rpartition("/")[2], request.zxid',
        'node.name, node.token = created.rpartition("/")[2], int(created[-10:]) + 1',
        ("tests/stores/test_zookeeper_sessions.py::test_parent_removed_and_made_again",),
    ),
    Mutant(
        "zookeeper: overwritten node leads",
        "A node that an operator has written to is still its creator’s term.",
        "backends/_zookeeper_layout.py",
        "    if stat.version != 0:",
        "    if False:",
        ("tests/stores/test_zookeeper_proof.py::test_overwritten_node_is_another_holder",),
    ),
    Mutant(
        "zookeeper: entry without an owner",
        "An acquire that was cancelled after it had gone out is forgotten, and its node leads nobody.",
        "backends/_zookeeper_place.py",
        "            if request.give_up():\n                self._nodes.pop(entry.key, None)  # it was never sent",
        "            if True:\n                self._nodes.pop(entry.key, None)  # it was never sent",
        ("tests/stores/test_zookeeper_sessions.py::test_lost_answer_of_an_acquire_is_settled_by_its_key",),
    ),
    Mutant(
        "zookeeper: node outlives its session",
        "The entry of a process that died leads for ever.",
        "backends/_zookeeper_wire.py",
        "EPHEMERAL_SEQUENTIAL: Final = 3",
        "EPHEMERAL_SEQUENTIAL: Final = 2",
        ("tests/stores/test_zookeeper_conformance.py::TestZooKeeper::test_end_frees_all_entries",),
    ),
    Mutant(
        "zookeeper: lease counts from the write",
        "An acknowledged write is taken to prove more of the lease than it does.",
        "backends/_zookeeper_session.py",
        "return Reply(Outcome.DONE, since=request.since)",
        "return Reply(Outcome.DONE)",
        ("tests/stores/test_zookeeper_sessions.py::test_renewal_counts_from_what_it_proves",),
    ),
    Mutant(
        "zookeeper: proof without the servers’ lag",
        "What a follower has heard is taken to have reached the leader at once.",
        "backends/_zookeeper_proof.py",
        "self._answered[0][1] <= written - self.lag:",
        "self._answered[0][1] <= written:",
        ("tests/stores/test_zookeeper_proof.py::test_write_proves_the_newest_request_answered_half_a_tick_before",),
    ),
    Mutant(
        "zookeeper: proof of another connection",
        "What was answered on a connection that is gone counts on the next.",
        "backends/_zookeeper_proof.py",
        "        self._base = sent\n        self._answered.clear()",
        "        self._base = sent",
        (f"{PROOF}test_connection_counts_from_its_own_request",),
        survives="it changes nothing: what was answered on the connection that is gone was sent before the next one was"
        " asked for, and of two moments the later one counts",
    ),
    Mutant(
        "zookeeper: metadata is left",
        "What stands beside an entry stays when that is released.",
        "backends/_zookeeper_place.py",
        "        if node.side:\n            paths",
        "        if False:\n            paths",
        ("tests/stores/test_zookeeper_sessions.py::test_metadata_and_requests_leave_with_their_term",),
    ),
    Mutant(
        "zookeeper: late acquire is accepted",
        "An acquire that was held up on its way takes the later attempt’s place.",
        "backends/_zookeeper_place.py",
        "            if entry.number < self._newest:",
        "            if False:",
        (f"{CONFORMANCE}test_late_acquire_takes_no_place",),
    ),
    Mutant(
        "zookeeper: turn without a look",
        "Whoever is told that something has changed in front takes the election, whatever it was.",
        "backends/_zookeeper_place.py",
        "            self._first = kind == DELETED and bool(self._own)",
        "            self._first = kind == DELETED",
        ("tests/stores/test_zookeeper_sessions.py::test_turn_comes_to_the_next_only",),
    ),
    Mutant(
        "zookeeper: watch goes back",
        "What a look has found is told, though its end was told while the look was under way.",
        "backends/_zookeeper_watch.py",
        "if head is None or seat.fired.get(path) == DELETED:",
        "if head is None:",
        ("tests/stores/test_zookeeper_sessions.py::test_watch_never_goes_back",),
    ),
    Mutant(
        "zookeeper: request read too early is lost",
        "A request to resign that is read before its leader is known is told to nobody.",
        "backends/_zookeeper_seat.py",
        "            if request is not None and (before is None or head.holder.token != before.holder.token):",
        "            if False:",
        ("tests/stores/test_zookeeper_requests.py::test_request_that_is_read_before_its_leader_is_known",),
    ),
    Mutant(
        "zookeeper: log handler ends the session",
        "A handler of the host that raises ends kazoo’s thread, and with it the session.",
        "backends/_zookeeper_client.py",
        "        except BaseException:  # noqa: BLE001 - the log itself is broken: there is nowhere to say so",
        "        except KeyError:",
        ("tests/unit/test_observers_log.py::test_handler_ends_no_thread_of_kazoo",),
    ),
)

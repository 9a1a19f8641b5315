"""
Mutants of the store on etcd.
"""

from __future__ import annotations

from typing import Final

from mutants.mutant import Mutant

CONFORMANCE: Final = "tests/stores/test_etcd_conformance.py::TestEtcd::"
FACTS: Final = "tests/stores/test_etcd_facts.py::"
WATCHES: Final = "tests/stores/test_etcd_watches.py::"

ETCD: Final = (
    Mutant(
        "etcd: keepalive of nothing is a renewal",
        "A lease that has ended answers with a TTL of 0, and is taken for one that was renewed.",
        "backends/_etcd_session.py",
        "if answer.TTL <= 0:",
        "if answer.TTL < 0:",
        (f"{CONFORMANCE}test_lapsed_session_does_not_come_back",),
    ),
    Mutant(
        "etcd: TTL is not what was asked for",
        "A lease that the server makes longer is taken for the one that was wanted.",
        "backends/etcd.py",
        "if self._ended or int(ttl) != answer.TTL:",
        "if self._ended:",
        ("tests/stores/test_etcd_servers.py::test_a_ttl_that_the_server_changes_is_refused",),
    ),
    Mutant(
        "etcd: the claim that was changed last leads",
        "Claims are ordered by mod_revision: who proclaims another value goes to the end of the queue.",
        "backends/_etcd_keys.py",
        "def _created(claim: Claim) -> int:\n    return claim.created",
        "def _created(claim: Claim) -> int:\n    return claim.modified",
        ("tests/stores/test_etcd_facts.py::test_a_foreign_leader_that_proclaims_keeps_its_place",),
    ),
    Mutant(
        "etcd: token is the mod_revision",
        "A foreign leader that proclaims another value begins another term.",
        "backends/_etcd_keys.py",
        "    return Holder(node, claim.created, name, _mapping(metadata))",
        "    return Holder(node, claim.modified, name, _mapping(metadata))",
        ("tests/stores/test_etcd_facts.py::test_a_foreign_leader_is_named_by_its_value",),
    ),
    Mutant(
        "etcd: claim that somebody has overwritten leads",
        "The holder whose key an operator has put another value over goes on.",
        "backends/_etcd_keys.py",
        "    if claim.taken or (beside is not None and claim.modified != claim.created):",
        "    if claim.taken:",
        ("tests/stores/test_etcd_facts.py::test_an_overwritten_key_is_anothers",),
    ),
    Mutant(
        "etcd: claim without a compare",
        "A key that somebody has put where the claim is to stand is overwritten.",
        "backends/_etcd_session.py",
        "request = make.txn([make.created(key, 0)], put, look)",
        "request = make.txn([], put, look)",
        ("tests/stores/test_etcd_facts.py::test_a_key_in_the_place_of_ours_is_anothers",),
    ),
    Mutant(
        "etcd: release without a compare",
        "A key that somebody has put where ours was deleted is removed.",
        "backends/_etcd_session.py",
        "make.txn([make.created(key, mine.token)], gone)",
        "make.txn([], gone)",
        ("tests/stores/test_etcd_facts.py::test_a_key_in_the_place_of_ours_is_anothers",),
    ),
    Mutant(
        "etcd: claim without a lease",
        "The claim of a process that died stands for ever.",
        "backends/_etcd_session.py",
        "make.put(key, entry.node.encode(), self.lease)",
        "make.put(key, entry.node.encode(), 0)",
        (f"{CONFORMANCE}test_vacant_election_is_granted",),
    ),
    Mutant(
        "etcd: metadata without a lease",
        "What stands beside a claim stays when its process dies.",
        "backends/_etcd_session.py",
        "make.put(side_key, beside, self.lease)",
        "make.put(side_key, beside, 0)",
        ("tests/stores/test_etcd_facts.py::test_what_is_written",),
    ),
    Mutant(
        "etcd: side entry is left",
        "A release leaves what stands beside the claim.",
        "backends/_etcd_session.py",
        "gone = [make.delete(key), make.delete(side_key)]\n        if mine.leads",
        "gone = [make.delete(key)]\n        if mine.leads",
        ("tests/stores/test_etcd_facts.py::test_what_is_written",),
    ),
    Mutant(
        "etcd: compaction breaks the watch",
        "A watch whose history was compacted away is closed, with nothing lost.",
        "backends/_etcd_watches.py",
        "        if response.compact_revision:",
        "        if False:",
        ("tests/stores/test_etcd_watches.py::test_a_compacted_history_loses_nothing",),
    ),
    Mutant(
        "etcd: watch from now",
        "What happens between the read of the truth and the watch is missed.",
        "backends/_etcd_watches.py",
        "stream.send(self._messages.watch(view.keys, revision + 1))",
        "stream.send(self._messages.watch(view.keys, 0))",
        ("tests/stores/test_etcd_watches.py::test_what_happens_between_the_read_and_the_watch_is_told",),
    ),
    Mutant(
        "etcd: watch that the server ends in silence",
        "A watch that was cancelled by the server passes for one that has nothing to tell.",
        "backends/_etcd_watches.py",
        '        self._close(view, refusal.explain(f"watching {view.keys}", self._client.user))\n\n    def _renew',
        "        del refusal\n\n    def _renew",
        ("tests/stores/test_etcd_watches.py::test_a_watch_that_the_server_ends_says_so",),
    ),
    Mutant(
        "etcd: nobody waits for the one in front",
        "A claim that was refused is never told its turn.",
        "backends/_etcd_session.py",
        "        self._wait(entry, mine.token)\n",
        "",
        ("tests/stores/test_etcd_facts.py::test_a_turn_comes_to_the_next_only",),
    ),
    Mutant(
        "etcd: everybody’s turn",
        "All who wait are told when any claim goes, and ask at once.",
        "backends/_etcd_view.py",
        "if claim is not None and not own and (waiting.blocked or claim.untouched):",
        "if claim is not None and not own and waiting.blocked:",
        ("tests/stores/test_etcd_facts.py::test_a_turn_comes_to_the_next_only",),
    ),
    Mutant(
        "etcd: end of the session is a deletion",
        "A lease that was revoked is told as somebody’s deletion of the entry.",
        "backends/_etcd_view.py",
        "            self._ask_owner(old)\n",
        "",
        ("tests/stores/test_etcd_facts.py::test_a_revoked_lease_is_a_lost_session",),
    ),
    Mutant(
        "etcd: lost reply is not settled",
        "An attempt whose claim stands, though nobody knows, waits behind itself.",
        "backends/_etcd_session.py",
        "            if attempt is not None and attempt[0] == entry.key and claim.untouched:",
        "            if False:",
        ("tests/stores/test_etcd_facts.py::test_an_attempt_whose_reply_was_lost_is_settled",),
    ),
    Mutant(
        "etcd: later attempt’s claim is replaced",
        "An acquire that was held up on its way takes the later attempt’s place.",
        "backends/_etcd_session.py",
        "            if attempt is not None and attempt[1] > entry.number:",
        "            if False:",
        (f"{FACTS}test_an_attempt_whose_reply_was_lost_is_settled",),
    ),
    Mutant(
        "etcd: claim of a restored past stays",
        "A release leaves what an earlier attempt of its session has in a restored store.",
        "backends/_etcd_session.py",
        "attempt[0] == entry.key or attempt[1] < entry.number",
        "attempt[0] == entry.key",
        ("tests/stores/test_restored.py::test_who_leaves_leaves_no_earlier_entry[etcd]",),
    ),
)

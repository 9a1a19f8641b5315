"""
What an acknowledged write proves of a lease, and how names are ordered: the rules, without a server.
"""

from __future__ import annotations

import pytest

from leadership import connect
from leadership.backends._zookeeper_layout import check_election, contenders, head_of, key_of, parse_request, request_of
from leadership.backends._zookeeper_proof import PING_LAG, Proof
from leadership.errors import ConfigError
from leadership.store import MARGIN


def test_write_proves_the_newest_request_answered_half_a_tick_before() -> None:
    """
    Not the write itself: the newest request that was answered before the last ping that it cannot have overtaken.
    """
    proof = Proof(tick=2.0)
    proof.connected(0.0)
    for sent in (1.0, 2.0, 3.0):
        proof.answered(sent, sent + 0.01)
    assert 1.0 == proof.since(2.06 + PING_LAG)
    assert 2.0 == proof.since(3.5)
    assert 3.0 == proof.since(5.0)


def test_request_counts_from_its_sending_and_by_its_answer() -> None:
    """
    A request that was answered late proves nothing before its answer, and then no more than its sending.
    """
    proof = Proof(tick=2.0)
    proof.connected(0.0)
    proof.answered(1.0, 4.0)
    assert 0.0 == proof.since(4.5)
    assert 1.0 == proof.since(4.0 + proof.lag)


def test_connection_counts_from_its_own_request() -> None:
    """
    The leader itself confirms a session's connection, so it needs no ping; what an earlier connection sent is no proof.
    """
    proof = Proof(tick=2.0)
    assert proof.since(1.0) is None
    proof.connected(1.0)
    proof.answered(2.0, 2.01)
    proof.connected(5.0)
    assert 5.0 == proof.since(5.02)


def test_belief_survives_two_missed_renewals() -> None:
    """
    Renewed every sixth of the TTL, a lease outlasts the next two renewals, whatever tick a server allows.
    """
    for ttl in (1.0, 6.0, 15.0):
        proof, interval = Proof(tick=ttl / 2), ttl / 6
        proof.connected(0.0)
        deadline = ttl * (1 - MARGIN)
        for count in range(1, 30):
            sent = count * interval
            since = proof.since(sent)
            assert since is not None
            assert since <= sent - proof.lag or since == 0.0
            proof.answered(sent, sent + 0.005)
            deadline = max(deadline, since + ttl * (1 - MARGIN))
            assert sent + 2 * interval < deadline


def test_burst_of_requests_is_remembered_as_one() -> None:
    """
    A thousand answers in a moment take the room of one.
    """
    proof = Proof(tick=2.0)
    proof.connected(0.0)
    for number in range(1000):
        proof.answered(1.0 + number * 1e-5, 1.001 + number * 1e-5)
    assert 1 == len(proof._answered)


def test_contenders_are_ordered_by_number() -> None:
    """
    By the server's number, whatever stands before it; other recipes' candidates count, readers and strangers do not.
    """
    names = [
        "b" * 32 + "__lock__0000000010",
        "_c_00000000-0000-0000-0000-000000000000-lock-0000000009",
        "_c_00000000-0000-0000-0000-000000000000-latch-0000000011",
        "lock-0000000012",
        "a" * 32 + "__rlock__0000000001",
        "leader",
        "x__lock__1",
        "resign",
    ]
    assert [9, 10, 11, 12] == [int(name[-10:]) for name in contenders(names)]


def test_counter_that_runs_over_keeps_the_order() -> None:
    """
    The number is signed and of 32 bits: after the greatest comes the least.
    """
    names = ["a__lock__2147483647", "b__lock__-2147483648", "c__lock__-2147483647", "d__lock__2147483646"]
    assert ["d", "a", "b", "c"] == [name[0] for name in contenders(names)]
    few = ["a__lock__-000000002", "b__lock__0000000001", "c__lock__-0000000002"]
    assert ["c", "b"] == [name[0] for name in contenders(few)]


def test_key_is_what_stands_before_the_mark() -> None:
    """
    An attempt is found by its key; other recipes' nodes have none.
    """
    assert ("abc", "") == (key_of("abc__lock__0000000001"), key_of("_c_abc-lock-0000000001"))


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("a/../b", "part that is"),
        ("./a", "part that is"),
        ("zookeeper/quota", "the server's own"),
        ("a.leadership", "ends with"),
        ("a.leadership/b", "ends with"),
        ("a/b__lock__0000000001", "looks like a candidate"),
        ("a/lock-0000000001", "looks like a candidate"),
        ("🗳", "does not allow"),
        ("\ue000", "does not allow"),
        ("x" * 1025, "longer than"),
    ],
)
def test_names_that_cannot_be_kept_are_refused(name: str, word: str) -> None:
    """
    What ZooKeeper forbids, and what this layout would take for something else.
    """
    with pytest.raises(ConfigError, match=word):
        check_election(name, "")


def test_chroot_frees_the_servers_own_name() -> None:
    """
    Below a chroot `zookeeper` is a name like any other.
    """
    check_election("zookeeper", "/app")


def test_request_to_resign_is_read_as_written() -> None:
    """
    And what is none is taken for none.
    """
    assert (7, "é") == parse_request(request_of(7, "é"))
    assert (7, None) == parse_request(request_of(7, None))
    for other in (b"", None, b"[]", b"7", b'{"token": "7"}', b'{"token": true}', b"\xff", b'{"token": 7, "reason": 1}'):
        assert parse_request(other) is None


class _Stat:
    ephemeralOwner, czxid, mzxid, version = -2, 5, 5, 0  # noqa: N815 - ZooKeeper's word


class _Written(_Stat):
    mzxid, version = 9, 1


def test_foreign_leader_is_named_by_its_data() -> None:
    """
    Data that is no text is shown as far as it is; without any the node's name stands for it. A session's number is
    signed.
    """
    assert "ann\ufffd" == head_of("lock-0000000001", b"ann\xff", _Stat, None).holder.node
    assert "lock-0000000001" == head_of("lock-0000000001", b"", _Stat, None).holder.node
    assert "fffffffffffffffe" == head_of("lock-0000000001", None, _Stat, None).holder.session


def test_metadata_counts_with_its_own_session_only() -> None:
    """
    Metadata that another session left, or that is no JSON object, is none.
    """
    assert {"a": 1} == dict(head_of("x", b"ann", _Stat, (b'{"a": 1}', _Stat)).holder.metadata)

    class Other(_Stat):
        ephemeralOwner = 7  # noqa: N815 - as above

    assert {} == dict(head_of("x", b"ann", _Stat, (b'{"a": 1}', Other)).holder.metadata)
    assert {} == dict(head_of("x", b"ann", _Stat, (b"[1]", _Stat)).holder.metadata)


def test_overwritten_node_is_another_holder() -> None:
    """
    Its term begins with the writing, and no session is known to hold it.
    """
    mine, theirs = (head_of("x", b"ann", stat, None).holder for stat in (_Stat, _Written))
    assert (5, 9) == (mine.token, theirs.token)
    assert mine.session != theirs.session


def test_timing_is_what_a_renewal_proves_at_least() -> None:
    """
    What is promised to be left of a lease takes the earlier request into account, from which it counts.
    """
    with connect("zookeeper://127.0.0.1/x?tick=2") as store:
        timing = store.timing(12.0)

    assert 12 * 0.9 - 2.0 - 1.05 == pytest.approx(timing.steps_down_after)
    assert 2.0 == timing.renew_interval
    assert 14.5 == timing.crash_takeover

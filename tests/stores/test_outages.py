"""
The store hangs, dies, comes back with its data or without it, loses its leader or its quorum: never two believers, no
belief past the deadline, and a leader again without restarting a process of ours.
"""

from __future__ import annotations

import math
import os
import signal
import time
from pathlib import Path

import pytest
from election_processes import SAMPLE, ElectionProcess, beliefs, leader_of, overlaps, processes
from store_cases import CASES, Case, served

from leadership._clock import now
from leadership.store import MARGIN

CALLS = 1.0
"""Seconds beyond a lease for calls, back-off and a busy machine."""
NOTICED = 2.0
"""
Seconds for which the leader of a cluster may renew sessions without having noticed that it has lost its quorum: two
election time-outs of etcd. They last as long at the next one, which begins with whole leases.
"""

each_store = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def stand(started: list[ElectionProcess], *, timeout: float = 20.0) -> ElectionProcess:
    for one in started:
        one.ask("start")
    return leader_of(started, timeout=timeout)


def settle(started: list[ElectionProcess]) -> list[tuple[float, float, str]]:
    for one in started:
        one.ask("stop", timeout=30.0)
    return beliefs(started)


def check_deadlines(intervals: list[tuple[float, float, str]], hurt: float, ttl: float, back: float) -> None:
    """
    Nobody believes longer than a lease after the store was hurt, until it is back.
    """
    late = [one for one in intervals if one[0] < hurt and hurt + ttl * (1 - MARGIN) + 10 * SAMPLE < one[1] < back]
    assert [] == late


def check_recovery(started: list[ElectionProcess], back: float, within: float) -> None:
    """
    Somebody leads, and has been elected or has kept its term.
    """
    leader = leader_of(started, timeout=within)
    assert leader.process.poll() is None
    assert now() - back <= within


@each_store
@pytest.mark.timeout(180)
def test_a_killed_leader_is_replaced_in_time(case: Case, tmp_path: Path) -> None:
    """
    kill -9 of the leader's process, ten times: the next leads within what the store promises.
    """
    waits: list[float] = []
    with served(case, tmp_path) as server:
        url = case.url(server.host)
        with processes(url, "a", "b", ttl=case.ttl) as started:
            stand(started)
            for round_ in range(10):
                time.sleep(0.3 + 0.1 * (round_ % 4))  # at different moments of a renewal
                leader = leader_of(started)
                others = [one for one in started if one is not leader]
                killed = leader.signal(signal.SIGKILL)
                waits.append(min(one.wait("elected", after=killed)["at"] for one in others) - killed)
                leader.close()
                fresh = ElectionProcess(url, f"c{round_}", ttl=case.ttl)
                fresh.wait("ready")
                started[:] = [*others, fresh]
                fresh.ask("start")
            assert [] == overlaps(beliefs(started))
    print(f"{case.name}: kill -9 to next elected, n={len(waits)}: worst {max(waits):.3f} s of {case.takeover:g}")
    assert max(waits) <= case.takeover


@each_store
@pytest.mark.timeout(120)
def test_a_store_that_hangs(case: Case, tmp_path: Path) -> None:
    """
    SIGSTOP of the store for 2 x TTL: belief ends at the deadline, nobody else believes, and one leads when it goes on.
    """
    with served(case, tmp_path) as server, processes(case.url(server.host), "a", "b", ttl=case.ttl) as started:
        stand(started)
        time.sleep(0.5)
        hurt = now()
        server.freeze()
        time.sleep(2 * case.ttl)
        back = now()
        server.thaw()
        check_recovery(started, back, 2 * case.takeover + CALLS)
        leader_of(started, after=back, timeout=3 * case.takeover)
        intervals = settle(started)

        assert [] == overlaps(intervals)
        check_deadlines(intervals, hurt, case.ttl, back)


@each_store
@pytest.mark.timeout(120)
@pytest.mark.parametrize("away", [2.0, None], ids=["2 s", "1.5 TTL"])
def test_a_store_that_is_killed(case: Case, away: float | None, tmp_path: Path) -> None:
    """
    SIGKILL of the store, which comes back with its data after 2 s, or after 1.5 x TTL: never two, and one leads again.
    """
    with served(case, tmp_path) as server, processes(case.url(server.host), "a", "b", ttl=case.ttl) as started:
        stand(started)
        time.sleep(0.5)
        hurt = now()
        server.kill()
        time.sleep(away or 1.5 * case.ttl)
        server.start()
        back = now()
        time.sleep(1.0)
        check_recovery(started, back, 2 * case.takeover + CALLS)
        intervals = settle(started)

        assert [] == overlaps(intervals)
        check_deadlines(intervals, hurt, case.ttl, back)


@each_store
@pytest.mark.timeout(120)
def test_a_store_that_comes_back_empty(case: Case, tmp_path: Path) -> None:
    """
    SIGKILL of the store, and no data when it comes back: belief ends at the deadline, and one leads again.

    Until then there may be two: whoever asks the empty store first is elected, and the other has not heard of it.
    """
    with served(case, tmp_path) as server, processes(case.url(server.host), "a", "b", ttl=case.ttl) as started:
        stand(started)
        time.sleep(0.5)
        server.kill()
        killed = now()
        server.wipe()
        server.start()
        # Not since its start was seen: a candidate may see it earlier, and win.
        leader_of(started, after=killed, timeout=2 * case.takeover + CALLS)

        check_deadlines(settle(started), killed, case.ttl, math.inf)


@each_store
@pytest.mark.timeout(120)
def test_waiting_for_a_store_costs_little(case: Case, tmp_path: Path) -> None:
    """
    The store is away for 10 s: a waiting candidate tries again after each pause, and nothing of it spins meanwhile.

    What the same tries take of a core is the machine's: 1.7 to 7.8 % on an idle one. A spin takes all, or its share.
    """
    with served(case, tmp_path) as server:
        url = case.url(server.host)
        with (
            processes(url, "a", ttl=case.ttl, samples=False) as leads,
            processes(url, "b", ttl=case.ttl, samples=False) as waits,
        ):
            stand(leads)
            waits[0].ask("start")
            time.sleep(1.0)
            server.kill()
            time.sleep(2.0)
            used, began = seconds_of(waits[0].pid), now()
            time.sleep(10.0)
            used, ended = seconds_of(waits[0].pid) - used, now()
            server.start()
            leader_of([*leads, *waits], after=0.0, timeout=30.0)
            tries = sum(told["what"] == "error" and began < told["at"] < ended for told in waits[0].poll())
    spent = ended - began
    print(f"{case.name}: a candidate that waits for its store tries {tries} times, {used / spent:.2%} of a core")
    shortest = case.ttl / 2 / 2  # half of the longest pause, which three failures lead to
    assert 1 <= tries <= spent / shortest + 3
    assert used / spent < 0.25


def seconds_of(pid: int) -> float:
    """
    CPU time of a process.
    """
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@each_store
@pytest.mark.timeout(180)
@pytest.mark.parametrize("hurt", ["leader", "quorum"])
def test_a_cluster_that_loses_members(case: Case, hurt: str, tmp_path: Path) -> None:
    """
    Three nodes lose the one that leads them, or two of the three for 1.5 x TTL: never two, and one leads again.
    """
    with (
        case.cluster(tmp_path / case.name) as cluster,
        processes(case.url(cluster.hosts), "a", "b", "c", ttl=case.ttl) as started,
    ):
        stand(started, timeout=30.0)
        time.sleep(0.5)
        first = cluster.leader()
        others = [member for member in cluster.members if member is not first]
        victims = [first] if hurt == "leader" else others
        at = now()
        for member in victims:
            member.kill()
        time.sleep(3 * case.ttl if hurt == "quorum" else 1.5 * case.ttl)
        gone = now()
        if hurt == "leader":
            leader_of(started, timeout=30.0)
        for member in victims:
            member.launch()
        for member in victims:
            member.wait()
        back = now()
        check_recovery(started, back, 30.0)
        intervals = settle(started)

        assert [] == overlaps(intervals)
        if hurt == "quorum":
            check_deadlines(intervals, at + NOTICED, case.ttl, gone)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("case", [case for case in CASES if case.name != "consul"], ids=lambda case: case.name)
def test_a_rolling_restart_changes_no_leader(case: Case, tmp_path: Path) -> None:
    """
    The three nodes are restarted one after the other: the leader stays, in one term.
    """
    ttl = 10.0  # longer than ZooKeeper's own election on a busy machine
    with (
        case.cluster(tmp_path / case.name) as cluster,
        processes(case.url(cluster.hosts), "a", "b", ttl=ttl) as started,
    ):
        leader = stand(started, timeout=30.0)
        time.sleep(1.0)
        at = now()
        cluster.rolling_restart()
        time.sleep(ttl)
        changes = [told for one in started for told in one.poll() if told["what"] != "ready" and told["at"] > at]
        assert [] == [told for told in changes if told["what"] in ("elected", "demoted")]
        assert leader is leader_of(started)
        assert [] == overlaps(settle(started))

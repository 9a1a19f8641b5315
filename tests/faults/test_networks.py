"""
The share of CI in the faults of networks: a round on each store in namespaces, one on a slow network.

They need root and iptables; outside CI they are skipped where these are missing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from court.actors import TOOLS
from court.cases import Case, case_of
from court.fault import Fault
from court.faults_of_bad_networks import Late
from court.faults_of_networks import DropReplies, IsolateWithLeader, LoseReply
from court.judge import Verdict
from court.session import served
from court.stage import Stage
from court_rounds import round_of
from servers import Network, NetworkFailed
from servers.network import require

LEAVER = """
import os, signal
from servers import Network
network = Network().__enter__()
print(network.address, network.host("ann").name, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def permitted() -> None:
    """
    Networks can be made here.
    """
    try:
        require()
    except NetworkFailed as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def verdict_of(case: Case, folder: Path, fault: Fault, network: Network | None) -> Verdict:
    """
    The verdict on one round on a cluster.
    """
    with (
        served(case, folder / "servers", cluster=True, network=network) as servers,
        Stage(case, folder, servers, network=network) as stage,
    ):
        return round_of(stage, fault)


@pytest.mark.usefixtures("permitted")
@pytest.mark.parametrize(
    ("store", "fault"), [("etcd", IsolateWithLeader()), ("consul", DropReplies()), ("zookeeper", LoseReply())]
)
def test_packets_are_lost(store: str, fault: Fault, tmp_path: Path) -> None:
    """
    Nobody believes beside another nor after a deadline, and there is a leader again, where the leader is left alone
    with the server that led the store, hears nothing, or loses a reply and its connections.
    """
    with Network() as network:
        verdict = verdict_of(case_of(store, ""), tmp_path, fault, network)

    assert (verdict.status, verdict.findings, verdict.void) == ("passed", [], [])
    assert verdict.measures["moved"] or fault.moves == "may"


def test_a_slow_network_costs_no_office(tmp_path: Path) -> None:
    """
    The leader leads on while each round trip takes up to a tenth of its TTL, each time another.
    """
    verdict = verdict_of(case_of("zookeeper", "slow"), tmp_path, Late(), None)

    assert (verdict.status, verdict.findings, verdict.void) == ("passed", [], [])
    assert not verdict.measures["moved"]


@pytest.mark.usefixtures("permitted")
def test_what_a_killed_process_leaves_is_cleared_away() -> None:
    """
    The network of a process that was killed is there until another is made, and of that one nothing remains, either.
    """
    told = subprocess.run(
        [sys.executable, "-c", LEAVER],
        env={**os.environ, "PYTHONPATH": str(TOOLS)},
        capture_output=True,
        text=True,
        check=False,
    )
    left = told.stdout.split()[1]
    spaces = Path("/run/netns")

    assert (spaces / left).exists()
    with Network() as network:
        own = network.host("bob").name
        assert (spaces / own).exists()
        assert not (spaces / left).exists() or own == left
        assert [own] == [host.name for host in network.hosts.values()]
    assert not {left, own} & {each.name for each in spaces.iterdir()}


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    Where networks cannot be made, the refusal says what is needed.
    """
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(NetworkFailed, match=r"root|apt-get install iproute2 iptables"):
        require()

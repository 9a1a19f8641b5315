"""
A real HAProxy in front of three processes, by the configuration of docs/health.md: it routes to the leader only.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from servers._net import free_ports
from servers._where import libraries, program

ROOT = Path(__file__).parents[2]
APP = ROOT / "tests" / "routed_app.py"
PATIENCE = 30.0
INTERVAL = 1.0
"""Seconds between HAProxy's checks, as the page has it."""
SLACK = 1.5
"""Seconds for a machine that is busy."""
NODES = ("ann", "bob", "cat")

pytestmark = pytest.mark.timeout(150)


def configuration(front: int, ports: dict[str, int]) -> str:
    """
    What docs/health.md shows, with the addresses of this test.
    """
    page = (ROOT / "docs" / "health.md").read_text(encoding="utf-8")
    match = re.search(r"cat > haproxy\.cfg <<'END'\n(.*?)^END$", page, re.DOTALL | re.MULTILINE)
    assert match is not None
    assert f"inter {INTERVAL:g}s" in match[1]
    text = match[1].replace("bind :8000", f"bind 127.0.0.1:{front}")
    for node, place in zip(NODES, ("10.0.0.1:8001", "10.0.0.2:8001", "10.0.0.3:8001"), strict=True):
        assert place in text
        text = text.replace(place, f"127.0.0.1:{ports[node]}")
    return text


def get(port: int, path: str, timeout: float = 5.0) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class Site:
    """
    Three processes and the proxy.
    """

    def __init__(self, folder: Path) -> None:
        self.front, *rest = free_ports(1 + len(NODES))
        self.ports = dict(zip(NODES, rest, strict=True))
        config = folder / "haproxy.cfg"
        config.write_text(configuration(self.front, self.ports))
        self.nodes = {
            node: subprocess.Popen([sys.executable, str(APP), f"sqlite:///{folder}/jobs.db", node, str(port)])
            for node, port in self.ports.items()
        }
        self.proxy = subprocess.Popen(
            [program("haproxy"), "-db", "-q", "-f", str(config)],
            env={**os.environ, "LD_LIBRARY_PATH": libraries()},
        )

    def routed(self) -> str | None:
        """
        Who answers through the proxy; None while nobody does.
        """
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, body = get(self.front, "/")
            if status == 200:
                return body
        return None

    def wait_routed(self, *nodes: str) -> tuple[str, float]:
        """
        The first of these that answers through the proxy, and when.
        """
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            node = self.routed()
            if node in nodes:
                return node, time.time()
            time.sleep(0.01)
        msg = f"none of {nodes} was routed to within {PATIENCE:g} s"
        raise AssertionError(msg)

    def settled(self) -> str:
        """
        The leader, when the proxy has asked all: it takes them for well until its first checks have been answered.
        """
        first, _ = self.wait_routed(*NODES)
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            time.sleep(INTERVAL)
            routed = {self.routed() for _ in range(50)}
            if len(routed) == 1 and None not in routed:
                return str(*routed)
        msg = f"the proxy went on routing to more than one, to {first} at first"
        raise AssertionError(msg)

    def status(self, node: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(get(self.ports[node], "/status")[1])["elections"]["jobs"]
        return told

    def close(self) -> None:
        for process in (self.proxy, *self.nodes.values()):
            process.kill()
            process.wait()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    try:
        yield made
    finally:
        made.close()


def elected_at(site: Site, node: str) -> float:
    """
    When a leader was elected, by the wall clock.
    """
    told = site.status(node)
    assert "leader" == told["state"]
    return datetime.fromisoformat(told["since"]).timestamp()


def test_the_proxy_routes_to_the_leader(site: Site) -> None:
    """
    Only the leader is routed to; after it was killed, the next one within a check's interval of its election.
    """
    first = site.settled()
    assert [200, 503, 503] == sorted(get(port, "/leader")[0] for port in site.ports.values())

    killed = time.time()
    site.nodes[first].send_signal(signal.SIGKILL)
    second, routed = site.wait_routed(*(set(NODES) - {first}))
    elected = elected_at(site, second)
    print(f"elected {elected - killed:.3f} s after the kill, routed to {routed - elected:.3f} s after the election")
    assert elected > killed
    assert routed - elected < INTERVAL + SLACK
    assert {second} == {site.routed() for _ in range(50)}


def test_the_proxy_follows_a_resignation(site: Site) -> None:
    """
    When the leader resigns, requests go to the next within two checks, and to nobody who does not lead meanwhile.
    """
    first = site.settled()
    asked = time.time()
    site.nodes[first].send_signal(signal.SIGTERM)
    second, routed = site.wait_routed(*(set(NODES) - {first}))
    print(f"routed to {routed - asked:.3f} s after SIGTERM")
    assert routed - elected_at(site, second) < INTERVAL + SLACK


def test_hung_clients_delay_nothing(site: Site) -> None:
    """
    Clients that send half a request and then neither send nor read delay no renewal and no answer.
    """
    first = site.settled()
    port = site.ports[first]
    token = site.status(first)["token"]
    with contextlib.ExitStack() as hung:
        slowest, least = 0.0, 6.0
        until = time.monotonic() + 5.0
        while time.monotonic() < until:
            client = hung.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5.0))
            client.sendall(b"GET /leader HTTP/1.1\r\nHost: a")
            began = time.monotonic()
            assert 200 == get(port, "/leader")[0]
            slowest = max(slowest, time.monotonic() - began)
            least = min(least, site.status(first)["lease_remaining"])
            assert first == site.routed()
            time.sleep(0.05)
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(get(port, "/metrics")[1])
        for sample in family.samples
        if sample.name.startswith("leadership_renewal") and "le" not in sample.labels
    }
    print(f"slowest answer {slowest:.3f} s, least of the lease {least:.3f} s, {samples}")
    assert slowest < 2.0
    assert least > 2.0  # believed for 5.4 s, renewed every 2 s
    assert 0.0 == samples["leadership_renewal_failures_total"]
    assert samples["leadership_renewal_duration_seconds_count"] >= 2
    assert token == site.status(first)["token"]

"""
The real servers of the benchmarks, and what they count.
"""

from __future__ import annotations

import re
import urllib.request
from typing import Final

from servers import Consul, Etcd, Server, ZooKeeper

STORES: Final = ("etcd", "consul", "zookeeper")

_ETCD = re.compile(r'^grpc_server_msg_received_total\{grpc_method="(\w+)".*\} (\S+)$', re.MULTILINE)
_CONSUL = re.compile(r"^consul_http_(\w+)_count\S* (\S+)$", re.MULTILINE)
_ZOOKEEPER = re.compile(r"Processing request:: sessionid:\w+ type:(\w+)")
_LOG = "-Dorg.slf4j.simpleLogger.log.org.apache.zookeeper.server.FinalRequestProcessor=debug"


class LoggedZooKeeper(ZooKeeper):
    """
    One that writes every request down.
    """

    def command(self) -> list[str]:
        program, *arguments = super().command()
        return [program, _LOG, *arguments]


def server(store: str, folder: str, *, logged: bool = False) -> Server:
    """
    A server of its own, as it is used in production but for fsync; not started.

    Args:
        store: Which.
        folder: For its data and log.
        logged: It may be asked for `kinds`, though that costs it time.
    """
    if store == "etcd":
        return Etcd(f"{folder}/{store}")
    if store == "consul":
        # Its own default is 200 connections of a host: fewer than the peers have.
        return Consul(f"{folder}/{store}", options={"limits": {"http_max_conns_per_client": 2000}})
    # Candidates of one election have a session each, hence a connection: more than it allows a host by default.
    made = LoggedZooKeeper if logged else ZooKeeper
    return made(f"{folder}/{store}", tick=2000, options={"maxClientCnxns": 0})


def kinds(server: Server) -> dict[str, int]:
    """
    How many requests of each kind it has taken in.
    """
    if isinstance(server, Etcd):
        found = _ETCD.findall(_read(f"http://{server.host}/metrics"))
    elif isinstance(server, Consul):
        found = _CONSUL.findall(_read(f"http://{server.host}/v1/agent/metrics?format=prometheus"))
    else:
        found = [(name, "1") for name in _ZOOKEEPER.findall(server.said())]
    counted: dict[str, int] = {}
    for name, value in found:
        if "agent_metrics" not in name:
            counted[name] = counted.get(name, 0) + int(float(value))
    return counted


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - it is ours
        return str(response.read(), "utf-8")

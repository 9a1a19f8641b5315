"""
Real etcd, Consul and ZooKeeper servers for tests and for trying things out, fetched from Debian's packages.

`Etcd`, `Consul` and `ZooKeeper` are one server each, `EtcdCluster`, `ConsulCluster` and `ZooKeeperCluster` three of
them. `python -m servers.fetch` fetches the programs, `python -m servers` runs one of each until Ctrl-C.
"""

from __future__ import annotations

from servers._process import Server, ServerFailed
from servers._where import ServersMissing
from servers.certificates import Certificates, Pair, ServerTls
from servers.clusters import Cluster, ConsulCluster, EtcdCluster, ZooKeeperCluster
from servers.consul import Consul
from servers.etcd import Etcd
from servers.network import Host, Network, NetworkFailed
from servers.proxy import Proxy
from servers.zookeeper import ZooKeeper

__all__ = [
    "Certificates",
    "Cluster",
    "Consul",
    "ConsulCluster",
    "Etcd",
    "EtcdCluster",
    "Host",
    "Network",
    "NetworkFailed",
    "Pair",
    "Proxy",
    "Server",
    "ServerFailed",
    "ServerTls",
    "ServersMissing",
    "ZooKeeper",
    "ZooKeeperCluster",
]

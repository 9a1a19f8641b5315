"""
Runs etcd, Consul and ZooKeeper until Ctrl-C, and prints their URLs: `make servers`, `python -m servers`.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from servers import (
    Cluster,
    Consul,
    ConsulCluster,
    Etcd,
    EtcdCluster,
    Server,
    ServerFailed,
    ServersMissing,
    ZooKeeper,
    ZooKeeperCluster,
)
from servers.fetch import fetch

SINGLE: Final[dict[str, Callable[[Path], Server]]] = {"etcd": Etcd, "consul": Consul, "zookeeper": ZooKeeper}
CLUSTER: Final[dict[str, Callable[[Path], Cluster[Any]]]] = {
    "etcd": EtcdCluster,
    "consul": ConsulCluster,
    "zookeeper": ZooKeeperCluster,
}


def run(names: Sequence[str], *, cluster: bool, folder: Path) -> int:
    """
    Start servers, print their URLs, and wait for Ctrl-C, SIGTERM or the end of one of them.
    """
    enough = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: enough.set())
    with ExitStack() as stack:
        running: list[Server] = []
        for name in names:
            if enough.is_set():
                return 0
            if cluster:
                members = stack.enter_context(CLUSTER[name](folder / name))
                running += members.members
                print(members.url, flush=True)
            else:
                server = stack.enter_context(SINGLE[name](folder / name))
                running.append(server)
                print(server.url, flush=True)
        print("Ctrl-C ends them; their data and logs go with them.", file=sys.stderr)
        while not enough.wait(0.5):
            for each in running:
                if not each.running:
                    print(f"{each.name} has ended:\n{each.said()[-2000:]}", file=sys.stderr)
                    return 1
    return 0


def main() -> int:
    """
    The command.
    """
    parser = argparse.ArgumentParser(prog="servers", description="Runs etcd, Consul and ZooKeeper until Ctrl-C.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="etcd, consul, zookeeper; all of them by default")
    parser.add_argument("--cluster", action="store_true", help="three members of each")
    arguments = parser.parse_args()
    names = arguments.names or list(SINGLE)
    unknown = [name for name in names if name not in SINGLE]
    if unknown:
        parser.error(f"there is no {unknown[0]}: {', '.join(SINGLE)}")
    try:
        fetch()
        with tempfile.TemporaryDirectory(prefix="leadership-servers-") as folder:
            return run(names, cluster=arguments.cluster, folder=Path(folder))
    except (ServersMissing, ServerFailed) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # while fetching
        return 130


if __name__ == "__main__":
    sys.exit(main())

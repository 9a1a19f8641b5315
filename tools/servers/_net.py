"""
Free ports, requests over plain HTTP, and who is connected: what the servers have in common on the network.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
from collections.abc import Iterator, Mapping
from typing import Any, Final

LOOPBACK: Final = "127.0.0.1"
GIVEN: Final[set[int]] = set()
"""The ports that this process has handed out."""


def free_ports(count: int) -> list[int]:
    """
    Ports that nothing listens at, outside the range from which the kernel takes those of outgoing connections: a client
    that knocks at a dead server's port of that range may connect to itself.
    """
    first, last = 20000, 32700
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
            low = int(file.read().split()[0])
        if low > 12000:
            first, last = max(10000, low - 12700), low - 1
    except OSError:
        pass  # not Linux
    # Of the tests that run beside, each process has ports of its own: a server that is down keeps its port.
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % workers
    ports: list[int] = []
    while len(ports) < count:
        port = random.randint(first, last)
        if port in GIVEN or port % workers != worker:
            continue
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((LOOPBACK, port))
            except OSError:
                continue
        GIVEN.add(port)
        ports.append(port)
    return ports


class Refused(Exception):
    """
    A server answered with an error: its status and words.
    """

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status}: {body.decode(errors='replace').strip()}")
        self.status = status


def request(
    host: str,
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """
    The answer to one request on a connection of its own.
    """
    connection = http.client.HTTPConnection(host, port, timeout=5.0)
    try:
        connection.request(method, path, body=body, headers={"Connection": "close", **(headers or {})})
        response = connection.getresponse()
        answer = response.read()
    except http.client.HTTPException as error:
        msg = f"no HTTP at port {port}: {error!r}"
        raise ConnectionError(msg) from error
    finally:
        connection.close()
    if response.status >= 300:
        raise Refused(response.status, answer)
    return answer


def as_json(answer: bytes) -> Any:
    """
    What a JSON text says; nothing where it is empty.
    """
    return json.loads(answer) if answer.strip() else None


def say(host: str, port: int, words: bytes, timeout: float = 5.0) -> bytes:
    """
    All that a server answers to some bytes until it closes the connection.
    """
    with socket.create_connection((host, port), timeout=timeout) as connection:
        connection.sendall(words)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def sockets(state: str, pid: int | str = "self") -> Iterator[tuple[int, int, str]]:
    """
    The sockets in a state of TCP where a process is: the port here, the port there, and the inode; Linux only.
    """
    for table in ("tcp", "tcp6"):
        try:
            with open(f"/proc/{pid}/net/{table}", encoding="ascii") as file:
                rows = file.readlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == state:
                yield int(fields[1].rpartition(":")[2], 16), int(fields[2].rpartition(":")[2], 16), fields[9]


def established() -> Iterator[tuple[int, int, str]]:
    """
    The connections of this machine.
    """
    return sockets("01")


def own_inodes(pid: int) -> set[str]:
    """
    The inodes of a process's sockets.
    """
    own: set[str] = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            own.add(target[8:-1])
    return own


def listens(port: int, pid: int) -> bool:
    """
    Whether a process listens at a port; taken for granted where the system does not tell.
    """
    if not os.path.exists("/proc/net/tcp"):
        return True
    own = own_inodes(pid)
    return any(here == port and inode in own for here, _, inode in sockets("0A", pid))


def clients(port: int, pid: int) -> list[str]:
    """
    Who is connected to a port of a process, without its connections to itself; Linux only.
    """
    own = own_inodes(pid)
    found = list(sockets("01", pid))
    itself = {here for here, there, inode in found if there == port and inode in own}
    return sorted(f"{LOOPBACK}:{there}" for here, there, _ in found if here == port and there not in itself)

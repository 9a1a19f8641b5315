"""
A network on this machine whose hosts are network namespaces: packets between them can be lost, refused and slowed down.

It needs Linux, root, and the programs `ip`, `tc` and `iptables`.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from servers._guard import GUARD

PACKAGES: Final = {"ip": "iproute2", "tc": "iproute2", "iptables": "iptables", "unshare": "util-linux"}
NETWORKS: Final = 64
"""At a time, at most."""
STATE: Final = Path("/run")
DATAGRAMS: Final = """
import socket, sys, time
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    for _ in range(3):
        try:
            sender.sendto(bytes(972), (sys.argv[1], 9))
        except OSError:
            pass
    time.sleep(float(sys.argv[2]))
"""
"""Sends three packets of 1000 bytes again and again to where nobody listens."""


class NetworkFailed(Exception):
    """
    A network cannot be made or changed here, and why.
    """


def require() -> None:
    """
    See that networks can be made.

    Raises:
        NetworkFailed: They cannot.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        msg = "network namespaces need Linux and root"
        raise NetworkFailed(msg)
    if lacking := sorted({package for program, package in PACKAGES.items() if shutil.which(program) is None}):
        msg = f"network namespaces need programs of {', '.join(lacking)}: apt-get install {' '.join(lacking)}"
        raise NetworkFailed(msg)
    try:
        _run("unshare", "--net", "iptables", "-w", "-S")
    except NetworkFailed as error:
        msg = f"network namespaces with packet filters are not permitted here: {error}"
        raise NetworkFailed(msg) from None


class Host:
    """
    A namespace with two wires: what is done here is done to the first, and the second belongs to witnesses.
    """

    def __init__(self, name: str, address: str, beyond: str, gateway: str) -> None:
        self.name = name
        self.address = address
        self._beyond = beyond
        """The other end of its first wire, outside."""
        self._gateway = gateway
        self._sender: subprocess.Popen[bytes] | None = None

    @property
    def within(self) -> tuple[str, ...]:
        """
        What comes before a command that is to run here; the process is the command's own.
        """
        return ("ip", "netns", "exec", self.name)

    def drop(
        self,
        *,
        outgoing: bool = True,
        incoming: bool = True,
        others: Sequence[Host] = (),
        share: float = 1.0,
        data_of: Sequence[int] = (),
    ) -> None:
        """
        Drop packets, and tell nobody.

        Args:
            outgoing: Those that are sent.
            incoming: Those that arrive.
            others: Those to and from some hosts only.
            share: Some of them only, at random.
            data_of: Data of some connections only, by their ports here; TCP's own acknowledgements pass.
        """
        match = [] if share == 1.0 else ["-m", "statistic", "--mode", "random", "--probability", str(share)]
        match += [*_connections(data_of), "--tcp-flags", "PSH", "PSH"] if data_of else []
        self._rule([*match, "-j", "DROP"], others, outgoing=outgoing, incoming=incoming)

    def refuse(self, *, others: Sequence[Host] = (), ports: Sequence[int] = ()) -> None:
        """
        Answer packets of TCP by a reset, in both directions: as a network does whose connections were forgotten.

        Args:
            others: Those to and from some hosts only.
            ports: Those of some connections only, by their ports here.
        """
        match = [*_connections(ports), "-j", "REJECT", "--reject-with", "tcp-reset"]
        self._rule(match, others, outgoing=True, incoming=True)

    def _rule(self, match: Sequence[str], others: Sequence[Host], *, outgoing: bool, incoming: bool) -> None:
        for chain, wire, end, wanted in (("OUTPUT", "-o", "-d", outgoing), ("INPUT", "-i", "-s", incoming)):
            if wanted:
                some = [end, ",".join(other.address for other in others)] if others else []
                _run(*self.within, "iptables", "-w", "-A", chain, wire, "eth0", *some, *match)

    def hits(self) -> tuple[int, int]:
        """
        How many packets the rules have met since `heal`: outgoing, incoming.
        """
        sent, came = (
            sum(
                int(line.split()[0])
                for line in _run(*self.within, "iptables", "-w", "-nvxL", chain).splitlines()
                if re.search(" (DROP|REJECT) ", line)
            )
            for chain in ("OUTPUT", "INPUT")
        )
        return sent, came

    def narrow(self, rate: str, every: float) -> None:
        """
        Let only so much through in each direction, and have another program send something, too.

        Args:
            rate: For instance `64kbit`, a second.
            every: After how many seconds the other program sends three packets of 1000 bytes.
        """
        shape = ("root", "tbf", "rate", rate, "burst", "1600", "latency", "400ms")
        _run("tc", "-n", self.name, "qdisc", "add", "dev", "eth0", *shape)
        _run("tc", "qdisc", "add", "dev", self._beyond, *shape)
        command = [*self.within, sys.executable, "-I", "-S", "-c", DATAGRAMS, self._gateway, str(every)]
        self._sender = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, cwd="/")
        GUARD.add(self._sender.pid)

    def queued(self) -> int:
        """
        How many packets it sent had to wait since `narrow`.
        """
        told = re.search(r"overlimits (\d+)", _run("tc", "-s", "-n", self.name, "qdisc", "show", "dev", "eth0"))
        return 0 if told is None else int(told[1])

    def heal(self) -> None:
        """
        Let everything pass again.
        """
        for chain in ("OUTPUT", "INPUT"):
            _run(*self.within, "iptables", "-w", "-F", chain)
        if self._sender is not None:
            _run("tc", "-n", self.name, "qdisc", "del", "dev", "eth0", "root")
            _run("tc", "qdisc", "del", "dev", self._beyond, "root")
            self.close()

    def close(self) -> None:
        """
        End what was started here.
        """
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.kill()
            sender.wait()
            GUARD.discard(sender.pid)


class Network:
    """
    A context manager: hosts that reach each other and this process, and are gone at its end.

    Several networks are told apart by a number, which belongs to a process as long as it holds a lock. What one left
    behind that was killed, the next clears away.
    """

    def __init__(self) -> None:
        self.hosts: dict[str, Host] = {}
        self._number = -1
        self._kept = ExitStack()

    @property
    def address(self) -> str:
        """
        This process, as the hosts find it by their second wire.
        """
        return f"198.19.{self._number}.254"

    @property
    def gateway(self) -> str:
        """
        This process, as the hosts find it by their first wire.
        """
        return f"198.18.{self._number}.254"

    def __enter__(self) -> Self:
        require()
        for number in range(NETWORKS):
            if self._number >= 0 and not any(_left(number)):
                continue
            lock = os.open(STATE / f"lns{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            _clear(number)
            if self._number < 0:
                self._number = number
                self._kept.callback(os.close, lock)
            else:
                os.close(lock)
        if self._number < 0:
            msg = f"{NETWORKS} networks are in use"
            raise NetworkFailed(msg)
        try:
            for wire, address in (("a", self.gateway), ("b", self.address)):
                bridge = f"lns{self._number}{wire}"
                _run("ip", "link", "add", bridge, "type", "bridge")
                _run("ip", "address", "add", f"{address}/24", "dev", bridge)
                _run("ip", "link", "set", bridge, "up")
        except NetworkFailed:
            self.close()
            raise
        return self

    def host(self, name: str) -> Host:
        """
        The host of a name, made at the first time.
        """
        if name not in self.hosts:
            place = len(self.hosts) + 1
            space = f"lns{self._number}-{place}"
            _run("ip", "netns", "add", space)
            _run("ip", "-n", space, "link", "set", "lo", "up")
            for wire, inside, subnet in (("a", "eth0", 18), ("b", "eth1", 19)):
                end = f"lns{self._number}{wire}{place}"
                _run("ip", "link", "add", end, "type", "veth", "peer", "name", inside, "netns", space)
                _run("ip", "link", "set", end, "master", f"lns{self._number}{wire}", "up")
                address = f"198.{subnet}.{self._number}.{place}/24"
                _run("ip", "-n", space, "address", "add", address, "dev", inside)
                _run("ip", "-n", space, "link", "set", inside, "up")
            self.hosts[name] = Host(space, f"198.18.{self._number}.{place}", f"lns{self._number}a{place}", self.gateway)
        return self.hosts[name]

    def close(self) -> None:
        """
        Remove it; what still runs in it has lost its wires.
        """
        for host in self.hosts.values():
            host.close()
        _clear(self._number)
        self._kept.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _connections(ports: Sequence[int]) -> list[str]:
    """
    What matches packets of TCP, of some connections if any are named: 15 at most.
    """
    return ["-p", "tcp", *(["-m", "multiport", "--ports", ",".join(map(str, ports))] if ports else [])]


def _left(number: int) -> tuple[list[str], list[str]]:
    """
    The links and the namespaces that have the number of a network.
    """
    links = [each.name for each in Path("/sys/class/net").glob(f"lns{number}[ab]*")]
    return links, [each.name for each in Path("/run/netns").glob(f"lns{number}-*")]


def _clear(number: int) -> None:
    """
    Remove them.
    """
    links, spaces = _left(number)
    for name in links:
        subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)  # with its other end
    for name in spaces:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _run(*command: str) -> str:
    """
    What a command prints.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        msg = f"{' '.join(command)}: {done.stderr.strip()}"
        raise NetworkFailed(msg)
    return done.stdout

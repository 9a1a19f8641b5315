"""
Addresses at which nothing is to be had, before those of the servers.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from servers import Proxy, ServerFailed
from servers._net import LOOPBACK, free_ports

from court.actors import OWN_NAMES

NAME: Final = "court-store"
DEAD: Final = "::1"
"""An address of this machine at which no server listens, and which resolvers put first."""


class DeadAddresses:
    """
    A port that refuses, a host that takes connections and never answers, and a name of which another address is first.
    """

    def __init__(self, folder: Path) -> None:
        self.silent = Proxy(1)
        self.silent.cut()
        self.names = folder / "hosts"
        # On one line, because gRPC's resolver forgets the second name of an address that has a line for each.
        self.names.write_text(f"{LOOPBACK} localhost {NAME}\n{DEAD} {NAME}\n", encoding="utf-8")
        look = f"import socket; print(socket.getaddrinfo({NAME!r}, 1, type=socket.SOCK_STREAM)[0][4][0])"
        command = [*OWN_NAMES, str(self.names), sys.executable, "-c", look]
        first = subprocess.run(command, capture_output=True, text=True, check=False)
        if first.stdout.strip() != DEAD:
            self.silent.close()
            msg = f"{NAME} does not resolve to {DEAD} first: {first.stdout.strip()}{first.stderr.strip()}"
            raise ServerFailed(msg)

    def before(self, proxies: Sequence[Proxy]) -> list[str]:
        """
        The hosts of a URL: two dead ones, then the servers by that name.
        """
        (refusing,) = free_ports(1)
        return [f"{LOOPBACK}:{refusing}", self.silent.host, *(f"{NAME}:{each.port}" for each in proxies)]

    def close(self) -> None:
        """
        Close what was kept open.
        """
        self.silent.close()

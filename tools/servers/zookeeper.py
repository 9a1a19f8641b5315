"""
A ZooKeeper of a test.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from servers._net import say
from servers._process import Server
from servers._where import jars, java
from servers.certificates import Certificates, ServerTls
from servers.proxy import Proxy

JARS: Final = (
    *("zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-simple", "snappy-java", "metrics-core", "commons-cli"),
    *("jctools-core", "netty-buffer", "netty-codec", "netty-common", "netty-handler", "netty-resolver"),
    *("netty-transport", "netty-transport-native-epoll", "netty-transport-native-unix-common"),
)
SUPER: Final = ("super", "super-password")


class ZooKeeper(Server):
    """
    A ZooKeeper server, alone unless a cluster makes it; it grants sessions of 2 to 20 ticks (in milliseconds).

    With `tls`, `host` speaks TLS, and `plain_port` is the operator's. With `auth`, these users (name to password) can
    authenticate by SASL DIGEST-MD5; the scheme `digest` needs nothing.
    """

    SCHEME = "zookeeper"
    PORTS = ("client", "secure", "quorum", "election")

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        tick: int = 500,
        tls: ServerTls | None = None,
        auth: Mapping[str, str] | None = None,
        options: Mapping[str, str | int] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(folder, name=name or f"zookeeper-{uuid.uuid4().hex[:8]}")
        self.tick = tick
        self.tls = tls
        self.auth = auth
        self.options = dict(options or {})
        self.number = 1
        self.peers: Sequence[ZooKeeper] = (self,)
        self.links: dict[int, Proxy] = {}
        """How it reaches a peer that leads, where that can be cut."""
        self._asked = 0

    @property
    def port(self) -> int:
        """
        The port of clients, with TLS where there is any.
        """
        return self.ports["secure" if self.tls else "client"]

    @property
    def plain_port(self) -> int:
        """
        The port of the operator's requests, without TLS.
        """
        return self.ports["client"]

    def launch(self) -> None:
        """
        Start its process.
        """
        self._asked = 0
        super().launch()

    def command(self) -> list[str]:
        """
        The program with its flags; its configuration is written first.
        """
        lines: dict[str, str | int] = {
            "tickTime": self.tick,
            "initLimit": 20,
            "syncLimit": 5,
            "dataDir": str(self.data),
            "clientPort": self.plain_port,
            "clientPortAddress": self.address,
            "4lw.commands.whitelist": "*",
            "admin.enableServer": "false",
            "maxClientCnxns": 60,
        }
        secret = base64.b64encode(hashlib.sha1(":".join(SUPER).encode()).digest()).decode()  # noqa: S324 - its format
        defines = {
            "zookeeper.jmx.log4j.disable": "true",
            "org.slf4j.simpleLogger.defaultLogLevel": "warn",
            "org.slf4j.simpleLogger.showDateTime": "true",
            "zookeeper.DigestAuthenticationProvider.superDigest": f"{SUPER[0]}:{secret}",
            "zookeeper.forceSync": "no",  # what SIGKILL leaves is in the kernel's memory
            "zookeeper.admin.enableServer": "false",
        }
        if len(self.peers) > 1:
            for each in self.peers:
                link = self.links.get(each.number)
                quorum = each.ports["quorum"] if link is None else link.port
                lines[f"server.{each.number}"] = f"{each.address}:{quorum}:{each.ports['election']}"
            (self.data / "myid").write_text(f"{self.number}\n", encoding="ascii")
        if self.tls:
            made = Certificates(self.folder / "tls")
            lines["secureClientPort"] = self.port
            lines["secureClientPortAddress"] = self.address
            lines["serverCnxnFactory"] = "org.apache.zookeeper.server.NettyServerCnxnFactory"
            lines["ssl.keyStore.location"] = made.keystore(self.tls.pair, "server")
            lines["ssl.keyStore.type"] = "PEM"
            lines["ssl.trustStore.location"] = made.keystore(self.tls.ca_file, "ca")
            lines["ssl.trustStore.type"] = "PEM"
            lines["ssl.clientAuth"] = "need" if self.tls.ask_client else "none"
            lines["ssl.hostnameVerification"] = "false"  # of a client's certificate
        if self.auth is not None:
            lines["authProvider.1"] = "org.apache.zookeeper.server.auth.SASLAuthenticationProvider"
            users = "\n".join(f'  user_{name}="{password}"' for name, password in self.auth.items())
            jaas = self.folder / "jaas.conf"
            jaas.write_text(
                f"Server {{\n  org.apache.zookeeper.server.auth.DigestLoginModule required\n{users};\n}};\n",
                encoding="utf-8",
            )
            defines["java.security.auth.login.config"] = str(jaas)
        path = self.folder / "zoo.cfg"
        text = "".join(f"{key}={value}\n" for key, value in (lines | self.options).items())
        path.write_text(text, encoding="utf-8")
        return [
            java(),
            *("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"),
            *(f"-D{key}={value}" for key, value in defines.items()),
            *("-cp", ":".join(jars(*JARS)), "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(path)),
        ]

    def answers(self) -> bool:
        """
        Whether this server, by its own name, has just done a write that needs a quorum.
        """
        if f"dataDir={self.data}/" not in self.words("conf", 1.0):
            return False
        if not re.search(r"^Mode: (standalone|leader|follower)$", self.words("srvr", 1.0), re.MULTILINE):
            return False
        with self.client(timeout=2.0) as client:
            client.ensure_path("/servers-ready")
            client.delete("/servers-ready")
        return True

    # -- the operator -----------------------------------------------------------------------------------------

    def words(self, command: str, timeout: float = 5.0) -> str:
        """
        The answer to a four-letter command.
        """
        answer = say(self.address, self.plain_port, command.encode(), timeout).decode(errors="replace")
        self._asked += 1
        return answer

    @contextmanager
    def client(self, timeout: float = 5.0) -> Iterator[Any]:
        """
        A client of the operator's own, who may do all.
        """
        from kazoo.client import KazooClient
        from kazoo.exceptions import KazooException
        from kazoo.handlers.threading import KazooTimeoutError

        client = KazooClient(
            hosts=f"{self.address}:{self.plain_port}", timeout=10.0, auth_data=[("digest", ":".join(SUPER))]
        )
        try:
            client.start(timeout=timeout)
            yield client
        except KazooTimeoutError as error:
            msg = f"{self.name} does not answer a client: {error}"
            raise ConnectionError(msg) from error
        except KazooException as error:
            msg = f"{self.name} refused: {error!r}"
            raise LookupError(msg) from error
        finally:
            client.stop()
            client.close()

    def put(self, key: str, value: str | bytes) -> None:
        """
        Write a node, made with its parents where there is none.
        """
        body = value.encode() if isinstance(value, str) else value
        with self.client() as client:
            if client.exists(key):
                client.set(key, body)
            else:
                client.create(key, body, makepath=True)

    def get(self, key: str) -> bytes | None:
        """
        The value of a key.
        """
        with self.client() as client:
            return bytes(client.get(key)[0]) if client.exists(key) else None

    def delete(self, key: str) -> None:
        """
        Remove a key.
        """
        with self.client() as client:
            if client.exists(key):
                client.delete(key)

    def delete_all(self, prefix: str) -> None:
        """
        Remove a node and all below it.
        """
        with self.client() as client:
            client.delete(prefix, recursive=True)

    def keys(self, prefix: str = "") -> list[str]:
        """
        The keys below a prefix.
        """
        found: list[str] = []
        with self.client() as client:
            client.sync("/")
            waiting = [prefix.rstrip("/") or "/"]
            while waiting:
                path = waiting.pop()
                if path == "/zookeeper" or not client.exists(path):
                    continue
                if path != "/":
                    found.append(path)
                waiting += [f"{path.rstrip('/')}/{name}" for name in client.get_children(path)]
        return sorted(found)

    def sessions(self) -> list[str]:
        """
        The sessions in hex; in a cluster, only the leader knows them all.
        """
        before, _, _ = self.words("dump").partition("ephemeral nodes dump")
        return sorted(set(re.findall(r"0x[0-9a-f]+", before)))

    def end_session(self, session: int, password: bytes) -> None:
        """
        Close a session as its owner would, by its number and password (kazoo's `client_id`).
        """
        from kazoo.client import KazooClient

        while True:
            client = KazooClient(hosts=f"{self.address}:{self.plain_port}", client_id=(session, password))
            client.start(timeout=5.0)
            client.stop()
            client.close()
            if f"{session:#x}" not in self.sessions():
                return  # or its owner was back before it could be closed

    def requests(self) -> int:
        """
        The packets of clients that it has taken in, pings included.
        """
        said = re.search(r"^zk_packets_received\t(\d+)$", self.words("mntr"), re.MULTILINE)
        if said is None:
            msg = f"{self.name} does not tell its statistics"
            raise ValueError(msg)
        return int(said[1]) - self._asked

    def leads(self) -> bool:
        """
        Whether it leads.
        """
        try:
            return re.search(r"^Mode: (standalone|leader)$", self.words("srvr"), re.MULTILINE) is not None
        except OSError:
            return False

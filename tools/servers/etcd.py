"""
An etcd of a test.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import uuid
from collections.abc import Sequence
from typing import Any, Final

from servers._net import Refused, as_json, request
from servers._process import Server, ServerFailed
from servers._where import program
from servers.certificates import ServerTls

ROOT_PASSWORD: Final = "root-password"


class Etcd(Server):
    """
    A member of etcd, alone unless a cluster makes it.

    With `tls`, `host` speaks TLS, and `plain_port` is the operator's. With `auth`, the user `root` has the password
    `root-password`; `add_user` makes others, and tokens end after `token_ttl` idle seconds.
    """

    SCHEME = "etcd"
    PORTS = ("client", "peer", "plain")

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        tls: ServerTls | None = None,
        auth: bool = False,
        token_ttl: int = 300,
        options: Sequence[str] = (),
        name: str | None = None,
    ) -> None:
        super().__init__(folder, name=name or f"etcd-{uuid.uuid4().hex[:8]}")
        self.tls = tls
        self.auth = auth
        self.token_ttl = token_ttl
        self.options = tuple(options)
        self.peers: Sequence[Etcd] = (self,)

    @property
    def port(self) -> int:
        """
        The port of clients, with TLS where there is any.
        """
        return self.ports["client"]

    @property
    def plain_port(self) -> int:
        """
        The port of the operator's requests, without TLS.
        """
        return self.ports["plain" if self.tls else "client"]

    @property
    def peer_url(self) -> str:
        """
        Where the other members find it.
        """
        return f"http://{self.address}:{self.ports['peer']}"

    def command(self) -> list[str]:
        """
        The program with its flags; its configuration is written first.
        """
        urls = f"http{'s' if self.tls else ''}://{self.host}"
        if self.tls:
            urls += f",http://{self.address}:{self.plain_port}"
        command = [
            program("etcd"),
            f"--name={self.name}",
            f"--data-dir={self.data}",
            f"--listen-client-urls={urls}",
            f"--advertise-client-urls={urls}",
            f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--initial-cluster={','.join(f'{each.name}={each.peer_url}' for each in self.peers)}",
            "--unsafe-no-fsync",  # what SIGKILL leaves is in the kernel's memory
            "--log-level=warn",
            f"--auth-token-ttl={self.token_ttl}",
            "--bcrypt-cost=4",
        ]
        if self.tls:
            command += [f"--cert-file={self.tls.pair.cert_file}", f"--key-file={self.tls.pair.key_file}"]
            if self.tls.ask_client:
                command += ["--client-cert-auth", f"--trusted-ca-file={self.tls.ca_file}"]
        return [*command, *self.options]

    def answers(self) -> bool:
        """
        Whether this server, by its own name, has just done a write that needs a quorum.
        """
        try:
            said = self.call("maintenance/status")
            members = self.call("cluster/member/list", linearizable=False)["members"]
        except Refused:
            return False
        mine = said["header"]["member_id"]
        if not any(each["ID"] == mine and each.get("name") == self.name for each in members):
            return False
        try:
            self.call("kv/deleterange", key=coded("servers/ready"))
        except Refused as error:
            return self.auth and error.status in {400, 401, 403}  # authentication is on, from before this start
        if self.auth:
            self._enable_auth()
        return True

    # -- the operator -----------------------------------------------------------------------------------------

    def call(self, path: str, *, login: tuple[str, str] | None = None, **fields: Any) -> Any:
        """
        A request to the JSON gateway, by a user where name and password are given: `call("kv/range", key=coded("a"))`.
        """
        headers = {}
        if login is not None:
            headers["Authorization"] = self.call("auth/authenticate", name=login[0], password=login[1])["token"]
        return as_json(
            request(self.address, self.plain_port, "POST", f"/v3/{path}", json.dumps(fields).encode(), headers)
        )

    def admin(self, path: str, **fields: Any) -> Any:
        """
        A request as root.
        """
        return self.call(path, login=("root", ROOT_PASSWORD) if self.auth else None, **fields)

    def put(self, key: str, value: str | bytes, *, lease: str | None = None) -> None:
        """
        Write a key, bound to a lease (in hex) if one is named.
        """
        fields = {} if lease is None else {"lease": str(int(lease, 16))}
        self.admin("kv/put", key=coded(key), value=coded(value), **fields)

    def get(self, key: str) -> bytes | None:
        """
        The value of a key.
        """
        found = self.admin("kv/range", key=coded(key)).get("kvs", ())
        return base64.b64decode(found[0].get("value", "")) if found else None

    def delete(self, key: str) -> None:
        """
        Remove a key.
        """
        self.admin("kv/deleterange", key=coded(key))

    def delete_all(self, prefix: str) -> None:
        """
        Remove all keys below a prefix.
        """
        self.admin("kv/deleterange", **below(prefix))

    def entries(self, prefix: str = "") -> list[dict[str, Any]]:
        """
        The keys below a prefix as the gateway gives them, oldest first.
        """
        found = self.admin("kv/range", **below(prefix), sort_order="ASCEND", sort_target="CREATE")
        return [{**each, "key": base64.b64decode(each["key"]).decode()} for each in found.get("kvs", ())]

    def keys(self, prefix: str = "") -> list[str]:
        """
        The keys below a prefix.
        """
        return sorted(each["key"] for each in self.entries(prefix))

    def sessions(self) -> list[str]:
        """
        The leases in hex.
        """
        return sorted(f"{int(each['ID']):x}" for each in self.admin("lease/leases").get("leases", ()))

    leases = sessions

    def grant(self, ttl: int) -> str:
        """
        A new lease, in hex.
        """
        return f"{int(self.admin('lease/grant', TTL=ttl)['ID']):x}"

    def revoke(self, lease: str) -> None:
        """
        End a lease and its keys.
        """
        self.admin("lease/revoke", ID=str(int(lease, 16)))

    def compact(self) -> None:
        """
        Forget all revisions but the present one.
        """
        revision = self.admin("kv/range", key=coded("servers/none"))["header"]["revision"]
        self.admin("kv/compaction", revision=revision, physical=True)

    def alarms(self) -> list[dict[str, str]]:
        """
        The alarms that are raised: `{"memberID": "1", "alarm": "NOSPACE"}`.
        """
        return list(self.admin("maintenance/alarm", action="GET").get("alarms", ()))

    def make_room(self) -> None:
        """
        What an operator does about the alarm `NOSPACE`, once keys were removed.
        """
        self.compact()
        self.admin("maintenance/defragment")
        for each in self.alarms():
            self.admin("maintenance/alarm", action="DEACTIVATE", **each)

    def save(self, path: str | os.PathLike[str]) -> None:
        """
        A snapshot of its data, made while it runs.
        """
        self._tool("etcdctl", f"--endpoints={self.address}:{self.plain_port}", "snapshot", "save", str(path))

    def restore(self, path: str | os.PathLike[str]) -> None:
        """
        Replace its data by those of a snapshot, while it does not run.
        """
        self.wipe()
        self._tool(
            *("etcdutl", "snapshot", "restore", str(path), f"--data-dir={self.data}", f"--name={self.name}"),
            f"--initial-cluster={','.join(f'{each.name}={each.peer_url}' for each in self.peers)}",
            f"--initial-advertise-peer-urls={self.peer_url}",
        )

    def _tool(self, name: str, *arguments: str) -> None:
        done = subprocess.run([program(name), *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            msg = f"{name} {' '.join(arguments)}: {done.stderr.strip()[-500:]}"
            raise ServerFailed(msg)

    def requests(self) -> int:
        """
        The messages of clients that it has taken in: calls, keep-alives, requests for watches.
        """
        text = request(self.address, self.plain_port, "GET", "/metrics").decode()
        return sum(
            int(float(line.rpartition(" ")[2]))
            for line in text.splitlines()
            if line.startswith("grpc_server_msg_received_total")
        )

    def leads(self) -> bool:
        """
        Whether it leads.
        """
        try:
            said = self.call("maintenance/status")
        except (OSError, Refused):
            return False
        return bool(said.get("leader")) and said["leader"] == said["header"]["member_id"]

    # -- users ------------------------------------------------------------------------------------------------

    def _enable_auth(self) -> None:
        if self.call("auth/status").get("enabled"):
            return
        steps: tuple[tuple[str, dict[str, Any]], ...] = (
            ("user/add", {"name": "root", "password": ROOT_PASSWORD}),
            ("role/add", {"name": "root"}),
            ("user/grant", {"user": "root", "role": "root"}),
        )
        for path, fields in steps:
            try:
                self.call(f"auth/{path}", **fields)
            except Refused as error:
                if "already exist" not in str(error):
                    raise
        self.call("auth/enable")

    def add_user(self, name: str, password: str, prefix: str | None = None, *, access: str = "READWRITE") -> None:
        """
        A user who may read, write or both below a prefix; nothing without one.
        """
        self.admin("auth/user/add", name=name, password=password)
        self.admin("auth/role/add", name=name)
        if prefix is not None:
            permission = {"permType": access, **below(prefix)}
            self.admin("auth/role/grant", name=name, perm=permission)
        self.admin("auth/user/grant", user=name, role=name)

    def set_password(self, name: str, password: str) -> None:
        """
        Another password for a user; the tokens made with the old one end.
        """
        self.admin("auth/user/changepw", name=name, password=password)

    def remove_user(self, name: str) -> None:
        """
        End a user, and the tokens of that user.
        """
        self.admin("auth/user/delete", name=name)


def coded(key: str | bytes) -> str:
    """
    A key or value as the gateway takes it.
    """
    return base64.b64encode(key.encode() if isinstance(key, str) else key).decode()


def below(prefix: str) -> dict[str, str]:
    """
    The range of all keys with a prefix.
    """
    if not prefix:
        return {"key": coded(b"\0"), "range_end": coded(b"\0")}
    raw = prefix.encode()
    return {"key": coded(raw), "range_end": coded(raw[:-1] + bytes([raw[-1] + 1]))}

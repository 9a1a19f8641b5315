"""
A Consul of a test.
"""

from __future__ import annotations

import base64
import json
import os
import urllib.parse
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from servers._net import Refused, as_json, request
from servers._process import Server
from servers._where import program
from servers.certificates import ServerTls

LOCK_FLAGS: Final = 0x2DDCCBC058A50C18
"""The flags of a lock of Consul's own clients."""


class Consul(Server):
    """
    A Consul server, alone unless a cluster makes it, whose sessions may be as short as a second.

    With `tls`, `host` speaks TLS, and `plain_port` is the operator's. With `auth`, nothing is allowed without a token;
    `master_token` allows all, and `make_token` makes others.
    """

    SCHEME = "consul"
    PORTS = ("http", "https", "server", "serf")

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        tls: ServerTls | None = None,
        auth: bool = False,
        least_ttl: str = "1s",
        options: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(folder, name=name or f"consul-{uuid.uuid4().hex[:8]}")
        self.tls = tls
        self.auth = auth
        self.least_ttl = least_ttl
        self.options = dict(options or {})
        self.master_token = str(uuid.uuid4())
        self.peers: Sequence[Consul] = (self,)

    @property
    def port(self) -> int:
        """
        The port of clients, with TLS where there is any.
        """
        return self.ports["https" if self.tls else "http"]

    @property
    def plain_port(self) -> int:
        """
        The port of the operator's requests, without TLS.
        """
        return self.ports["http"]

    def command(self) -> list[str]:
        """
        The program with its flags; its configuration is written first.
        """
        config: dict[str, Any] = {
            "server": True,
            "node_name": self.name,
            "data_dir": str(self.data),
            "bind_addr": self.address,
            "client_addr": self.address,
            "bootstrap_expect": len(self.peers),
            "retry_join": [f"{each.address}:{each.ports['serf']}" for each in self.peers if each is not self],
            "retry_interval": "1s",
            "ports": {
                **dict.fromkeys(("dns", "grpc", "serf_wan"), -1),
                "http": self.ports["http"],
                "https": self.ports["https"] if self.tls else -1,
                "server": self.ports["server"],
                "serf_lan": self.ports["serf"],
            },
            "session_ttl_min": self.least_ttl,
            "performance": {"raft_multiplier": 1},
            "telemetry": {"prometheus_retention_time": "24h", "disable_hostname": True},
            "disable_update_check": True,
            "log_level": "WARN",
        }
        if self.tls:
            config |= {"cert_file": self.tls.pair.cert_file, "key_file": self.tls.pair.key_file}
            config |= {"ca_file": self.tls.ca_file, "verify_incoming_https": self.tls.ask_client}
        if self.auth:
            config["acl"] = {
                "enabled": True,
                "default_policy": "deny",
                "down_policy": "deny",
                "tokens": {"master": self.master_token, "agent": self.master_token},
            }
        path = self.folder / "consul.json"
        path.write_text(json.dumps(config | self.options, indent=2), encoding="utf-8")
        return [program("consul"), "agent", f"-config-file={path}"]

    def answers(self) -> bool:
        """
        Whether this server, by its own name, has just done a write that needs a quorum.
        """
        try:
            if not self.call("GET", "status/leader"):
                return False
            if self.call("GET", "agent/self")["Config"]["NodeName"] != self.name:
                return False
            self.call("DELETE", "kv/servers/ready")
            return True
        except Refused:
            return False

    # -- the operator -----------------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Any = None, *, token: str | None = None, **query: Any) -> Any:
        """
        A request to the HTTP API, with the master token unless another is named: `call("GET", "session/list")`.
        """
        return as_json(self.raw(method, path, None if body is None else json.dumps(body).encode(), token, **query))

    def raw(self, method: str, path: str, body: bytes | None = None, token: str | None = None, **query: Any) -> bytes:
        """
        A request with any body, and its answer as it came.
        """
        token = self.master_token if token is None and self.auth else token
        where = f"/v1/{urllib.parse.quote(path)}"
        if query:
            where += f"?{urllib.parse.urlencode(query)}"
        return request(self.address, self.plain_port, method, where, body, {"X-Consul-Token": token} if token else {})

    def put(self, key: str, value: str | bytes, **query: Any) -> None:
        """
        Write a key; `acquire=session`, `release=session`, `flags=`, `cas=` as the API has them.
        """
        self.write(key, value, **query)

    def write(self, key: str, value: str | bytes, **query: Any) -> bool:
        """
        Write a key, and whether Consul did it.
        """
        body = value.encode() if isinstance(value, str) else value
        return bool(as_json(self.raw("PUT", f"kv/{key}", body, **query)))

    def entry(self, key: str) -> dict[str, Any] | None:
        """
        All that Consul tells of a key.
        """
        try:
            found = self.call("GET", f"kv/{key}", consistent="")
        except Refused as error:
            if error.status == 404:
                return None
            raise
        return dict(found[0])

    def get(self, key: str) -> bytes | None:
        """
        The value of a key.
        """
        found = self.entry(key)
        return None if found is None else base64.b64decode(found["Value"] or "")

    def delete(self, key: str) -> None:
        """
        Remove a key.
        """
        self.call("DELETE", f"kv/{key}")

    def delete_all(self, prefix: str) -> None:
        """
        Remove all keys below a prefix.
        """
        self.call("DELETE", f"kv/{prefix}", recurse="")

    def keys(self, prefix: str = "") -> list[str]:
        """
        The keys below a prefix.
        """
        try:
            return sorted(self.call("GET", f"kv/{prefix}", keys="", consistent=""))
        except Refused as error:
            if error.status == 404:
                return []
            raise

    def sessions(self) -> list[str]:
        """
        The sessions that stand.
        """
        return sorted(each["ID"] for each in self.call("GET", "session/list", consistent=""))

    def make_session(self, ttl: str = "10s", *, behavior: str = "release", lock_delay: str = "0s") -> str:
        """
        A session as another client would make it.
        """
        body = {"TTL": ttl, "Behavior": behavior, "LockDelay": lock_delay, "Checks": []}
        return str(self.call("PUT", "session/create", body)["ID"])

    def destroy(self, session: str) -> None:
        """
        End a session.
        """
        self.call("PUT", f"session/destroy/{session}")

    def requests(self) -> int:
        """
        The requests over HTTP that it has answered; one that still waits for a change is counted at its end.
        """
        text = self.raw("GET", "agent/metrics", format="prometheus").decode()
        return sum(
            int(float(line.rpartition(" ")[2]))
            for line in text.splitlines()
            if line.startswith("consul_http_")
            and line.partition(" ")[0].endswith("_count")
            and "agent_metrics" not in line
        )

    def leads(self) -> bool:
        """
        Whether it leads.
        """
        try:
            return bool(self.call("GET", "agent/self")["Stats"]["consul"]["leader"] == "true")
        except (OSError, Refused):
            return False

    # -- tokens -----------------------------------------------------------------------------------------------

    def make_token(self, rules: str, *, ttl: str | None = None) -> str:
        """
        The secret of a new token that allows what the rules say, for a time (a minute at least) if one is named.
        """
        policy = self.call("PUT", "acl/policy", {"Name": f"policy-{uuid.uuid4().hex}", "Rules": rules})
        body: dict[str, Any] = {"Policies": [{"ID": policy["ID"]}]}
        if ttl is not None:
            body["ExpirationTTL"] = ttl
        return str(self.call("PUT", "acl/token", body)["SecretID"])

    def revoke_token(self, secret: str) -> None:
        """
        End a token.
        """
        accessor = self.call("GET", "acl/token/self", token=secret)["AccessorID"]
        self.call("DELETE", f"acl/token/{accessor}")

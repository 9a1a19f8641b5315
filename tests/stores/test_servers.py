"""
The servers of these tests do what the other tests rely on: they start, can be hurt, and are gone afterwards.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import (
    Certificates,
    Cluster,
    Consul,
    ConsulCluster,
    Etcd,
    EtcdCluster,
    Proxy,
    Server,
    ServersMissing,
    ZooKeeper,
    ZooKeeperCluster,
)
from servers._net import Refused, established, request
from servers._process import until
from servers._where import program
from servers.etcd import coded
from servers.fetch import complete

TOOLS = Path(__file__).parents[2] / "tools"
KINDS: dict[str, type[Etcd | Consul | ZooKeeper]] = {"etcd": Etcd, "consul": Consul, "zookeeper": ZooKeeper}
CLUSTERS: dict[str, Callable[[Path], Cluster[Any]]] = {
    "etcd": EtcdCluster,
    "consul": ConsulCluster,
    "zookeeper": ZooKeeperCluster,
}


@pytest.fixture(params=KINDS)
def own(request: pytest.FixtureRequest) -> Server:
    """
    A server of this test's own, of each kind.
    """
    made: Server = request.getfixturevalue(f"own_{request.param}")
    return made


def key_of(server: Server, name: str = "jobs/a") -> str:
    return f"/{name}" if isinstance(server, ZooKeeper) else name


def gone(pid: int) -> bool:
    """
    Whether no process has this number; a zombie of a parent that does not wait is none.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def knock(server: Server) -> bool:
    """
    Whether it answers a read within a moment.
    """
    with socket.create_connection(("127.0.0.1", server.port), timeout=0.5) as connection:
        words = b"ruok" if isinstance(server, ZooKeeper) else b"GET / HTTP/1.0\r\n\r\n"
        connection.sendall(words)
        with contextlib.suppress(TimeoutError):
            return bool(connection.recv(1))
    return False


def test_an_operator_writes_and_reads(own: Server) -> None:
    """
    What an operator writes is read and listed until it is deleted, and the address is on the loopback interface.
    """
    key = key_of(own)
    assert own.get(key) is None
    own.put(key, "one")
    own.put(key, b"two")
    assert b"two" == own.get(key)
    assert key in own.keys(key_of(own, "jobs"))
    own.delete(key)
    assert own.get(key) is None
    assert [] == own.keys(key)
    assert [] == own.sessions()
    assert f"{own.SCHEME}://127.0.0.1:{own.port}" == own.url


def test_killed_and_wiped(own: Server) -> None:
    """
    A killed server comes back at its port with its data; a restart with wipe comes back empty.
    """
    key, host, first = key_of(own), own.host, own.pid
    own.put(key, "kept")
    own.kill()
    assert not own.running
    assert gone(first)
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", own.port), timeout=1.0):
        pass
    own.start()
    assert host == own.host
    assert first != own.pid
    assert b"kept" == own.get(key)
    own.restart(wipe=True)
    assert host == own.host
    assert own.get(key) is None


def test_frozen_and_thawed(own: Server) -> None:
    """
    A frozen server takes connections and answers nothing; thawed, it answers again; frozen, it can still be ended.
    """
    own.put(key_of(own), "kept")
    assert knock(own)
    own.freeze()
    assert own.running
    assert not knock(own)
    own.thaw()
    until(lambda: knock(own), "answers", 5.0)
    assert b"kept" == own.get(key_of(own))
    own.freeze()
    own.terminate()
    assert not own.running


def test_ended_by_the_first_signal(own_etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A server that ends before the next step of its ending is ended, and no error: an idle etcd may be as quick as that.
    """
    signalled = subprocess.Popen.send_signal

    def and_gone(process: subprocess.Popen[bytes], number: int) -> None:
        signalled(process, number)
        process.wait()

    monkeypatch.setattr(subprocess.Popen, "send_signal", and_gone)
    own_etcd.restart()
    own_etcd.kill()
    own_etcd.kill()
    assert not own_etcd.running


def test_requests_and_connections_are_counted(own: Server) -> None:
    """
    Requests are counted one by one without the counting itself, and a connection is listed while it stands.
    """
    before = own.requests()
    assert before == own.requests()
    own.get(key_of(own))
    one = own.requests() - before
    assert one >= 1
    own.get(key_of(own))
    own.get(key_of(own))
    assert 3 * one == own.requests() - before
    until(lambda: own.connections() == [], "no connection")
    with socket.create_connection(("127.0.0.1", own.port)) as connection:
        mine = f"127.0.0.1:{connection.getsockname()[1]}"
        until(lambda: own.connections() == [mine], "the connection is listed")
    until(lambda: own.connections() == [], "the connection is gone")


def test_sessions_are_listed(own_etcd: Etcd, own_consul: Consul, own_zookeeper: ZooKeeper) -> None:
    """
    A lease or session is listed while it lives, and an operator ends it together with what it holds.
    """
    lease = own_etcd.grant(60)
    own_etcd.put("jobs/a", "x", lease=lease)
    assert [lease] == own_etcd.sessions()
    own_etcd.revoke(lease)
    assert ([], []) == (own_etcd.sessions(), own_etcd.keys("jobs"))

    session = own_consul.make_session("1s", behavior="delete")
    assert own_consul.write("jobs/a", "x", acquire=session)
    assert not own_consul.write("jobs/a", "y", acquire=own_consul.make_session("10s"))
    own_consul.destroy(session)
    assert session not in own_consul.sessions()
    assert [] == own_consul.keys("jobs")

    with own_zookeeper.client() as client:
        client.create("/a", b"x", ephemeral=True)
        number, password = client.client_id
        assert [f"{number:#x}"] == own_zookeeper.sessions()
        own_zookeeper.end_session(number, password)
        assert [] == own_zookeeper.keys("/a")


def test_a_taken_port_is_not_fatal(tmp_path: Path) -> None:
    """
    A server whose port another process was quicker to take starts at another one.
    """
    for kind in KINDS.values():
        server = kind(tmp_path / kind.__name__)
        port = server.port
        with socket.socket() as other:
            other.bind(("127.0.0.1", port))
            other.listen()
            with server:
                assert port != server.port
                server.put(key_of(server), "x")


@pytest.mark.parametrize("name", KINDS)
def test_servers_do_not_outlive_their_process(name: str, tmp_path: Path) -> None:
    """
    A server ends within a moment of the SIGKILL of the process that started it, frozen or not.
    """
    script = (
        f"import sys, time; from servers import {KINDS[name].__name__} as Kind\n"
        "server = Kind(sys.argv[1]).start(); server.freeze(); print(server.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TOOLS)},
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert not gone(pid)
        process.kill()
        process.wait()
        until(lambda: gone(pid), f"{name} is gone", 10.0)


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_cluster_survives_its_leader(name: str, tmp_path: Path) -> None:
    """
    Three members share their data; another one leads when the leader is killed; a rolling restart loses nothing; and
    one alone does not lead.
    """
    with CLUSTERS[name](tmp_path / name) as cluster:
        assert 3 == len(cluster.members) == len(cluster.hosts.split(","))
        leader = cluster.leader()
        key = key_of(leader)
        leader.put(key, "shared")
        assert [b"shared"] * 2 == [each.get(key) for each in cluster.followers()]
        leader.kill()
        assert leader is not cluster.leader()
        leader.start()
        cluster.rolling_restart()
        assert [b"shared"] * 3 == [each.get(key) for each in cluster.members]
        alone, *others = cluster.members
        for each in others:
            each.kill()
        until(lambda: not alone.leads(), "no quorum, no leader")
        for each in others:
            each.launch()
        for each in others:
            each.wait()
        assert b"shared" == alone.get(key)


def test_an_isolated_member_loses_the_others(tmp_path: Path) -> None:
    """
    A ZooKeeper member that is isolated does not see what the others write, and takes no part until it is joined again.
    """
    with ZooKeeperCluster(tmp_path / "zookeeper", links=True) as cluster:
        follower = cluster.followers()[0]
        others = [each for each in cluster.members if each is not follower]
        with follower.client() as client:
            assert client.exists("/a") is None
            cluster.isolate(follower)
            others[0].put("/a", "1")
            assert b"1" == others[1].get("/a")
            assert client.exists("/a") is None
        cluster.join(follower)
        until(cluster.whole, "the member is back")
        assert b"1" == follower.get("/a")


def test_a_cut_holds_bytes_back(own_etcd: Etcd) -> None:
    """
    Through a proxy, a request is lost before the server or its reply after it, with the connection left open; a healed
    proxy delivers, and a reset one closes.
    """

    def ask(connection: socket.socket, path: str) -> None:
        connection.sendall(f"POST /v3/kv/{path}\r\nHost: a\r\nContent-Length: 32\r\n\r\n".encode())
        connection.sendall(b'{"key": "YQ==", "value": "MQ=="}')

    with Proxy(own_etcd.port) as proxy, socket.create_connection(("127.0.0.1", proxy.port), timeout=0.5) as connection:
        assert 0 == proxy.held
        proxy.cut(replies=False)
        ask(connection, "put HTTP/1.1")
        with pytest.raises(TimeoutError):
            connection.recv(1)
        assert own_etcd.get("a") is None
        proxy.cut(requests=False)
        until(lambda: own_etcd.get("a") == b"1", "the request came through")
        with pytest.raises(TimeoutError):
            connection.recv(1)
        proxy.heal()
        assert b"HTTP/1.1 200" == connection.recv(12)
        assert 2 == proxy.held
        assert proxy.asked in {1, 2}  # head and body may come together
        assert 2 == proxy.reset()
        while connection.recv(4096):
            pass


def test_tls_of_each(certificates: Certificates, tmp_path: Path) -> None:
    """
    With TLS, each server shows its certificate, asks for the client's, and the operator's port stays plain.
    """
    import ssl

    trusting = ssl.create_default_context(cafile=certificates.ca_file)
    trusting.load_cert_chain(certificates.client.cert_file, certificates.client.key_file)
    for name, kind in KINDS.items():
        for wrong_host in (False, True):
            tls = certificates.for_server(wrong_host=wrong_host, ask_client=True)
            with kind(tmp_path / f"{name}-{wrong_host}", tls=tls) as server:
                server.put(key_of(server), "x")
                expected = pytest.raises(ssl.SSLCertVerificationError) if wrong_host else contextlib.nullcontext()
                with (
                    socket.create_connection(("127.0.0.1", server.port), timeout=5.0) as connection,
                    expected,
                    trusting.wrap_socket(connection, server_hostname="127.0.0.1") as secure,
                ):
                    assert secure.version() is not None


def test_etcd_users(tmp_path: Path) -> None:
    """
    With users, etcd allows each what its role says, also after a restart; `etcdctl` agrees.
    """
    with Etcd(tmp_path / "etcd", auth=True) as server:
        server.add_user("jane", "secret", "jane/")
        server.restart()
        server.call("kv/put", login=("jane", "secret"), key=coded("jane/a"), value=coded("1"))
        with pytest.raises(Refused, match="permission denied"):
            server.call("kv/put", login=("jane", "secret"), key=coded("joe/a"), value=coded("1"))
        with pytest.raises(Refused, match="authentication failed"):
            server.call("kv/range", login=("jane", "wrong"), key=coded("jane/a"))
        command = [program("etcdctl"), "--endpoints", server.host, "--user", "jane:secret", "get", "jane/a"]
        assert "jane/a\n1\n" == subprocess.run(command, capture_output=True, text=True, check=True).stdout
        server.set_password("jane", "other")
        server.call("kv/range", login=("jane", "other"), key=coded("jane/a"))
        server.remove_user("jane")
        with pytest.raises(Refused):
            server.call("kv/range", login=("jane", "other"), key=coded("jane/a"))


def test_consul_tokens(tmp_path: Path) -> None:
    """
    With ACLs, Consul allows a token what its rules say until it is revoked.
    """
    with Consul(tmp_path / "consul", auth=True) as server:
        token = server.make_token('key_prefix "jane/" { policy = "write" }')
        assert b"true" == server.raw("PUT", "kv/jane/a", b"1", token).strip()
        with pytest.raises(Refused, match="Permission denied"):
            server.raw("PUT", "kv/joe/a", b"1", token)
        with pytest.raises(Refused, match="Permission denied"):
            server.raw("PUT", "kv/jane/a", b"1", "")
        server.revoke_token(token)
        with pytest.raises(Refused, match="ACL not found"):
            server.raw("PUT", "kv/jane/a", b"1", token)


def test_zookeeper_users(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    With users, ZooKeeper knows who authenticates by SASL, refuses a wrong password, and the operator may do all.
    """
    from kazoo.client import KazooClient
    from kazoo.exceptions import AuthFailedError
    from kazoo.handlers.threading import KazooTimeoutError
    from kazoo.security import make_acl

    @contextlib.contextmanager
    def client(password: str) -> Iterator[Any]:
        options = {"mechanism": "DIGEST-MD5", "username": "jane", "password": password}
        made = KazooClient(server.host, sasl_options=options)
        try:
            made.start(timeout=5.0)
            yield made
        finally:
            made.stop()
            made.close()

    with ZooKeeper(tmp_path / "zookeeper", auth={"jane": "secret"}) as server:
        with client("secret") as jane:
            jane.create("/jane", b"1", acl=[make_acl("sasl", "jane", all=True)])
        assert b"1" == server.get("/jane")
        # Where kazoo is told of the refusal before it looks whether it is connected, it says that nobody answered.
        with pytest.raises((AuthFailedError, KazooTimeoutError)), client("wrong") as wrong:
            wrong.get("/jane")
        assert "AUTH_FAILED" in caplog.text


def test_missing_programs_are_said_loudly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    Where the programs were not fetched, a server says what fetches them.
    """
    assert complete()
    monkeypatch.setenv("LEADERSHIP_SERVERS", str(tmp_path))
    assert not complete()
    for kind in KINDS.values():
        with pytest.raises(ServersMissing, match="make servers-fetch"):
            kind(tmp_path / "server").start()


def test_a_fetch_that_cannot_be_is_said_loudly(tmp_path: Path) -> None:
    """
    On a machine without apt, the fetch fails and says what is missing, why, and what can be done without it.
    """
    done = subprocess.run(
        [sys.executable, "-m", "servers.fetch"],
        env={"PATH": str(tmp_path), "PYTHONPATH": str(TOOLS), "LEADERSHIP_SERVERS": str(tmp_path / "servers")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 1 == done.returncode
    assert "apt-get cannot be run here" in done.stderr
    for way in ("make test-embedded", "make servers-fetch", "compose.yaml"):
        assert way in done.stderr


def test_the_command_runs_until_it_is_interrupted() -> None:
    """
    `python -m servers` prints a URL for each server and ends them at Ctrl-C.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "servers", "etcd"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TOOLS)},
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("etcd://127.0.0.1:")
        port = int(url.rpartition(":")[2])
        assert b"etcdserver" in request("127.0.0.1", port, "GET", "/version")
        process.send_signal(signal.SIGINT)
        assert 0 == process.wait(20.0)
        end = time.monotonic() + 5.0
        while any(here == port for here, _, _ in established()):
            assert time.monotonic() < end
            time.sleep(0.05)
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
            pass

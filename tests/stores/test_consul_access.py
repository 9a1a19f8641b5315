"""
How Consul is reached: TLS, tokens, the environment, sockets, the client library. Each fault says which it is.
"""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from consul_scenes import granted, opened
from scenes import Told, entry, on_a_loop, released, taken
from servers import Certificates, Consul

from leadership import connect
from leadership.backends import _consul_http
from leadership.backends.consul import ConsulStore
from leadership.errors import ConfigError, StoreRefused, StoreUnavailable
from leadership.store import Fact, Outcome

MINIMAL = """
key_prefix "%s/" { policy = "write" }
session_prefix "" { policy = "write" }
"""
ENVIRONMENT = (
    *("ADDR", "TOKEN", "TOKEN_FILE", "SSL", "SSL_VERIFY"),
    *("CACERT", "CLIENT_CERT", "CLIENT_KEY", "NAMESPACE", "TLS_SERVER_NAME"),
)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(f"CONSUL_HTTP_{name}", raising=False)
        monkeypatch.delenv(f"CONSUL_{name}", raising=False)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Consul]:
    """
    A Consul with TLS, which wants certificates of its clients, and tokens.
    """
    tls = certificates.for_server(ask_client=True)
    with Consul(tmp_path_factory.mktemp("guarded"), tls=tls, auth=True) as server:
        yield server


@pytest.fixture(scope="module")
def misnamed(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Consul]:
    """
    A Consul whose certificate is another host's.
    """
    with Consul(tmp_path_factory.mktemp("misnamed"), tls=certificates.for_server(wrong_host=True)) as server:
        yield server


async def lives(store: ConsulStore, election: str = "job") -> None:
    """
    An election's whole life: a session, a watch, a claim, a read, a request, a renewal, a release.
    """
    session, told, claim = await granted(store), Told(), entry(election)
    store.watch(election, told)
    await told.until(Fact.VACANT_OBSERVED)
    token = await taken(session, claim)
    assert (await store.read([election]))[election] is not None
    assert Outcome.DONE is (await store.request_resign(election, token, None)).outcome
    await told.until(Fact.RESIGN_REQUESTED)
    assert Outcome.DONE is (await session.renew()).outcome
    await released(session, claim)
    await told.until(Fact.KEY_DELETED)
    assert Outcome.DONE is (await session.end()).outcome


async def fault(store: ConsulStore) -> str:
    """
    What a read, a session and a watch are refused with, alike.
    """
    told = Told()
    store.watch("job", told)
    with pytest.raises(StoreRefused) as reading:
        await store.read(["job"])
    with pytest.raises(StoreRefused):
        await store.open_session(15.0, Told())
    closed = await told.until(Fact.WATCH_CLOSED)
    assert isinstance(closed.error, StoreRefused)
    return str(reading.value)


def files(certificates: Certificates, **other: Any) -> dict[str, Any]:
    """
    The right TLS options, and others in their place.
    """
    pair = certificates.client
    right = {"ca_file": certificates.ca_file, "cert_file": pair.cert_file, "key_file": pair.key_file}
    return {name: value for name, value in (right | other).items() if value is not None}


@on_a_loop
async def test_minimal_policy_is_enough(guarded: Consul, certificates: Certificates) -> None:
    """
    Writing below the path, and sessions: that is all that an election needs, over TLS with a client's certificate.
    """
    path = uuid.uuid4().hex
    token = guarded.make_token(MINIMAL % path)
    async with opened(guarded, path, token=token, **files(certificates)) as store:
        await lives(store)
        assert token not in f"{store!r}{store.url}{store.settings!r}"


@on_a_loop
async def test_who_asks_for_a_resignation_needs_no_session(guarded: Consul, certificates: Certificates) -> None:
    """
    Writing the keys is enough for a request to resign, and to see it.
    """
    path, tls = uuid.uuid4().hex, files(certificates)
    writer = guarded.make_token(f'key_prefix "{path}/" {{ policy = "write" }}')
    async with (
        opened(guarded, path, token=guarded.make_token(MINIMAL % path), **tls) as store,
        opened(guarded, path, token=writer, **tls) as asking,
    ):
        session, told, claim = await granted(store), Told(), entry()
        store.watch("job", told)
        token = await taken(session, claim)
        assert Outcome.DONE is (await asking.request_resign("job", token, "why")).outcome
        await told.until(Fact.RESIGN_REQUESTED)
        with pytest.raises(StoreRefused, match="session:write"):
            await granted(asking)
        await released(session, claim)


@on_a_loop
async def test_tls_faults_say_which(guarded: Consul, misnamed: Consul, certificates: Certificates) -> None:
    """
    An authority that is not trusted, a missing and a foreign client certificate, another host's name, TLS where there
    is none, none where there is: each is refused at once, in its own words. A server name or leave mends the host name.
    """
    foreign = certificates.foreign_client
    token = guarded.master_token
    cases: list[tuple[str, dict[str, Any], str]] = [
        (guarded.host, files(certificates, ca_file=certificates.foreign_ca_file), "authority that is not trusted"),
        (guarded.host, files(certificates, ca_file=None), "authority that is not trusted"),
        (guarded.host, {"ca_file": certificates.ca_file}, "wants a client's certificate"),
        (
            guarded.host,
            files(certificates, cert_file=foreign.cert_file, key_file=foreign.key_file),
            "client's certificate",
        ),
        (misnamed.host, {"ca_file": certificates.ca_file}, "another host name"),
        (f"127.0.0.1:{guarded.plain_port}", files(certificates), "speaks no TLS"),
        (guarded.host, {}, "speaks TLS: give the option tls=true"),
    ]
    for host, options, words in cases:
        async with opened(host, token=token, **options) as store:
            said = await fault(store)
            assert words in said
            assert token not in said
    async with opened(misnamed, ca_file=certificates.ca_file) as store:
        assert "another host name" in await fault(store)
    for options in ({"server_name": "elsewhere.example"}, {"check_host_name": "false"}):
        async with opened(misnamed, ca_file=certificates.ca_file, **options) as store:
            await lives(store)


@on_a_loop
async def test_tokens_that_do_not_allow_it_say_so(guarded: Consul, certificates: Certificates) -> None:
    """
    No token, an unknown one, one that was revoked while it led, one without each of the permissions.
    """
    path = uuid.uuid4().hex
    tls = files(certificates)
    async with opened(guarded, path, token=str(uuid.uuid4()), **tls) as store:
        assert "the token is unknown, has expired or was revoked" in await fault(store)
    async with opened(guarded, path, **tls) as store:
        assert "reading the key" in await fault(store)
    reader = guarded.make_token(f'key_prefix "{path}/" {{ policy = "read" }}')
    async with opened(guarded, path, token=reader, **tls) as store:
        assert {"job": None} == await store.read(["job"])
        with pytest.raises(StoreRefused, match=r"making a session \(session:write\): the token has no permission"):
            await granted(store)
    timid = guarded.make_token(f'key_prefix "{path}/" {{ policy = "read" }} session_prefix "" {{ policy = "write" }}')
    async with opened(guarded, path, token=timid, **tls) as store:
        with pytest.raises(StoreRefused, match=rf"locking the key '{path}/job' \(key:write\).*no permission"):
            await (await granted(store)).acquire(entry())
    revoked = guarded.make_token(MINIMAL % path)
    async with opened(guarded, path, token=revoked, **tls) as store:
        session = await granted(store)
        await taken(session, entry())
        guarded.revoke_token(revoked)
        with pytest.raises(StoreRefused, match="revoked"):
            await session.renew()
    guarded.delete_all(path)


@on_a_loop
async def test_arguments_count_before_the_environment(
    consul: Consul, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    What the client library would take from the environment over its arguments does not count; without arguments the
    environment does. A proxy of the environment is never asked.
    """
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "192.0.2.1:1")
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "wrong")
    monkeypatch.setenv("CONSUL_HTTP_SSL", "true")
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:1")
    async with opened(consul, tls=False, token="right") as store:
        assert ("right", None) == (store.settings.token, store.settings.tls)
        await lives(store)
    monkeypatch.delenv("CONSUL_HTTP_SSL")
    monkeypatch.setenv("CONSUL_HTTP_ADDR", f"http://{consul.host}")
    secret = tmp_path / "token"
    secret.write_text("from-a-file\n")
    monkeypatch.setenv("CONSUL_HTTP_TOKEN_FILE", str(secret))
    monkeypatch.setenv("CONSUL_NAMESPACE", "team")
    store = ConsulStore("/some/path", least_ttl=1)
    assert f"consul://{consul.host}/some/path" == store.url
    assert ("wrong", "team") == (store.settings.token, store.settings.namespace)
    with pytest.raises(StoreRefused, match="Namespaces are a Consul Enterprise feature"):
        await store.read(["job"])
    await store.aclose()
    monkeypatch.delenv("CONSUL_HTTP_TOKEN")
    assert "from-a-file" == ConsulStore("").settings.token
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "https://consul.example:8501")
    assert ConsulStore("").settings.tls is not None
    assert ConsulStore(consul.host).settings.tls is None


@on_a_loop
async def test_environment_may_trust_anybody(misnamed: Consul, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    CONSUL_HTTP_SSL_VERIFY=false is what it says, and warns at no request; an argument names whom to trust instead.
    """
    async with opened(misnamed, tls=True) as store:
        assert "authority that is not trusted" in await fault(store)
    monkeypatch.setenv("CONSUL_HTTP_SSL_VERIFY", "false")
    async with opened(misnamed, tls=True) as store:
        await lives(store)
    monkeypatch.setenv("CONSUL_CACERT", misnamed.tls.ca_file if misnamed.tls else "")
    async with opened(misnamed) as store:
        assert store.settings.tls is None  # a file of the environment does not ask for TLS
    async with opened(misnamed, tls=True, ca_file=misnamed.tls.ca_file if misnamed.tls else "") as store:
        assert "another host name" in await fault(store)


@on_a_loop
async def test_unix_socket_and_other_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An agent is reached by its socket, by IPv6, and by the second of two hosts when the first is not there.
    """
    path = tmp_path / "http.sock"
    options = {"addresses": {"http": f"127.0.0.1 ::1 unix://{path}"}}
    with Consul(tmp_path / "consul", options=options) as server:
        monkeypatch.setenv("CONSUL_HTTP_ADDR", f"unix://{path}")
        for host in ("", str(path).replace("/", "%2F"), f"[::1]:{server.port}", f"127.0.0.1:1,{server.host}"):
            async with opened(host) as store:
                await lives(store)
        monkeypatch.setenv("CONSUL_HTTP_ADDR", f"unix://{tmp_path}/none")
        async with opened("") as store:
            with pytest.raises(StoreUnavailable, match="No such file"):
                await store.read(["job"])


@on_a_loop
async def test_redirects_are_not_followed(consul: Consul) -> None:
    """
    A redirect would take the token to another host: it is refused. What is no Consul is told apart.
    """
    asked: list[str] = []

    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302 if "txn" in self.path else 200)
            self.send_header("Location", f"http://{consul.host}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_PUT = do_GET  # noqa: N815 - as the server calls it

        def log_message(self, *_words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            async with opened(f"127.0.0.1:{server.server_port}", token="secret") as store:
                with pytest.raises(StoreRefused, match="redirects to another address"):
                    await store.read(["job"])
                with pytest.raises(StoreRefused, match="is it Consul's HTTP port"):
                    await granted(store)
        finally:
            server.shutdown()
            thread.join()
    assert asked


@on_a_loop
async def test_no_leader_is_unavailable(tmp_path: Path) -> None:
    """
    A server without a leader, and one that has too much to do, are tried again.
    """
    with Consul(tmp_path, options={"limits": {"http_max_conns_per_client": 200}}) as server:
        for words, status in (("No cluster leader", 500), ("Too many requests", 429)):
            answer = _consul_http.Answer(status, words, 0, server.host)
            with pytest.raises(StoreUnavailable, match=words):
                answer.check("reading")
        async with opened(server, datacenter="elsewhere") as store:
            with pytest.raises(StoreUnavailable, match="No path to datacenter"):
                await granted(store)


@pytest.mark.parametrize(
    ("address", "options", "words"),
    [
        ("user:secret@h", {}, "takes no user and password"),
        ("h:x", {}, "is no host of a consul store"),
        ("h//x", {}, "empty part"),
        ("h", {"tls": "perhaps"}, "must be true or false"),
        ("h", {"ca_file": "/none"}, "cannot be read"),
        ("h", {"cert_file": __file__}, "needs 'key_file' too"),
        ("h", {"ca_file": __file__}, "cannot be used"),
        ("h", {"token": "sec ret\n"}, "a character that no token has"),
        ("h", {"lock_delay": -1}, "lock_delay"),
        ("h", {"timeout": 0}, "timeout"),
        ("h1,h2", {"check": "leadership"}, "one host"),
        ("h", {"check": "a/b"}, "plain name"),
    ],
)
def test_unusable_arguments_are_refused(address: str, options: dict[str, Any], words: str) -> None:
    """
    Before anything is sent, and without the secret.
    """
    with pytest.raises(ConfigError) as refusal:
        ConsulStore(address, **options)
    assert words in str(refusal.value)
    assert "secret" not in str(refusal.value)
    assert "sec ret" not in str(refusal.value)


def test_options_stand_in_the_url_too() -> None:
    """
    As text, and are shown in no URL.
    """
    store = connect("consul://a:1,[::1]/some%20path?token=secret&least_ttl=2&lock_delay=1.5&timeout=3")
    assert isinstance(store, ConsulStore)
    assert "consul://a:1,[::1]:8500/some%20path" == store.url
    settings = store.settings
    assert ("secret", 2.0, 1.5, 3.0) == (settings.token, settings.least_ttl, settings.lock_delay, settings.timeout)
    assert "some path/job" == store.key("job")


def test_client_libraries_are_told_apart() -> None:
    """
    python-consul2 takes a time-out, py-consul another and adds the wait by itself; what takes none is refused, and so
    is what is not there.
    """

    class Second:
        def __init__(self, host: str, port: int, scheme: str, verify: bool = True, timeout: object = None) -> None:
            self.timeout = timeout

    class Base:
        def __init__(self, host: str, port: int, scheme: str, verify: bool = True) -> None:
            self.host = host

    class Other(Base):
        def __init__(self, *args: Any, connections_timeout: float | None = 30, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.connections_timeout = connections_timeout

    library = _consul_http.Library(Second)
    client = library.client("h", 1, "http")
    library.set_timeout(client, 3.0, 16.0)
    assert 20.0 == client.timeout
    library = _consul_http.Library(Other)
    client = library.client("h", 1, "http")
    library.set_timeout(client, 3.0, 16.0)
    assert 3.0 == client.connections_timeout
    for none in (Base, None):
        with pytest.raises(ConfigError, match="lets no time-out be set"):
            _consul_http.Library(none)


def test_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The error names the extra.
    """
    monkeypatch.setitem(sys.modules, "consul.std", None)
    with pytest.raises(ConfigError, match=r"pip install leadership\[consul\]"):
        ConsulStore("h")


def test_nothing_warns(consul: Consul) -> None:
    """
    Importing the module and leading an election emit no warning, with warnings as errors.
    """
    program = f"""
import leadership.backends.consul
from leadership import Candidate, connect
with connect("consul://{consul.host}/{uuid.uuid4().hex}") as store:
    candidate = Candidate(store, "job", ttl=10.0, log=False)
    candidate.start()
    assert candidate.wait_elected(10.0)
    assert candidate.stop(10.0)
"""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=40)
    assert (0, "") == (done.returncode, done.stderr)


def test_store_is_the_parents(consul: Consul) -> None:
    """
    In a forked child the store refuses everything, and the parent's session goes on.
    """
    program = f"""
import asyncio, os
from leadership.backends.consul import ConsulStore
from leadership.errors import ConfigError
from leadership.store import Entry, Outcome

async def main():
    store = ConsulStore("{consul.host}/{uuid.uuid4().hex}")
    session = await store.open_session(10.0, print)
    assert (await session.acquire(Entry("job", "ann", "k", number=1))).outcome is Outcome.DONE
    child = os.fork()
    if not child:
        calls = (session.renew(), session.acquire(Entry("job", "ann", "l", number=2)), store.read(["job"]))
        refused = 0
        for call in calls:
            try:
                call.send(None)
            except ConfigError as error:
                refused += "before this process was forked" in str(error)
        os._exit(refused)
    assert 3 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert (await session.renew()).outcome is Outcome.DONE
    await store.aclose()

asyncio.run(main())
"""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]  # fork, beside threads
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=40)
    assert (0, "") == (done.returncode, done.stderr)

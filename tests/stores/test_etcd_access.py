"""
TLS and users of etcd: the right ones work, the wrong ones are told at once what is wrong, and no secret is shown.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from etcd_scenes import TTL, opened
from scenes import SOON, Told, entry, on_a_loop, refused, taken
from servers import Certificates, Etcd

from leadership.backends.etcd import EtcdStore
from leadership.errors import ConfigError, StoreRefused, StoreUnavailable
from leadership.store import Fact, Outcome

PASSWORD = "s3cret/with:odd@signs"


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Etcd]:
    """
    An etcd that speaks TLS and knows its users, whose tokens end after two idle seconds.
    """
    tls = certificates.for_server()
    with Etcd(tmp_path_factory.mktemp("encrypted"), tls=tls, auth=True, token_ttl=2) as server:
        server.add_user("ann", PASSWORD, "service/")
        yield server


@pytest.fixture(scope="module")
def demanding(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Etcd]:
    """
    An etcd that demands a certificate of its clients.
    """
    with Etcd(tmp_path_factory.mktemp("demanding"), tls=certificates.for_server(ask_client=True)) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """
    An etcd that knows its users and speaks no TLS.
    """
    with Etcd(tmp_path_factory.mktemp("guarded"), auth=True, token_ttl=2) as server:
        server.add_user("ann", PASSWORD, "service/")
        server.add_user("reader", PASSWORD, "service/", access="READ")
        server.add_user("nobody", PASSWORD)
        yield server


async def leads(store: EtcdStore, election: str = "") -> None:
    """
    An election's whole life: a lease, a claim, a watch, reads, a request, a release.
    """
    election = election or uuid.uuid4().hex
    session, told, claim = await store.open_session(TTL, Told()), Told(), entry(election, metadata={"a": 1})
    store.watch(election, told)
    await told.until(Fact.VACANT_OBSERVED)
    token = await taken(session, claim)
    await told.until(Fact.LEADER_OBSERVED)
    holder = (await store.read([election]))[election]
    assert (token, {"a": 1}) == (None if holder is None else holder.token, None if holder is None else holder.metadata)
    assert Outcome.DONE is (await store.request_resign(election, token, "why")).outcome
    await told.until(Fact.RESIGN_REQUESTED)
    assert Outcome.DONE is (await session.renew()).outcome
    assert Outcome.DONE is (await session.release(claim)).outcome
    await told.until(Fact.KEY_DELETED)
    assert Outcome.DONE is (await session.end()).outcome


async def denied(store: EtcdStore, words: str) -> None:
    """
    Reads, watches and sessions are refused alike, and what is said shows no password.
    """
    told = Told()
    store.watch("job", told)
    with pytest.raises(StoreRefused, match=words) as caught:
        await store.read(["job"])
    assert isinstance((await told.until(Fact.WATCH_CLOSED)).error, StoreRefused)
    assert PASSWORD not in f"{caught.value!r} {told} {store!r} {store.url}"


@on_a_loop
async def test_the_right_certificates_and_the_right_user(encrypted: Etcd, certificates: Certificates) -> None:
    """
    A user with no more than readwrite on a prefix leads over TLS; host name and address of the server both count.
    """
    for host in (encrypted.host, f"localhost:{encrypted.port}"):
        async with opened(host, "service/x", ca_file=certificates.ca_file, user="ann", password=PASSWORD) as store:
            await leads(store)


@on_a_loop
async def test_several_hosts_with_tls(encrypted: Etcd, certificates: Certificates) -> None:
    """
    Each host's certificate is checked for that host's name, and one that is not there is passed over.
    """
    hosts = f"localhost:1,{encrypted.host},localhost:{encrypted.port}"
    for first in range(3):
        async with opened(hosts, "service/x", ca_file=certificates.ca_file, user="ann", password=PASSWORD) as store:
            store.client._index = first
            if first == 0:
                with pytest.raises(StoreUnavailable):
                    await store.read(["job"])
                assert encrypted.host == store.client.host
            await leads(store)


@on_a_loop
async def test_a_client_certificate(demanding: Etcd, certificates: Certificates) -> None:
    """
    The right one works; none, or one of another authority, is refused with the options named.
    """
    right, foreign = certificates.client, certificates.foreign_client
    ca_file = certificates.ca_file
    async with opened(demanding, ca_file=ca_file, cert_file=right.cert_file, key_file=right.key_file) as store:
        await leads(store)
    async with opened(demanding, ca_file=ca_file) as store:
        await denied(store, "refuses the client's certificate, or asks for one.*cert_file")
    async with opened(demanding, ca_file=ca_file, cert_file=foreign.cert_file, key_file=foreign.key_file) as store:
        await denied(store, "refuses the client's certificate")


@on_a_loop
async def test_a_server_that_is_not_trusted(encrypted: Etcd, certificates: Certificates) -> None:
    """
    A certificate of another authority, or of none that the system knows, is refused.
    """
    async with opened(encrypted, ca_file=certificates.foreign_ca_file) as store:
        await denied(store, "has a certificate that ca_file .* does not vouch for")
    async with opened(encrypted, tls=True) as store:
        await denied(store, "has a certificate that ca_file .* does not vouch for")


@on_a_loop
async def test_a_certificate_for_another_host(tmp_path: Path, certificates: Certificates) -> None:
    """
    A certificate for another name is refused, unless that name is what was asked for.
    """
    with Etcd(tmp_path / "elsewhere", tls=certificates.for_server(wrong_host=True)) as server:
        async with opened(server, ca_file=certificates.ca_file) as store:
            await denied(store, "has a certificate for another host name .server_name says")
        name = "elsewhere.example"
        async with opened(server, ca_file=certificates.ca_file, server_name=name) as store:
            await leads(store)


@on_a_loop
async def test_tls_on_one_side_only(encrypted: Etcd, etcd: Etcd, certificates: Certificates) -> None:
    """
    A server that closes the connection is unavailable, and the error wonders about TLS.
    """
    async with opened(encrypted) as store:
        with pytest.raises(StoreUnavailable, match="does it ask for TLS"):
            await store.read(["job"])
    async with opened(etcd, ca_file=certificates.ca_file) as store:
        with pytest.raises(StoreUnavailable, match="does it speak TLS"):
            await store.read(["job"])


@on_a_loop
async def test_the_right_user_without_tls(guarded: Etcd) -> None:
    """
    User and password work without TLS, from the options, from the address, and from the environment.
    """
    async with opened(guarded, "service/y", user="ann", password=PASSWORD) as store:
        await leads(store)
    coded = "s3cret%2Fwith%3Aodd%40signs"
    async with opened(f"ann:{coded}@{guarded.host}", "service/y") as store:
        await leads(store)
        assert f"etcd://ann@{guarded.host}/service/y" == store.url


@pytest.mark.parametrize(
    "options", [{"ETCDCTL_USER": f"ann:{PASSWORD}"}, {"ETCDCTL_USER": "ann", "ETCDCTL_PASSWORD": PASSWORD}]
)
def test_user_and_host_of_the_environment(
    options: dict[str, str], guarded: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What etcdctl would use is used where no argument says otherwise.
    """
    monkeypatch.setenv("ETCDCTL_ENDPOINTS", f"http://{guarded.host}")
    for name, value in options.items():
        monkeypatch.setenv(name, value)

    @on_a_loop
    async def scene() -> None:
        async with opened("", "service/z") as store:
            await leads(store)

    scene()


@on_a_loop
async def test_the_wrong_user(guarded: Etcd) -> None:
    """
    A wrong password, an unknown user and no user at all are refused at once, each by its name.
    """
    async with opened(guarded, "service/x", user="ann", password="wrong") as store:
        await denied(store, "does not know the user 'ann' with this password")
    async with opened(guarded, "service/x", user="who", password=PASSWORD) as store:
        await denied(store, "does not know the user 'who' with this password")
    async with opened(guarded, "service/x") as store:
        await denied(store, "does not accept this client, which has no user.*give user and password")


@on_a_loop
async def test_a_missing_permission(guarded: Etcd) -> None:
    """
    Whoever may not read, or may read and not write, is told which keys it is about.
    """
    keys = "the keys below 'service/x/job/' and 'service/x/job.leadership/'"
    async with opened(guarded, "service/x", user="nobody", password=PASSWORD) as store:
        await denied(store, f"denies the user 'nobody' permission for {keys}: grant a role readwrite")
    async with opened(guarded, "service/x", user="reader", password=PASSWORD) as store:
        assert {"job": None} == dict(await store.read(["job"]))
        told = Told()
        store.watch("job", told)
        await told.until(Fact.VACANT_OBSERVED)
        session = await store.open_session(TTL, Told())
        with pytest.raises(StoreRefused, match=f"denies the user 'reader' permission for {keys}"):
            await session.acquire(entry())
    async with opened(guarded, "elsewhere", user="ann", password=PASSWORD) as store:
        await denied(store, "denies the user 'ann' permission for the keys below 'elsewhere/job/'")


@on_a_loop
async def test_one_refused_watch_hurts_no_other(guarded: Etcd) -> None:
    """
    Of watches that begin together, the one that is not permitted ends with an error, and the others go on.
    """
    async with opened(guarded, "service", user="root", password="root-password") as root:
        session = await root.open_session(10.0, Told())
        await taken(session, entry("x"))
    store = EtcdStore(guarded.host, user="ann", password=PASSWORD)
    told = {name: Told() for name in ("service/a", "forbidden", "service/b")}
    for name, each in told.items():
        store.watch(name, each)
    await told["service/a"].until(Fact.VACANT_OBSERVED)
    await told["service/b"].until(Fact.VACANT_OBSERVED)
    assert isinstance((await told["forbidden"].until(Fact.WATCH_CLOSED)).error, StoreRefused)
    await store.aclose()


@on_a_loop
async def test_a_token_that_ends_is_renewed(encrypted: Etcd, guarded: Etcd, certificates: Certificates) -> None:
    """
    After idle seconds that end a token, every call works, a watch that began before tells on, and a new watch begins.
    """
    for server, options in ((encrypted, {"ca_file": certificates.ca_file}), (guarded, {})):
        async with opened(server, "service/t", user="ann", password=PASSWORD, **options) as store:
            told, another = Told(), Told()
            session, claim = await store.open_session(20.0, Told()), entry()
            store.watch("job", told)
            await told.until(Fact.VACANT_OBSERVED)
            first = store.client._token
            await asyncio.sleep(4.5)
            store.watch("another", another)
            await another.until(Fact.VACANT_OBSERVED)
            assert first != store.client._token
            async with asyncio.timeout(SOON):
                while (stream := store.watches._stream) is None or first == stream.token:
                    await asyncio.sleep(0.01)
            token = await taken(session, claim)
            assert token == (await told.until(Fact.LEADER_OBSERVED)).holder.token  # type: ignore[union-attr]
            rival = await store.open_session(20.0, Told())
            await refused(rival, entry(node="bob"))
            await session.release(claim)
            await told.until(Fact.KEY_DELETED)
            assert Fact.WATCH_CLOSED not in (*told.facts, *another.facts)


@on_a_loop
async def test_a_token_that_ends_before_it_is_used(guarded: Etcd) -> None:
    """
    An operator sets passwords while tokens are asked for: a leader with the right one was refused for good, and gave
    up, where a new token had ended before its first use.
    """
    async with opened(guarded, "service/t", user="ann", password=PASSWORD) as store:
        session = await store.open_session(TTL, Told())
        authenticate, left = store.client._authenticate, 2

        async def ends_at_once(until: float) -> None:
            nonlocal left
            await authenticate(until)
            if left:
                left -= 1
                await asyncio.to_thread(guarded.set_password, "ann", PASSWORD)

        store.client._authenticate = ends_at_once  # type: ignore[method-assign]
        store.client.forget(store.client._token)
        claim = entry()
        await taken(session, claim)
        assert 0 == left
        await session.release(claim)


@on_a_loop
async def test_a_user_that_is_removed(guarded: Etcd) -> None:
    """
    A password that is changed, or a user that is removed, ends in a typed error that says so.
    """
    guarded.add_user("temp", PASSWORD, "temp/")
    async with opened(guarded, "temp", user="temp", password=PASSWORD) as store:
        await leads(store)
        guarded.set_password("temp", "another")
        with pytest.raises(StoreRefused, match="does not know the user 'temp' with this password"):
            await store.read(["job"])
    async with opened(guarded, "temp", user="temp", password="another") as store:
        await leads(store)
        guarded.remove_user("temp")
        with pytest.raises(StoreRefused, match="'temp'"):
            await store.read(["job"])


@on_a_loop
async def test_a_server_without_users_ignores_one(etcd: Etcd) -> None:
    """
    A user that nobody asks for is no fault.
    """
    async with opened(etcd, user="ann", password=PASSWORD) as store:
        await leads(store)


@pytest.mark.parametrize(
    ("address", "options", "words"),
    [
        ("host:99999", {}, "is no host"),
        ("a,,b", {}, "is no host"),
        ("ann@host", {}, "the user 'ann' and no password"),
        ("host", {"password": "x"}, "a password and no user"),
        ("ann:x@host", {"user": "bob", "password": "y"}, "given twice"),
        ("host", {"timeout": "soon"}, "timeout"),
        ("host", {"ca_file": "/no/such/file"}, "cannot be read"),
        ("host", {"ca_file": __file__, "cert_file": __file__}, "'key_file'"),
        ("host", {"tls": "maybe"}, "'tls'"),
        ("host", {"check_host_name": "no"}, "server_name"),
        ("host/a//b", {}, "empty part"),
        ("host/a", {"prefix": "b/"}, "given twice"),
        ("host", {"prefix": "b\n"}, "control character"),
        ("host", {"prefix": "/x.leadership/"}, "which the library uses itself"),
        ("host/a.leadership/b", {}, "which the library uses itself"),
    ],
)
def test_arguments_that_cannot_be_used(address: str, options: dict[str, str], words: str) -> None:
    """
    They are refused when the store is made, without a connection.
    """
    with pytest.raises(ConfigError, match=words):
        EtcdStore(address, **options)


@pytest.mark.parametrize("which", ["ca_file", "cert_file", "another key"])
def test_files_that_are_no_certificates(
    which: str, tmp_path: Path, encrypted: Etcd, certificates: Certificates
) -> None:
    """
    Files that are no PEM, or a key that is not the certificate's, are refused at the first call, and the error names
    the options.
    """
    junk = tmp_path / "junk.pem"
    junk.write_text("junk", encoding="utf-8")
    options = {"ca_file": certificates.ca_file}
    if which == "ca_file":
        options["ca_file"] = str(junk)
    elif which == "cert_file":
        options |= {"cert_file": str(junk), "key_file": str(junk)}
    else:
        options |= {"cert_file": certificates.client.cert_file, "key_file": certificates.server.key_file}

    @on_a_loop
    async def scene() -> None:
        async with opened(encrypted, **options) as store:
            with pytest.raises(StoreRefused, match="ca_file, cert_file and key_file cannot be used"):
                await store.read(["job"])

    scene()


def test_names_that_etcd_cannot_keep(etcd: Etcd) -> None:
    """
    A name whose keys would be another election's side entries is refused, and one that is too long with its prefix.
    """
    store = EtcdStore(f"{etcd.host}/prefix")
    for name in ("a.leadership", "a.leadership/b", "a/b.leadership/c"):
        with pytest.raises(ConfigError, match="which the library uses itself"):
            store.check_election(name)
    store.check_election("a.leadershipx/leadership/.hidden")
    store.check_election("x" * 1017)
    with pytest.raises(ConfigError, match="1025 bytes"):
        store.check_election("x" * 1018)

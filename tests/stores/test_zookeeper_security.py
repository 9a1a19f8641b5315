"""
TLS and credentials of ZooKeeper, live: right ones work, wrong ones say at once which are wrong; no secret is shown.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import Certificates, ZooKeeper
from zookeeper_stage import LEASE, Heard, entry, holder, run, take

from leadership.backends.zookeeper import ZooKeeperStore
from leadership.errors import ConfigError, LeadershipError, StoreRefused, StoreUnavailable
from leadership.store import Fact, Outcome

PASSWORD = "s3cret-word"


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[ZooKeeper]:
    """
    A server that speaks TLS with those it knows.
    """
    with ZooKeeper(tmp_path_factory.mktemp("secure"), tls=certificates.for_server(ask_client=True)) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeper]:
    """
    A server that knows a user by SASL.
    """
    with ZooKeeper(tmp_path_factory.mktemp("guarded"), auth={"ann": PASSWORD}) as server:
        yield server


def mutual(certificates: Certificates, **more: Any) -> dict[str, Any]:
    own = certificates.client
    return {"ca_file": certificates.ca_file, "cert_file": own.cert_file, "key_file": own.key_file, **more}


def attempt(address: str, **options: Any) -> LeadershipError | None:
    """
    What comes of a session, an entry and a read, at once.
    """

    async def scenario() -> LeadershipError | None:
        store = ZooKeeperStore(address, **options)
        begun, met = time.monotonic(), None
        try:
            session = await store.open_session(LEASE, Heard())
            await take(session, entry())
            assert (await holder(store)) is not None
            assert Outcome.DONE is (await session.renew()).outcome
        except LeadershipError as error:
            met = error
        assert time.monotonic() - begun < LEASE / 4 + 1.0
        await store.aclose()
        return met

    return run(scenario)


def test_mutual_tls(secure: ZooKeeper, certificates: Certificates) -> None:
    """
    With its authority and one's own certificate; the host's name is checked.
    """
    assert attempt(f"{secure.host}/tls", **mutual(certificates)) is None


def test_wrong_authority(secure: ZooKeeper, certificates: Certificates) -> None:
    """
    A server whose certificate is of another authority is refused, and the error says so.
    """
    error = attempt(f"{secure.host}/tls", **mutual(certificates, ca_file=certificates.foreign_ca_file))
    assert isinstance(error, StoreRefused)
    assert "wrong CA" in str(error)


def test_missing_client_certificate(secure: ZooKeeper, certificates: Certificates) -> None:
    """
    A server that wants a certificate says so to who has none, or none that it trusts.
    """
    error = attempt(f"{secure.host}/tls", ca_file=certificates.ca_file)
    assert isinstance(error, StoreRefused)
    assert "client certificate" in str(error)
    foreign = certificates.foreign_client
    error = attempt(
        f"{secure.host}/tls", ca_file=certificates.ca_file, cert_file=foreign.cert_file, key_file=foreign.key_file
    )
    assert isinstance(error, StoreRefused)
    assert "client certificate" in str(error)


def test_wrong_host_name(tmp_path: Path, certificates: Certificates) -> None:
    """
    A certificate for another name is refused, unless that is the expected name or the name is not looked at.
    """
    with ZooKeeper(tmp_path, tls=certificates.for_server(wrong_host=True)) as server:
        trusted = {"ca_file": certificates.ca_file}
        error = attempt(f"{server.host}/tls", **trusted)
        assert isinstance(error, StoreRefused)
        assert "wrong host name" in str(error)
        assert attempt(f"{server.host}/tls", **trusted, server_name="elsewhere.example") is None
        assert attempt(f"{server.host}/tls", **trusted, check_host_name="false") is None


def test_plain_and_tls_do_not_meet(secure: ZooKeeper, zookeeper: ZooKeeper, certificates: Certificates) -> None:
    """
    Without TLS to a port that speaks it, or the other way round: unavailable, in time, and not for ever.
    """
    assert isinstance(attempt(f"{secure.host}/tls"), StoreUnavailable)
    assert isinstance(attempt(f"{zookeeper.host}/tls", ca_file=certificates.ca_file), StoreUnavailable)


def test_sasl(guarded: ZooKeeper) -> None:
    """
    The server checks user and password.
    """
    assert attempt(f"ann:{PASSWORD}@{guarded.host}/sasl", auth="sasl") is None
    error = attempt(f"{guarded.host}/sasl", auth="sasl", user="ann", password="another-word")
    assert isinstance(error, StoreRefused)
    assert "'ann'" in str(error)
    assert "another-word" not in str(error)


def test_digest_owns_its_entries(zookeeper: ZooKeeper) -> None:
    """
    Everybody may read who leads; another password is another user, who may not stand, release or ask to resign, and is
    told on which node.
    """

    async def scenario() -> None:
        address = f"{zookeeper.host}/digest"
        store = ZooKeeperStore(address, user="ann", password=PASSWORD)
        same = ZooKeeperStore(f"ann:{PASSWORD}@{address}")
        stranger, nobody = ZooKeeperStore(address, user="ann", password="another-word"), ZooKeeperStore(address)
        told = Heard()
        session = await store.open_session(LEASE, told)
        token = await take(session, claim := entry(metadata={"a": 1}))
        rival = await same.open_session(LEASE, Heard())
        assert Outcome.REFUSED is (await rival.acquire(entry())).outcome
        for other in (stranger, nobody):
            leads = await holder(other)
            assert leads is not None
            assert (token, {"a": 1}) == (leads.token, dict(leads.metadata))
            denied = await other.open_session(LEASE, Heard())
            assert Outcome.DONE is (await denied.renew()).outcome
            with pytest.raises(StoreRefused, match="permission denied on /digest/job"):
                await denied.acquire(entry())
            with pytest.raises(StoreRefused, match="permission denied on /digest/job"):
                await other.request_resign("job", token, None)
        await session.release(claim)
        await asyncio.gather(*(each.aclose() for each in (store, same, stranger, nobody)))

    run(scenario)


def test_secrets_are_shown_nowhere(guarded: ZooKeeper, caplog: pytest.LogCaptureFixture) -> None:
    """
    Not in the URL, `repr`, the options, errors, or the log at its chattiest.
    """
    with caplog.at_level(1):
        logging.getLogger("kazoo").setLevel(1)
        for auth in ("digest", "sasl"):
            store = ZooKeeperStore(f"ann:{PASSWORD}@{guarded.host}/app", auth=auth)
            assert PASSWORD not in f"{store.url} {store!r} {store.options!r}"
            assert attempt(f"ann:{PASSWORD}@{guarded.host}/secrets-{auth}", auth=auth) is None
        logging.getLogger("kazoo").setLevel(logging.NOTSET)
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize(
    ("address", "options", "word"),
    [
        ("ann@h", {}, "only the user"),
        ("h", {"password": PASSWORD}, "only the password"),
        ("ann:x@h", {"user": "bob", "password": "y"}, "once is enough"),
        ("h", {"auth": "sasl"}, "needs a user"),
        ("h", {"auth": "kerberos"}, "'digest' or 'sasl'"),
        ("h", {"user": "a:b", "password": "y"}, "colon"),
        ("h/a/../b", {}, "a part that is"),
        ("h/zookeeper", {}, "chroot"),
        ("h", {"tick": "0"}, "tick"),
        ("h", {"timeout": "soon"}, "timeout"),
        ("h:99999", {}, "no host"),
        ("h", {"cert_file": "/nowhere"}, "cannot be read"),
    ],
)
def test_options_that_cannot_be_used_are_refused(address: str, options: dict[str, Any], word: str) -> None:
    """
    When the store is made, without asking a server, and without showing a password.
    """
    with pytest.raises(ConfigError, match=word) as caught:
        ZooKeeperStore(address, **options)
    assert PASSWORD not in str(caught.value)


def test_least_permissions(zookeeper: ZooKeeper) -> None:
    """
    Read, create and delete on a chroot that is another's is all that a candidate needs; a follower needs nothing. Who
    may not make nodes there is told so.
    """
    from kazoo.security import make_digest_acl

    with zookeeper.client() as client:
        acl = make_digest_acl("ann", PASSWORD, read=True, create=True, delete=True)
        client.create("/least", b"", acl=[acl])

    async def scenario() -> None:
        address = f"{zookeeper.host}/least"
        store, follower = ZooKeeperStore(f"ann:{PASSWORD}@{address}"), ZooKeeperStore(address)
        watched = Heard()
        follower.watch("work/job", watched)
        await watched.until(Fact.VACANT_OBSERVED)
        session = await store.open_session(LEASE, Heard())
        assert Outcome.DONE is (await session.renew()).outcome
        token = await take(session, claim := entry("work/job", metadata={"a": 1}))
        await watched.until(Fact.LEADER_OBSERVED, token=token)
        assert Outcome.DONE is (await store.request_resign("work/job", token, None)).outcome
        await session.release(claim)
        await watched.until(Fact.KEY_DELETED, token=token)
        assert await holder(follower, "work/job") is None
        denied = await follower.open_session(LEASE, Heard())
        with pytest.raises(StoreRefused, match="permission denied on /least"):
            await denied.acquire(entry("other"))
        with pytest.raises(StoreRefused, match="permission denied on /least"):
            await denied.renew()
        await asyncio.gather(store.aclose(), follower.aclose())

    run(scenario)

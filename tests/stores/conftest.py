"""
Real servers for the tests of the stores: one of each for all tests, and servers of a test's own, to be hurt.

A server starts when the first test asks for it. Where the programs are missing, the test fails and says what to run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Certificates, Consul, Etcd, ZooKeeper

from leadership._runtime import keeper
from leadership.backends import _consul_session, _etcd_session, _zookeeper_session

TICK = 500
"""ZooKeeper's tick in milliseconds: sessions of 1 to 10 seconds."""


@pytest.fixture(autouse=True)
def _no_faults(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """
    Whatever a store tells, it raises nothing on the engine's thread or on an event loop.
    """
    yield
    faults = [
        record.getMessage()
        for phase in ("setup", "call")
        for record in caplog.get_records(phase)
        if "engine_fault" in record.getMessage() or (record.name == "asyncio" and record.levelno >= logging.WARNING)
    ]
    assert [] == faults


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whether a session lives may be answered late on a busy machine, and would be told otherwise then.
    """
    monkeypatch.setattr(_etcd_session, "QUICK", 5.0)
    monkeypatch.setattr(_consul_session, "CHECK_PATIENCE", 5.0)
    monkeypatch.setattr(_zookeeper_session, "QUICK", 5.0)
    monkeypatch.setattr(keeper, "PATIENCE", 5.0)


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """
    An etcd that every test may use and none may hurt.
    """
    with Etcd(tmp_path_factory.mktemp("etcd")) as server:
        yield server


@pytest.fixture(scope="session")
def consul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consul]:
    """
    A Consul that every test may use and none may hurt.
    """
    with Consul(tmp_path_factory.mktemp("consul")) as server:
        yield server


@pytest.fixture(scope="session")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeper]:
    """
    A ZooKeeper that every test may use and none may hurt.
    """
    with ZooKeeper(tmp_path_factory.mktemp("zookeeper"), tick=TICK) as server:
        yield server


@pytest.fixture
def own_etcd(tmp_path: Path) -> Iterator[Etcd]:
    """
    An etcd of this test's own.
    """
    with Etcd(tmp_path / "etcd") as server:
        yield server


@pytest.fixture
def own_consul(tmp_path: Path) -> Iterator[Consul]:
    """
    A Consul of this test's own.
    """
    with Consul(tmp_path / "consul") as server:
        yield server


@pytest.fixture
def own_zookeeper(tmp_path: Path) -> Iterator[ZooKeeper]:
    """
    A ZooKeeper of this test's own.
    """
    with ZooKeeper(tmp_path / "zookeeper", tick=TICK) as server:
        yield server


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """
    Throw-away certificates for servers and clients.
    """
    return Certificates(tmp_path_factory.mktemp("certificates"))

"""
A store that is restored from an older copy of its data: what becomes of a term that the copy does not know, where its
leader had led before, in the same session.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from scenes import SOON, Told, entry, on_a_loop, taken
from servers import Consul, Etcd, ZooKeeper
from store_cases import CASES
from witness import witness

from leadership import Candidate, connect
from leadership.errors import StoreUnavailable
from leadership.store import Entry, Session

LEASE = 10.0
"""Seconds, in which a server is ended and started: the most that ZooKeeper grants here."""
WRITES = 20
"""By which the store's counter is ahead of the copy's."""


def until(true: Callable[[], object], within: float = SOON) -> None:
    """
    Wait for something that takes milliseconds on an idle machine.
    """
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@dataclass
class Restored:
    """
    A store whose data are copied, and put back.
    """

    url: str
    copy: Path
    server: Any
    """None: a database."""

    def save(self) -> None:
        """
        Copy the data; the counter goes on.
        """
        if self.server is None:
            duplicate(Path(self.url.removeprefix("sqlite:///")), self.copy)
            return
        if isinstance(self.server, Etcd):
            self.server.save(self.copy)
        elif isinstance(self.server, Consul):
            self.copy.write_bytes(self.server.raw("GET", "snapshot"))
        else:
            self.server.freeze()
            try:
                subprocess.run(["cp", "-r", "--sparse=always", self.server.data, self.copy], check=True)
            finally:
                self.server.thaw()
        key = "/lost" if isinstance(self.server, ZooKeeper) else "lost"
        for number in range(WRITES):
            self.server.put(key, str(number))

    def restore(self) -> None:
        """
        Put the copy in the place of the data.
        """
        if self.server is None:
            duplicate(self.copy, Path(self.url.removeprefix("sqlite:///")))
        elif isinstance(self.server, Consul):
            self.server.raw("PUT", "snapshot", self.copy.read_bytes())
        else:
            self.server.kill()
            if isinstance(self.server, Etcd):
                self.server.restore(self.copy)
            else:
                self.server.wipe()
                shutil.copytree(self.copy, self.server.data)
            self.server.start()


def duplicate(source: Path, target: Path) -> None:
    """
    Copy a database into another, whoever uses them.
    """
    with contextlib.closing(sqlite3.connect(source)) as one, contextlib.closing(sqlite3.connect(target)) as other:
        one.backup(other)


@pytest.fixture(params=["sqlite", "etcd", "consul", "zookeeper"])
def restored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Restored]:
    """
    Each store, with a server of its own.
    """
    copy = tmp_path / "copy"
    if request.param == "sqlite":
        yield Restored(f"sqlite:///{tmp_path / 'leadership.db'}", copy, None)
        return
    (case,) = [case for case in CASES if case.name == request.param]
    with case.server(tmp_path / case.name) as server:
        yield Restored(case.url(server.host), copy, server)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("queued", [False, True], ids=["alone", "another waits"])
def test_a_term_that_the_copy_does_not_know_ends(queued: bool, restored: Restored) -> None:
    """
    The entry of an earlier term of the leader stood in the restored store. Because it was the same session's, the term
    went on with a token that the store did not have, and nobody else could be elected.
    """
    name = uuid.uuid4().hex
    with connect(restored.url) as near, connect(restored.url) as far:
        first = Candidate(near, name, node="first", ttl=LEASE, cool_down=0.0, log=False)
        second = Candidate(far, name, node="second", ttl=LEASE, cool_down=0.0, log=False)
        told = witness(first)
        first.start()
        until(lambda: first.is_leader)
        restored.save()
        first.resign()
        until(lambda: 3 == len(told) and first.is_leader)
        lost = first.term
        assert lost is not None
        if queued:
            second.start()
            until(lambda: second.leader is not None)

        restored.restore()

        until(lambda: len(told) > 3, within=2 * LEASE)
        assert f"demoted {lost.token} deleted" == told[3]
        until(lambda: first.is_leader or second.is_leader)
        leader = first if first.is_leader else second
        assert leader.term is not None
        assert leader.term.token > lost.token or "token_reset" in [record.reason for record in leader.history]
        first.stop()
        if queued:
            until(lambda: second.is_leader)
            second.stop()


async def again(call: Callable[[Entry], Any], claim: Entry) -> Any:
    """
    The answer to a call, once the store gives any.
    """
    async with asyncio.timeout(SOON):
        while True:
            try:
                return await call(claim)
            except StoreUnavailable:
                await asyncio.sleep(0.1)


def test_who_leaves_leaves_no_earlier_entry(restored: Restored) -> None:
    """
    A candidate that stops after its store was restored has an entry of an earlier attempt there. It led for as long as
    the session was renewed for other elections.
    """

    @on_a_loop
    async def scene() -> None:
        near, far = connect(restored.url), connect(restored.url)
        async with contextlib.aclosing(near) as store, contextlib.aclosing(far) as other:
            session: Session = await store.open_session(10.0, Told())
            waits = await other.open_session(10.0, Told())
            claim, later, queued = entry(), entry(), entry(node="bob")
            await taken(session, claim)
            await asyncio.to_thread(restored.save)
            await session.release(claim)
            await taken(session, later)
            await asyncio.to_thread(restored.restore)
            await again(session.release, later)
            reply = await again(waits.acquire, queued)
            assert reply.token is not None, reply

    scene()

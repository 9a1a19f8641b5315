"""
The models of the simulation answer as the real stores do: the same random operations on both, and the same answers.

LEADERSHIP_FIDELITY says how many sequences each store is asked; those of a store go on at the same time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from seeds.fidelity import (
    ELECTION,
    INTRUDER,
    ROLES,
    Answers,
    Script,
    differences,
    interval,
    on_model,
    operations,
)
from seeds.stores import Model
from servers import Consul, Etcd, ZooKeeper
from zookeeper_stage import run

from leadership import connect
from leadership.errors import StoreUnavailable
from leadership.store import Holder, Store

SEQUENCES = int(os.environ.get("LEADERSHIP_FIDELITY", "8"))
AT_ONCE = 8
TRIES = 3
TTL = 4.0
SLACK = 3.0
"""Seconds that a busy machine may be late; nothing may be early."""

Edit = Callable[[str, Holder], None]
"""What an operator does, given the place and who leads there."""


async def on_real(url: str, seed: int, delete: Edit, overwrite: Edit | None) -> Answers:
    """
    Play a sequence on a real store, on keys that no other has.
    """
    place = uuid.uuid4().hex
    stores: dict[str, Store] = {role: connect(url.format(place=place)) for role in ROLES}

    async def edit(change: Edit) -> None:
        holder = (await stores["bob"].read([ELECTION]))[ELECTION]
        if holder is not None:
            await asyncio.to_thread(change, place, holder)

    script = operations(seed, overwrites=overwrite is not None)
    try:
        return await Script(stores, TTL, partial(edit, delete), partial(edit, overwrite or delete)).run(script)
    finally:
        for store in stores.values():
            await store.aclose()


def compare(model: Model, url: str, delete: Edit, overwrite: Edit | None = None) -> None:
    """
    Play all sequences on both, and hold one against the other.
    """

    async def all_of_them() -> list[Answers]:
        turn = asyncio.Semaphore(AT_ONCE)

        async def one(seed: int) -> Answers:
            async with turn:
                for _ in range(TRIES):
                    with contextlib.suppress(StoreUnavailable):  # a busy machine: what it came to is not known
                        return await on_real(url, seed, delete, overwrite)
                return await on_real(url, seed, delete, overwrite)

        return await asyncio.gather(*map(one, range(SEQUENCES)))

    real = run(all_of_them, timeout=50.0 * (1 + SEQUENCES / AT_ONCE))
    found: dict[int, list[str]] = {}
    for seed, answers in enumerate(real):
        modelled = on_model(model, TTL, operations(seed, overwrites=overwrite is not None), seed)
        if different := differences(model, TTL, answers, modelled, SLACK):
            found[seed] = different
    lapses = sorted(lapse for answers in real for lapse in answers.lapses)
    shown = ", ".join(f"{lapse:.2f}" for lapse in lapses)
    print(f"{model.store}: {SEQUENCES} sequences; sessions ended after {shown} s; stated: {interval(model, TTL)}")
    assert {} == found
    assert lapses, "no session was left alone: the sequences are too short"


@pytest.mark.timeout(60 * (1 + SEQUENCES / AT_ONCE))
def test_etcd(etcd: Etcd) -> None:
    """
    The queue of claims, and an operator who deletes the first or writes over it.
    """

    def key(place: str, holder: Holder) -> str:
        return f"{place}/{ELECTION}/{holder.session.partition('@')[0]}"

    def overwrite(place: str, holder: Holder) -> None:
        if holder.node != INTRUDER:
            etcd.put(key(place, holder), INTRUDER)

    compare(
        Model("etcd"),
        f"etcd://{etcd.host}/{{place}}",
        lambda place, holder: etcd.delete(key(place, holder)),
        overwrite,
    )


@pytest.mark.timeout(60 * (1 + SEQUENCES / AT_ONCE))
def test_consul(consul: Consul) -> None:
    """
    The lock, and an operator who deletes it.
    """
    compare(
        Model("consul"),
        f"consul://{consul.host}/{{place}}?least_ttl=1",
        lambda place, _holder: consul.delete(f"{place}/{ELECTION}"),
    )


@pytest.mark.timeout(60 * (1 + SEQUENCES / AT_ONCE))
def test_zookeeper(zookeeper: ZooKeeper) -> None:
    """
    The queue of ephemeral nodes, and an operator who deletes the first.
    """

    def delete(place: str, _holder: Holder) -> None:
        names = [key for key in zookeeper.keys(f"/{place}/{ELECTION}") if "__lock__" in key]
        zookeeper.delete(min(names, key=lambda name: int(name.rpartition("__lock__")[2])))

    compare(Model("zookeeper", tick=0.5), f"zookeeper://{zookeeper.host}/{{place}}?tick=0.5", delete)


@pytest.mark.timeout(60 * (1 + SEQUENCES / AT_ONCE))
def test_sqlite(tmp_path: Path) -> None:
    """
    The row, and an operator who deletes it.
    """

    def delete(place: str, _holder: Holder) -> None:
        with contextlib.closing(sqlite3.connect(tmp_path / place, timeout=5.0)) as connection, connection:
            connection.execute("DELETE FROM elections WHERE name = ?", (ELECTION,))

    compare(Model("sqlite"), f"sqlite:///{tmp_path}/{{place}}", delete)


def test_a_wrong_model_is_found() -> None:
    """
    A store that answers unlike its model is told from it: here one with a queue, and one without.
    """
    etcd, consul = (on_model(Model(store), TTL, operations(0, overwrites=False), 0) for store in ("etcd", "consul"))
    found: list[Any] = differences(Model("consul"), TTL, etcd, consul, SLACK)

    assert found

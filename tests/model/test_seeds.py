"""
The production engine and runtime in virtual time, on models of four stores, under faults drawn from seeds.

`make seeds` plays them by the ten thousand; here is the share of every change. What a seed has found once is kept in
`corpus/`, shrunk, and comes first.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from seeds.life import Life, play
from seeds.plan import STORES, draw_plan, load
from seeds.plants import planted
from seeds.shrink import shrink
from seeds.work import SKEW, Sums, work
from servers._guard import end_with_parent

from leadership.audit import Verdict, verify

SEEDS = int(os.environ.get("LEADERSHIP_SEEDS", "100"))
"""On each store."""
PART = 10
AUDIT = 5
"""One in so many is audited, and its audits are judged."""
CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.json"))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_corpus(path: Path) -> None:
    """
    What found something once finds nothing now; with the bug planted again that it had found, it finds it again.
    """
    plan = load(path.read_text(encoding="utf-8"))

    assert [] == play(plan).failures
    if plan.plant:
        with planted(plan.plant):
            assert play(plan).law == plan.found.split()[1]


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """
    A process for each core.
    """
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn"), end_with_parent) as pool:
        yield pool


@pytest.mark.timeout(600)
@pytest.mark.parametrize("store", STORES)
def test_hundreds_of_lives(pool: ProcessPoolExecutor, store: str) -> None:
    """
    Under faults: one believes, and it is who holds the entry; tokens rise; no stale write passes the fence; elected and
    demoted alternate. After them: one leads in time, and each in turn. The audits are valid.
    """
    sums = Sums()
    parts = [range(start, min(start + PART, SEEDS)) for start in range(0, SEEDS, PART)]
    for played in [one for part in pool.map(work, [store] * len(parts), parts, [AUDIT] * len(parts)) for one in part]:
        sums.add(played)
    print(sums.as_dict())

    assert {} == sums.broken
    # A run in which little happens proves little.
    assert sums.lives == SEEDS
    assert sums.terms > 4 * sums.lives
    assert sums.stale > 0, "without a fence no stale write would have been taken either"
    assert {"lease_expired", "resigned", "stopped", "session_lost"} <= set(sums.ends)
    assert {"crash", "stall", "duplicate", "delay", "wipe"} <= set(sums.faults)


@pytest.mark.parametrize("store", STORES)
def test_a_seed_replays_exactly(store: str) -> None:
    """
    The same seed is the same life, to the last record.
    """
    first, second = play(draw_plan(1, store)), play(draw_plan(1, store))

    assert len(first.transcript) > 20
    assert first.transcript == second.transcript


@pytest.mark.parametrize("store", STORES)
def test_a_plan_survives_writing(store: str) -> None:
    """
    What is kept in the corpus is what was played.
    """
    plan = draw_plan(2, store)

    assert load(plan.dump()) == plan
    assert play(load(plan.dump())).transcript == play(plan).transcript


@pytest.mark.parametrize(
    ("plant", "store", "seed", "law"),
    [
        ("a deadline counted from the reply", "sqlite", 3, "S1-store"),
        ("no margin", "consul", 1, "S1-store"),
        ("a release while callbacks run", "etcd", 1, "grace"),
        ("a late acquire is accepted", "consul", 2, "S1-store"),
        ("a release without compare", "zookeeper", 6, "S1-store"),
    ],
)
def test_a_planted_bug_is_found(plant: str, store: str, seed: int, law: str) -> None:
    """
    With a bug in the engine, or in what a backend does for it, seeds like any other find it. `docs/simulation.md` says
    how many it takes.
    """
    with planted(plant):
        assert play(draw_plan(seed, store)).law == law
    assert [] == play(draw_plan(seed, store)).failures


@pytest.mark.timeout(300)
def test_a_failure_is_shrunk() -> None:
    """
    What is left of a failing life is a handful of steps, and breaks the same law.
    """
    plan = draw_plan(10, "zookeeper")
    with planted("a release without compare"):
        small = shrink(plan, "S1-store")
        assert play(small).law == "S1-store"

    assert len(plan.steps) >= 8
    assert len(small.steps) <= 4
    assert len(small.stands) == 2


def test_what_the_store_lost_shows_in_the_audits(tmp_path: Path) -> None:
    """
    Where the store has lost its data, or an operator took an entry from a leader, the judge of audits says so.
    """
    kinds: Counter[str] = Counter()
    for seed in range(80):
        plan = draw_plan(seed, "etcd")
        if {"wipe", "steal"} & {step.kind for step in plan.steps}:
            life = Life(plan, tmp_path)
            life.play()
            judged = verify([log.path for log in life.logs], clock_error=SKEW)
            kinds.update(finding.kind for finding in judged.findings if finding.verdict is not Verdict.VALID)
    print(kinds)

    assert kinds["token_reset"]
    assert kinds["missing_node"]  # the thief has no audit

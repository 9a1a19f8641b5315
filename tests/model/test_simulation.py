"""
The production engine and runtime in virtual time, under faults by the thousand.
"""

from __future__ import annotations

import inspect
import multiprocessing
import os
import textwrap
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
from model.scenario import Scenario, Verdict, play, summary

from leadership._runtime.cleanup import Cleanup
from leadership._runtime.keeper import SessionKeeper

SEEDS = int(os.environ.get("LEADERSHIP_SEEDS", "2000"))
PARTS = 5
CORPUS = (38, 12, 5005)
"""Seeds that have once found a bug, in the library or planted; they run first."""


@pytest.mark.parametrize("seed", CORPUS)
def test_corpus(seed: int) -> None:
    """
    Seeds that found something once find nothing now.
    """
    assert [] == play(seed)[1].faults


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """
    A process for each core.
    """
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_thousands_of_lives(pool: ProcessPoolExecutor, part: int) -> None:
    """
    Under faults: at most one believes, tokens rise, elected and demoted alternate; after them: a leader in time.
    """
    verdicts = dict(pool.map(play, range(part, SEEDS, PARTS), chunksize=10))
    told = summary(list(verdicts.values()))
    print(told)
    assert {} == {seed: verdict.faults[:3] for seed, verdict in verdicts.items() if verdict.faults}
    # A run in which little happens proves little.
    assert told["elected"] > 4 * len(verdicts)
    assert {"lease_expired", "resigned", "stopped", "deleted", "superseded", "session_lost"} <= set(told["demoted"])


@pytest.mark.parametrize("seed", range(3))
def test_a_seed_replays_exactly(seed: int) -> None:
    """
    The same seed gives the same records, to the last digit.
    """
    first, second = Scenario(seed).play(), Scenario(seed).play()

    assert first.transcript
    assert first.transcript == second.transcript


def test_other_seeds_differ() -> None:
    """
    Another seed is another life.
    """
    assert Scenario(1).play().transcript != Scenario(2).play().transcript


def rewrite(cls: type, name: str, old: str, new: str) -> Any:
    """
    A method of the library with a bug planted: one piece of its source replaced.
    """
    source = textwrap.dedent(inspect.getsource(getattr(cls, name)))
    assert old in source, f"{cls.__name__}.{name} does not say {old!r} any more: plant the bug elsewhere"
    module = inspect.getmodule(cls)
    assert module is not None
    names = dict(vars(module))
    exec("from __future__ import annotations\n" + source.replace(old, new), names)  # noqa: S102 - that is the plant
    return names[name]


def hunt(most: int) -> Verdict | None:
    """
    The first of some seeds in which something goes wrong.
    """
    for seed in range(most):
        verdict = play(seed)[1]
        if verdict.faults:
            print(f"found by seed {seed}: {verdict.faults[0]}")
            return verdict
    return None


@pytest.mark.timeout(600)
def test_a_deadline_counted_from_the_reply_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The planted bug lets two believe at once, and the simulation sees it.
    """
    renewed = rewrite(SessionKeeper, "_renewed", "since = sent if", "since = now if")
    monkeypatch.setattr(SessionKeeper, "_renewed", renewed)
    opened = rewrite(SessionKeeper, "_opened", "sent + session.ttl", "self.engine.now() + session.ttl")
    monkeypatch.setattr(SessionKeeper, "_opened", opened)
    verdict = hunt(1000)

    assert verdict is not None
    assert "2 believe" in verdict.faults[0]


@pytest.mark.timeout(600)
def test_a_missing_margin_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without the margin, clocks that run at different rates give two believers.
    """
    monkeypatch.setattr("leadership._runtime.keeper.MARGIN", 0.0)
    verdict = hunt(300)

    assert verdict is not None
    assert "2 believe" in verdict.faults[0]


@pytest.mark.timeout(600)
def test_a_release_before_the_callbacks_have_returned_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An entry released too early lets the next leader start while the last one's work goes on, and that is seen.
    """
    step = rewrite(Cleanup, "step", "(driver.office.running and driver.engine.now() < self._until)", "False")
    monkeypatch.setattr(Cleanup, "step", step)
    verdict = hunt(300)

    assert verdict is not None
    assert "still works" in verdict.faults[0]

"""
Plays lives by the thousand: `make seeds`, `python -m seeds`. Ends with 1 where a law was broken.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from servers._guard import end_with_parent

from seeds.life import play
from seeds.plan import STORES, Plan, draw_plan, load
from seeds.plants import PLANTS, planted
from seeds.shrink import shrink
from seeds.witness import Played
from seeds.work import Sums, work

CORPUS: Final = Path(__file__).parents[2] / "tests" / "model" / "corpus"
CHUNK: Final = 20
SHRUNK: Final = 5
"""So many failures are shrunk; the rest are named."""


def parts(first: int, count: int, stores: Sequence[str]) -> Iterator[tuple[str, range]]:
    """
    The seeds in chunks, from store to store.
    """
    for start in range(first, first + count, CHUNK):
        for store in stores:
            yield store, range(start, min(start + CHUNK, first + count))


def facts() -> dict[str, str]:
    """
    What was judged.
    """
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {
        "begun": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip() or "unknown",
        "leadership": metadata.version("leadership"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def tell(sums: dict[str, Sums], began: float) -> str:
    """
    One line of progress.
    """
    took = time.monotonic() - began
    lives = sum(each.lives for each in sums.values())
    days = sum(each.seconds for each in sums.values()) / 86_400
    terms = sum(each.terms for each in sums.values())
    broken = sum(len(each.broken) for each in sums.values())
    return f"{took:7.0f} s  {lives:7} seeds  {lives / took:6.1f}/s  {days:8.2f} days  {terms:8} terms  {broken} broken"


def report(store: str, seed: int, plant: str, results: Path) -> None:
    """
    Shrink a failure, tell its story, keep it.
    """
    plan = draw_plan(seed, store)
    with planted(plant):
        played = play(plan)
        if not played.failures:
            print(f"{store} {seed}: only its audits were not valid")
            return
        small = shrink(plan, played.law)
        again = play(small)
    path = results / f"{store}-{seed}.json"
    path.write_text(small.without(found=again.failures[0], plant=plant).dump(), encoding="utf-8")
    path.with_suffix(".txt").write_text("\n".join(again.transcript) + "\n", encoding="utf-8")
    print("\n".join(again.transcript))
    print(f"{store} {seed}: {len(plan.steps)} steps shrunk to {len(small.steps)}, kept in {path}")


def replay(plans: Sequence[Plan]) -> int:
    """
    Play plans, and print what happens.
    """
    broken = 0
    for plan in plans:
        with planted(plan.plant):
            played = play(plan)
        print("\n".join(played.transcript))
        print(f"{plan.model.store} {plan.seed}: {'; '.join(played.failures[:1]) or 'nothing is broken'}")
        broken += bool(played.failures)
    return 1 if broken else 0


def run(arguments: argparse.Namespace) -> int:
    """
    The corpus, then the seeds.
    """
    results: Path = arguments.results
    results.mkdir(parents=True, exist_ok=True)
    told: dict[str, Any] = {"arguments": sys.argv[1:], **facts()}
    sums = {store: Sums() for store in arguments.store}
    corpus = [load(path.read_text(encoding="utf-8")) for path in sorted(CORPUS.glob("*.json"))]
    lost = [f"{plan.model.store} {plan.seed}: {plan.found}" for plan in corpus if play(plan).failures]
    print(f"{len(corpus)} of the corpus, {len(lost)} broken", *lost, sep="\n", flush=True)
    began = said = time.monotonic()
    with ProcessPoolExecutor(arguments.jobs, multiprocessing.get_context("spawn"), end_with_parent) as pool:
        todo = parts(arguments.first, arguments.seeds, arguments.store)
        under_way: list[tuple[str, Future[list[Played]]]] = []
        while True:
            over = arguments.minutes is not None and time.monotonic() - began > 60 * arguments.minutes
            while not over and len(under_way) < 2 * arguments.jobs and (part := next(todo, None)) is not None:
                under_way.append((part[0], pool.submit(work, *part, arguments.audit, arguments.plant)))
            if not under_way:
                break
            store, done = under_way.pop(0)
            for played in done.result():
                sums[store].add(played)
                if played.failures:
                    print(f"{store} {played.seed}: {played.failures[0][:300]}", flush=True)
            if time.monotonic() - said > arguments.every:
                said = time.monotonic()
                print(tell(sums, began), flush=True)
            if arguments.stop and any(each.broken for each in sums.values()):
                todo = iter(())
    print(tell(sums, began))
    told |= {
        "took": round(time.monotonic() - began, 1),
        "stores": {name: each.as_dict() for name, each in sums.items()},
    }
    (results / "seeds.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    for name, each in sums.items():
        print(f"{name}: {json.dumps(each.as_dict())}")
    for store, each in sums.items():
        for seed in list(each.broken)[: 1 if arguments.stop else SHRUNK]:
            report(store, seed, arguments.plant, results)
    print(f"the results are in {results}")
    return 1 if lost or any(each.broken for each in sums.values()) else 0


def main() -> int:
    """
    The command.
    """
    stamp = dt.datetime.now(dt.UTC).strftime("seeds-%Y%m%d-%H%M%S")
    parser = argparse.ArgumentParser(prog="seeds", description="Plays elections in virtual time, under faults by seed.")
    parser.add_argument("--seeds", type=int, default=1000, help="so many on each store")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--minutes", type=float, help="begin no more after so many")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--store", nargs="+", choices=STORES, default=list(STORES), help="all of them by default")
    parser.add_argument("--audit", type=int, default=50, help="one seed in so many is audited, too; 0: none")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between lines of progress")
    parser.add_argument("--stop", action="store_true", help="at the first failure")
    parser.add_argument("--plant", choices=PLANTS, default="", help="with a bug planted, to see how many seeds find it")
    parser.add_argument("--seed", type=int, nargs="+", help="play these on each store, and print what happens")
    parser.add_argument("--replay", type=Path, nargs="+", metavar="FILE", help="play what was kept, and print it")
    parser.add_argument("--results", type=Path, default=Path("results") / stamp, help="a folder")
    arguments = parser.parse_args()
    if arguments.replay:
        return replay([load(path.read_text(encoding="utf-8")) for path in arguments.replay])
    if arguments.seed:
        plans = [draw_plan(seed, store) for store in arguments.store for seed in arguments.seed]
        return replay([plan.without(plant=arguments.plant) for plan in plans])
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())

"""
Plays rounds and prints the scorecard: `make faults`, `python -m court`.

It ends with 1 where a round was broken or void, or a control was not condemned.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import multiprocessing
import os
import platform
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import Final

from servers import NetworkFailed, ServerFailed, ServersMissing
from servers._guard import end_with_parent
from servers._where import jars, program
from servers.network import require

from court.cases import CASES, case_of
from court.fault import Fault
from court.faults import FAULTS
from court.faults_of_candidates import Cut, Pause, WallClockStep
from court.faults_of_followers import Miss
from court.nemesis import Nemesis
from court.session import Session, play_in_pool
from court.summary import scorecard

SIZES: Final = ("network", "cluster", "single")
CONTROL_ROUNDS: Final[tuple[tuple[str, str, Fault], ...]] = (
    ("no-deadline", "consul", Cut()),
    ("kazoo-election", "zookeeper", Cut()),
    ("wall-clock", "sqlite", WallClockStep()),
    ("stale-read", "sqlite", Pause()),
    ("watch-from-now", "etcd", Miss()),
)
"""Each control on its store, with the fault that it cannot stand."""


def versions() -> dict[str, str]:
    """
    What was judged, on what.
    """
    about = {name: metadata.version(name) for name in ("leadership", "etcd3", "python-consul2", "kazoo")}
    about |= {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version, "kernel": platform.release()}
    about["cores"] = str(os.cpu_count())
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    about["commit"] = commit.stdout.strip() or "unknown"
    for name, arguments in (("etcd", ["--version"]), ("consul", ["version"])):
        told = subprocess.run([program(name), *arguments], capture_output=True, text=True, check=True)
        about[f"{name} server"] = told.stdout.splitlines()[0].split()[-1]
    names = [path.stem for path in Path(jars("zookeeper")[0]).parent.glob("zookeeper-[0-9]*.jar")]
    about["zookeeper server"] = ", ".join(names)
    return about


def sizes(arguments: argparse.Namespace) -> tuple[list[str], str]:
    """
    On what is to be played, and what stands for the network: namespaces where they are permitted or asked for.
    """
    chosen = list(arguments.servers or SIZES)
    try:
        if "network" in chosen:
            require()
    except NetworkFailed as error:
        if arguments.servers:
            raise
        print(f"no packet is lost, refused or held back; only proxies do that: {error}")
        return [each for each in chosen if each != "network"], f"proxies: {error}"
    return chosen, "namespaces" if "network" in chosen else "proxies"


def sessions(arguments: argparse.Namespace, playing: Sequence[str], results: Path) -> Iterator[Session]:
    """
    What is played: what takes longest first, and faults that need another stage than most on one of their own.
    """
    mixture = {"seconds": arguments.mixture, "seed": arguments.seed}
    known = [replace(each, **mixture) if isinstance(each, Nemesis) else each for each in FAULTS]
    chosen = [each for each in known if not arguments.faults or each.name.split()[0] in arguments.faults]
    for size, name, stage in product(playing, arguments.stores, dict.fromkeys(each.stage for each in FAULTS)):
        faults = [each for each in chosen if name in each.stores and getattr(each, size) and each.stage == stage]
        if not faults or (size != "single" and CASES[name].cluster is None):
            continue
        if case_of(name, faults[0].variant).needs_root and os.geteuid():
            print(f"left out, because it mounts and that needs root: {', '.join(each.name for each in faults)}")
            continue
        yield Session(name, results / f"{name}-{size}{'-' if stage else ''}{stage}", faults, size)
    for kind, name, fault in CONTROL_ROUNDS if arguments.controls else ():
        yield Session(name, results / f"control-{kind}", [fault], kind=kind)


def run(arguments: argparse.Namespace) -> int:
    """
    The whole.
    """
    playing, network = sizes(arguments)
    results: Path = arguments.results.absolute()
    results.mkdir(parents=True)
    begun = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    facts = {"begun": begun, "ended": None, "arguments": sys.argv[1:], "network": network, **versions()}
    (results / "run.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    planned = list(sessions(arguments, playing, results))
    with ProcessPoolExecutor(arguments.jobs, multiprocessing.get_context("spawn"), end_with_parent) as pool:
        running = [pool.submit(play_in_pool, each, arguments.rounds, arguments.slack) for each in planned]
        try:
            for each in running:
                each.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # or Ctrl-C would end only what is played just now
            raise
    facts["ended"] = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    (results / "run.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    text, well = scorecard(results)
    print(f"\n{json.dumps(facts, indent=1)}\n\n{text}\n\nthe evidence is in {results}")
    return 0 if well else 1


def main() -> int:
    """
    The command.
    """
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%d-%H%M%S")
    parser = argparse.ArgumentParser(prog="court", description="Plays faults against elections, and judges.")
    parser.add_argument("--stores", nargs="+", choices=CASES, default=list(CASES), help="all of them by default")
    parser.add_argument("--faults", nargs="+", default=[], metavar="F1", help="their numbers; all by default")
    parser.add_argument("--rounds", type=int, default=5, help="of each fault on each store")
    parser.add_argument(
        "--servers",
        nargs="+",
        choices=SIZES,
        help="one, three, or three on a network of namespaces, which needs root; all of them by default",
    )
    parser.add_argument("--jobs", type=int, default=1, help="stores that are played on at the same time")
    parser.add_argument("--slack", type=float, default=0.0, help="seconds beyond the bounds, on a busy machine")
    parser.add_argument("--mixture", type=float, default=90.0, metavar="SECONDS", help="that F19 takes before the calm")
    parser.add_argument("--seed", type=int, help="of the mixture of F19; a new one by default, which is printed")
    parser.add_argument("--no-controls", dest="controls", action="store_false", help="without the negative controls")
    parser.add_argument("--results", type=Path, default=Path("results") / stamp, help="a new folder for the evidence")
    arguments = parser.parse_args()
    numbers = dict.fromkeys(fault.name.split()[0] for fault in FAULTS)
    if unknown := [each for each in arguments.faults if each not in numbers]:
        parser.error(f"there is no fault {unknown[0]}: {', '.join(numbers)}")
    if arguments.results.exists():
        parser.error(f"{arguments.results} is there already, and the evidence needs a new folder")
    try:
        return run(arguments)
    except (ServersMissing, ServerFailed, NetworkFailed) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

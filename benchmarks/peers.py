"""
Measures the library beside its peers: every row of the table in one run, on the same servers, by turns.

    make bench-peers                         all; the machine should have nothing else to do
    make bench-peers ARGS='etcd sqlite'      these systems only
    make bench-peers ARGS='--row handover'   this row only
    make bench-peers ARGS=--quick            shows that everything runs, not how fast
    make bench-peers ARGS='--json FILE'      the samples, from which `python -m benchmarks.page` renews the page

A missed goal is said, and is no failure: timings depend on the machine, ratios less so.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from servers import Server
from servers._where import java, program

from benchmarks import peer_go
from benchmarks.contestants import go, missing
from benchmarks.loads import idle, requests
from benchmarks.measures import Figure, alone, deaths, followers, handovers
from benchmarks.run import rows as rows_of
from benchmarks.store_servers import server
from benchmarks.table import NAME, ROWS, SYSTEMS, Line, lines

PACKAGES = ("leadership", "transitions", "kazoo", "tooz", "etcd3", "python-consul2", "grpcio")


@dataclass(frozen=True)
class Amount:
    """
    How much is measured.
    """

    rounds: int
    sizes: int
    """Of the crowds, from the smallest on."""
    deaths: int
    resignations: int
    seconds: float
    """Of idleness."""
    part: float
    """Of the elections that are idle."""


FULL = Amount(rounds=16, sizes=3, deaths=2, resignations=5, seconds=15.0, part=1.0)
QUICK = Amount(rounds=4, sizes=2, deaths=1, resignations=2, seconds=1.0, part=0.05)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The library beside its peers.")
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help=f"of: {', '.join(SYSTEMS)} (default: all)")
    parser.add_argument("--row", choices=ROWS, action="append", help="this row only; may be given again")
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that everything runs, not how fast")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all samples to FILE, too")
    options = parser.parse_args(arguments)
    unknown = [system for system in options.systems if system not in SYSTEMS]
    if unknown:
        parser.error(f"there is no system {unknown[0]!r}; there are: {', '.join(SYSTEMS)}")
    return options


class Stage:
    """
    A system with its server, if it has one, for all its rows.
    """

    def __init__(self, system: str, folder: str, amount: Amount, quick: bool) -> None:
        self.system = system
        self._folder = folder
        self._amount = amount
        self._quick = quick
        self._server: Server | None = None
        self._running = contextlib.ExitStack()

    def __enter__(self) -> Self:
        if self.system != "sqlite":
            self._server = self._running.enter_context(server(self.system, self._folder))
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    @property
    def url(self) -> str:
        return f"sqlite:///{self._folder}/bench.db" if self._server is None else self._server.url

    def figures(self, row: str) -> Iterator[Figure]:
        """
        All of one row.
        """
        amount = self._amount
        timed: dict[str, Callable[..., Iterator[Figure]]]
        timed = {"alone": alone, "follower": followers}
        if row == "handover":
            yield from handovers(self.system, self.url, amount.rounds, amount.sizes)
        elif row in timed:
            yield from timed[row](self.system, self.url, amount.rounds)
        elif row == "crash":
            yield from deaths(self.system, self.url, amount.deaths)
        elif row == "idle" and self._server is None:
            yield from self._embedded()
        elif row == "idle":
            assert self._server is not None  # noqa: S101 - said above
            yield from idle(self.system, self._server, amount.seconds, amount.part)
        elif row == "requests" and self._server is not None:
            # A ZooKeeper that writes every request down is slower: it has this row alone.
            with server(self.system, f"{self._folder}/counted", logged=True) as counting:
                yield from requests(self.system, counting, amount.resignations)

    def _embedded(self) -> Iterator[Figure]:
        """
        A store without a server counts its operations itself: `many.py` asks it.
        """
        names = {"threads": "threads", "memory": "memory", "CPU": "cpu", "operations": "requests", "until": "acquire"}
        for told in rows_of("many", quick=self._quick):
            if told["what"].startswith("on sqlite: "):
                what = names[re.split(r"\W", told["what"].removeprefix("on sqlite: "))[0]]
                yield {"row": f"idle {what}", "system": "sqlite", "unit": told["unit"]} | _single(told)


def _single(told: dict[str, Any], peer: str = "") -> Figure:
    """
    The samples of a row that another part tells: its value, and that of its peer.
    """
    samples = {NAME: [told["value"]]}
    if peer:
        samples[peer] = [told["value"] / told["ratio"]["value"]]
    return {"samples": samples, "n": told["n"], "failed": {}}


def engine(quick: bool) -> Iterator[Figure]:
    """
    Medians of `cost.py`, which measures beside bare `transitions`.
    """
    names = {"transition with its audit line, both threads": "transition", "renewal, ": "renewal"}
    for told in rows_of("cost", quick=quick):
        for words, what in names.items():
            if told["what"].startswith(words) and told["goal"] is not None:
                yield {"row": f"engine {what}", "system": "", "unit": "µs"} | _single(told, "bare transitions")


TOGETHER = ("crash", "idle", "requests")
"""Rows of all systems at a time: sessions' ends are waited for, and things counted."""


def together(stages: list[Stage], row: str) -> Iterator[Figure]:
    """
    A row of all systems at a time, told system by system.
    """
    found: list[Figure] = []
    failed: list[BaseException] = []

    def run(stage: Stage) -> None:
        try:
            found.extend(stage.figures(row))
        except BaseException as error:  # noqa: BLE001 - raised again below
            failed.append(error)

    threads = [threading.Thread(target=run, args=(stage,)) for stage in stages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    yield from sorted(found, key=lambda figure: SYSTEMS.index(figure["system"]))


def measure(systems: list[str], wanted: list[str], quick: bool, say: Callable[[Figure], None]) -> None:
    amount = QUICK if quick else FULL
    with tempfile.TemporaryDirectory(prefix="leadership-bench-") as folder, contextlib.ExitStack() as stack:
        stages = [stack.enter_context(Stage(each, folder, amount, quick)) for each in systems]
        for row in wanted:
            if row == "engine":
                found = engine(quick)
            elif row in TOGETHER:
                found = together(stages, row)
            else:
                found = (figure for stage in stages for figure in stage.figures(row))
            for figure in found:
                say(figure)


def versions(systems: list[str]) -> dict[str, str]:
    """
    Of what was measured.
    """
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    asked = {"etcd": [program("etcd"), "--version"], "consul": [program("consul"), "version"]}
    for name in systems:
        if name in asked:
            said = subprocess.run(asked[name], capture_output=True, text=True, check=False).stdout
            found[f"{name} server"] = re.findall(r"\d+\.\d+[\w.+~-]*", said)[0]
    if "zookeeper" in systems:
        (jar,) = Path(program("etcd")).parents[2].glob("usr/share/java/zookeeper-[0-9]*.jar")
        found["zookeeper server"] = jar.stem.removeprefix("zookeeper-")
        said = subprocess.run([java(), "-version"], capture_output=True, text=True, check=False).stderr
        found["Java"] = re.findall(r'"(.+)"', said)[0]
    return found | (peer_go.versions() if go() else {})


def machine() -> dict[str, Any]:
    """
    Where it was measured.
    """
    cpu = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    total = Path("/proc/meminfo").read_text(encoding="ascii").split()[1]
    return {
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "cpu": cpu[1] if cpu else platform.machine(),
        "memory": round(int(total) / 1e6, 1),
    }


def load() -> float:
    return round(os.getloadavg()[0], 2)


def conclude(document: dict[str, Any], seen: list[Line]) -> None:
    """
    Say what was missed, and who was not measured.
    """
    goals = [line for line in seen if line.met is not None]
    print(f"\n{sum(line.met is True for line in goals)} of {len(goals)} goals met in {document['seconds']} s")
    for line in goals:
        if not line.met:
            print(f"  MISS {line.what}: {line.ours}, goal {line.goal}")
    for name, why in document["missing"].items():
        print(f"  not measured: {name}: {why}")
    for figure in document["figures"]:
        for name, why in figure["failed"].items():
            print(f"  failed: {name} in {figure['row']} on {figure['system']}: {why}")


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if sys.platform != "linux":
        print("The benchmarks read /proc and run on Linux only.", file=sys.stderr)
        return 2
    systems = options.systems or list(SYSTEMS)
    wanted = options.row or list(ROWS)
    began = time.monotonic()
    document: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": options.quick,
        "machine": machine(),
        "versions": versions(systems),
        "missing": {name: why for system in systems for name, why in missing(system).items()},
        "load": {"at the beginning": load()},
        "figures": [],
    }
    where = document["machine"]
    print(f"{where['processors']} × {where['cpu']}, load {load()}, {where['platform']}")
    seen: list[Line] = []
    row = ""

    def save() -> None:
        if options.json is not None:
            options.json.write_text(json.dumps(document, ensure_ascii=False) + "\n", encoding="utf-8")

    def say(figure: Figure) -> None:
        nonlocal row
        figure["load"] = load()
        document["figures"].append(figure)
        if figure["row"].split()[0] != row:
            row = figure["row"].split()[0]
            print(f"\n{ROWS[row]}")
        for line in lines(document["figures"]):
            if line not in seen:
                seen.append(line)
                print(line.text(), flush=True)
        save()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C does: nothing stays behind
    measure(systems, wanted, options.quick, say)
    document["load"]["at the end"] = load()
    document["seconds"] = round(time.monotonic() - began)
    conclude(document, seen)
    save()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""
The table: what the figures of a run say beside their peers and their goals.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.rows import percentile
from benchmarks.run import number

SYSTEMS: Final = ("etcd", "consul", "zookeeper", "sqlite")
NAME: Final = "leadership"
GO: Final = {"etcd": "Go clientv3 Election", "consul": "Go docker/leadership", "zookeeper": "Go docker/leadership"}
RAW: Final = "raw requests"
ROWS: Final = {
    "handover": "A leader resigns → the next one is elected, milliseconds",
    "alone": "Uncontended: start → elected, in a process that has stood before, milliseconds",
    "follower": "A leader resigns → a follower is told of the next one, milliseconds",
    "crash": "A leader's process is killed → the next one is elected, milliseconds",
    "idle": "Elections in one process, all led by it, while nothing happens",
    "requests": "Requests at the server when a leader resigns and 50 wait",
    "engine": "The engine, CPU time",
}
TITLES: Final = {"etcd": "etcd", "consul": "Consul", "zookeeper": "ZooKeeper", "sqlite": "one machine (SQLite)", "": ""}
OVER_PEER: Final = {"etcd": (GO["etcd"], 1.5), "consul": (GO["consul"], 1.5), "zookeeper": ("kazoo Election", 1.2)}
OVER_OWN: Final = {"etcd": 1.5, "consul": 2.0, "zookeeper": 1.5}
"""From 2 to 50 candidates; on etcd and ZooKeeper the goal is "flat"."""
EMBEDDED: Final = 5.0
OVER_BEST: Final = 1.2
OVER_WATCH: Final = 1.0
OVER_TTL: Final = {"etcd": (1, 1.0), "consul": (2, 1.0), "zookeeper": (1, 2.5)}
"""Of a death: so many TTLs, and seconds more; ZooKeeper's tick of 2 s included. Consul's lock-delay is 0 here."""
ATTESTED: Final = 50.0
IDLE: Final = {"threads": 16.0, "memory": 40.0, "requests": 2.0, "cpu": 2.0}
EMBEDDED_THREADS: Final = 12.0
REQUESTS: Final = {"etcd": 5.0, "consul": 120.0, "zookeeper": 5.0}
ENGINE: Final = {"transition": 20.0, "renewal": 6.0}
ABOUT_IDLE: Final = {
    "acquire": "until all are led",
    "threads": "threads",
    "memory": "memory over that of one election",
    "requests": "requests",
    "cpu": "CPU",
}


@dataclass(frozen=True)
class Line:
    """
    One line of the table; texts as a person reads them.
    """

    row: str
    what: str
    ours: str
    peers: Mapping[str, str] = field(hash=False)
    ratio: str = ""
    goal: str = ""
    met: bool | None = None

    def text(self) -> str:
        peers = "; ".join(f"{name} {value}" for name, value in self.peers.items())
        verdict = "" if self.met is None else f"goal {self.goal}: {'PASS' if self.met else 'MISS'}"
        return f"  {self.what:<46} {self.ours:<26} {self.ratio:<24} {verdict}\n      {peers}".rstrip()


def lines(figures: Sequence[Mapping[str, Any]]) -> list[Line]:
    """
    The table of these figures.
    """
    made = {
        "handover": _handover,
        "alone": _alone,
        "follower": _follower,
        "crash": _crash,
        "idle": _idle,
        "requests": _requests,
        "engine": _engine,
    }
    found: list[Line] = []
    for figure in figures:
        if NAME in figure["samples"]:
            found += made[figure["row"].split()[0]](figure, figures)
        else:
            why = figure["failed"].get(NAME, "not measured")
            found.append(Line(figure["row"].split()[0], _place(figure), f"failed: {why}", _peers(figure), met=False))
    return found


def median(figure: Mapping[str, Any], name: str) -> float:
    return float(statistics.median(figure["samples"][name]))


def _place(figure: Mapping[str, Any]) -> str:
    candidates = f", {figure['candidates']} candidates" if "candidates" in figure else ""
    return f"{TITLES[figure['system']]}{candidates}"


def _shown(samples: Sequence[float], unit: str) -> str:
    """
    The median, and the worst where there are several samples.
    """
    value = f"{number(statistics.median(samples))} {unit}".rstrip()
    return value if len(samples) == 1 else f"{value} (worst {number(max(samples))}, n={len(samples)})"


def _peers(figure: Mapping[str, Any]) -> dict[str, str]:
    unit = figure["unit"]
    told = {
        name: f"{number(statistics.median(samples))} {unit}".rstrip()
        for name, samples in figure["samples"].items()
        if name != NAME
    }
    return told | {name: f"failed ({why})" for name, why in figure["failed"].items() if name != NAME}


def _line(figure: Mapping[str, Any], what: str, **more: Any) -> Line:
    ours = _shown(figure["samples"][NAME], figure["unit"])
    return Line(**{"row": figure["row"].split()[0], "what": what, "ours": ours, "peers": _peers(figure), **more})


def _over(figure: Mapping[str, Any], peer: str, most: float) -> dict[str, Any]:
    """
    The ratio to a peer, and whether it meets its goal; nothing where the peer was not measured.
    """
    goal = f"≤ {number(most)} × {peer}"
    if peer not in figure["samples"]:
        return {"goal": goal, "ratio": f"no {peer}"}
    over = median(figure, NAME) / median(figure, peer)
    lower = _quartile(figure, NAME) / _quartile(figure, peer)
    told = f"{number(over)} × {peer} (lower quartiles: {number(lower)} ×)"
    return {"ratio": told, "goal": goal, "met": over <= most}


def _quartile(figure: Mapping[str, Any], name: str) -> float:
    """
    What a quarter of the rounds did not exceed: those in which the machine did little else.
    """
    return percentile(figure["samples"][name], 0.25)


def _handover(figure: Mapping[str, Any], figures: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    system = figure["system"]
    if system == "sqlite":
        value = median(figure, NAME)
        yield _line(figure, _place(figure), goal=f"≤ {number(EMBEDDED)} ms", met=value <= EMBEDDED)
        return
    yield _line(figure, _place(figure), **_over(figure, *OVER_PEER[system]))
    if figure["candidates"] == 50:
        first = next((each for each in figures if _same(each, figure) and each["candidates"] == 2), None)
        if first is not None and NAME in first["samples"]:
            over, most = median(figure, NAME) / median(first, NAME), OVER_OWN[system]
            grown = {
                name: f"{number(median(figure, name) / median(first, name))} ×"
                for name in figure["samples"]
                if name != NAME and name in first["samples"] and name != RAW
            }
            what = f"{TITLES[system]}, 50 candidates over 2"
            ours = f"{number(over)} ×"
            yield Line("handover", what, ours, grown, goal=f"≤ {number(most)} ×", met=over <= most)


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(one["row"] == other["row"] and one["system"] == other["system"])


def _alone(figure: Mapping[str, Any], _figures: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    peers = [name for name in figure["samples"] if name not in (NAME, RAW)]
    best = min(peers, key=lambda name: median(figure, name), default="peer")
    yield _line(figure, _place(figure), **_over(figure, best, OVER_BEST))


def _follower(figure: Mapping[str, Any], _figures: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    pairs = zip(figure["samples"][NAME], figure["samples"]["raw watch"], strict=True)
    over = statistics.median(mine - theirs for mine, theirs in pairs)
    goal = f"≤ + {number(OVER_WATCH)} ms"
    yield _line(figure, _place(figure), ratio=f"{over:+.2f} ms", goal=goal, met=over <= OVER_WATCH)


def _crash(figure: Mapping[str, Any], _figures: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    samples = figure["samples"][NAME]
    ttl = figure["ttl"]
    if figure["system"] == "sqlite":
        goal, met = f"median ≤ {number(ATTESTED)} ms", statistics.median(samples) <= ATTESTED
    else:
        times, more = OVER_TTL[figure["system"]]
        most = 1e3 * (times * ttl + more)
        goal, met = (
            f"worst ≤ {'2 ' if times == 2 else ''}T + {number(more)} s = {number(most)} ms",
            max(samples) <= most,
        )
    ours = f"worst {number(max(samples))} ms, median {number(statistics.median(samples))} (n={len(samples)})"
    peers = {
        name: f"worst {number(max(each))} ms (n={len(each)})"
        for name, each in figure["samples"].items()
        if name != NAME
    }
    what = _place(figure) if figure["system"] == "sqlite" else f"{_place(figure)}, T = {number(ttl)} s"
    yield _line(figure, what, ours=ours, peers=peers | _failed(figure), goal=goal, met=met)


def _failed(figure: Mapping[str, Any]) -> dict[str, str]:
    return {name: f"failed ({why})" for name, why in figure["failed"].items() if name != NAME}


def _idle(figure: Mapping[str, Any], _figures: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    what = figure["row"].split()[1]
    most = EMBEDDED_THREADS if (what, figure["system"]) == ("threads", "sqlite") else IDLE.get(what)
    value, unit = median(figure, NAME), figure["unit"]
    aim = {} if most is None else {"goal": f"≤ {number(most)} {unit}".rstrip(), "met": value <= most}
    yield _line(figure, f"{TITLES[figure['system']]}: {ABOUT_IDLE[what]}", **aim)


def _requests(figure: Mapping[str, Any], _figures: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """
    Look-ups of who leads apart: a program that tells it has to ask.
    """
    looks = figure["looks"]
    value = median(figure, NAME) - looks[NAME]
    ours = f"{number(value)} + {number(looks[NAME])} look-ups (n={len(figure['samples'][NAME])})"
    peers = {
        name: f"{number(median(figure, name) - looks[name])} + {number(looks[name])}"
        for name in figure["samples"]
        if name != NAME
    }
    most = REQUESTS[figure["system"]]
    goal = f"≤ {number(most)}"
    yield _line(figure, _place(figure), ours=ours, peers=peers | _failed(figure), goal=goal, met=value <= most)


def _engine(figure: Mapping[str, Any], _figures: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    what = figure["row"].split()[1]
    about = {"transition": "a transition with its audit line", "renewal": "a renewal, for each candidate"}[what]
    value = median(figure, NAME)
    over = value / median(figure, "bare transitions")
    goal = f"≤ {number(ENGINE[what])} µs"
    yield _line(figure, about, ratio=f"{number(over)} × bare transitions", goal=goal, met=value <= ENGINE[what])

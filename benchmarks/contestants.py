"""
Who takes part: ours, and the peers of each system.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from dataclasses import dataclass
from typing import Final

from benchmarks.crowds import COOL_DOWN
from benchmarks.peer_go import NoGo, build
from benchmarks.table import GO, NAME, RAW
from benchmarks.worker import OURS


@dataclass(frozen=True)
class Contestant:
    """
    One who takes part.
    """

    name: str
    program: tuple[str, ...]
    rows: frozenset[str] = frozenset({"handover", "alone", "idle", "requests"})
    """Those in which it does."""
    most: int = 50
    """As many candidates at most."""
    every: int = 1
    """It takes part in each so many-th round: it is slow, or starts a process each time."""
    apart: bool = False
    """Each candidate has a process of its own."""
    cool_down: float = COOL_DOWN
    stand: str = "stand"
    """The command to stand for an election that nobody else wants."""


def _python(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"benchmarks.{name}")


@functools.cache
def go() -> str:
    """
    The program with the peers in Go; empty where it cannot be had, which is said once.
    """
    try:
        return build()
    except NoGo as error:
        print(f"The peers in Go cannot be had here, and their cells say so:\n{error}", file=sys.stderr)
        return ""


OF_ROW: Final = frozenset({"handover", "alone"})
ALL: Final = frozenset({"handover", "alone", "idle", "requests", "crash"})
PEERS: Final[dict[str, tuple[Contestant, ...]]] = {
    "etcd": (
        Contestant("python-etcd3 Lock", _python("peer_etcd3")),
        Contestant("etcdctl elect", _python("peer_command"), frozenset({"handover"}), every=4),
        Contestant(RAW, _python("peer_etcd"), OF_ROW, most=2, stand="uncontended"),
    ),
    "consul": (
        Contestant("python-consul2 loop", _python("peer_loop")),
        Contestant("consul lock", _python("peer_command"), frozenset({"handover"}), every=4),
        Contestant(RAW, _python("peer_consul"), OF_ROW, most=2, stand="uncontended"),
    ),
    "zookeeper": (
        Contestant("kazoo Election", _python("peer_kazoo"), ALL),
        Contestant("tooz", _python("peer_tooz"), OF_ROW, every=4, cool_down=1.5),
    ),
    "sqlite": (
        Contestant("tooz files (10 at most)", _python("peer_tooz"), OF_ROW | {"crash"}, most=10, every=2, apart=True),
    ),
}


def contestants(system: str, row: str) -> list[Contestant]:
    """
    Ours, and the peers that take part in a row and can be had.
    """
    made = [Contestant(NAME, OURS, ALL)]
    if system in GO and go():
        made.append(Contestant(GO[system], (go(),), ALL if system != "zookeeper" else ALL - {"crash"}))
    made += PEERS[system]
    return [each for each in made if row in each.rows and each.name not in missing(system)]


def missing(system: str) -> dict[str, str]:
    """
    The peers that cannot be had here, and why.
    """
    found = {}
    if system in GO and not go():
        found[GO[system]] = "the peers in Go could not be built"
    if importlib.util.find_spec("tooz") is None:
        found |= {each.name: "tooz is not installed" for each in PEERS[system] if each.name.startswith("tooz")}
    return found

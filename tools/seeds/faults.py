"""
What a step of a plan does to the network, the store and the processes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from seeds.witness import ELECTION

if TYPE_CHECKING:
    from seeds.life import Life

Inject = Callable[["Life", str, float, float], None]
"""Of a life, to a node, for so many seconds, so much."""


def _resign(life: Life, node: str, _lasts: float, part: float) -> None:
    cool_down = None if part < 0 else part
    life.sim.spawn(lambda: life.candidates[node].resign("drill", cool_down=cool_down))


def _crash(life: Life, node: str, lasts: float, _part: float) -> None:
    life.crash(node)
    life.sim.later(lasts, life.restart, node)


def _link(kind: str, life: Life, node: str, lasts: float, _part: float) -> None:
    life.sim.fault(kind, node=node, seconds=lasts)
    life.sim.silence(node)


def _suspend(life: Life, node: str, lasts: float, part: float) -> None:
    life.sim.fault("stall", node=node, seconds=lasts)
    _link("partition", life, node, lasts, part)


def _whole_store(kind: str, life: Life, _node: str, lasts: float, _part: float) -> None:
    life.sim.fault(kind, seconds=lasts)
    for name in life.candidates:
        life.sim.silence(name)


def _fail_over(life: Life, _node: str, lasts: float, _part: float) -> None:
    life.quiet_at = max(life.quiet_at, life.sim.now + lasts)
    life.sim.fail_over(lasts)


def _ask(life: Life, _node: str, _lasts: float, _part: float) -> None:
    holder = life.server.read(ELECTION)
    if holder is not None:
        life.sim.now_or_soon(lambda: life.server.request_resign(ELECTION, holder.token, "drill"))


def _wipe(life: Life, _node: str, _lasts: float, _part: float) -> None:
    life.wiped = True
    life.sim.fault("wipe")


def _edit(kind: str, life: Life, _node: str, _lasts: float, _part: float) -> None:
    life.sim.fault(kind, election=ELECTION)


def _steal(life: Life, _node: str, lasts: float, _part: float) -> None:
    life.sim.fault("steal", election=ELECTION)
    life.sim.later(lasts, life.sim.release_thief, ELECTION)


FAULTS: Final[dict[str, Inject]] = {
    "resign": _resign,
    "stop": lambda life, node, _lasts, _part: life.sim.spawn(life.candidates[node].stop),
    "start": lambda life, node, _lasts, _part: life.candidates[node].start(),
    "crash": _crash,
    "ask": _ask,
    **{kind: partial(_link, kind) for kind in ("partition", "lose_requests", "lose_replies", "stall")},
    "suspend": _suspend,
    "loss": lambda life, node, lasts, part: life.sim.fault("loss", node=node, part=part, seconds=lasts),
    "delay": lambda life, node, lasts, part: life.sim.fault("delay", node=node, least=0.0, most=part, seconds=lasts),
    "lag": lambda life, node, lasts, part: life.sim.fault("delay", node=node, least=part, most=part, seconds=lasts),
    "clock": lambda life, node, lasts, part: life.sim.fault("clock", node=node, rate=1 + part, seconds=lasts),
    "duplicate": lambda life, node, lasts, part: life.sim.duplicate(node, part, lasts),
    "isolate": lambda life, node, lasts, _part: life.sim.isolate(node, lasts),
    "compaction": lambda life, node, _lasts, _part: life.sim.net.break_watches(node),
    "hang": partial(_whole_store, "hang"),
    "down": partial(_whole_store, "down"),
    "failover": _fail_over,
    "wipe": _wipe,
    "steal": _steal,
    **{kind: partial(_edit, kind) for kind in ("expire", "delete")},
}
OF_A_PROCESS: Final = ("resign", "stop", "start", "crash")
"""Nothing of that happens to one that was killed."""

"""
One round: a calm moment, a fault, its end, a leader again; the facts of it are in `round.json` beside the evidence.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

from servers import ZooKeeper

from court.actors import in_use
from court.clock import now
from court.controls import CONTROLS
from court.fault import Fault, Injection
from court.judge_followers import FOLLOWED
from court.observer import wait_for
from court.stage import Stage

CALM: Final = 0.3
MOMENT: Final = 0.5
"""Seconds that a new leader has to write to the resource before the old one is let go on."""
PROBES: Final = 2
"""How often each server is asked whether it takes a write."""
LONG: Final = 20.0
"""Seconds beyond a bound after which a round is given up."""
UNTOKENED: Final = frozenset({"S1-store", "S2", "L1"})
"""What is not judged of controls: they promise no token and have layouts of their own."""


def play(stage: Stage, fault: Fault, folder: Path, *, slack: float = 0.0) -> None:
    """
    Play a round into a folder that is not there yet.

    Args:
        stage: Where.
        fault: What happens.
        folder: For the evidence.
        slack: Seconds that are allowed beyond the bounds on a machine that others use too.
    """
    stage.wait_leader()
    stage.turn(folder)
    began = now()
    time.sleep(CALM)
    leader = stage.wait_leader()
    injection = Injection(stage, leader, leader.token, stage.played[fault.name])
    bound = fault.most(stage)

    fault.inject(injection)
    leader, token = injection.leader, injection.token
    hold = fault.hold(injection)
    if hold is None:
        wait_for(lambda: stage.leader(other_than=leader, newer=injection.at) is not None, bound + slack + LONG)
        time.sleep(MOMENT)
    else:
        time.sleep(hold)
    injection.healed = now()
    fault.heal(injection)

    def recovered() -> bool:
        newer = injection.at if fault.moves == "must" else 0.0
        return stage.leader(newer=newer) is not None

    end = now() + bound + slack + LONG
    while now() < end:
        wait_for(recovered, end - now())
        time.sleep(MOMENT)
        if recovered():  # and no leader of before whose lease was ending
            break
    lost = "" if recovered() else unwritable(stage)
    wait_for(stage.followed, FOLLOWED + slack + MOMENT)
    facts = {
        "store": stage.case.name,
        "servers": len(stage.members),
        "contender": stage.kind,
        "fault": fault.name,
        "moves": fault.moves,
        "since": fault.since,
        "bound": bound,
        "slack": slack,
        "resets": fault.resets,
        "splits": fault.splits,
        "shuts_out": fault.shuts_out,
        "spared": sorted(fault.spared | (UNTOKENED if stage.kind in CONTROLS else frozenset())),
        "ttl": stage.case.ttl,
        "leader": leader.node,
        "token": token,
        "highest": stage.highest,
        "began": began,
        "injected": injection.at,
        "healed": injection.healed,
        "ended": now(),
        "proof": injection.proof,
        "notes": injection.notes,
        "lost": lost,
        "pauses": stage.pauses,
        "polls": None if stage.observer is None else stage.observer.polls,
        "nodes": [actor.node for actor in stage.actors],
        "followers": [actor.node for actor in stage.followers],
    }
    (folder / "round.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    for actor in [*stage.actors, *stage.followers]:
        stage.used.setdefault(actor.name, []).append(in_use(actor.process.pid))
    stage.rounds += 1
    stage.played[fault.name] += 1
    stage.highest = max([stage.highest, token or 0, *(actor.token or 0 for actor in stage.actors)])


def unwritable(stage: Stage) -> str:
    """
    How a store fails to take a write that is not the library's, by whichever server; nothing: it takes it.
    """
    if not stage.members:
        return ""
    said = ""
    for _ in range(PROBES):
        for server in stage.members:
            writing: Any = server
            try:
                writing.put("/probe" if isinstance(server, ZooKeeper) else "probe", "")
            except Exception as error:  # noqa: BLE001 - a store that is hurt may answer with anything
                said = f"{type(error).__name__}: {error}"[:200]
            else:
                return ""
        time.sleep(MOMENT)
    return said

"""
The end of a stage: how much is asked in calm, who leaves, what is left in the store; and what each process has in use.

The facts are in `stage.json` beside the rounds; `judge_stages` judges them.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from typing import Final

from court.actors import in_use
from court.clock import now
from court.judge_stages import grown
from court.observer import wait_for
from court.stage import Stage

CALM: Final = 1.0
"""Seconds, and a TTL more, over which requests are counted."""
MOMENT: Final = 2.0
"""Seconds that a process has to end its threads after it has stopped."""


def left(stage: Stage) -> list[str]:
    """
    What stands in the store for anybody of the stage: an entry that leads, sessions.
    """
    found = [] if stage.observer is None or stage.observer.truth is None else [f"the entry {stage.observer.truth}"]
    if stage.servers is None:
        with contextlib.closing(sqlite3.connect(stage.folder / "court.db", timeout=5.0)) as connection:
            return [*found, *(f"session {row[0]}" for row in connection.execute("SELECT id FROM sessions"))]
    names = {each for member in stage.members for each in member.sessions()}
    return [*found, *(f"session {each}" for each in sorted(names - stage.foreign()))]


def finish(stage: Stage, slack: float) -> None:
    """
    Count requests in calm, stop everybody, and see what is left.

    Args:
        stage: Whose rounds are over.
        slack: Seconds that are allowed beyond the bounds.
    """
    stage.wait_leader()
    everybody = [*stage.actors, *stage.followers]
    seconds = CALM + stage.case.ttl
    before = [sum(proxy.asked for proxy in actor.proxies) for actor in everybody]
    time.sleep(seconds)
    after = [sum(proxy.asked for proxy in actor.proxies) for actor in everybody]
    for actor in everybody:
        actor.send("leave")
    stopped = {actor.node: actor.answer("leave")["settled"] for actor in everybody}
    began = now()
    # Of what was killed the store keeps the session until its lease has lapsed.
    wait_for(lambda: not left(stage), 3 * stage.case.ttl + 2.0 + slack)
    gone = now() - began

    def idle() -> dict[str, list[list[int]]]:
        return {actor.name: [stage.idle[actor.name], in_use(actor.process.pid)] for actor in everybody}

    wait_for(lambda: not any(grown(*each) for each in idle().values()), MOMENT + slack)  # threads of a pool end late
    facts = {
        "store": stage.case.name,
        "servers": len(stage.members),
        "ttl": stage.case.ttl,
        "rounds": stage.rounds,
        "calm": seconds,
        "asked": {
            actor.node: more - less
            for actor, less, more in zip(everybody, before, after, strict=True)
            if stage.servers is not None  # an embedded store has no way on which it could be counted
        },
        "stopped": stopped,
        "left": left(stage),
        "gone": round(gone, 3),
        "used": stage.used,
        "idle": idle(),
    }
    (stage.folder / "stage.json").write_text(json.dumps(facts), encoding="utf-8")

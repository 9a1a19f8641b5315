"""
One session of the court: rounds on one stage, judged one by one.
"""

from __future__ import annotations

import os
import shutil
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from servers import Cluster, Network, Server

from court.audits import judge_audits
from court.cases import Case, case_of
from court.clocks import Clocks, build
from court.ending import finish
from court.fault import Fault
from court.judge import judge_folder
from court.judge_stages import judge_stage
from court.machine import mounted
from court.rounds import play
from court.stage import SETTINGS, Stage


@contextmanager
def served(
    case: Case, folder: Path, *, cluster: bool, network: Network | None = None, library: Path | None = None
) -> Iterator[Server | Cluster[Any] | None]:
    """
    The servers of a store, if it has any; they are shown clocks where there is a library for it.
    """
    made = case.cluster if cluster else case.single
    with mounted(folder / "data", case.disk) if case.disk else nullcontext():
        servers = None if made is None else made(folder)
        if network is not None and isinstance(servers, Cluster):
            servers.move(network)
        if servers is not None and library is not None:
            for each in servers.members if isinstance(servers, Cluster) else [servers]:
                each.clocks = Clocks(library, each.folder / "clocks")
        with nullcontext() if servers is None else servers:
            yield servers
    for data in folder.rglob("data"):
        shutil.rmtree(data)  # the logs are evidence


STAGES: Final = 6
"""On how many stages a session is tried."""


class StoreLost(Exception):
    """
    The store did not come back from a round: for nobody, the court itself included.
    """


def rounds(stage: Stage, todo: list[tuple[int, Fault]], slack: float) -> None:
    """
    Play and judge rounds, and take them from the list.
    """
    while todo:
        stage.wait_leader()  # where nobody leads, the round is another stage's
        number, fault = todo.pop(0)
        folder = stage.folder / f"{number:03}-{fault.name.replace(' ', '-').replace('–', '-')}"
        play(stage, fault, folder, slack=slack)
        verdict = judge_folder(folder)
        what = "; ".join([*(f"{each.law}: {each.what}" for each in verdict.findings), *verdict.void])
        took = verdict.measures.get("took")
        after = "" if took is None else f"  next leader after {took:.3f} s"
        print(f"{verdict.status:7} {stage.case.name} {stage.kind}: {fault.name}{after}  {what}", flush=True)
        if verdict.measures["lost"]:
            todo.insert(0, (number, fault))
            raise StoreLost(verdict.void[0])


@dataclass(frozen=True)
class Session:
    """
    What is played on one stage.
    """

    store: str
    folder: Path
    faults: Sequence[Fault]
    size: str = "single"
    """Of its servers: `single`, `cluster`, `network`."""
    kind: str = "library"

    @property
    def ends_judged(self) -> bool:
        """
        Whether it is seen what everybody uses, and what is left in the store: where the stage is as most are.
        """
        first = self.faults[0]
        plain = first.setting == "plain" and not first.variant and not first.resets
        return self.kind == "library" and self.size != "network" and plain

    def rounds(self, many: int) -> list[tuple[int, Fault]]:
        """
        Each round with its number among those of its fault.

        A control is not fit for another round: who believes for ever is never replaced again.
        """
        if self.kind != "library":
            return [(0, fault) for fault in self.faults]
        return [
            (number * fault.times + again, fault)
            for number in range(many)
            for fault in self.faults
            for again in range(fault.times)
            if not (fault.once and number)
        ]


def play_session(session: Session, many: int, slack: float) -> None:
    """
    All rounds on one stage. One that cannot go on is left, and said to have been; what remains is played on another. So
    is a round again whose store was lost.
    """
    case = case_of(session.store, session.faults[0].variant)
    setting, cluster = session.faults[0].setting, session.size != "single"
    todo = session.rounds(many)
    for again in range(1, STAGES + 1):
        left, lost = len(todo), False
        place = session.folder if again == 1 else session.folder.with_name(f"{session.folder.name}-again-{again}")
        place.mkdir(parents=True)
        try:
            library = build(place) if SETTINGS[setting].shows_clocks else None
            with (
                Network() if session.size == "network" else nullcontext() as network,
                served(case, place / "servers", cluster=cluster, network=network, library=library) as servers,
                Stage(
                    case, place, servers, kind=session.kind, network=network, setting=setting, library=library
                ) as stage,
            ):
                rounds(stage, todo, slack)
                if session.ends_judged:
                    finish(stage, slack)
            if session.ends_judged:
                judge_stage(place)
            if session.kind == "library":
                judge_audits(place, held=all(fault.audited for fault in session.faults))
        except StoreLost as error:
            lost = again < STAGES
            (place / ("lost" if lost else "aborted")).write_text(f"{error}\n", encoding="utf-8")
            print(f"lost {place}: {error}", flush=True)
            if session.kind == "library":
                judge_audits(place, held=all(fault.audited for fault in session.faults))
        except Exception as error:  # noqa: BLE001 - whatever it was: the others are played, and this one has failed
            (place / "aborted").write_text(f"{type(error).__name__}: {error}\n", encoding="utf-8")
            traceback.print_exc()
            print(f"aborted {place}: {error}", flush=True)
        if not todo or (len(todo) == left and not lost):  # where no round can be begun, it is not tried again
            return


def play_in_pool(session: Session, many: int, slack: float) -> None:
    """
    The same in a process of a pool, which plays nothing else when it is interrupted.
    """
    try:
        play_session(session, many, slack)
    except KeyboardInterrupt:
        os._exit(1)

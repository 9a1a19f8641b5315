"""
What is done to an election: each fault says where it applies, does it, undoes it, and proves that it was done.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from court.actors import Actor
from court.stage import Stage

SERVED: Final = frozenset({"etcd", "consul", "zookeeper"})
ALL: Final = SERVED | {"sqlite"}


@dataclass
class Injection:
    """
    A fault that is being injected into an election with a leader.
    """

    stage: Stage
    leader: Actor
    token: int | None
    """The leader's, of the term that the fault is to end."""
    number: int
    """Of the fault's rounds on this stage, from 0: what varies from round to round."""
    at: float = 0.0
    """The moment from which on the fault may be felt."""
    healed: float = 0.0
    proof: str = ""
    """What shows that it was injected; empty: nothing does, and the round is void."""
    facts: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    """What the judge is told beside: see `judge._notes`."""


class Fault(ABC):
    """
    One fault. It keeps nothing: what belongs to a round is in its injection.
    """

    name: ClassVar[str]
    stores: ClassVar[frozenset[str]] = ALL
    single: ClassVar[bool] = True
    """It is for one server, or none."""
    cluster: ClassVar[bool] = False
    """It is for three servers."""
    times: ClassVar[int] = 1
    """How often it is played where others are played once."""
    network: ClassVar[bool] = False
    """It is for three servers on a network of namespaces."""
    moves: ClassVar[str] = "must"
    """Whether another term must follow, or must not: `must`, `may`, `never`."""
    waits: ClassVar[bool] = False
    """It lasts until another leads, and a moment longer."""
    since: ClassVar[str] = "injected"
    """From when the next leader is waited for: `injected`, `healed`."""
    bound: ClassVar[str] = "crash"
    """Which of the store's bounds holds, a field of `Bounds`."""
    variant: ClassVar[str] = ""
    """The stage that it needs, where the usual one will not do; see `cases.VARIANTS`."""
    splits: ClassVar[bool] = False
    """A server answers that is cut off from the others, so that what is read from it may be old."""
    shuts_out: ClassVar[bool] = False
    """The store refuses somebody for good, who may give up then."""
    resets: ClassVar[bool] = False
    """The store loses data, so that tokens may begin anew: who remembers a greater one must say so."""
    spared: ClassVar[frozenset[str]] = frozenset()
    """Laws that are not judged, because the fault breaks what they rest on."""
    setting: ClassVar[str] = "plain"
    """On which kind of stage, a name of `SETTINGS`."""
    once: ClassVar[bool] = False
    """It takes long, and is played in the first round only."""

    @property
    def audited(self) -> bool:
        """
        Whether an invalid audit is a failure of the run. It is none where an operator ended entries early: a leader may
        believe until it is told, and then its audit tells of an overlap.
        """
        return not self.spared

    def most(self, stage: Stage) -> float:
        """
        The seconds within which there must be a leader.
        """
        found: float = getattr(stage.case.bounds, self.bound)
        return found

    @property
    def stage(self) -> str:
        """
        Which faults it may share a stage with: none may stand beside those that spoil what the others are judged by.
        """
        kept = self.variant or ("lost" if self.resets else "" if self.audited else "unaudited")
        return "-".join(filter(None, ("" if self.setting == "plain" else self.setting, kept)))

    @abstractmethod
    def inject(self, injection: Injection) -> None:
        """
        Do it; sets `at`, and `proof` if it can be told by now.
        """

    def heal(self, injection: Injection) -> None:
        """
        Undo it.
        """
        del injection

    def hold(self, injection: Injection) -> float | None:
        """
        Seconds between the two; None: until another leads, and a moment longer.
        """
        del injection
        return None if self.waits else 0.0

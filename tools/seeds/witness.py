"""
Watches one life: what each broken promise is, and how it is seen.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Self

from leadership import Candidate, DemotionCause, Term, Transition
from seeds.plan import Plan
from seeds.resource import Resource
from seeds.stores import ModelSimulation

ELECTION: Final = "orders"
MOST_EVENTS: Final = 100_000
"""A life has a few thousand: more is a busy loop."""
WRITE_EVERY: Final = 0.1
WRITE_TAKES: Final = 0.08
"""Of the TTL: most of the time a write is under way."""


@dataclass
class Played:
    """
    What a life came to.
    """

    seed: int = 0
    failures: list[str] = field(default_factory=list[str])
    """Each begins with the law that was broken."""
    terms: int = 0
    ends: Counter[str] = field(default_factory=Counter[str])
    faults: Counter[str] = field(default_factory=Counter[str])
    events: int = 0
    seconds: float = 0.0
    taken: int = 0
    refused: int = 0
    stale: int = 0
    recovery: float = 0.0
    """Seconds from the end of the faults to a leader, over the bound."""
    audited: bool = False
    transcript: list[str] = field(default_factory=list[str])

    @property
    def law(self) -> str:
        """
        The first law that was broken.
        """
        return self.failures[0].split()[1] if self.failures else ""


class EngineFaults(logging.Handler):
    """
    What the engine says that it never should.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """
        Keep what it says of a fault.
        """
        message = record.getMessage()
        if "leadership.engine_fault" in message or "leadership.illegal" in message:
            error = record.exc_info[1] if record.exc_info else None
            self.said.append(f"{message} {error!r}")

    def __enter__(self) -> Self:
        logging.getLogger("leadership").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("leadership").removeHandler(self)


class Witness:
    """
    What is seen of a life, after every event and in every callback.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.honest = plan.is_honest
        self.sim = ModelSimulation(plan.seed, plan.model)
        self.server = self.sim.server
        self.played = Played(plan.seed)
        self.resource = Resource()
        self.wiped = False
        self.tokens: dict[str, int] = {}
        """The last one of each node, and of all."""
        self.open_terms: dict[str, Term] = {}
        self.working: dict[str, Term] = {}
        """Whose on_elected has not returned, where the grace is the whole lease."""
        self.over: set[Term] = set()
        self.candidates: dict[str, Candidate] = {}
        self.dead: set[str] = set()
        """Nodes whose process was killed."""

    def write(self, term: Term) -> None:
        """
        Writes to the resource, as long as the term lasts. Its sender looks at the term; the write arrives later, and
        later still if the sender stands still meanwhile.
        """
        engine, sim, ttl = self.sim.engine(term.node), self.sim, self.plan.ttl

        def arrive() -> None:
            if engine.stalled:
                sim.later(0.01 * ttl, arrive)
            elif not engine.crashed:
                wrong = self.resource.write(term.token, term.node)
                if wrong is not None and not self.wiped:
                    self.fail("S3", wrong)

        def look() -> None:
            if term.is_current and not engine.crashed:
                if not engine.stalled:
                    sim.later(WRITE_TAKES * ttl, arrive)
                sim.later(WRITE_EVERY * ttl, look)

        look()

    # -- what is watched --------------------------------------------------------------------------------------------

    def say(self, what: str) -> None:
        """
        Keep a line of the transcript.
        """
        self.played.transcript.append(f"{self.sim.now:.6f} {what}")

    def fail(self, law: str, what: str) -> None:
        """
        Note a broken promise.
        """
        self.played.failures.append(f"{self.sim.now:.6f} {law} {what}")
        self.say(f"BROKEN {law}: {what}")

    def note(self, record: Transition) -> None:
        """
        What a candidate did.
        """
        error = f" ({record.error})" if record.error else ""
        token = f" token {record.token}" if record.token is not None else ""
        self.say(f"{record.node} {record.source} -> {record.dest} by {record.trigger}{token}{error}")
        if record.disposition == "illegal":
            self.fail("engine", f"{record.node}: {record.trigger} in {record.source}")

    def elected(self, term: Term) -> None:
        """
        A term began.
        """
        self.played.terms += 1
        if term.node in self.open_terms:
            self.fail("order", f"{term.node} elected twice without on_demoted between")
        self.open_terms[term.node] = term
        for other in self.working.values():
            left = other.deadline - self.sim.engine(other.node).now()
            if self.honest and other.node != term.node and left > 0:
                self.fail("grace", f"{term.node} is elected while {other.node} works, {left:.3f} s before its deadline")
        # Where an entry was taken while its process stood still, its callback comes after those of later terms.
        before = self.tokens.get("" if self.honest else term.node, 0)
        if self.wiped:
            if term.token <= max(self.tokens.values(), default=0):
                self.resource.reset()
        elif term.token <= before:
            self.fail("S2", f"token {term.token} of {term.node} does not exceed {before}")
        self.tokens[""] = self.tokens[term.node] = term.token

    def demoted(self, term: Term, cause: DemotionCause) -> None:
        """
        A term ended.
        """
        self.played.ends[cause.value] += 1
        if self.open_terms.pop(term.node, None) is not term:
            self.fail("order", f"{term.node} demoted without on_elected before")
        if term.is_current:
            self.fail("S4", f"{term.node} demoted while its term is current")

    @property
    def alive(self) -> list[Candidate]:
        """
        Those whose process runs.
        """
        return [candidate for node, candidate in self.candidates.items() if node not in self.dead]

    def check(self) -> bool:
        """
        After every event: who believes is who the store says. Returns whether something is broken.
        """
        played = self.played
        played.events += 1
        if played.events > MOST_EVENTS:
            self.fail("L4", f"{MOST_EVENTS} events and no end")
        believers = [candidate for candidate in self.alive if candidate.is_leader]
        if self.honest and believers:
            if len(believers) > 1:
                tokens = ", ".join(f"{one.node} with token {one.term.token if one.term else None}" for one in believers)
                self.fail("S1", f"{len(believers)} believe that they lead: {tokens}")
            holder, term = self.server.read(ELECTION), believers[0].term
            if term is not None and (holder is None or holder.token != term.token):
                self.fail("S1-store", f"{term.node} believes, with token {term.token}, and the store has {holder}")
        for term in self.open_terms.values():
            if not term.is_current:
                self.over.add(term)
            elif term in self.over:
                self.fail("S4", f"the term of {term.node} with token {term.token} came back to life")
        return bool(played.failures)

    def leader(self) -> Candidate | None:
        """
        Who believes that it leads.
        """
        return next((candidate for candidate in self.alive if candidate.is_leader), None)

"""
One random life of an election in virtual time, judged after every event.

The production engine runs. A scenario is its seed: the same seed gives the same faults, and the same records.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

from leadership import Backoff, Candidate, DemotionCause, Follower, Term, Transition
from leadership.testing import Simulation

ELECTION = "orders"
HONEST = ("partition", "lose_requests", "lose_replies", "loss", "delay", "stall", "clock", "hang", "down")
"""Faults under which at most one candidate believes that it leads."""
DISHONEST = ("expire", "delete", "steal", "wipe")
"""Somebody ends the holder's entry before its time: the tokens decide, belief ends within the watch's latency."""
CHAOS = 30.0
DRIFT = 0.04
"""Clocks run up to this part too fast or too slow, which the margin of 10 % covers."""


@dataclass
class Verdict:
    """
    What a scenario came to.
    """

    faults: list[str] = field(default_factory=list)
    elected: int = 0
    demoted: dict[str, int] = field(default_factory=dict)
    turns: int = 0
    transcript: list[str] = field(default_factory=list)


class Scenario:
    """
    A seed, played.
    """

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.honest = self.draw.random() < 0.75
        self.ttl = self.draw.choice((0.5, 1.0, 2.0, 3.0, 5.0))
        self.sim = Simulation(seed)
        self.verdict = Verdict()
        self.wiped = False
        self.last_token = 0
        self.open_terms: dict[str, Term] = {}
        self.working: dict[str, Term] = {}
        """Whose on_elected has not returned, where the grace is the whole lease."""
        self.over: set[Term] = set()
        self.candidates = [self.make_candidate(f"node-{number}") for number in range(self.draw.randint(2, 4))]
        self.follower = Follower(self.sim.store, ELECTION, log=False)

    def make_candidate(self, node: str) -> Candidate:
        """
        A candidate whose callbacks are watched; some have work to do, some are slow to let go of it.
        """
        cool_down = self.draw.choice((0.0, 0.2, 1.0))
        grace = self.draw.choice((None, None, 0.1, 2 * self.ttl))
        candidate = Candidate(
            self.sim.store,
            ELECTION,
            node=node,
            ttl=self.ttl,
            cool_down=cool_down,
            grace=grace,
            backoff=Backoff(initial=self.draw.choice((0.05, 0.25))),
            log=False,
            observers=[self.note],
        )
        linger = self.draw.choice((0.0, 0.0, 0.0, 0.5, 1.5)) * self.ttl
        works = self.draw.random() < 0.5

        @candidate.on_elected
        def lead(term: Term) -> None:
            self.elected(term)
            if works:
                if grace is None:
                    self.working[node] = term
                while not term.wait(self.ttl / 3):
                    pass
                self.sim.sleep(linger)
                self.working.pop(node, None)

        @candidate.on_demoted
        def stand_down(term: Term, cause: DemotionCause) -> None:
            self.demoted(term, cause)

        return candidate

    # -- what is watched ----------------------------------------------------------------------------------------

    def fail(self, what: str) -> None:
        """
        Note a broken promise.
        """
        self.verdict.faults.append(f"{self.sim.now:.6f} {what}")

    def note(self, record: Transition) -> None:
        """
        Keep a line of the transcript.
        """
        self.verdict.transcript.append(f"{self.sim.now:.6f} {json.dumps(record.as_dict(), sort_keys=True)}")

    def elected(self, term: Term) -> None:
        """
        A term began.
        """
        self.verdict.elected += 1
        if term.node in self.open_terms:
            self.fail(f"{term.node} elected twice without on_demoted between")
        self.open_terms[term.node] = term
        for other in self.working.values():
            left = other.deadline - other._clock()
            if self.honest and other.node != term.node and left > 0:
                self.fail(f"{term.node} is elected while {other.node} still works, {left:.3f} s before its deadline")
        if term.token <= self.last_token and not self.wiped:
            self.fail(f"token {term.token} of {term.node} does not exceed {self.last_token}")
        self.last_token = term.token

    def demoted(self, term: Term, cause: DemotionCause) -> None:
        """
        A term ended.
        """
        self.verdict.demoted[cause.value] = self.verdict.demoted.get(cause.value, 0) + 1
        if self.open_terms.pop(term.node, None) is not term:
            self.fail(f"{term.node} demoted without on_elected before")
        if term.is_current:
            self.fail(f"{term.node} demoted while its term is current")

    def check(self) -> bool:
        """
        After every event: at most one believes. Returns False, so that it can be waited for.
        """
        self.verdict.turns += 1
        believers = [candidate for candidate in self.candidates if candidate.is_leader]
        if self.honest and len(believers) > 1:
            tokens = ", ".join(f"{one.node} with token {one.term.token if one.term else None}" for one in believers)
            self.fail(f"{len(believers)} believe that they lead: {tokens}")
        for term in tuple(self.open_terms.values()):
            if not term.is_current:
                self.over.add(term)
            elif term in self.over:
                self.fail(f"the term of {term.node} with token {term.token} came back to life")
        return bool(self.verdict.faults)

    # -- what happens -------------------------------------------------------------------------------------------

    def pause(self) -> float:
        """
        Seconds until something else happens, often close to what a lease is sensitive to.
        """
        edge = self.draw.choice((1 / 3, 2 / 3, 0.9, 1.0, 1.1)) * self.ttl
        return self.draw.choice((self.draw.uniform(0.0, 2 * self.ttl), edge + self.draw.uniform(-0.02, 0.02)))

    def disturb(self) -> None:
        """
        Inject one fault, or have somebody resign, stop or start.
        """
        sim, draw = self.sim, self.draw
        leaders = [candidate for candidate in self.candidates if candidate.is_leader]
        victim = draw.choice(leaders) if leaders and draw.random() < 0.7 else draw.choice(self.candidates)
        action = draw.random()
        if action < 0.15:
            sim.spawn(lambda: victim.resign("drill", cool_down=draw.choice((None, 0.0, self.ttl))))
            return
        if action < 0.22:
            sim.spawn(victim.stop)
            return
        if action < 0.30:
            victim.start()
            return
        kinds = HONEST if self.honest else HONEST + DISHONEST
        kind = draw.choice(kinds)
        lasts = max(0.001, draw.choice((0.5, 1.0, 1.0, 2.0, 4.0)) * self.ttl + draw.uniform(-0.05, 0.05))
        node = victim.node
        match kind:
            case "loss":
                sim.fault(kind, node=node, part=draw.uniform(0.05, 0.6), seconds=lasts)
            case "delay":
                most = draw.choice((0.05, 0.24, 0.4)) * self.ttl
                sim.fault(kind, node=node, least=0.0, most=most, seconds=lasts)
            case "clock":
                sim.fault(kind, node=node, rate=1 + draw.uniform(-DRIFT, DRIFT), seconds=lasts)
            case "hang" | "down":
                sim.fault(kind, seconds=lasts)
            case "wipe":
                self.wiped = True
                sim.fault(kind)
            case "expire" | "delete":
                sim.fault(kind, election=ELECTION)
            case "steal":
                sim.fault(kind, election=ELECTION)
                sim.run_until(self.check, self.pause())
                sim.release(ELECTION)
            case _:
                sim.fault(kind, node=node, seconds=lasts)

    @property
    def recovery(self) -> float:
        """
        Seconds after the last fault within which somebody leads: a lease to run out, the longest wait, and a grace.
        """
        return 2 * self.ttl + 2 * self.ttl + 3.0

    def play(self) -> Verdict:
        """
        Chaos, then calm; what was promised must hold in the one, and a leader must be there in the other.
        """
        sim = self.sim
        with sim:
            for candidate in self.candidates:
                candidate.start()
            self.follower.start()
            until = CHAOS * min(1.0, self.ttl)
            while sim.now < until and not sim.run_until(self.check, self.pause()):
                self.disturb()
            sim.heal()
            for candidate in self.candidates:
                candidate.start()
            if not self.verdict.faults:
                self.calm()
        return self.verdict

    def calm(self) -> None:
        """
        No more faults: a leader, known to the follower, and everybody able to stop.
        """
        sim = self.sim

        def led() -> bool:
            return self.check() or any(candidate.is_leader for candidate in self.candidates)

        if not sim.run_until(led, self.recovery):
            self.fail(
                f"nobody leads {self.recovery:.1f} s after the faults: {[str(c.status()) for c in self.candidates]}"
            )
            return
        sim.run_until(self.check, 3 * self.ttl)

        def known() -> bool:
            leader = self.follower.leader
            return leader is not None and any(c.is_leader and c.node == leader.node for c in self.candidates)

        if not sim.run_until(lambda: self.check() or known(), 16.0):
            self.fail(f"the follower sees {self.follower.status()}")
        for candidate in self.candidates:
            if not candidate.stop():
                self.fail(f"{candidate.node} does not stop: {candidate.status()}")
            if candidate.is_leader:
                self.fail(f"{candidate.node} leads after stop")
        self.follower.stop()
        sim.advance(5 * self.ttl)
        if self.open_terms:
            self.fail(f"no on_demoted for {list(self.open_terms)}")
        if sim.holder(ELECTION) is not None:
            self.fail(f"{sim.holder(ELECTION)} holds the election though all have stopped")


def play(seed: int) -> tuple[int, Verdict]:
    """
    Play one seed; for worker processes.
    """
    return seed, Scenario(seed).play()


def summary(verdicts: list[Verdict]) -> dict[str, Any]:
    """
    What many scenarios did, so that one sees that they did something.
    """
    causes: dict[str, int] = {}
    for verdict in verdicts:
        for cause, count in verdict.demoted.items():
            causes[cause] = causes.get(cause, 0) + count
    return {
        "seeds": len(verdicts),
        "elected": sum(verdict.elected for verdict in verdicts),
        "events": sum(verdict.turns for verdict in verdicts),
        "demoted": causes,
    }

"""
One life of an election in virtual time, judged after every event.

Chaos, then calm: what was promised must hold in the one, and everybody must lead in turn in the other.
"""

from __future__ import annotations

from pathlib import Path

from leadership import Backoff, Candidate, DemotionCause, Follower, Term
from leadership.observers import AuditLog
from seeds.faults import FAULTS, OF_A_PROCESS
from seeds.plan import Moment, Plan, Stand, Step
from seeds.witness import ELECTION, EngineFaults, Played, Witness


class Life(Witness):
    """
    A plan, played once.
    """

    def __init__(self, plan: Plan, audits: Path | None = None) -> None:
        super().__init__(plan)
        self.audits = audits
        self.logs: list[AuditLog] = []
        self.timing = plan.model.timing(plan.ttl)
        self.quiet_at = 0.0
        """When the last fail-over is over."""
        self.stands = {stand.node: stand for stand in plan.stands}
        self.candidates.update((stand.node, self.make_candidate(stand)) for stand in plan.stands)
        self.follower = Follower(self.sim.store, ELECTION, log=False)
        if audits is not None:
            self.follower.subscribe(self.audit("follower"))

    def audit(self, name: str) -> AuditLog:
        """
        A new audit.
        """
        assert self.audits is not None  # noqa: S101 - asked before
        self.logs.append(AuditLog(self.audits / f"{self.plan.seed}-{name}-{len(self.logs)}.jsonl", chain=True))
        return self.logs[-1]

    def make_candidate(self, stand: Stand) -> Candidate:
        """
        A candidate whose callbacks are watched; some have work to do, some are slow to let go of it.
        """
        sim, node = self.sim, stand.node
        engine = sim.engine(node)
        candidate = Candidate(
            sim.store,
            ELECTION,
            node=node,
            ttl=self.plan.ttl,
            cool_down=stand.cool_down,
            grace=stand.grace,
            backoff=Backoff(initial=stand.backoff),
            log=False,
            observers=[self.note],
        )
        if self.audits is not None:
            candidate.subscribe(self.audit(node))

        @candidate.on_elected
        def lead(term: Term) -> None:
            if engine.crashed:
                return
            self.elected(term)
            if not stand.works:
                return
            if stand.grace is None:
                self.working[node] = term
            self.write(term)
            term.wait()
            if not engine.crashed:
                sim.sleep(stand.linger)
                if not engine.crashed:
                    self.working.pop(node, None)

        @candidate.on_demoted
        def stand_down(term: Term, cause: DemotionCause) -> None:
            if not engine.crashed:
                self.demoted(term, cause)

        return candidate

    # -- what happens -----------------------------------------------------------------------------------------------

    def seconds(self, moment: Moment) -> float:
        """
        How long a moment is away.
        """
        edge: float | None = None
        leader, holder = self.leader(), self.server.read(ELECTION)
        if moment.edge == "belief":
            if leader is not None and leader.term is not None:
                edge = self.sim.now + leader.term.remaining() / self.sim.engine(leader.term.node).rate
        elif moment.edge and holder is not None and holder.session in self.server.leases:
            edge = self.server.leases[holder.session].deadline
            if moment.edge == "renewal":
                edge = self.server.renewed[holder.session] + self.timing.renew_interval
        return max(0.0005, moment.after if edge is None else edge - self.sim.now + moment.after)

    def victim(self, who: str) -> str:
        """
        Whom a step concerns.
        """
        leads = (node for node, candidate in self.candidates.items() if candidate is self.leader())
        return who if who in self.candidates else next(leads, next(iter(self.candidates)))

    def happen(self, step: Step) -> None:
        """
        Inject one fault, or have somebody resign, stop or start.
        """
        node = self.victim(step.who)
        lasts = 0.0 if step.lasts is None else self.seconds(step.lasts)
        self.say(f"* {step.kind} {node} {f'for {lasts:.4f} s ' if lasts else ''}{step.part or ''}".rstrip())
        self.played.faults[step.kind] += 1
        if node not in self.dead or step.kind not in OF_A_PROCESS:
            FAULTS[step.kind](self, node, lasts, step.part)

    def crash(self, node: str) -> None:
        """
        A process is killed.
        """
        self.dead.add(node)
        self.working.pop(node, None)
        self.open_terms.pop(node, None)
        self.sim.died(node)

    def restart(self, node: str) -> None:
        """
        A process begins, with the node's name.
        """
        if node in self.dead:
            self.sim.restart(node)
            self.candidates[node] = self.make_candidate(self.stands[node])
            self.dead.discard(node)
            self.set_clock(node)
            self.candidates[node].start()

    def set_clock(self, node: str) -> None:
        """
        Let a process's clock run at its own rate.
        """
        if self.stands[node].rate != 1.0:
            self.sim.fault("clock", node=node, rate=self.stands[node].rate)

    # -- the whole --------------------------------------------------------------------------------------------------

    def play(self) -> Played:
        """
        Play it to its end, or to the first broken promise.
        """
        sim = self.sim
        with sim, EngineFaults() as engine:
            for node, candidate in self.candidates.items():
                self.set_clock(node)
                candidate.start()
            self.follower.start()
            for step in self.plan.steps:
                if sim.run_until(self.check, self.seconds(step.wait)):
                    break
                self.happen(step)
            self.say("* the faults end")
            sim.heal()
            for node in tuple(self.dead):
                self.restart(node)
            if not self.played.failures:
                self.calm()
            for said in engine.said:
                self.fail("engine", said)
            self.played.seconds = sim.now
        for log in self.logs:
            log.close()
        self.played.taken, self.played.refused = self.resource.taken, self.resource.refused
        self.played.stale = self.resource.twin_stale
        return self.played

    @property
    def bound(self) -> float:
        """
        Seconds within which somebody leads after the faults: the store's own, what callbacks and an unconfirmed
        release may cost, and the longest abstention.
        """
        return self.timing.crash_takeover + 3 * self.plan.ttl + 1.0

    def one_leads(self) -> bool:
        """
        Exactly one does, or something is broken.
        """
        return self.check() or sum(candidate.is_leader for candidate in self.alive) == 1

    def calm(self) -> None:
        """
        No more faults: one leads, the follower knows, each leads when those before it have stopped.
        """
        sim = self.sim
        sim.run_until(self.check, max(0.0, self.quiet_at - sim.now) + 0.001)
        if self.wiped or not self.honest:
            sim.release_thief(ELECTION)
        for candidate in self.candidates.values():
            candidate.start()
        began = sim.now
        if not sim.run_until(self.one_leads, self.bound):
            self.fail("L1", f"not one leads {self.bound:.1f} s after the faults: {self.states()}")
        self.played.recovery = (sim.now - began) / self.bound
        if self.played.failures or sim.run_until(self.check, 2 * self.plan.ttl):
            return
        if not sim.run_until(lambda: self.check() or self.is_known(), 16.0):
            self.fail("O2", f"the follower sees {self.follower.status()}")
        standing = dict(self.candidates)
        while standing and not self.played.failures:
            self.one_after_another(standing)
        self.follower.stop()
        sim.run_until(self.check, 5 * self.plan.ttl)
        if not self.played.failures:
            self.left_behind()

    def one_after_another(self, standing: dict[str, Candidate]) -> None:
        """
        The leader stops, and another leads; the last one is alone.
        """
        if not self.sim.run_until(self.one_leads, self.bound):
            self.fail("L2", f"nobody of {', '.join(standing)} leads after {self.bound:.1f} s: {self.states()}")
            return
        leader = self.leader()
        assert leader is not None or self.played.failures  # noqa: S101 - one leads
        if leader is None:
            return
        stopped: list[bool] = []
        self.sim.spawn(lambda: stopped.append(leader.stop()))
        if not self.sim.run_until(lambda: self.check() or bool(stopped), 10 * self.plan.ttl) or stopped == [False]:
            self.fail("L3", f"{leader.node} does not stop: {leader.status()}")
        if stopped and leader.is_leader:
            self.fail("S4", f"{leader.node} leads after stop")
        standing.pop(next(node for node, candidate in standing.items() if candidate is leader))

    def left_behind(self) -> None:
        """
        All have stopped: nobody holds anything.
        """
        if self.open_terms:
            self.fail("order", f"no on_demoted for {list(self.open_terms)}")
        holder = self.server.read(ELECTION)
        if holder is not None:
            self.fail("S5", f"{holder} holds the election though all have stopped")

    def states(self) -> list[str]:
        """
        What each says of itself.
        """
        return [str(candidate.status()) for candidate in self.candidates.values()]

    def is_known(self) -> bool:
        """
        The follower sees who leads.
        """
        leader = self.follower.leader
        return leader is not None and any(one.is_leader and one.node == leader.node for one in self.alive)


def play(plan: Plan, audits: Path | None = None) -> Played:
    """
    Play a plan.
    """
    return Life(plan, audits).play()

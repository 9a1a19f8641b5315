"""
What a transition and a renewal cost, in CPU time of the threads that do the work, beside bare `transitions`.

A transition is what the production driver does with an event that moves its machine, but for the effects, whose cost
is the store's: fire the table, make the record, keep it in the history, queue it for the observers and for an audit.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from transitions import EventData, Machine

from benchmarks.rows import ratio, row
from leadership import AuditLog, Candidate, connect
from leadership._runtime.candidate import CandidateDriver, CandidateSettings
from leadership._runtime.changed import Changed
from leadership._runtime.driver import Subscriptions
from leadership._runtime.engine import Engine, engine_for
from leadership.fsm.backoff import Backoff
from leadership.fsm.event import Event
from leadership.fsm.states import CandidateEffect
from leadership.fsm.states import CandidateState as S
from leadership.fsm.states import CandidateTrigger as T
from leadership.observers.history import History
from leadership.store import Store

R = TypeVar("R")

CYCLE = (
    (T.ACQUIRED, S.CAMPAIGNING, S.LEADER),
    (T.RESIGN, S.LEADER, S.RESIGNING),
    (T.SETTLED, S.RESIGNING, S.BACKOFF),
    (T.BACKOFF_ELAPSED, S.BACKOFF, S.CAMPAIGNING),
)


class Bare:
    """
    The same cycle on `transitions` alone: events are sent, one callback of the machine is called.
    """

    def __init__(self) -> None:
        self.seen = 0
        self.machine = Machine(
            model=self,
            states=[state.value for state in S],
            transitions=[[trigger.value, source.value, dest.value] for trigger, source, dest in CYCLE],
            initial=S.CAMPAIGNING.value,
            auto_transitions=False,
            send_event=True,
            after_state_change=self.changed,
        )

    def changed(self, event_data: EventData) -> None:
        self.seen += 1

    def run(self, cycles: int) -> None:
        triggers: list[Callable[[Any], bool]] = [getattr(self, trigger.value) for trigger, _, _ in CYCLE]
        event = Event(T.START, 0.0)
        for _ in range(cycles):
            for trigger in triggers:
                trigger(event)


class Idle(CandidateDriver):
    """
    The production driver, which carries out no effect.
    """

    effects = dict.fromkeys(CandidateEffect, lambda _driver, _event: None)

    def run(self, cycles: int) -> None:
        now = self.engine.now
        for _ in range(cycles):
            self.fire(Event(T.ACQUIRED, now(), token=1, session="s", deadline=now() + 9.0))
            self.fire(Event(T.RESIGN, now()))
            self.fire(Event(T.SETTLED, now()))
            self.fire(Event(T.BACKOFF_ELAPSED, now()))


def make_idle(engine: Engine, store: Store, *observers: AuditLog) -> Idle:
    settings = CandidateSettings(15.0, None, Backoff(), 1.0, "resign", None, store.timing(15.0))
    driver = Idle(
        engine, store, "bench", "node", settings, Subscriptions(observers), history=History(), changed=Changed()
    )
    on_engine(engine, driver.start)
    return driver


def on_engine(engine: Engine, fn: Callable[..., R], *args: Any) -> R:
    """
    What a function returns on the engine's thread.
    """
    future: Future[R] = Future()

    def run() -> None:
        try:
            future.set_result(fn(*args))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            future.set_exception(error)

    engine.post(run)
    return future.result()


def timed(fn: Callable[..., None], *args: Any) -> float:
    """
    Microseconds of this thread's CPU time.
    """
    began = time.thread_time_ns()
    fn(*args)
    return (time.thread_time_ns() - began) / 1e3


def spent(name: str) -> float:
    """
    Microseconds of CPU time that a thread of the library has used so far.
    """
    (thread,) = [thread for thread in threading.enumerate() if thread.name == name]
    assert thread.ident is not None  # noqa: S101 - it runs
    return time.clock_gettime_ns(time.pthread_getcpuclockid(thread.ident)) / 1e3


def written(audit: AuditLog, driver: Idle) -> None:
    """
    Write one more line, and wait for it.
    """
    done = threading.Event()
    audit.submit(driver.history.snapshot()[-1], lambda _error: done.set())
    if not done.wait(10):
        msg = "the audit does not write"
        raise TimeoutError(msg)


def transitions(rounds: int, cycles: int, folder: str) -> None:
    store = connect("memory://")
    engine = engine_for(store)
    audit = AuditLog(f"{folder}/audit.jsonl")
    bare, plain, audited = Bare(), make_idle(engine, store), make_idle(engine, store, audit)
    n = cycles * len(CYCLE)
    alone: list[float] = []
    without: list[float] = []
    threads: dict[str, list[float]] = {"engine": [], "leadership-audit": [], "leadership-observers": []}
    written(audit, audited)
    for number in range(-2, rounds):  # the first two warm up
        base = on_engine(engine, timed, bare.run, cycles) / n
        quiet = on_engine(engine, timed, plain.run, cycles) / n
        engine.dispatcher.drain(10)
        before = {name: spent(name) for name in threads if name != "engine"}
        own = on_engine(engine, timed, audited.run, cycles) / n
        written(audit, audited)
        engine.dispatcher.drain(10)
        if number >= 0:
            alone.append(base)
            without.append(quiet)
            threads["engine"].append(own)
            for name, then in before.items():
                threads[name].append((spent(name) - then) / (n + (name == "leadership-audit")))
    audit.close()
    told = list(zip(*threads.values(), strict=True))
    total = [engine_thread + audit_thread for engine_thread, audit_thread, _ in told]
    peer = "bare transitions"
    n *= rounds
    row("bare `transitions`, one callback, send_event", "µs", alone, n=n)
    row("transition without an audit, engine thread", "µs", without, ratio=ratio(without, alone, peer), n=n)
    mine = threads["engine"]
    row("transition with an audit, engine thread", "µs", mine, ratio=ratio(mine, alone, peer), n=n)
    row("its line, audit thread", "µs", threads["leadership-audit"], n=n)
    row("transition with its audit line, both threads", "µs", total, goal=20, ratio=ratio(total, alone, peer), n=n)
    row("its log record (filtered), observers' thread", "µs", threads["leadership-observers"], n=n)


def renewals(rounds: int, repeats: int, count: int) -> None:
    with connect("memory://") as store:
        candidates = [Candidate(store, f"bench/{number}") for number in range(count)]
        for candidate in candidates:
            candidate.start()
        for candidate in candidates:
            candidate.wait_elected()
        engine = engine_for(store)
        drivers = [driver for driver in engine.drivers if isinstance(driver, CandidateDriver)]
        bare = Bare()

        def renew(members: list[CandidateDriver], times: int) -> None:
            for _ in range(times):
                deadline = engine.now() + 13.5
                for driver in members:
                    driver.renewed(deadline)

        alone: list[float] = []
        one: list[float] = []
        all_of_them: list[float] = []
        for number in range(-2, rounds):
            base = on_engine(engine, timed, bare.run, repeats // len(CYCLE)) / repeats
            same = on_engine(engine, timed, renew, drivers[:1], repeats) / repeats
            many = on_engine(engine, timed, renew, drivers, 1) / count
            if number >= 0:
                alone.append(base)
                one.append(same)
                all_of_them.append(many)
    peer = "bare transitions"
    row(
        f"renewal, {count:,} candidates of one session in turn",
        "µs",
        all_of_them,
        goal=6,
        ratio=ratio(all_of_them, alone, peer),
        n=count * rounds,
    )
    row("renewal, one candidate again and again", "µs", one, ratio=ratio(one, alone, peer), n=repeats * rounds)


def main() -> None:
    quick = "--quick" in sys.argv
    with tempfile.TemporaryDirectory() as folder:
        transitions(3 if quick else 40, 25 if quick else 125, folder)
    renewals(3 if quick else 40, 100 if quick else 1000, 20 if quick else 1000)


if __name__ == "__main__":
    main()

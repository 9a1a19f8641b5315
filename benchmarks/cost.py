"""
What a transition and a renewal cost, in CPU time of the threads that do the work, beside bare `transitions`.

A transition is what the production driver does with an event that moves its machine, but for the effects, whose cost
is the store's: fire the table, make the record, keep it in the history, queue it for the observers and for an audit.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Any, TypeVar

from transitions import EventData, Machine

from benchmarks.rows import ratio, row
from leadership import AuditLog, Candidate, connect
from leadership._runtime.candidate import CandidateDriver
from leadership._runtime.engine import Engine
from leadership._runtime.keeper import SessionKeeper
from leadership._runtime.process import engine_for
from leadership.fsm.event import Event
from leadership.fsm.states import CandidateEffect
from leadership.fsm.states import CandidateState as S
from leadership.fsm.states import CandidateTrigger as T
from leadership.store import Outcome, Reply

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

    def changed(self, _event_data: EventData) -> None:
        self.seen += 1

    def run(self, cycles: int) -> None:
        triggers: list[Callable[[Any], bool]] = [getattr(self, trigger.value) for trigger, _, _ in CYCLE]
        event = Event(T.START, 0.0)
        for _ in range(cycles):
            for trigger in triggers:
                trigger(event)


def cycle(driver: CandidateDriver, cycles: int) -> None:
    """
    The same cycle of a driver that leads and carries out no effects.
    """
    now = driver.engine.now
    for _ in range(cycles):
        driver.fire(Event(T.RESIGN, now()))
        driver.fire(Event(T.SETTLED, now()))
        driver.fire(Event(T.BACKOFF_ELAPSED, now()))
        driver.fire(Event(T.ACQUIRED, now(), token=1, session=driver.ctx.session, deadline=now() + 9.0))


@contextlib.contextmanager
def without_effects(*candidates: Candidate) -> Generator[list[CandidateDriver], None, None]:
    """
    The drivers of candidates that lead; their effects are left out.
    """
    drivers: list[CandidateDriver] = []
    for candidate in candidates:
        candidate.start()
        candidate.wait_elected()
        driver = candidate._driver  # noqa: SLF001 - what is measured is inside
        assert isinstance(driver, CandidateDriver)  # noqa: S101 - it was started
        vars(driver)["effects"] = dict.fromkeys(CandidateEffect, lambda _driver, _event: None)
        drivers.append(driver)
    yield drivers
    for driver in drivers:
        del vars(driver)["effects"]


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


def written(audit: AuditLog, candidate: Candidate) -> None:
    """
    Write one more line, and wait for it.
    """
    done = threading.Event()
    audit.submit(candidate.history[-1], lambda _error: done.set())
    if not done.wait(10):
        msg = "the audit does not write"
        raise TimeoutError(msg)


def transitions(rounds: int, cycles: int, folder: str) -> None:
    alone: list[float] = []
    without: list[float] = []
    threads: dict[str, list[float]] = {"engine": [], "leadership-audit": [], "leadership-observers": []}
    n = cycles * len(CYCLE)
    bare = Bare()
    with AuditLog(f"{folder}/audit.jsonl") as audit, connect("memory://") as store:
        candidate = Candidate(store, "audited", observers=[audit])
        with without_effects(Candidate(store, "plain"), candidate) as (plain, audited):
            engine = plain.engine
            engine.say(logging.DEBUG, "leadership.bench")  # the observers' thread exists
            for number in range(-2, rounds):  # the first two warm up
                base = on_engine(engine, timed, bare.run, cycles) / n
                quiet = on_engine(engine, timed, cycle, plain, cycles) / n
                engine.dispatcher.drain(10)
                before = {name: spent(name) for name in threads if name != "engine"}
                own = on_engine(engine, timed, cycle, audited, cycles) / n
                written(audit, candidate)
                engine.dispatcher.drain(10)
                if number >= 0:
                    alone.append(base)
                    without.append(quiet)
                    threads["engine"].append(own)
                    for name, then in before.items():
                        threads[name].append((spent(name) - then) / (n + (name == "leadership-audit")))
    mine, lines, observers = threads.values()
    total = [engine_thread + audit_thread for engine_thread, audit_thread in zip(mine, lines, strict=True)]
    peer = "bare transitions"
    n *= rounds
    row("bare `transitions`, one callback, send_event", "µs", alone, n=n)
    row("transition without an audit, engine thread", "µs", without, ratio=ratio(without, alone, peer), n=n)
    row("transition with an audit, engine thread", "µs", mine, ratio=ratio(mine, alone, peer), n=n)
    row("its line, audit thread", "µs", lines, n=n)
    row("transition with its audit line, both threads", "µs", total, goal=20, ratio=ratio(total, alone, peer), n=n)
    row("its log record (filtered), observers' thread", "µs", observers, n=n)


def renewals(rounds: int, repeats: int, count: int) -> None:
    """
    What a keeper does when its session was renewed, for each candidate that shares it.
    """
    with connect("memory://") as lonely, connect("memory://") as crowded:
        candidates = [Candidate(crowded, f"bench/{number}") for number in range(count)]
        candidates.append(Candidate(lonely, "bench"))
        for candidate in candidates:
            candidate.start()
        for candidate in candidates:
            candidate.wait_elected()
        engine = engine_for(lonely)
        (single,) = [keeper for keeper in engine.keepers if keeper.store is lonely]
        (shared,) = [keeper for keeper in engine.keepers if keeper.store is crowded]
        bare = Bare()
        reply = Reply(Outcome.DONE)

        def renew(keeper: SessionKeeper, times: int) -> None:
            assert keeper.session is not None  # noqa: S101 - its candidates lead
            for _ in range(times):
                keeper._renewed(keeper.session, engine.now(), reply, False)  # noqa: SLF001, FBT003 - not late

        alone: list[float] = []
        one: list[float] = []
        many: list[float] = []
        for number in range(-2, rounds):
            base = on_engine(engine, timed, bare.run, repeats // len(CYCLE)) / repeats
            same = on_engine(engine, timed, renew, single, repeats) / repeats
            each = on_engine(engine, timed, renew, shared, 1) / count
            if number >= 0:
                alone.append(base)
                one.append(same)
                many.append(each)
    peer = "bare transitions"
    what = f"renewal, {count:,} candidates of one session, each"
    row(what, "µs", many, goal=6, ratio=ratio(many, alone, peer), n=count * rounds)
    what = "renewal, one candidate, its session's timers included"
    row(what, "µs", one, ratio=ratio(one, alone, peer), n=repeats * rounds)


def main() -> None:
    quick = "--quick" in sys.argv
    with tempfile.TemporaryDirectory() as folder:
        transitions(3 if quick else 40, 25 if quick else 125, folder)
    renewals(3 if quick else 40, 100 if quick else 1000, 20 if quick else 1000)


if __name__ == "__main__":
    main()

"""
Virtual time: a loop whose clock jumps, threads that run one at a time, an engine on both.

Law 1: nothing here reads a real clock or draws from anything but the seed: a run with the same seed is the same run.
Law 2: the production engine runs unchanged; only its loop, its lanes and its clock are these.
"""

from __future__ import annotations

import asyncio
import math
import random
import selectors
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from leadership._runtime.changed import Changed
from leadership._runtime.dispatch import Dispatcher, call
from leadership._runtime.engine import Engine, Timer
from leadership._runtime.jobs import Job
from leadership.store import Store
from leadership.term import Wakeup
from leadership.testing._threads import Abandoned, VirtualThread, current_thread

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class _Jump(selectors.BaseSelector):
    """
    A selector that never waits: the time that it would have waited has passed.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.looked: Callable[[bool], None] = lambda _idle: None
        """Called at each turn of the loop, with whether nothing is left that could happen."""
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, fileobj if isinstance(fileobj, int) else fileobj.fileno(), events, data)
        self._keys[fileobj] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            self.now += timeout
        self.looked(timeout is None)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


class VirtualLoop(asyncio.SelectorEventLoop):
    """
    An asyncio loop in virtual time, from 0.0.
    """

    def __init__(self) -> None:
        self._jump = _Jump()
        self._jump.looked = self._looked
        self._single = False
        self._idle = False
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now

    def _looked(self, idle: bool) -> None:
        self._idle = idle
        self._clock_resolution = 2 * math.ulp(self._jump.now)  # asyncio's timers may be so much too early
        if self._single or idle:
            self.stop()  # after this turn

    def turn(self) -> bool:
        """
        Run what is ready, or jump to the next timer and run that; False when nothing is left that could happen.
        """
        self._single, self._idle = True, False
        try:
            self.run_forever()
        finally:
            self._single = False
        return not self._idle


class World:
    """
    The loop that all nodes of a simulation share, and its virtual threads.
    """

    def __init__(self, seed: object) -> None:
        self.loop = VirtualLoop()
        self.random = random.Random(f"{seed}")
        self.seed = seed
        self.clock = uuid.uuid4().hex
        """Names the virtual time of this very run: that of another, even with the same seed, is not comparable."""
        self.booted = random.Random(f"{seed}/clock").uniform(0.0, 1e6)
        """What the processes' clocks show at the beginning: all run on one machine, as far as clocks are concerned."""
        self.threads: list[VirtualThread] = []

    def spawn(self, run: Callable[[], None]) -> None:
        """
        Run a function in a virtual thread, from the next step on.
        """
        thread = VirtualThread(run)
        self.threads = [known for known in self.threads if not known.over]
        self.threads.append(thread)
        self.loop.call_soon(thread.resume)

    def block(
        self,
        until: Callable[[], bool],
        timeout: float | None,
        subscribe: Callable[[Callable[[], None]], Callable[[], None]],
    ) -> bool:
        """
        Wait in virtual time until a predicate holds or the time is up; whether it holds.

        Args:
            until: What is waited for.
            timeout: Virtual seconds; None for no limit.
            subscribe: Have a function called when the predicate may have changed; returns how to end that.
        """
        thread = current_thread()
        if thread is None:
            return self.run_until(until, timeout)
        deadline = None if timeout is None else self.loop.time() + timeout
        while not until():
            if deadline is not None and self.loop.time() >= deadline:
                return False
            resumed = False

            def wake() -> None:
                nonlocal resumed
                if not resumed:
                    resumed = True
                    self.loop.call_soon(thread.resume)

            timer = None if deadline is None else self.loop.call_at(deadline, wake)
            forget = subscribe(wake)
            try:
                thread.pause()
            finally:
                forget()
                if timer is not None:
                    timer.cancel()
        return True

    def run_until(self, until: Callable[[], bool], timeout: float | None) -> bool:
        """
        Let virtual time pass until a predicate holds, looked at after every step. On the simulation's own thread only.
        """
        over: list[None] = []  # the clock may show a little less by then, by rounding
        limit = None if timeout is None else self.loop.call_later(timeout, over.append, None)
        try:
            while not until():
                if over:
                    return False
                if not self.loop.turn() and not until():
                    msg = "nothing is left that could happen in this simulation: it would wait for ever"
                    raise RuntimeError(msg)
        finally:
            if limit is not None:
                limit.cancel()
        return True

    def advance(self, seconds: float) -> None:
        """
        Let virtual time pass. On the simulation's own thread only.
        """
        self.loop.call_at(self.loop.time() + seconds, self.loop.stop)
        self.loop.run_forever()

    def close(self) -> None:
        """
        End what still waits.
        """
        for thread in self.threads:
            if not thread.over:
                thread.abandon()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.close()


class _VirtualWakeup:
    """
    What `Term.wait` waits on, in virtual time.
    """

    def __init__(self, engine: VirtualEngine) -> None:
        self._engine = engine
        self._flag = False
        self._listeners: list[Callable[[], None]] = []

    def set(self) -> None:
        self._flag = True
        for listener in tuple(self._listeners):
            listener()

    def wait(self, timeout: float | None = None) -> bool:
        def subscribe(wake: Callable[[], None]) -> Callable[[], None]:
            self._listeners.append(wake)
            return lambda: self._listeners.remove(wake)

        virtual = None if timeout is None else timeout / self._engine.rate
        return self._engine.world.block(lambda: self._flag, virtual, subscribe)


class _Inline(Dispatcher):
    """
    Observers at once and in order: a simulation has nobody to stall.
    """

    def put(self, observer: Callable[..., Any], *args: Any, on_dropped: Callable[..., Any] | None = None) -> None:  # noqa: ARG002 - nothing is
        call(observer, args)


class VirtualEngine(Engine):
    """
    The production engine of one simulated process: with a clock of its own, that can be stalled and can crash.
    """

    def __init__(self, world: World, node: str, life: int = 0) -> None:
        self.world = world
        self.node = node
        self.rate = 1.0
        self._origin = world.loop.time()
        seeded = random.Random(f"{world.seed}/{node}/{life}" if life else f"{world.seed}/{node}")
        self._base = world.booted + self._origin
        self.stalled = self.crashed = False
        self._held: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        super().__init__(world.loop, seeded)
        self.clock = world.clock
        self.dispatcher = _Inline()

    def now(self) -> float:
        """
        This process's own clock.
        """
        return self._base + (self.loop.time() - self._origin) * self.rate

    def set_rate(self, rate: float) -> None:
        """
        Let the clock run faster or slower from now on.
        """
        self._base, self._origin = self.now(), self.loop.time()
        self.rate = rate
        self.clock = self.new_id()  # its moments are no longer those of the others
        for driver in tuple(self.drivers):
            driver.describe_to_audits()

    def utcnow(self) -> datetime:
        """
        Virtual wall clock.
        """
        return EPOCH + timedelta(seconds=self.loop.time())

    def deliver(self, fn: Callable[..., None], *args: Any) -> None:
        """
        Hold it back while the process is stalled, drop it when it has crashed.
        """
        if self.crashed:
            return
        if self.stalled:
            self._held.append((fn, args))
        else:
            super().deliver(fn, *args)

    def resume(self) -> None:
        """
        End a stall: what came meanwhile is delivered, in order.
        """
        self.stalled = False
        if self.crashed:
            self._held.clear()
        while self._held and not self.stalled:
            fn, args = self._held.popleft()
            super().deliver(fn, *args)

    def post(self, fn: Callable[..., None], *args: Any) -> None:
        """
        Only one thread runs at a time: no lock, no self-pipe.
        """
        self.loop.call_soon(self.deliver, fn, *args)

    def call_at(self, when: float, fn: Callable[..., None], *args: Any) -> Timer:
        """
        A moment of this process's clock.
        """
        moment = self._origin + (when - self._base) / self.rate
        # Whoever is called too early, by rounding, asks for the same moment again, for ever.
        while self._base + (moment - 4 * math.ulp(moment) - self._origin) * self.rate < when:
            moment += max(math.ulp(when), math.ulp(moment))
        return self.loop.call_at(max(self.loop.time(), moment), self.deliver, fn, *args)

    def wakeup(self) -> Wakeup:
        """
        In virtual time.
        """
        return _VirtualWakeup(self)

    def run_user(self, job: Job, done: Callable[[Job, BaseException | None], None]) -> None:
        """
        In a virtual thread.
        """

        def run() -> None:
            error = job.call()
            if isinstance(error, Abandoned):
                raise error
            self.post(done, job, error)

        self.world.spawn(run)

    def wait(self, changed: Changed, predicate: Callable[[], bool], timeout: float | None) -> bool:
        """
        Let virtual time pass until the predicate holds.
        """
        return self.world.block(predicate, timeout, changed.listen)


class Stores:
    """
    How a simulated store finds the engine of a node.
    """

    def __init__(self, world: World, make: Callable[[str, VirtualEngine], Store]) -> None:
        self._world = world
        self._make = make
        self.engines: dict[str, VirtualEngine] = {}
        self.views: dict[str, Store] = {}
        self._past: list[VirtualEngine] = []
        """Of processes that are gone: their calls are under way, and nobody else holds them."""

    def view(self, node: str) -> Store:
        """
        The store as the process of a node sees it.
        """
        if node not in self.views:
            self.engines[node] = VirtualEngine(self._world, node, len(self._past))
            self.views[node] = self._make(node, self.engines[node])
        return self.views[node]

    def restart(self, node: str) -> None:
        """
        End what may be left of a node's process: the next view is that of a new one.
        """
        if node in self.views:
            self.engines[node].crashed = True
            self._past.append(self.engines.pop(node))
            del self.views[node]

"""
Bugs to plant in the engine, so that one sees how many seeds find them.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Final
from unittest import mock

from leadership._runtime import keeper
from leadership._runtime.cleanup import Cleanup
from leadership._runtime.keeper import SessionKeeper
from seeds.queues import Queue
from seeds.servers import Server


def rewrite(cls: type, name: str, *changes: tuple[str, str]) -> Any:
    """
    A method with a bug planted: pieces of its source replaced.
    """
    source = textwrap.dedent(inspect.getsource(getattr(cls, name)))
    for old, new in changes:
        if old not in source:
            msg = f"{cls.__name__}.{name} does not say {old!r} any more: plant the bug elsewhere"
            raise LookupError(msg)
        source = source.replace(old, new)
    module = inspect.getmodule(cls)
    names = dict(vars(module))
    exec("from __future__ import annotations\n" + source.replace("super()", f"super({cls.__name__}, self)"), names)  # noqa: S102 - that is the plant
    return names[name]


@contextmanager
def _method(cls: type, name: str, *changes: tuple[str, str]) -> Iterator[None]:
    with mock.patch.object(cls, name, rewrite(cls, name, *changes)):
        yield


@contextmanager
def _deadline_from_reply() -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(_method(SessionKeeper, "_renewed", ("since = sent if", "since = now if")))
        change = ("sent + session.ttl", "self.engine.now() + session.ttl")
        stack.enter_context(_method(SessionKeeper, "_opened", change))
        yield


@contextmanager
def _late_acquire() -> Iterator[None]:
    with (
        _method(Server, "acquire", ("election.number > entry.number", "False")),
        _method(Queue, "acquire", ("mine.entry.number > entry.number", "False")),
    ):
        yield


@contextmanager
def _loose_release() -> Iterator[None]:
    with (
        mock.patch.object(Server, "release", lambda self, _session, entry: _vacate(self, entry)),
        mock.patch.object(Queue, "release", lambda self, _session, entry: _vacate(self, entry)),
    ):
        yield


def _vacate(server: Any, entry: Any) -> Any:
    from leadership.store import Fact, Outcome, Reply

    server.vacate(entry.election, Fact.KEY_DELETED)
    return Reply(Outcome.DONE)


def planted(name: str) -> AbstractContextManager[object]:
    """
    The engine with a bug; with no name, as it is.
    """
    return PLANTS[name]() if name else nullcontext()


PLANTS: Final[dict[str, Callable[[], AbstractContextManager[object]]]] = {
    "a deadline counted from the reply": _deadline_from_reply,
    "no margin": lambda: mock.patch.object(keeper, "MARGIN", 0.0),
    "a release while callbacks run": lambda: _method(
        Cleanup, "step", ("(driver.office.running and driver.engine.now() < self._until)", "False")
    ),
    "a late acquire is accepted": _late_acquire,
    "a release without compare": _loose_release,
}
"""In the engine, or in what a backend must do for it."""

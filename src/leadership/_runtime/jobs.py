"""
The user's code, carried out where it can hurt nobody.

Law 1: user code never runs on the engine's thread.
Law 2: the jobs of one lane run one after the other, in order, and none is dropped.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import types
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from leadership.errors import ConfigError

if TYPE_CHECKING:
    from leadership._runtime.engine import Engine

_inside: contextvars.ContextVar[tuple[tuple[object, asyncio.Task[Any] | None], ...]] = contextvars.ContextVar(
    "leadership_inside", default=()
)
"""
The drivers whose callbacks are being run, and the task that runs each; None for a thread.
"""


def is_inside(driver: object) -> bool:
    """
    Whether the caller is a callback of this driver, or a thread that it started: who waits here waits for itself.

    A task that a coroutine callback has started beside itself is not: it may wait.
    """
    known = _inside.get()
    if not known:
        return False
    try:
        present = asyncio.current_task()
    except RuntimeError:  # no loop runs here
        present = None
    return any(one is driver and (task is None or present is None or present is task) for one, task in known)


Done = Callable[["Job", BaseException | None], None]


class Job:
    """
    One call of one function of the user's.
    """

    __slots__ = ("args", "cancelled", "done", "driver", "fn", "kind", "loop", "said", "task")

    def __init__(
        self,
        kind: str,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        driver: object,
        done: Done,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.kind = kind
        self.fn = fn
        self.args = args
        self.driver = driver
        self.done = done
        self.loop = loop if is_coroutine_function(fn) else None
        self.task: asyncio.Task[Any] | None = None
        self.cancelled = False
        self.said: str | None = None
        """The words of what it raised, which are the user's code as well."""

    @property
    def name(self) -> str:
        """
        What it calls, and as what.
        """
        return f"{self.kind}:{name_of(self.fn)}"

    def call(self) -> BaseException | None:
        """
        Run the function here and now; what it raised is returned.
        """

        def run() -> None:
            _inside.set((*_inside.get(), (self.driver, None)))
            result = self.fn(*self.args)
            if inspect.iscoroutine(result):
                result.close()
                msg = f"{self.name} returned a coroutine that nobody awaits: give the coroutine function itself"
                raise ConfigError(msg)

        try:
            contextvars.copy_context().run(run)
        except BaseException as error:  # noqa: BLE001 - it is reported with its traceback, and decides by policy
            self.said = words_of(error)
            return error
        return None

    def schedule(self, finished: Callable[[BaseException | None], None]) -> None:
        """
        Run a coroutine function on the user's loop; `finished` is called there when it has ended.
        """
        assert self.loop is not None  # noqa: S101 - for the type checker: the caller has looked

        async def run() -> None:
            _inside.set((*_inside.get(), (self.driver, asyncio.current_task())))
            await self.fn(*self.args)

        def ended(task: asyncio.Task[None]) -> None:
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            if error is not None:
                self.said = words_of(error)
            finished(error)

        def begin() -> None:
            assert self.loop is not None  # noqa: S101 - as above
            self.task = self.loop.create_task(run(), name=f"leadership {self.name}")
            self.task.add_done_callback(ended)
            if self.cancelled:
                self.task.cancel()

        try:
            self.loop.call_soon_threadsafe(begin)
        except RuntimeError as error:  # the loop is closed: nobody can run it any more
            finished(error)

    def cancel(self) -> None:
        """
        Ask a coroutine to end; a function in a thread cannot be asked.
        """
        self.cancelled = True
        if self.loop is None:
            return

        def cancel() -> None:
            if self.task is not None:
                self.task.cancel()

        try:
            self.loop.call_soon_threadsafe(cancel)
        except RuntimeError:
            return  # the loop is closed, and its tasks with it


class Lane:
    """
    Runs jobs one after the other, in order. Used on the engine's thread only.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queue: deque[Job] = deque()
        self._busy = False

    def put(self, job: Job) -> None:
        """
        Queue a job; it starts at once when the lane is free.
        """
        self._queue.append(job)
        if not self._busy:
            self._next()

    def _next(self) -> None:
        if not self._queue:
            self._busy = False
            return
        self._busy = True
        self._engine.run_user(self._queue.popleft(), self._finished)

    def _finished(self, job: Job, error: BaseException | None) -> None:
        job.done(job, error)
        self._next()


def name_of(fn: Any) -> str:
    """
    Its qualified name, or its type's; what a partial is given is not shown. Runs none of the user's code.
    """
    while True:
        if issubclass(type(fn), functools.partial):
            fn = vars(functools.partial)["func"].__get__(fn)
        elif type(fn) is types.MethodType:
            fn = fn.__func__
        else:
            break
    if issubclass(type(fn), types.FunctionType | types.BuiltinFunctionType):
        return str(fn.__qualname__)
    # A function that functools.wraps has dressed up has it among its own attributes.
    name = inspect.getattr_static(fn, "__qualname__", None)
    if type(name) is str:
        return name
    return str(vars(type)["__qualname__"].__get__(fn if issubclass(type(fn), type) else type(fn)))


def words_of(error: BaseException, said: str | None = None) -> str:
    """
    What was said for it, else its `str()`, or what can be said of one that has none.
    """
    if said is not None:
        return said
    try:
        return str(error)
    except BaseException as raised:  # noqa: BLE001 - it may raise anything
        return f"a {type(error).__qualname__}, whose str() raises {type(raised).__qualname__}"


def is_coroutine_function(fn: object) -> bool:
    """
    Whether it is an `async def`, or an object that is called like one.
    """
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(
        inspect.getattr_static(type(fn), "__call__", None)
    )


def check_callback(kind: str, fn: object, arguments: tuple[str, ...], *, coroutines: bool) -> None:
    """
    Refuse a callback that could not be called.

    Raises:
        ConfigError: It is not callable, does not take the arguments, or is a coroutine function where none can run.
    """
    wanted = f"{kind} needs a function of ({', '.join(arguments)})"
    if not callable(fn):
        msg = f"{wanted}, not {fn!r}"
        raise ConfigError(msg)
    if is_coroutine_function(fn) and not coroutines:
        msg = f"{wanted}, and {fn!r} is a coroutine function: use AsyncCandidate or AsyncFollower"
        raise ConfigError(msg)
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        return  # a builtin that does not tell
    try:
        signature.bind(*arguments)
    except TypeError as error:
        msg = f"{wanted}, and {fn!r} takes {signature}: {error}"
        raise ConfigError(msg) from None

"""
Who stands before the court: the library's candidate here, the negative controls in `controls`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from court.clock import now, own
from court.evidence import Look
from leadership import AuditLog, Candidate, DemotionCause, Term, connect
from leadership.aio import AsyncCandidate, AsyncTerm


@dataclass(frozen=True)
class Role:
    """
    What a worker process is told of itself.
    """

    kind: str
    """`library`, or the name of a control."""
    url: str
    election: str
    node: str
    ttl: float
    audit: str
    face: str = "threads"
    sample: float = 0.005
    writers: int = 3


Say = Callable[..., None]
"""
Writes down something that happened: `say("elected", token=7)`.
"""


class Contender(Protocol):
    """
    Who stands in an election.
    """

    def start(self) -> None:
        """
        Stand, without waiting.
        """

    def look(self) -> Look:
        """
        Whether it believes that it leads. Any thread.
        """
        ...

    def resign(self) -> bool:
        """
        Give office up, and whether that was settled in time.
        """
        ...

    def hang(self, seconds: float) -> bool:
        """
        Have the thread that renews stand still from now on for some time, and whether it does.
        """
        ...


@dataclass
class Misdeed:
    """
    What a callback of the court does, once, beside writing down that it was called.
    """

    raises: bool = False
    sleeps: float = 0.0


class _Log(logging.Handler):
    """
    Writes down what the engine should never meet, tokens that begin anew, and that a candidate gives up for good.
    """

    def __init__(self, say: Say) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """
        One record of the log.
        """
        text = record.getMessage()
        for what in ("engine_fault", "gave_up"):
            if what in text:
                self._say(what, text=text)
        if found := re.search(r"token_reset .*\btoken=(\d+)", text):
            self._say("token_reset", token=int(found[1]))


class LibraryContender:
    """
    The library's candidate. What its callbacks are told is written down, and it keeps an audit.
    """

    def __init__(self, role: Role, say: Say) -> None:
        logging.getLogger("leadership").addHandler(_Log(say))
        self._store = connect(role.url)
        self._candidate = self._make(role)
        self._last: Term | AsyncTerm | None = None
        self._misdeeds: dict[str, Misdeed] = {}
        self._done = 0

        def elected(term: Term) -> None:
            say("elected", token=term.token)
            self._misbehave("elected")

        def demoted(term: Term, cause: DemotionCause) -> None:
            say("demoted", token=term.token, cause=cause.value)
            self._misbehave("demoted")

        def failed(error: BaseException) -> Any:
            say("error", text=f"{type(error).__name__}: {error}")

        self._candidate.on_elected(elected)
        self._candidate.on_demoted(demoted)
        self._candidate.on_error(failed)

    def _make(self, role: Role) -> Any:
        return Candidate(self._store, role.election, role.node, **self._settings(role))

    def _settings(self, role: Role) -> dict[str, Any]:
        return {"ttl": role.ttl, "cool_down": 0.5, "observers": (AuditLog(role.audit),)}

    def _misbehave(self, callback: str) -> None:
        misdeed = self._misdeeds.pop(callback, None)
        if misdeed is not None:
            self._done += 1
            time.sleep(misdeed.sleeps)
            if misdeed.raises:
                msg = f"the court wants on_{callback} to raise"
                raise RuntimeError(msg)

    def plan(self, misdeeds: dict[str, Misdeed]) -> int:
        """
        What callbacks do at their next call, and how many have done what was planned before.
        """
        done, self._done = self._done, 0
        self._misdeeds = misdeeds
        return done

    def start(self) -> None:
        """
        Stand, without waiting.
        """
        self._candidate.start()

    def look(self) -> Look:
        """
        Look at `is_leader`, then at the deadline: it may only have risen since.

        The deadline is told in true time: as far from `before` as it is from what the library's clock says there.
        """
        known = self._candidate.term or self._last
        before = now()
        shown = own()
        leads = self._candidate.is_leader
        after = now()
        term = self._candidate.term or known
        self._last = term
        if not leads or term is None:
            return Look(before, after, leads, None, None)
        return Look(before, after, leads, term.token, before + (term.deadline - shown))

    def resign(self) -> bool:
        """
        Step down, and stand again after a moment.
        """
        return bool(self._candidate.resign("the court asks"))

    def stop(self) -> bool:
        """
        Stand no more, until it is started again.
        """
        return bool(self._candidate.stop())

    def leave(self) -> bool:
        """
        Stand no more, and close the store.
        """
        settled = self.stop()
        self._store.close()
        return settled

    def hang(self, seconds: float) -> bool:
        """
        Block the engine's thread.
        """
        driver = self._driver()
        hangs = threading.Event()

        def block() -> None:
            hangs.set()
            time.sleep(seconds)

        if driver is not None:
            driver.engine.post(block)
        return hangs.wait(1.0)

    def _driver(self) -> Any:
        return self._candidate._driver  # noqa: SLF001 - nobody is allowed to do this


class LoopContender(LibraryContender):
    """
    The candidate for asyncio, on a loop of its user's.
    """

    def __init__(self, role: Role, say: Say) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True, name="the user's loop").start()
        super().__init__(role, say)

        async def lead(term: AsyncTerm) -> None:
            await term.wait()

        self._candidate.on_elected(lead)

    def _make(self, role: Role) -> Any:
        return AsyncCandidate(self._store, role.election, role.node, **self._settings(role))

    def _driver(self) -> Any:
        return self._candidate._face._driver  # noqa: SLF001 - nobody is allowed to do this

    def _await(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def start(self) -> None:
        """
        Stand, without waiting.
        """
        self._await(self._candidate.start())

    def resign(self) -> bool:
        """
        Step down, and stand again after a moment.
        """
        return bool(self._await(self._candidate.resign("the court asks")))

    def stop(self) -> bool:
        """
        Stand no more, until it is started again.
        """
        return bool(self._await(self._candidate.stop()))

    def block(self, seconds: float) -> bool:
        """
        Have the user's loop stand still for some time, and whether it has.
        """
        blocks = threading.Event()

        def block() -> None:
            time.sleep(seconds)
            blocks.set()

        self._loop.call_soon_threadsafe(block)
        return blocks.wait(seconds + 5.0)

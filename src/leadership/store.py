"""
The contract between the engine and a store: what a backend implements, and all that the engine knows of it.

A backend turns what its store says into a few facts, and takes no decision:

* a call has three outcomes: **done**, **refused**, **unknown**. A backend returns the first two as a `Reply`; the third
  is what an exception (`StoreUnavailable`, `TimeoutError`, anything unforeseen) and a time-out mean. `StoreRefused` and
  `ConfigError` mean that trying again cannot help.
* what happens by itself arrives as a `WatchEvent`, in the order in which the store had it.

Every coroutine here runs on the engine's event loop and must never block it: a blocking client library is called on a
thread of the backend's own. `notify` functions are called on the loop. Time is `asyncio.get_running_loop().time()`,
which is the deadline's clock, so that a simulated loop can stand in for the real one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from leadership.checks import check_name
from leadership.errors import ConfigError, LeadershipError, StoreRefused

MARGIN = 0.1
"""
The part of a lease that is given away to clocks which run at different rates, and to scheduling.
"""


class Outcome(StrEnum):
    """
    What is known of a call.
    """

    DONE = "done"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Holder:
    """
    Whose entry leads an election.
    """

    node: str
    token: int
    session: str
    """Names the session that owns the entry; ownership is compared by it and the token, never by the node's name."""
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Reply:
    """
    What a store answered.
    """

    outcome: Outcome
    token: int | None = None
    """Of an acquire that is done: the term's fencing token."""
    holder: Holder | None = None
    """Of an acquire that is refused: who leads, where that is known."""
    token_reset: bool = False
    """Of an acquire that is done: the store has lost its data since this process last saw it."""
    since: float | None = None
    """
    Of a grant or renewal: the moment from which the lease counts, where it is earlier than the sending of the call.
    """
    error: LeadershipError | None = None
    revision: int | None = None

    @property
    def fatal(self) -> bool:
        """
        Trying again cannot help.
        """
        return isinstance(self.error, StoreRefused | ConfigError)


class Fact(StrEnum):
    """
    What a watch can tell.
    """

    LEADER_OBSERVED = "leader_observed"
    """`holder` leads."""
    VACANT_OBSERVED = "vacant_observed"
    """Nobody leads: the answer of a first look."""
    KEY_DELETED = "key_deleted"
    """The entry with `token`, which led, is gone (one that only waited is no news); it was asked to go for `reason`."""
    LEASE_EXPIRED = "lease_expired"
    """The entry with `token` holds nothing any more: its session ended by time or by the holder's proven death."""
    TURN = "turn"
    """Our entry in a queue (`key`) may lead now, or is gone itself: asking again may succeed."""
    WATCH_CLOSED = "watch_closed"
    """The watch has ended, with `error`; nothing more comes from it."""
    SESSION_LOST = "session_lost"
    """The store says that the session has ended."""
    SESSION_SUSPENDED = "session_suspended"
    """No contact for now; the session's fate is unknown."""
    SESSION_RESTORED = "session_restored"
    """Contact again, the session still lives."""
    RESIGN_REQUESTED = "resign_requested"
    """An operator asks the term with `token` to end, with `reason`."""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """
    One fact of a watch or a session.
    """

    fact: Fact
    holder: Holder | None = None
    token: int | None = None
    key: str | None = None
    error: LeadershipError | None = None
    reason: str | None = None
    revision: int | None = None


Notify = Callable[[WatchEvent], None]
"""
Takes what a watch or a session tells; called on the engine's loop, never blocks, never raises.
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One attempt's claim on an election.
    """

    election: str
    node: str
    key: str
    """A random name of this very attempt: an entry of an earlier one is never adopted."""
    metadata: Mapping[str, Any] | None = None
    number: int = 0
    """
    Rises from attempt to attempt of a process: an acquire that was held up on its way must not take the entry of a
    later attempt of its session away.
    """
    above: int = 0
    """The newest token that this process has seen in this election; a store that counts itself grants a higher one."""


@dataclass(frozen=True, slots=True)
class Guarantees:
    """
    What a store promises, and what it does not.
    """

    scope: str
    """`process`, `machine` or `cluster`: how far an election reaches."""
    tokens_survive_restart: bool
    """The fencing token keeps rising when the store is restarted with its data."""
    attests_death: bool
    """A holder whose process died is replaced without waiting for its lease."""
    queues: bool = False
    """Those who wait have entries in a queue of the store; elsewhere one answer serves all who ask at a time."""
    holds_through_suspension: bool = True
    """A session without contact lives until its lease ends."""

    def as_dict(self) -> dict[str, Any]:
        """
        JSON-able values.
        """
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Timing:
    """
    What a TTL means on a store, in seconds. Immutable.
    """

    ttl: float
    """As asked for."""
    effective_ttl: float
    """As the store grants it."""
    renew_interval: float
    """The session is renewed this often."""
    steps_down_after: float
    """A leader that cannot renew stops believing this long after it sent its last acknowledged renewal."""
    crash_takeover: float
    """A leader that hangs or is cut off is replaced within this time."""
    death_takeover: float
    """A leader whose process died is replaced within this time."""
    resign_takeover: float
    """A leader that resigns is replaced within this time after its callbacks have returned."""
    clock_drift: float
    """The part by which the local clock may run slower than the store's before a promise breaks (0.1: 10 %)."""

    def as_dict(self) -> dict[str, float]:
        """
        The figures as JSON-able values.
        """
        return asdict(self)


class Session(ABC):
    """
    One lease at the store; every entry of the candidates that share it lives no longer than it does.
    """

    id: str
    """Names the session at the store."""
    ttl: float
    """Seconds, as granted."""

    @abstractmethod
    async def renew(self) -> Reply:
        """
        Ask for another TTL. Refused: the session has ended, and will not come back.
        """

    @abstractmethod
    async def acquire(self, entry: Entry) -> Reply:
        """
        Claim an election, without waiting.

        Done: the entry leads, as a linearizable read or an atomic write shows, with a token that no earlier term had.
        Refused: another leads (`holder`); a store with a queue keeps the entry in it and tells the session's `notify`
        when its `TURN` has come. Called again with the same entry, it answers as before or better. An entry of this
        session with another `key` is never adopted: one with a lower `number` is removed first, and for one with a
        higher `number` the answer is refused, because this call is late.
        """

    @abstractmethod
    async def release(self, entry: Entry) -> Reply:
        """
        Remove the entry, and perhaps an earlier attempt's of the session; no other. Done: its absence is confirmed.
        """

    @abstractmethod
    async def end(self) -> Reply:
        """
        Give the session up, and with it all its entries.
        """

    def liveness_fds(self) -> tuple[int, ...]:
        """
        Descriptors that keep the session's holder alive in the eyes of others for as long as a process has them open.

        A guard process inherits them where the store attests deaths; empty elsewhere.
        """
        return ()


class Watch(ABC):
    """
    A stream of facts about one election.
    """

    @abstractmethod
    def close(self) -> None:
        """
        End it; nothing is notified afterwards. Idempotent.
        """


class Store(ABC):
    """
    A place where elections are held. Made by `leadership.connect`; safe to share between threads and candidates.

    A subclass's constructor takes `address` and its options by name; it checks them without network I/O, and raises
    `ConfigError`.

    `close()` first stops the candidates and followers that use it. A context manager, sync and async.
    """

    url: str
    """The address, without secrets."""
    guarantees: Guarantees
    engine: Any = None
    """The engine that the store brings along (a simulation does); None for the one of the process."""

    def __init__(self, address: str = "") -> None:  # noqa: ARG002 - for subclasses
        self.closed = False
        self.closer: Callable[[], None] | None = None
        """Set by the engine that uses the store: stops what uses it, then calls `aclose`."""

    @classmethod
    def from_address(cls, address: str, **options: Any) -> Store:
        """
        The store of a URL: `address` is what stands behind `://`, without the query, as it stands there.

        Raises:
            ConfigError: It cannot be used; the message names the remedy.
        """
        return cls(address, **options)

    @abstractmethod
    def timing(self, ttl: float) -> Timing:
        """
        What this TTL (seconds) means here. No I/O.

        Raises:
            ConfigError: The store would not keep it; the message names the nearest that it would.
        """

    @abstractmethod
    async def open_session(self, ttl: float, notify: Notify) -> Session:
        """
        Grant a session of at least `ttl` seconds. `notify` takes what happens to it.

        Raises:
            StoreUnavailable: It cannot be had now.
            StoreRefused: It will not be had.
        """

    @abstractmethod
    async def read(self, elections: Sequence[str]) -> Mapping[str, Holder | None]:
        """
        Who leads each, by a linearizable read.

        Raises:
            StoreUnavailable: It cannot be had now.
            StoreRefused: It will not be had.
        """

    @abstractmethod
    def watch(self, election: str, notify: Notify) -> Watch:
        """
        Tell what happens to an election from now on. Any number of watches of one election share their cost.

        A watch begins with the truth as far as it is known (`LEADER_OBSERVED` or `VACANT_OBSERVED`, later when it has
        to be read first) and the request to resign that stands, and ends with `WATCH_CLOSED` if it breaks. It tells why
        a term ended that was asked to: by RESIGN_REQUESTED before the end, or by the end's `reason`, as one event.
        """

    @abstractmethod
    async def request_resign(self, election: str, token: int, reason: str | None) -> Reply:
        """
        Ask the leader of a term to resign, or let it tell all who watch why it does. Refused: the term is over.
        """

    async def about(self) -> str:
        """
        The server and its version, in a few words; raises as `read` does.
        """
        return self.url

    @abstractmethod
    async def aclose(self) -> None:
        """
        End what the store holds on the engine's loop: sessions first. Idempotent.
        """

    def seen_by(self, node: str) -> Store:  # noqa: ARG002 - a simulation looks at the node
        """
        The store as the process of `node` sees it: itself, except in a simulation of several processes.
        """
        return self

    def check_election(self, election: str) -> None:
        """
        Refuse a name that the store cannot keep.

        Raises:
            ConfigError: The name is not usable; the message says why.
        """
        check_name("election", election)

    def close(self) -> None:
        """
        Stop what uses the store, then end its sessions and connections. Idempotent, bounded by the graces in force.
        """
        if self.closed:
            return
        self.closed = True
        if self.closer is not None:
            self.closer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        import asyncio

        await asyncio.to_thread(self.close)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}{' closed' if self.closed else ''}>"

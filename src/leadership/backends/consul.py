"""
`consul://host:port/path`: elections among the machines of a Consul datacentre, on the locks of Consul's own clients.

How this store gives what the contract asks for (what stands where: `_consul_entries`):

* compare: every change is one transaction, which is refused as a whole when something else stands there;
* lease: a session (`_consul_session`, `_consul_sessions`), one a store and TTL, whose keys are deleted when it ends;
* token: the ModifyIndex of the transaction that took the lock, which Raft orders and no restart takes back;
* watch: a few blocking queries for all elections (`_consul_query`, `_consul_watch`);
* threads, each with a connection of its own: two for changes, one for renewals, one for reads, which may wait longer
  for an answer than a session lasts, and one for each blocking query.

What it does not give: protection from whoever may write the keys. Consul's locks are advisory, and a plain write to a
locked key succeeds; the leader is told and steps down.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final

from leadership._clock import now
from leadership.backends import _consul_changes as changes
from leadership.backends import _consul_entries as entries
from leadership.backends import _consul_sessions as sessions
from leadership.backends._consul_http import Connection, load
from leadership.backends._consul_options import resolve
from leadership.backends._consul_query import Crowd
from leadership.backends._consul_roots import plain, roots
from leadership.backends._consul_session import ConsulSession
from leadership.backends._consul_watch import ConsulWatch, Watcher
from leadership.backends._consul_workers import Caller, Hosts, Workers
from leadership.backends._usable import check_usable
from leadership.checks import check_name, check_ttl
from leadership.errors import ConfigError
from leadership.store import MARGIN, Guarantees, Holder, Notify, Reply, Session, Store, Timing

LEAST_TTL: Final = 10.0
"""Seconds: what a server keeps that was not told otherwise (session_ttl_min)."""
LEAST_CHECK_TTL: Final = 1.0
MOST_TTL: Final = 86_400.0
MOST_KEY: Final = 1024
"""Bytes."""
CLOSE_PATIENCE: Final = 1.2


class ConsulStore(Store):
    """
    A Consul datacentre. Made in any thread; its coroutines run on the engine's loop.

    Args:
        address: `host:port,host:port/path`, percent-encoded; without hosts those of CONSUL_HTTP_ADDR. The path is a
            prefix of all keys.
        timeout: Seconds that a read may take.
        tls: Whether the agent speaks TLS; implied by the files.
        ca_file: The authorities (PEM) that are trusted; the system's without it.
        cert_file: The client's certificate (PEM).
        key_file: Its key.
        check_host_name: Whether the agent's certificate must have its host's name.
        server_name: The name that it must have instead.
        token: The ACL token.
        namespace: Of Consul Enterprise.
        datacenter: The one that is asked, if it is not the agent's.
        least_ttl: Seconds: the servers' `session_ttl_min`, where it is less than 10.
        lock_delay: Seconds for which Consul gives a lock to nobody after its session has ended.
        check: The name of a service: sessions are bound to its TTL checks, which the local agent keeps, and may be
            shorter than `session_ttl_min`.

    Raises:
        ConfigError: They cannot be used, or the package python-consul2 is missing.
    """

    guarantees = Guarantees(scope="cluster", tokens_survive_restart=True, attests_death=False)

    def __init__(
        self,
        address: str = "",
        *,
        timeout: float | str = 5.0,
        tls: bool | str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        cert_file: str | os.PathLike[str] | None = None,
        key_file: str | os.PathLike[str] | None = None,
        check_host_name: bool | str = True,
        server_name: str | None = None,
        token: str | None = None,
        namespace: str | None = None,
        datacenter: str | None = None,
        least_ttl: float | str | None = None,
        lock_delay: float | str = 0.0,
        check: str | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings = resolve(
            address,
            timeout=timeout,
            tls=tls,
            ca_file=ca_file,
            cert_file=cert_file,
            key_file=key_file,
            check_host_name=check_host_name,
            server_name=server_name,
            token=token,
            namespace=namespace,
            datacenter=datacenter,
            least_ttl=least_ttl,
            lock_delay=lock_delay,
            check=check,
        )
        self.url = settings.url
        self.sessions: dict[str, ConsulSession] = {}
        Connection(load(), settings, settings.address.hosts[0]).close()  # finds files that are no certificates
        hosts = Hosts(settings.address.hosts)
        self.workers = Workers(settings, hosts, "leadership-consul", 2)
        self.renewals = Workers(settings, hosts, "leadership-consul-renew", 1)
        self.reads = Workers(settings, hosts, "leadership-consul-read", 1)
        self.crowd = Crowd()
        self.watcher = Watcher(
            self.reads,
            lambda: Caller(settings, hosts),
            self.crowd,
            settings.address.path,
            settings.timeout,
            self.sessions.get,
        )
        self._tasks: set[asyncio.Task[Any]] = set()
        self._readable = False
        """Keys may be read: some were, or one was asked for by its name."""
        self._pid = os.getpid()
        self._ended = False

    def key(self, election: str) -> str:
        """
        The key of an election's lock.
        """
        path = self.settings.address.path
        return f"{path}/{election}" if path else election

    def check_election(self, election: str) -> None:
        """
        Refuse a name that Consul's keys or URLs cannot have, or that side entries have.

        Raises:
            ConfigError: The name is not usable; the message says why.
        """
        check_name("election", election)
        parts = election.split("/")
        if any(part in (".", "..") or part.endswith(entries.SIDE) for part in parts):
            msg = f"the election name {election!r} has a part that is '.', '..' or ends in {entries.SIDE!r}: rename it"
            raise ConfigError(msg)
        key = self.key(election)
        if len(key.encode()) > MOST_KEY:
            msg = f"the election name {election[:40]!r}… is longer than the {MOST_KEY} bytes that are kept: shorten it"
            raise ConfigError(msg)
        if not plain(key):
            msg = f"the election name {election!r} begins with a character that no URL of Consul has: rename it"
            raise ConfigError(msg)

    def lock_delay(self, ttl: float) -> float:
        """
        Seconds for which nobody gets a lock after a session of that TTL has ended.
        """
        return max(self.settings.lock_delay, ttl if self.settings.check is not None else 0.0)

    def timing(self, ttl: float) -> Timing:
        """
        What this TTL (seconds) means here. No I/O.

        Raises:
            ConfigError: It is out of bounds; the message names the nearest that is kept.
        """
        bound = self.settings.check is not None
        least = self.settings.least_ttl or (LEAST_CHECK_TTL if bound else LEAST_TTL)
        hint = (
            "" if bound or self.settings.least_ttl else " (the option least_ttl says that its session_ttl_min is less)"
        )
        ttl = check_ttl(ttl, least=least, most=MOST_TTL, store=f"consul{hint}")
        lapse = (ttl if bound else 2 * ttl) + self.lock_delay(ttl) + 1.0
        return Timing(
            ttl=ttl,
            effective_ttl=ttl,
            renew_interval=ttl / 3,
            steps_down_after=ttl * (1 - MARGIN),
            crash_takeover=lapse,
            death_takeover=lapse,
            resign_takeover=0.25,
            clock_drift=MARGIN,
        )

    async def open_session(self, ttl: float, notify: Notify) -> Session:
        """
        Grant a session of `ttl` seconds.

        Raises:
            StoreUnavailable: It cannot be had now.
            StoreRefused: It will not be had.
            ConfigError: The servers keep no such TTL, or this is not the store's process.
        """
        self.check_usable()
        ttl = self.timing(ttl).ttl
        task = self.spawn(self._open(ttl, notify))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._unwanted)
            raise

    async def _open(self, ttl: float, notify: Notify) -> ConsulSession:
        patience, delay = min(ttl * 0.23, self.settings.timeout), self.lock_delay(ttl)
        until = now() + patience
        granted = await self.workers.call(lambda caller: sessions.grant(caller, ttl, delay, until=until), patience)
        session = ConsulSession(self, granted, ttl, notify)
        self.sessions[session.id] = session
        return session

    def _unwanted(self, task: asyncio.Task[ConsulSession]) -> None:
        """
        A session was granted that nobody waits for.
        """
        if not task.cancelled() and task.exception() is None and not self._ended:
            self.spawn(task.result().end())

    async def read(self, elections: Sequence[str]) -> Mapping[str, Holder | None]:
        """
        Who leads each, by a linearizable read. What is no lock and nobody holds is led by nobody.

        Raises:
            StoreUnavailable: It cannot be had now.
            StoreRefused: It will not be had.
        """
        self.check_usable()
        if not elections:
            return {}
        keys = {name: self.key(name) for name in elections}
        path, until = self.settings.address.path, now() + self.settings.timeout
        covering = roots(set(keys.values()), entries.MOST_OPERATIONS, f"{path}/" if path else "")
        unseen = None if self._readable else next((key for key in keys.values() if plain(key) == key), None)

        def job(caller: Caller) -> entries.Pairs:
            found = entries.read(caller, covering, until=until)
            if unseen is not None and not found:
                entries.probe(caller, unseen, until=until)
            return found

        pairs = await self.reads.call(job, self.settings.timeout)
        self._readable = True
        return {name: entries.look(pairs, key).holder for name, key in keys.items()}

    def watch(self, election: str, notify: Notify) -> ConsulWatch:
        """
        Tell what happens to an election from now on.

        Raises:
            ConfigError: This is not the store's process, or the store is closed.
        """
        self.check_usable()
        return self.watcher.watch(election, self.key(election), notify)

    async def request_resign(self, election: str, token: int, reason: str | None) -> Reply:
        """
        Ask the leader of a term to resign. Refused: that term is over, nobody leads, or another tool's client does.
        """
        self.check_usable()
        key, until = self.key(election), now() + self.settings.timeout
        return await self.reads.call(
            lambda caller: changes.request_resign(caller, key, token, reason, until=until), self.settings.timeout
        )

    async def about(self) -> str:
        """
        The version of the agent, which not every token may read.
        """
        self.check_usable()
        until = now() + self.settings.timeout
        answer = await self.reads.call(
            lambda caller: caller.call("GET", "agent/self", until=until), self.settings.timeout
        )
        if answer.status != 200:
            return "Consul, which does not tell its version for this token"
        return f"Consul {answer.data['Config']['Version']}"

    async def aclose(self) -> None:
        """
        End the sessions, the watches, the threads. Idempotent.
        """
        if self._ended or os.getpid() != self._pid:
            return
        self._ended = True
        ending = [session.finish(CLOSE_PATIENCE) for session in tuple(self.sessions.values())]
        await asyncio.gather(*ending, return_exceptions=True)  # what is not ended ends by itself
        self.sessions.clear()
        lanes = (self.workers, self.renewals, self.reads)
        await asyncio.gather(self.watcher.stop(0.5), *(lane.stop(0.5) for lane in lanes))
        for task in tuple(self._tasks):
            task.cancel()

    # -- for sessions -------------------------------------------------------------------------------------------

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """
        Run something to its end, whoever waits for it.
        """
        task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # heard, if nobody else does
        return task

    def check_usable(self) -> None:
        """
        Refuse in a forked child, and after the end.

        Raises:
            ConfigError: What to do.
        """
        check_usable(self.url, self._pid, ended=self._ended)

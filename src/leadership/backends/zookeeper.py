"""
`zookeeper://host:port,host:port/chroot`: elections in ZooKeeper, in the layout of kazoo's own Lock and Election.

How this store gives what the contract asks for:

* compare: an entry is an ephemeral sequential node; the first in the queue leads (`_zookeeper_session`);
* lease: the session of one connection (`_zookeeper_link`), renewed by a write that a majority commits. What such a
  write proves of the lease is less than it seems: `_zookeeper_proof`;
* watch: on the leader's node only, and for those who wait on the node in front of theirs (`_zookeeper_watch`);
* token: the czxid of the entry's node, one counter for the whole ensemble;
* what a node's data cannot say stands beside the election (`_zookeeper_layout`).

What it does not give: a read newer than `sync` makes it, which an old leader that is cut off answers for up to
syncLimit ticks; protection from whoever may write to the nodes.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from leadership.backends import _address as addresses
from leadership.backends._usable import check_usable
from leadership.backends._zookeeper_layout import check_election
from leadership.backends._zookeeper_proof import PING_LAG
from leadership.checks import check_ttl
from leadership.errors import ConfigError, StoreUnavailable
from leadership.store import MARGIN, Guarantees, Holder, Notify, Reply, Session, Store, Timing, Watch

if TYPE_CHECKING:
    from leadership.backends._zookeeper_link import Link
    from leadership.backends._zookeeper_session import ZooKeeperSession

PORT: Final = 2181
LEAST_TTL, MOST_TTL = 0.2, 3600.0
"""Seconds. A server keeps 2 to 20 of its ticks, unless it was told otherwise; it says so when a session is opened."""
READER_TTL: Final = 10_000
"""Milliseconds: the session of a connection that only reads; whatever the server makes of it will do."""
CLOSE_PATIENCE: Final = 1.0
GRACE: Final = 0.02
"""Seconds in which a candidate that begins with its follower opens the session that serves both."""


class ZooKeeperStore(Store):
    """
    An ensemble of ZooKeeper servers. Made in any thread; its coroutines run on the engine's loop.

    Args:
        address: `[user[:password]@]host[:port][,host[:port]...][/chroot]`, percent-encoded.
        timeout: Seconds that a read or request may take; calls of a session have a quarter of its TTL.
        user: Whose entries they are; with `password`. They may stand in the address instead.
        auth: `digest` (the nodes' access control) or `sasl` (DIGEST-MD5, checked by the server).
        tick: The servers' tickTime in seconds, or more; half the TTL where it is not given, which is the most that a
            server allows. A leader believes the longer the smaller it is.
        tls: Encrypt; any of the TLS options below implies it.
        server_name: The name that the servers' certificates have, if it is not the host's.

    Raises:
        ConfigError: An option cannot be used, or kazoo is missing.
    """

    guarantees = Guarantees(scope="cluster", tokens_survive_restart=True, attests_death=False, queues=True)

    def __init__(
        self,
        address: str = "",
        *,
        timeout: float | str = 5.0,
        user: str | None = None,
        password: str | None = None,
        auth: str = "digest",
        tick: float | str | None = None,
        tls: bool | str | None = None,
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        check_host_name: bool | str = True,
        server_name: str | None = None,
    ) -> None:
        super().__init__()
        parsed = addresses.parse("zookeeper", address, PORT)
        try:
            from leadership.backends._zookeeper_errors import Credentials, Options
            from leadership.backends._zookeeper_folders import Folders
            from leadership.backends._zookeeper_watch import Watcher
        except ImportError as error:
            msg = f"zookeeper:// needs kazoo, which cannot be imported ({error}): pip install leadership[zookeeper]"
            raise ConfigError(msg) from error
        credentials = None
        chosen = _credentials(parsed, user, password, auth)
        if chosen is not None:
            credentials = Credentials(*chosen, sasl=auth == "sasl")
        self.options = Options(
            addresses.Address(parsed.hosts, parsed.path, None if chosen is None else chosen[0]),
            credentials,
            addresses.tls_options(
                tls,
                ca_file=ca_file,
                cert_file=cert_file,
                key_file=key_file,
                check_host_name=check_host_name,
                server_name=server_name,
            ),
            addresses.as_number("timeout", timeout, exclusive=True),
            None if tick is None else addresses.as_number("tick", tick, exclusive=True),
        )
        self.url = self.options.url
        self.base = f"/{parsed.path}" if parsed.path else ""
        if self.base:
            _check_chroot(parsed.path)
        self.acl = _acl(owned=credentials is not None)
        self.folders = Folders(self.acl)
        self.watcher = Watcher(self)
        self._sessions: dict[int, ZooKeeperSession] = {}
        self._ended_owners: set[int] = set()
        self._links: set[Link] = set()
        self._reader: Link | None = None
        self._opening = 0
        self._opened: asyncio.Event
        """Set when a session that is being opened is there, or is not to be had."""
        self._pid = os.getpid()
        self._ended = False

    def timing(self, ttl: float) -> Timing:
        """
        What this TTL (seconds) means here. No I/O; what a server would make of it, it says when a session is opened.

        Raises:
            ConfigError: It is out of bounds, or the tick leaves nothing of it.
        """
        ttl = check_ttl(ttl, least=LEAST_TTL, most=MOST_TTL, store="zookeeper")
        tick = ttl / 2 if self.options.tick is None else self.options.tick
        if tick > ttl / 2:
            msg = f"ttl={ttl!r} is less than two ticks of {tick:g} s, and a server keeps no less: at least {2 * tick:g}"
            raise ConfigError(msg)
        return Timing(
            ttl=ttl,
            effective_ttl=ttl,
            renew_interval=ttl / 6,
            steps_down_after=ttl * (1 - MARGIN) - ttl / 6 - (tick / 2 + PING_LAG),  # at the soonest
            crash_takeover=ttl + tick + 0.5,
            death_takeover=ttl + tick + 0.5,
            resign_takeover=0.25,
            clock_drift=MARGIN,
        )

    def check_election(self, election: str) -> None:
        """
        Refuse a name that no node may have, or that would be taken for something else.

        Raises:
            ConfigError: The name is not usable; the message says why.
        """
        from leadership.backends import _zookeeper_layout as layout

        layout.check_election(election, self.base)

    async def open_session(self, ttl: float, notify: Notify) -> Session:
        """
        Connect, and be granted a session of `ttl` seconds.

        Raises:
            StoreUnavailable: It cannot be had now.
            StoreRefused: It will not be had: credentials, TLS.
            ConfigError: The server grants another TTL, or this is not the store's process.
        """
        from leadership.backends._zookeeper_session import ZooKeeperSession

        self.check_usable()
        ttl = self.timing(ttl).ttl
        asked = math.ceil(ttl * 1000 - 1e-6)
        link = self._link(asked, pings=False)
        self._opening += 1
        if self._opening == 1:
            self._opened = asyncio.Event()
        try:
            await link.opened(min(self.options.timeout, ttl / 4 * 0.9))
            self.check_usable()
            if link.negotiated != asked:
                bound = "most" if link.negotiated < asked else "least"
                nearest = link.negotiated / 1000
                msg = f"ttl={ttl!r} is not kept by {self.url}: {nearest:g} is the {bound} that it grants"
                raise ConfigError(msg)
            session = ZooKeeperSession(self, link, ttl, notify)
            self._sessions[link.owner] = session
        except BaseException:
            link.abandon_soon()
            raise
        finally:
            self._opening -= 1
            self._opened.set()
        return session

    async def read(self, elections: Sequence[str]) -> Mapping[str, Holder | None]:
        """
        Who leads each.

        Raises:
            StoreUnavailable: It cannot be had now.
            StoreRefused: It will not be had.
        """
        from leadership.backends._zookeeper_reads import read_heads

        self.check_usable()
        if not (paths := {self.path(election): election for election in elections}):
            return {}
        link = await self.reading_link()
        heads = await read_heads(link, list(paths), self.watcher.guesses(paths), self.options.timeout)
        for path, head in heads.items():
            if head is not None:
                self.watcher.saw(path, head)
        return {paths[path]: None if head is None else head.holder for path, head in heads.items()}

    def watch(self, election: str, notify: Notify) -> Watch:
        """
        Tell what happens to an election from now on.

        Raises:
            ConfigError: The name cannot be used, this is not the store's process, or the store is closed.
        """
        self.check_usable()
        return self.watcher.watch(self.path(election), notify)

    async def request_resign(self, election: str, token: int, reason: str | None) -> Reply:
        """
        Ask the leader of a term to resign, by a node beside the election. Refused: that term is over, or nobody leads.
        """
        from leadership.backends._zookeeper_reads import ask_to_resign

        self.check_usable()
        link, path = await self.reading_link(), self.path(election)
        return await ask_to_resign(link, path, token, reason, self.folders, self.options.timeout)

    async def about(self) -> str:
        """
        The version of one of the servers.
        """
        from leadership.backends._zookeeper_about import about

        return await about(self.options)

    async def aclose(self) -> None:
        """
        End the sessions, the watches and the connections. Idempotent.
        """
        if self._ended or os.getpid() != self._pid:
            return
        self._ended = True
        self.watcher.stop()
        links = tuple(self._links)
        for link in links:
            link.on_down.clear()
            link.on_up.clear()
            link.on_over.clear()
        await asyncio.gather(*(link.end(CLOSE_PATIENCE) for link in links if link.ever_connected))
        await asyncio.gather(*(link.stop() for link in links))
        self._links.clear()

    # -- for sessions and watches -----------------------------------------------------------------------------------

    def path(self, election: str) -> str:
        """
        The path of an election.
        """
        return f"{self.base}/{election}"

    def session_of(self, owner: int) -> ZooKeeperSession | None:
        """
        The session of this store with that number, while it lives.
        """
        return self._sessions.get(owner)

    def knows_no_end_of(self, owner: int) -> bool:
        """
        That session is another store's, or lives, or was given up.
        """
        return owner not in self._ended_owners

    def waits_in(self, path: str) -> bool:
        """
        Whether a candidate of this store waits in an election.
        """
        return any(session.waits_in(path) for session in self._sessions.values())

    def queue_seen(self, path: str, names: list[str]) -> None:
        """
        An election's queue was read.
        """
        for session in self._sessions.values():
            session.queue_seen(path, names)

    def holds(self, path: str, name: str) -> bool:
        """
        Whether that node is of a session of this store.
        """
        return any(session.made(path, name) for session in self._sessions.values())

    def session_ended(self, session: ZooKeeperSession) -> None:
        """
        A session is over, or is about to be.
        """
        link = session.link
        self._sessions.pop(link.owner, None)
        if link.over is not None:
            self._ended_owners.add(link.owner)
        if self._reader is link:
            self._reader = None
        self.watcher.move(link)

    def _link(self, milliseconds: int, *, pings: bool) -> Link:
        from leadership.backends._zookeeper_link import Link

        link = Link(self.options, milliseconds, pings=pings)
        try:
            link.start()
        except RuntimeError as error:
            msg = f"no thread can be had for a connection to {self.url}: {error}"
            raise StoreUnavailable(msg) from error
        self._links.add(link)
        link.on_end = self._links.discard
        return link

    async def reading_link(self) -> Link:
        """
        The connection for reads and watches: a session's where there is one, or one of its own.

        Raises:
            StoreUnavailable: There is none now.
            StoreRefused: There will be none.
        """
        self.check_usable()
        if self._reader is None or self._reader.over is not None:
            self._reader = None
            if not self._sessions:
                await asyncio.sleep(GRACE)
            if self._opening and not self._sessions and self._reader is None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._opened.wait(), self.options.timeout)
            self.check_usable()
            if self._reader is None:  # nobody else was quicker
                links = [session.link for session in self._sessions.values()]
                ready = [link for link in links if link.connected]
                self._reader = next(iter(ready or links), None) or self._link(READER_TTL, pings=True)
        link = self._reader
        await link.opened(self.options.timeout)
        return link

    def check_usable(self) -> None:
        """
        Refuse what is asked of a store that is closed, or in another process than the one that made it.

        Raises:
            ConfigError: It cannot be used.
        """
        check_usable(self.url, self._pid, ended=self._ended)


def _credentials(address: addresses.Address, user: object, password: object, auth: object) -> tuple[str, str] | None:
    if auth not in ("digest", "sasl"):
        msg = f"the option 'auth' must be 'digest' or 'sasl', not {auth!r}"
        raise ConfigError(msg)
    if user is not None and address.user is not None:
        msg = "the user stands in the address and in the option 'user': once is enough"
        raise ConfigError(msg)
    name = addresses.as_text("user", user) or address.user
    word = addresses.as_text("password", password) or address.password
    if (name is None) != (word is None):
        msg = f"user and password belong together, and only the {'password' if name is None else 'user'} is given"
        raise ConfigError(msg)
    if name is None or word is None:
        if auth == "sasl":
            msg = "auth='sasl' needs a user and a password"
            raise ConfigError(msg)
        return None
    if ":" in name:
        msg = f"the user {name!r} has a colon, which ZooKeeper puts between user and password"
        raise ConfigError(msg)
    return name, word


def _check_chroot(path: str) -> None:
    try:
        check_election(path, "")
    except ConfigError as error:
        msg = f"the chroot /{path} cannot be used: {error}"
        raise ConfigError(msg) from None


def _acl(*, owned: bool) -> list[Any]:
    """
    Who may do what with the nodes: everybody everything, or those with the same credentials, and others read.
    """
    from leadership.backends._zookeeper_kazoo import security

    return [*security.CREATOR_ALL_ACL, *security.READ_ACL_UNSAFE] if owned else [*security.OPEN_ACL_UNSAFE]

"""
`etcd://host`: elections in an etcd cluster, shared with clientv3's `concurrency.Election` and `etcdctl elect`.

How this store gives what the contract asks for:

* compare: every change is one transaction that compares what it changes (`_etcd_session`);
* lease: etcd's own; a claim and what stands beside it are attached to it (`_etcd_keys`);
* watch: one stream for all elections, begun with a linearizable read (`_etcd_watches`);
* token: the revision at which the claim was created, which never falls while the cluster keeps its data;
* queue: the oldest claim leads, and each knows who stands in front of it.

What it does not give: a TTL of less than 2 s or of part of a second; a quick end of a term whose process died.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from leadership.backends import _etcd_keys as layout
from leadership.backends._address import Address, as_bool, as_number, as_text, parse, tls_options
from leadership.backends._etcd_client import Client, LeaseGone
from leadership.backends._etcd_keys import Claim, Keys
from leadership.backends._etcd_messages import MOST_OPERATIONS, Messages
from leadership.backends._etcd_session import PART, EtcdSession
from leadership.backends._etcd_watches import Watches
from leadership.backends._usable import check_usable
from leadership.checks import check_ttl
from leadership.errors import ConfigError, LeadershipError, StoreRefused
from leadership.store import MARGIN, Guarantees, Holder, Notify, Outcome, Reply, Session, Store, Timing, Watch

PORT: Final = 2379
LEAST_TTL, MOST_TTL = 2.0, 86_400.0
"""Seconds; etcd grants 2 s to who asks for less."""
CLOSE_PATIENCE: Final = 1.0
"""Seconds for the end of the sessions, and as much for that of the connection."""


class EtcdStore(Store):
    """
    An etcd cluster. Made in any thread; its coroutines run on the engine's loop.

    Args:
        address: `[user[:password]@]host[:port][,host[:port]...][/prefix]`; the port is 2379 where none is given.
            Without a host ETCDCTL_ENDPOINTS is used, or this machine.
        prefix: What stands before every key, as it is, in the place of the address's: for keys that begin with a slash.
        timeout: Seconds for a read or a request; a session's calls take a quarter of its TTL at most.
        tls: Encrypt; implied by each of the files.
        ca_file: The authorities to trust (PEM); the system's without it. ETCDCTL_CACERT.
        cert_file: The client's certificate (PEM). ETCDCTL_CERT.
        key_file: Its key. ETCDCTL_KEY.
        check_host_name: Cannot be switched off: gRPC offers no way.
        server_name: The name that the server's certificate must have, if it is not the host's.
        user: On whose behalf, where the cluster asks. ETCDCTL_USER.
        password: Of the user. ETCDCTL_PASSWORD.

    Raises:
        ConfigError: An argument cannot be used, or python-etcd3 is not installed.
    """

    guarantees = Guarantees(scope="cluster", tokens_survive_restart=True, attests_death=False, queues=True)

    def __init__(
        self,
        address: str = "",
        *,
        prefix: str | None = None,
        timeout: float | str = 5.0,
        tls: bool | str | None = None,
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        check_host_name: bool | str = True,
        server_name: str | None = None,
        user: str | None = None,
        password: str | None = None,
    ) -> None:
        super().__init__()
        self.timeout = as_number("timeout", timeout, exclusive=True)
        if not as_bool("check_host_name", check_host_name):
            msg = "etcd:// cannot leave the host name unchecked: say with server_name which to expect"
            raise ConfigError(msg)
        if tls is None and ca_file is None and cert_file is None and key_file is None:
            ca_file, cert_file, key_file = (os.environ.get(f"ETCDCTL_{name}") for name in ("CACERT", "CERT", "KEY"))
        where, encrypted = _where(address)
        security = tls_options(
            True if tls is None and encrypted else tls,
            ca_file=ca_file or None,
            cert_file=cert_file or None,
            key_file=key_file or None,
            server_name=server_name,
        )
        user, password = _who(where, as_text("user", user), as_text("password", password))
        self.url = Address(where.hosts, where.path, user).url("etcd")
        self.prefix = f"{where.path}/" if where.path else ""
        if prefix is not None:
            self.prefix = _prefix(where, prefix)
            self.url += f"?prefix={quote(prefix)}"
        layout.check_path("prefix", self.prefix)
        self.client = Client(where.hosts, security, user, password)
        self.messages = Messages(self.client.rpc)
        self.sessions: dict[str, EtcdSession] = {}
        self.watches = Watches(self.client, self.prefix, self.timeout, self._owner)
        self._pid = os.getpid()
        self._ended = False

    def timing(self, ttl: float) -> Timing:
        """
        What this TTL (seconds) means here. No I/O.

        Raises:
            ConfigError: etcd would grant another; the message names the nearest that it keeps.
        """
        ttl = _check_ttl(ttl)
        return Timing(
            ttl=ttl,
            effective_ttl=ttl,
            renew_interval=ttl / 3,
            steps_down_after=ttl * (1 - MARGIN),
            crash_takeover=ttl + 1.0,
            death_takeover=ttl + 1.0,
            resign_takeover=0.25,
            clock_drift=MARGIN,
        )

    def check_election(self, election: str) -> None:
        """
        Refuse a name that the store cannot keep.

        Raises:
            ConfigError: The name is not usable; the message says why.
        """
        super().check_election(election)
        layout.check_path("election name", election, self.prefix)

    async def open_session(self, ttl: float, notify: Notify) -> Session:
        """
        Grant a lease of `ttl` seconds.

        Raises:
            StoreUnavailable: It cannot be had now.
            StoreRefused: It will not be had.
            ConfigError: The TTL is not what etcd grants, or this is not the store's process.
        """
        self.check_usable()
        ttl = _check_ttl(ttl)
        request = self.client.rpc.LeaseGrantRequest(TTL=int(ttl))
        until = asyncio.get_running_loop().time() + ttl * PART
        answer = await self.call("LeaseGrant", request, "a lease", until, urgent=True, orphan=self._give_back)
        if self._ended or int(ttl) != answer.TTL:
            self._give_back(answer)
            self.check_usable()
            msg = f"etcd at {self.client.host} granted {answer.TTL} s for ttl={ttl:g}: ask for ttl={answer.TTL}"
            raise ConfigError(msg)
        session = EtcdSession(self, answer.ID, ttl, notify)
        for lost in [known.id for known in self.sessions.values() if known.lost]:
            del self.sessions[lost]
        self.sessions[session.id] = session
        return session

    def _give_back(self, granted: Any) -> None:
        """
        End a lease that nobody waits for any more.
        """
        until = asyncio.get_running_loop().time() + self.timeout

        async def revoke() -> None:
            with contextlib.suppress(LeadershipError, LeaseGone):
                await self.call("LeaseRevoke", self.client.rpc.LeaseRevokeRequest(ID=granted.ID), "a lease", until)

        self.watches.spawn(revoke())

    async def read(self, elections: Sequence[str]) -> Mapping[str, Holder | None]:
        """
        Who leads each, by a linearizable read. The metadata of a leader whom a watch has told are as it has told them.

        Raises:
            StoreUnavailable: It cannot be had now.
            StoreRefused: It will not be had.
        """
        self.check_usable()
        until = asyncio.get_running_loop().time() + self.timeout
        firsts = await self._firsts(elections, until)
        found: dict[str, Holder | None] = dict.fromkeys(elections)
        unknown: list[tuple[str, Claim]] = []
        for election, claim in firsts.items():
            view = self.watches.known(election)
            known = None if view is None else view.holder
            if known is not None and (known.session, known.token) == (claim.name.decode(), claim.modified):
                found[election] = known
            else:
                unknown.append((election, claim))
        for start in range(0, len(unknown), MOST_OPERATIONS):
            part = unknown[start : start + MOST_OPERATIONS]
            wanted = [self.messages.get(self.keys(election).sides + claim.name) for election, claim in part]
            answer = await self.call(
                "Txn", self.messages.txn([], wanted), _about(self, [each for each, _ in part]), until
            )
            for (election, claim), response in zip(part, answer.responses, strict=True):
                sides = response.response_range.kvs
                holder = found[election] = layout.holder(claim, sides[0].value if sides else None)
                if layout.is_taken(holder):
                    self.watches.saw_taken(election, holder.token)
        return found

    async def _firsts(self, elections: Sequence[str], until: float) -> dict[str, Claim]:
        """
        The oldest claim of each election that has one.
        """
        found: dict[str, Claim] = {}
        hidden: list[str] = []
        for limit, asked in ((None, list(elections)), (0, hidden)):
            for start in range(0, len(asked), MOST_OPERATIONS):
                part = asked[start : start + MOST_OPERATIONS]
                make = self.messages
                ranges = [
                    make.heads(self.keys(each)) if limit is None else make.heads(self.keys(each), limit=limit)
                    for each in part
                ]
                answer = await self.call("Txn", make.txn([], ranges), _about(self, part), until)
                for election, response in zip(part, answer.responses, strict=True):
                    claim = self.keys(election).first(response.response_range.kvs)
                    if claim is not None:
                        found[election] = claim
                    elif response.response_range.more:
                        hidden.append(election)  # behind keys that are no claims
        return found

    def watch(self, election: str, notify: Notify) -> Watch:
        """
        Tell what happens to an election from now on.

        Raises:
            ConfigError: This is not the store's process, or the store is closed.
        """
        self.check_usable()
        return self.watches.watch(election, notify)

    async def request_resign(self, election: str, token: int, reason: str | None) -> Reply:
        """
        Ask the leader of a term to resign. Refused: that term is over, or nobody leads. The first words for it stand.

        A leader that is no candidate of this library is asked too, and does not hear it.
        """
        holder = (await self.read([election]))[election]
        if holder is None or holder.token != token or layout.is_taken(holder):
            return Reply(Outcome.REFUSED, holder=holder)
        keys, make = self.keys(election), self.messages
        key, lease = keys.claims + holder.session.encode(), int(holder.session, 16)
        put = make.put(keys.resign, layout.request(token, reason), lease)
        until = asyncio.get_running_loop().time() + self.timeout
        leads, first = make.created(key, token), make.created(keys.resign, 0)
        try:
            answer = await self.call("Txn", make.txn([leads, first], [put], [make.get(keys.resign)]), str(keys), until)
            if not answer.succeeded:
                found = answer.responses[0].response_range.kvs
                asked, words = (layout.requested(found[0].value) if found else None) or (0, None)
                stands = asked == token and words is not None
                answer = await self.call("Txn", make.txn([leads], [] if stands else [put]), str(keys), until)
        except LeaseGone:
            return Reply(Outcome.REFUSED)
        return Reply(Outcome.DONE if answer.succeeded else Outcome.REFUSED, revision=answer.header.revision)

    async def about(self) -> str:
        """
        The version of the member that is talked to.
        """
        until = asyncio.get_running_loop().time() + self.timeout
        try:
            answer = await self.call("Status", self.client.rpc.StatusRequest(), "the version of the server", until)
        except StoreRefused:
            return "etcd, which does not tell this user its version"
        return f"etcd {answer.version}"

    async def aclose(self) -> None:
        """
        End the sessions, the watches and the connection. Idempotent.
        """
        if self._ended or os.getpid() != self._pid:
            return
        self._ended = True
        until = asyncio.get_running_loop().time() + CLOSE_PATIENCE
        ending = [session.revoke(until) for session in self.sessions.values()]
        await asyncio.gather(*ending, return_exceptions=True)
        self.sessions.clear()
        await self.watches.stop(CLOSE_PATIENCE / 2)
        self.client.close()

    # -- for sessions -------------------------------------------------------------------------------------------

    async def call(self, method: str, request: Any, about: str, until: float, **how: Any) -> Any:
        """
        The answer to a request.
        """
        return await self.client.call(method, request, about, until, **how)

    def keys(self, election: str) -> Keys:
        """
        The keys of an election.
        """
        return Keys(self.prefix, election)

    def _owner(self, session: str) -> EtcdSession | None:
        return self.sessions.get(session)

    def check_usable(self) -> None:
        """
        Refuse what cannot be done any more.

        Raises:
            ConfigError: The store is closed, or was made before this process was forked.
        """
        check_usable(self.url, self._pid, ended=self._ended)


def _about(store: EtcdStore, elections: Sequence[str]) -> str:
    if len(elections) == 1:
        return str(store.keys(elections[0]))
    return f"the keys of {len(elections)} elections ({', '.join(map(repr, elections[:3]))}, …)"


def _check_ttl(ttl: float) -> float:
    ttl = check_ttl(ttl, least=LEAST_TTL, most=MOST_TTL, store="etcd")
    if ttl != int(ttl):
        msg = f"ttl={ttl:g} cannot be kept by etcd: it keeps whole seconds; the nearest is {max(2, round(ttl))}"
        raise ConfigError(msg)
    return ttl


def _where(address: str) -> tuple[Address, bool]:
    """
    The address, completed from the environment, and whether that asks for TLS.
    """
    place, slash, path = address.partition("/")
    userinfo, at, hosts = place.rpartition("@")
    if hosts:
        return parse("etcd", address, PORT), False
    endpoints = os.environ.get("ETCDCTL_ENDPOINTS") or f"127.0.0.1:{PORT}"
    names = [each.strip().removesuffix("/") for each in endpoints.split(",")]
    if not all(re.fullmatch(r"(https?://)?[^/@]+", each) for each in names):
        msg = "ETCDCTL_ENDPOINTS must be host:port, http://host:port or https://host:port, parted by commas"
        raise ConfigError(msg)
    plain = [each.partition("://")[2] or each for each in names]
    encrypted = any(each.startswith("https://") for each in names)
    return parse("etcd", f"{userinfo}{at}{','.join(plain)}{slash}{path}", PORT), encrypted


def _prefix(where: Address, prefix: object) -> str:
    """
    A prefix that is no path.
    """
    text = as_text("prefix", prefix) or ""
    if where.path:
        msg = "the prefix is given twice to etcd://, as the address's path and as an option: once is enough"
        raise ConfigError(msg)
    if any(ord(character) < 32 for character in text):
        msg = f"the prefix {text!r} has a control character: leave it out"
        raise ConfigError(msg)
    return text


def _who(where: Address, user: str | None, password: str | None) -> tuple[str | None, str | None]:
    """
    User and password: from the options, the address, or the environment.
    """
    if where.user is not None and (user is not None or (where.password is not None and password is not None)):
        msg = "the user or the password is given twice to etcd://, in the address and as an option: once is enough"
        raise ConfigError(msg)
    user = user if where.user is None else where.user
    password = password if where.password is None else where.password
    if user is None:
        user, _, given = (os.environ.get("ETCDCTL_USER") or "").partition(":")
        password = password or given or None
    if user and password is None:
        password = os.environ.get("ETCDCTL_PASSWORD") or None
    if user and password is None:
        msg = f"etcd:// has the user {user!r} and no password: give both (the option password, or ETCDCTL_PASSWORD)"
        raise ConfigError(msg)
    if password is not None and not user:
        msg = "etcd:// has a password and no user: give both"
        raise ConfigError(msg)
    return user or None, password

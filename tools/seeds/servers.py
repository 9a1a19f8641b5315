"""
What Consul and SQLite make of sessions and entries, as far as the contract in `leadership.store` shows.

Each figure was measured on the real server first; `tests/stores/test_fidelity.py` holds the two against each other.
"""

from __future__ import annotations

import asyncio
import json
import random
from typing import ClassVar

from leadership.backends.memory import MemoryServer
from leadership.store import Entry, Fact, Holder, Notify, Outcome, Reply


class Server(MemoryServer):
    """
    A store whose tokens come from one counter of all its writes, and whose leases end when it notices.
    """

    scope: ClassVar = "cluster"
    queues: ClassVar = False
    attests_death: ClassVar = False
    fails_over: ClassVar = True

    def __init__(self, draw: random.Random) -> None:
        super().__init__()
        self.draw = draw
        self.revision = 0
        self.renewed: dict[str, float] = {}
        """When each session was granted or renewed last."""

    @property
    def now(self) -> float:
        """
        Virtual time.
        """
        return asyncio.get_running_loop().time()

    def write(self) -> int:
        """
        The number of a write; others write, too.
        """
        self.revision += self.draw.choice((1, 1, 1, 2, 5))
        return self.revision

    def lapse(self, ttl: float) -> float:
        """
        Seconds from a renewal to the moment at which a session ends without another one.
        """
        return ttl

    # -- sessions ---------------------------------------------------------------------------------------------------

    def grant(self, session: str, ttl: float, notify: Notify) -> None:
        """
        Begin a session.
        """
        super().grant(session, ttl, notify)
        self.extend(session)

    def renew(self, session: str) -> Reply:
        """
        Another TTL for a session that lives.
        """
        if session not in self.leases:
            return Reply(Outcome.REFUSED)
        self.extend(session)
        return Reply(Outcome.DONE)

    def extend(self, session: str) -> None:
        """
        Let a session's time begin anew.
        """
        lease = self.leases[session]
        self.renewed[session] = self.now
        lease.deadline = self.now + self.lapse(lease.ttl)

    def fail_over(self) -> None:
        """
        Another server has become the store's leader: it gives every session its whole time again.
        """
        for session in self.leases:
            self.extend(session)

    def died(self, node: str) -> None:
        """
        A node's process is gone; most stores do not notice.
        """

    def wipe(self) -> None:
        """
        All data is lost, the counter too.
        """
        for session in tuple(self.leases):
            self.expire(session)
        for name, election in self.elections.items():
            self.vacate(name, Fact.KEY_DELETED)
            election.token, election.request = 0, (0, None)
        self.revision = 0

    # -- entries ----------------------------------------------------------------------------------------------------

    def next_token(self, entry: Entry) -> int:  # noqa: ARG002 - a store that counts itself looks at it
        """
        The token of a new entry.
        """
        return self.write()

    def take(self, session: str, entry: Entry) -> int:
        """
        Let an entry lead.
        """
        election = self._election(entry.election)
        election.token = self.next_token(entry)
        election.holder = Holder(entry.node, election.token, session, metadata(entry))
        election.key, election.number = entry.key, entry.number
        self.announce(entry.election)
        return election.token

    def acquire(self, session: str, entry: Entry) -> Reply:
        """
        Take an election that nobody holds.
        """
        election = self._election(entry.election)
        if session not in self.leases:
            return Reply(Outcome.REFUSED, holder=election.holder)
        if election.holder is not None and election.holder.session == session:
            if election.key == entry.key:
                return Reply(Outcome.DONE, token=election.holder.token)
            if election.number > entry.number:
                return Reply(Outcome.REFUSED, holder=election.holder)  # held up on its way
            self.vacate(entry.election, Fact.KEY_DELETED)
        if election.holder is not None:
            return Reply(Outcome.REFUSED, holder=election.holder)
        if self.is_held_back(entry.election):
            return Reply(Outcome.REFUSED)
        token = self.take(session, entry)
        return Reply(Outcome.DONE, token=token, token_reset=token <= entry.above)

    def is_held_back(self, name: str) -> bool:  # noqa: ARG002 - Consul looks at it
        """
        Nobody holds an election, and nobody gets it yet.
        """
        return False

    def overwrite(self, name: str, node: str) -> None:
        """
        Put an entry in the place of whoever's stands there, as an operator can.
        """
        election = self._election(name)
        election.token = self.write()
        election.holder, election.key = Holder(node, election.token, f"{node}#0"), ""
        self.announce(name)


def metadata(entry: Entry) -> dict[str, object]:
    """
    What stands beside an entry, as a store gives it back.
    """
    found: dict[str, object] = json.loads(json.dumps(dict(entry.metadata or {})))
    return found


class Sqlite(Server):
    """
    A file of one machine: death is attested by the kernel, one counter serves all elections, and survives them.
    """

    scope = "machine"
    attests_death = True
    fails_over = False

    def next_token(self, entry: Entry) -> int:
        """
        Above what the process has seen, too.
        """
        self.revision = max(self.revision, entry.above) + 1
        return self.revision

    def acquire(self, session: str, entry: Entry) -> Reply:
        """
        As any, but a counter that was lost goes on above what was seen.
        """
        reset = entry.above > self.revision
        reply = super().acquire(session, entry)
        return Reply(reply.outcome, reply.token, reply.holder, token_reset=reply.outcome is Outcome.DONE and reset)

    def died(self, node: str) -> None:
        """
        The kernel attests it.
        """
        for session in tuple(self.leases):
            if session.startswith(f"{node}#"):
                asyncio.get_running_loop().call_later(self.draw.uniform(0.0004, 0.005), self.expire, session)


class Consul(Server):
    """
    A session ends between its TTL and twice that; nobody gets its locks for a while then.
    """

    lock_delay = 0.0

    def __init__(self, draw: random.Random) -> None:
        super().__init__(draw)
        self._free_at: dict[str, float] = {}

    def lapse(self, ttl: float) -> float:
        """
        Between once and twice the TTL.
        """
        return ttl * self.draw.choice((1.0, 1.001, 1.5, 2.0, 2.0))

    def expire(self, session: str) -> None:
        """
        End a session; its locks are held back for a while.
        """
        for name, election in self.elections.items():
            if election.holder is not None and election.holder.session == session:
                self._free_at[name] = self.now + self.lock_delay
        super().expire(session)

    def is_held_back(self, name: str) -> bool:
        """
        The lock-delay is not over.
        """
        return self.now < self._free_at.get(name, 0.0)

    def fail_over(self) -> None:
        """
        Indexes may go back where the new server is behind: who watches reads the truth anew.
        """
        super().fail_over()
        for name in self.elections:
            if self.read(name) is not None:
                self.announce(name)

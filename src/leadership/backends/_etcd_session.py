"""
One lease, and the claims that live no longer than it does.

How the contract's words come about:

* compare: every change is one transaction that compares what it changes;
* an uncontended acquire is one transaction: the claim and its side entry are put where no claim stands, and the oldest
  keys are read in the same breath; asked again, it is one linearizable read;
* no request is needed when the watch has shown our claim to be the oldest: later ones are younger by the store's own
  numbers, so that it stays the oldest for as long as it stands, and a read would tell no more;
* the token is the revision at which the claim was created; the oldest claim leads, so the next leader's is higher;
* an attempt is told from another by its side entry, which is written and removed together with the claim;
* a claim is ours if its side entry was written at the revision at which it was created. One whose value somebody has
  put another over does not lead, and is removed as ours; a key that somebody has put in the place of a claim that is
  gone is another's: it is not removed, and its place is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from leadership.backends import _etcd_keys as layout
from leadership.backends._etcd_client import LeaseGone
from leadership.backends._etcd_keys import Claim, Keys
from leadership.backends._etcd_view import Waiting
from leadership.errors import LeadershipError, StoreUnavailable
from leadership.store import Entry, Fact, Holder, Notify, Outcome, Reply, Session, WatchEvent

if TYPE_CHECKING:
    from leadership.backends.etcd import EtcdStore

PART: Final = 0.22
"""Of the TTL, for a call: the caller gives up after a quarter of it, and a typed error comes before that."""
QUICK: Final = 0.25
"""Seconds for asking whether a session still lives."""
ROUNDS: Final = 5
"""An acquire meets what an earlier attempt has left no more often than this."""


@dataclass(frozen=True, slots=True)
class _Mine:
    """
    A claim of this session that stands, as far as is known.
    """

    entry: Entry
    token: int
    leads: bool = False


class EtcdSession(Session):
    """
    A lease. On the engine's loop.
    """

    def __init__(self, store: EtcdStore, lease: int, ttl: float, notify: Notify) -> None:
        self.id = f"{lease:x}"
        self.ttl = ttl
        self.lease = lease
        self.over = False
        """It has ended, by us or by the store's word."""
        self._given_up = False
        self._store = store
        self._notify = notify
        self._mine: dict[str, _Mine] = {}
        self._left: dict[str, int] = {}
        """The token of the claim that was given up last, by election."""
        self._newest: dict[str, int] = {}
        """The number of the newest attempt, by election."""
        self._asking: asyncio.Future[bool] | None = None

    def _until(self) -> float:
        return asyncio.get_running_loop().time() + self.ttl * PART

    def _gone(self) -> LeadershipError:
        return StoreUnavailable(f"the lease {self.id} has ended at {self._store.url}")

    @property
    def lost(self) -> bool:
        """
        It has ended by the store's word.
        """
        return self.over and not self._given_up

    # -- the lease ----------------------------------------------------------------------------------------------

    async def renew(self) -> Reply:
        """
        Ask for another TTL. Refused: the session has ended, and will not come back.
        """
        self._store.check_usable()
        if self.over:
            return Reply(Outcome.REFUSED, error=self._gone())
        rpc = self._store.client.rpc
        request = rpc.LeaseKeepAliveRequest(ID=self.lease)
        answer = await self._store.call("LeaseKeepAlive", request, "the renewal of a lease", self._until(), urgent=True)
        if answer.TTL <= 0:
            self._end()
            return Reply(Outcome.REFUSED, error=self._gone())
        return Reply(Outcome.DONE)

    async def end(self) -> Reply:
        """
        Give the session up, and with it all its entries.
        """
        self._store.check_usable()
        return await self.revoke(self._until())

    async def revoke(self, until: float) -> Reply:
        """
        End the lease, also while the store closes.
        """
        self._given_up = True
        self._end()
        request = self._store.client.rpc.LeaseRevokeRequest(ID=self.lease)
        with contextlib.suppress(LeaseGone):
            await self._store.call("LeaseRevoke", request, "the end of a lease", until, urgent=True)
        self._store.sessions.pop(self.id, None)
        return Reply(Outcome.DONE)

    def _end(self) -> None:
        self.over = True
        self._mine.clear()
        self._store.watches.forget(self.id)

    def _lose(self) -> None:
        """
        The store says that the session has ended: say so, once.
        """
        if not self.over:
            self._end()
            self._notify(WatchEvent(Fact.SESSION_LOST, error=self._gone()))

    # -- for the views ------------------------------------------------------------------------------------------

    def left(self, election: str, token: int) -> bool:
        """
        Whether it has given that claim up itself.
        """
        return self._given_up or self._left.get(election) == token

    async def is_gone(self) -> bool:
        """
        Whether the store says, quickly, that the session has ended; then its owner has been told.
        """
        if self.over:
            return True
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._ask())
            self._asking.add_done_callback(self._asked)
        return await asyncio.shield(self._asking)

    async def _ask(self) -> bool:
        request = self._store.client.rpc.LeaseTimeToLiveRequest(ID=self.lease)
        until = asyncio.get_running_loop().time() + QUICK
        try:
            answer = await self._store.call("LeaseTimeToLive", request, "the state of a lease", until, urgent=True)
        except LeaseGone:
            pass
        except LeadershipError:
            return False
        else:
            if answer.TTL > 0:
                return False
        self._lose()
        return True

    def _asked(self, asking: asyncio.Future[bool]) -> None:
        self._asking = None
        if not asking.cancelled():
            asking.exception()

    # -- claims -------------------------------------------------------------------------------------------------

    async def acquire(self, entry: Entry) -> Reply:
        """
        Claim an election, without waiting.
        """
        self._store.check_usable()
        election = entry.election
        if self.over:
            return Reply(Outcome.REFUSED)
        if entry.number < self._newest.get(election, entry.number):
            return Reply(Outcome.REFUSED, holder=self._known(election))  # held up on its way
        self._newest[election] = entry.number
        try:
            return await self._acquire(entry, self._until())
        except LeaseGone:
            self._lose()
            return Reply(Outcome.REFUSED)

    async def _acquire(self, entry: Entry, until: float) -> Reply:
        keys = self._store.keys(entry.election)
        about = str(keys)
        key = keys.claims + self.id.encode()
        make = self._store.messages
        mine = self._mine.get(entry.election)
        if mine is not None and mine.entry.key == entry.key:
            if self._is_shown_first(entry.election, mine):
                return self._leads(entry, mine, mine.token)
            request = make.txn([], [make.get(key), make.heads(keys)])
            answer = await self._store.call("Txn", request, about, until)
            standing, heads = _ranges(answer)
            claim = keys.claim(standing[0]) if standing else None
            if claim is not None and claim.untouched and claim.created == mine.token:
                return await self._settle(entry, mine, keys, heads, answer.header.revision, until)
            self._mine.pop(entry.election, None)
        beside = layout.side(entry)
        side_key = keys.sides + self.id.encode()
        put = [make.put(key, entry.node.encode(), self.lease), make.put(side_key, beside, self.lease), make.heads(keys)]
        look = [make.get(key), make.get(side_key), make.heads(keys)]
        for _ in range(ROUNDS):
            request = make.txn([make.created(key, 0)], put, look)
            answer = await self._store.call("Txn", request, about, until)
            if answer.succeeded:
                mine = self._stands(entry, answer.header.revision)
                return await self._settle(entry, mine, keys, _ranges(answer)[0], answer.header.revision, until)
            (standing, sides, heads), revision = _ranges(answer), answer.header.revision
            claim = keys.claim(standing[0])
            ours = claim is not None and bool(sides) and sides[0].mod_revision == claim.created
            if claim is None or not (ours or claim.untouched):
                return self._blocked(entry, claim, revision)
            attempt = layout.attempt_of(sides[0].value) if ours else None
            if attempt is not None and attempt[0] == entry.key and claim.untouched:
                mine = self._stands(entry, claim.created)
                return await self._settle(entry, mine, keys, heads, revision, until)
            if attempt is not None and attempt[1] > entry.number:
                return Reply(Outcome.REFUSED, holder=self._known(entry.election), revision=revision)
            self._left[entry.election] = claim.created
            remove = make.txn([make.created(key, claim.created)], [make.delete(key), make.delete(side_key)])
            await self._store.call("Txn", remove, about, until)
        msg = f"the claim of an earlier attempt at {entry.election!r} comes again and again"
        raise StoreUnavailable(msg)

    def _stands(self, entry: Entry, token: int) -> _Mine:
        mine = _Mine(entry, token)
        if self._newest.get(entry.election) == entry.number and not self.over:
            self._mine[entry.election] = mine
        return mine

    async def _settle(
        self, entry: Entry, mine: _Mine, keys: Keys, heads: Sequence[Any], revision: int, until: float
    ) -> Reply:
        """
        Find out whether a claim that stands leads.
        """
        election = entry.election
        first = keys.first(heads)
        if first is None or first.created > mine.token:  # older keys than ours are no claims: look at all
            answer = await self._store.call(
                "Txn", self._store.messages.txn([], [self._store.messages.heads(keys, limit=0)]), str(keys), until
            )
            first, revision = keys.first(_ranges(answer)[0]), answer.header.revision
        if self._newest.get(election) != entry.number:
            return Reply(Outcome.REFUSED, holder=self._known(election), revision=revision)  # a later one has come
        if first is not None and first.name.decode() == self.id and first.created == mine.token:
            view = self._store.watches.known(election)
            if view is not None and view.outdates(self.id, mine.token, revision):
                self._mine.pop(election, None)
                return await self._acquire(entry, until)
            taken = self._store.watches.taken
            if mine.token <= taken.get(election, 0):
                if revision >= taken[election]:
                    return await self._put_again(entry, mine, keys, until)
                del taken[election]  # of a time before the store has lost its data
            return self._leads(entry, mine, revision)
        if first is None:
            return Reply(Outcome.REFUSED, revision=revision)
        self._wait(entry, mine.token)
        return Reply(Outcome.REFUSED, holder=self._known(election, first), revision=revision)

    def _is_shown_first(self, election: str, mine: _Mine) -> bool:
        view = self._store.watches.known(election)
        holder = None if view is None else view.holder
        if holder is None or (holder.session, holder.token) != (self.id, mine.token):
            return False
        return mine.token > self._store.watches.taken.get(election, 0)

    def _leads(self, entry: Entry, mine: _Mine, revision: int) -> Reply:
        self._store.watches.wait_no_more(entry.election, self.id)
        self._mine[entry.election] = _Mine(entry, mine.token, leads=True)
        reset = mine.token <= entry.above
        return Reply(Outcome.DONE, token=mine.token, token_reset=reset, revision=revision)

    async def _put_again(self, entry: Entry, mine: _Mine, keys: Keys, until: float) -> Reply:
        """
        Tokens rise over a holder that somebody has put over a claim, too: go behind it.
        """
        await self._remove(entry, mine, keys, until)
        return await self._acquire(entry, until)

    def _blocked(self, entry: Entry, claim: Claim | None, revision: int) -> Reply:
        """
        Somebody has put a key where the claim should stand.
        """
        if claim is not None:
            self._store.watches.wait(
                entry.election, self.id, Waiting(entry.key, claim.modified, self._notify, blocked=True)
            )
        return Reply(Outcome.REFUSED, holder=self._known(entry.election), revision=revision)

    def _wait(self, entry: Entry, token: int) -> None:
        if not self.over:
            self._store.watches.wait(entry.election, self.id, Waiting(entry.key, token, self._notify))

    def _known(self, election: str, first: Claim | None = None) -> Holder | None:
        """
        Who leads, if the watch has told and what was read does not contradict.
        """
        view = self._store.watches.known(election)
        found = None if view is None else view.holder
        if found is None or found.session == self.id:
            return None
        if first is not None and (found.session, found.token) != (first.name.decode(), first.created):
            return None
        return found

    async def release(self, entry: Entry) -> Reply:
        """
        Remove the entry, if this session still has it.
        """
        self._store.check_usable()
        if self.over:
            return Reply(Outcome.DONE)
        until = self._until()
        keys = self._store.keys(entry.election)
        self._store.watches.wait_no_more(entry.election, self.id, entry.key)
        mine = self._mine.get(entry.election)
        if mine is not None and mine.entry.key == entry.key:
            revision = await self._remove(entry, mine, keys, until)
        else:
            revision = await self._remove_unknown(entry, keys, until)
        return Reply(Outcome.DONE, revision=revision)

    async def _remove(self, entry: Entry, mine: _Mine, keys: Keys, until: float) -> int:
        """
        Remove a claim that is known.
        """
        make = self._store.messages
        key, side_key = keys.claims + self.id.encode(), keys.sides + self.id.encode()
        self._left[entry.election] = mine.token
        gone = [make.delete(key), make.delete(side_key)]
        if mine.leads:
            gone.append(make.delete(keys.resign))
        answer = await self._store.call("Txn", make.txn([make.created(key, mine.token)], gone), str(keys), until)
        revision = int(answer.header.revision)
        if not answer.succeeded:  # somebody else has removed it, or the store was restored to a time before it
            revision = await self._remove_unknown(entry, keys, until)
        if self._mine.get(entry.election) is mine:
            del self._mine[entry.election]
        return revision

    async def _remove_unknown(self, entry: Entry, keys: Keys, until: float) -> int:
        """
        Remove a claim that may stand: the side entry tells whether it does. One of an earlier attempt goes, too: nobody
        else would remove it, and it would lead for as long as the session is renewed.
        """
        make = self._store.messages
        key, side_key = keys.claims + self.id.encode(), keys.sides + self.id.encode()
        look = make.txn([], [make.get(key), make.get(side_key), make.get(keys.resign)])
        answer = await self._store.call("Txn", look, str(keys), until)
        standing, sides, requests = _ranges(answer)
        attempt = layout.attempt_of(sides[0].value) if sides else None
        if attempt is not None and (attempt[0] == entry.key or attempt[1] < entry.number):
            gone, compare = [make.delete(side_key)], [make.has(side_key, sides[0].value)]
            if standing and standing[0].create_revision == sides[0].mod_revision:
                token = self._left[entry.election] = standing[0].create_revision
                gone.append(make.delete(key))
                compare.append(make.created(key, token))
                if requests and (layout.requested(requests[0].value) or (0, None))[0] == token:
                    gone.append(make.delete(keys.resign))
            answer = await self._store.call("Txn", make.txn(compare, gone), str(keys), until)
        return int(answer.header.revision)


def _ranges(answer: Any) -> list[Sequence[Any]]:
    """
    What the reads of a transaction have found.
    """
    return [each.response_range.kvs for each in answer.responses if each.HasField("response_range")]

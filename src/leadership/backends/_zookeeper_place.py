"""
A session's place in the queue of one election: one ephemeral node an attempt.

Law 1: an entry leads once it is known to be the first. A read shows that, which came after the entry's creation on the
same connection, or after a sync; or the end of the only entry in front of it, told by a watch, while another watch has
not told the end of its own: watches tell in the order of the servers' log. The first stays the first until it is gone.
Law 2: what was created and not confirmed, or deleted and not confirmed, is found again by the attempt's key in the
node's name, and settled by the next call.
Law 3: each waits for the entry in front of its own, and for no other.
Law 4: tokens rise over a holder whose node somebody has written over, too: its token is that of the writing, and who
stood before that goes behind it, by an entry made anew once the old one is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from leadership.backends import _zookeeper_wire as wire
from leadership.backends._zookeeper_client import trigger
from leadership.backends._zookeeper_folders import Folders, not_permitted
from leadership.backends._zookeeper_layout import MARK, RESIGN, SIDE, contenders, key_of, metadata_of
from leadership.backends._zookeeper_link import Link
from leadership.backends._zookeeper_watch import DELETED, Watcher
from leadership.backends._zookeeper_wire import Fault, Request, WireError
from leadership.errors import LeadershipError, StoreUnavailable
from leadership.store import Entry, Outcome, Reply

ROUNDS: Final = 8


@dataclass(slots=True)
class _Node:
    """
    What was made for one attempt, as far as that is known.
    """

    side: bool
    """With metadata beside it."""
    name: str | None = None
    """None: whether it is there is not known."""
    token: int | None = None


class Place:
    """
    On one loop; one call at a time, the others wait.
    """

    def __init__(
        self, path: str, link: Link, folders: Folders, watcher: Watcher, patience: float, turn: Callable[[str], None]
    ) -> None:
        """
        Args:
            patience: Seconds that a call may take.
            turn: Told the key of the attempt that waits when its turn may have come.
        """
        self.path = path
        self._link = link
        self._folders = folders
        self._watcher = watcher
        self._patience = patience
        self._turn = turn
        self._lock = asyncio.Lock()
        self._newest = 0
        self._nodes: dict[str, _Node] = {}
        """By the attempt's key."""
        self._waits = ""
        """The key of the attempt that waits."""
        self._before = ""
        """The path of the entry in front of it, which is watched; nothing: it is not known."""
        self._own = ""
        """The path of the entry that waits, watched too, where only one is in front of it."""
        self._first = False
        """The only one in front of it is gone."""
        self._doubtful = False
        """The server may have been restored to a time when the session had other nodes."""
        self._asking: asyncio.Task[None] | None = None
        self._trigger = trigger(asyncio.get_running_loop(), self._fired)

    @property
    def waits(self) -> bool:
        """
        An attempt waits in the queue.
        """
        return bool(self._waits)

    def made(self, name: str) -> bool:
        """
        Whether the node of that name is an attempt's.
        """
        return any(node.name == name for node in self._nodes.values())

    def went_down(self) -> None:
        """
        The connection is gone, and with it the watches.
        """
        self._before = self._own = ""
        self._first = False
        self._doubtful = True

    def _fired(self, kind: str, path: str) -> None:
        if path == self._own:
            self._own = ""
            self._first = False
        elif path == self._before:
            self._before = ""
            self._first = kind == DELETED and bool(self._own)
        else:
            return
        if self._waits:
            self._turn(self._waits)

    def seen(self, names: list[str]) -> None:
        """
        The queue was read by somebody: the entry in front of ours may have become the only one.
        """
        node = self._nodes.get(self._waits)
        if node is None or self._own or self._asking is not None or names[1:2] != [node.name]:
            return
        if self._before == f"{self.path}/{names[0]}":
            self._asking = asyncio.get_running_loop().create_task(self._watch_own(f"{self.path}/{node.name}"))

    async def _watch_own(self, own: str) -> None:
        before = self._before
        try:
            (stands,) = await self._ask("watch", wire.exists(own, self._trigger))
        except LeadershipError:
            return
        finally:
            self._asking = None
        if stands is not None and not isinstance(stands, WireError) and before and self._before == before:
            self._own = own

    # -- calls ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _alone(self, what: str) -> AsyncGenerator[None]:
        begun = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._patience), self._lock:
                yield
        except TimeoutError:
            self._link.missed(begun)  # this time-out ends before that of a question that was put at once
            msg = f"{what}: {self._link.options.url} did not answer within {self._patience:.3g} s"
            raise StoreUnavailable(msg) from None

    async def _ask(self, what: str, *requests: Request) -> list[Any]:
        return await self._link.ask(what, *requests, timeout=self._patience)

    async def release(self, entry: Entry) -> None:
        """
        Confirm that an attempt's entry is gone, and that no other than an attempt's is left.

        Raises:
            StoreUnavailable: It is not known.
        """
        async with self._alone("release"):
            await self._remove(entry.key)
            if self._doubtful:
                names = contenders(await self._names())
                await self._remove_strays([name for name in names if key_of(name) not in self._nodes])

    async def acquire(self, entry: Entry) -> Reply:
        """
        Stand in the queue, and say whether as the first.

        Raises:
            StoreUnavailable: It is not known.
            StoreRefused: It is not permitted.
        """
        if self._first and self._waits == entry.key and not self._lock.locked():
            node = self._nodes.get(entry.key)
            if node is not None and not self._is_outrun(node):
                return self._leads(entry, node)  # at once: this is what those who want a leader wait for
        async with self._alone("acquire"):
            if entry.number < self._newest:
                return Reply(Outcome.REFUSED, holder=self._watcher.known(self.path))  # held up on its way
            self._newest = entry.number
            for key in [key for key in self._nodes if key != entry.key]:
                await self._remove(key)
            self._stop_waiting()
            outrun = None
            for _ in range(ROUNDS):
                names = await self._stand(entry)
                node = self._nodes.get(entry.key)
                taken = self._watcher.taken.get(self.path)
                if node is not None and outrun is not None and outrun == taken and self._is_outrun(node):
                    del self._watcher.taken[self.path]  # of a time before the store has lost its data
                if node is None or node.name not in names:
                    self._nodes.pop(entry.key, None)  # somebody has removed it
                elif self._is_outrun(node):
                    await self._remove(entry.key)
                    outrun = taken
                elif node.name == names[0]:
                    return self._leads(entry, node)
                elif self._doubtful and await self._remove_strays(names[: names.index(node.name)]):
                    continue
                elif await self._wait(entry, node.name, names):
                    return Reply(Outcome.REFUSED, holder=self._watcher.known(self.path, names[0]))
        msg = f"acquire: the queue of {entry.election!r} changed too fast to be read"
        raise StoreUnavailable(msg)

    def _leads(self, entry: Entry, node: _Node) -> Reply:
        self._stop_waiting()
        token = node.token or 0
        self._watcher.leads(self.path, node.name or "")
        return Reply(Outcome.DONE, token=token, token_reset=token <= entry.above)

    def _is_outrun(self, node: _Node) -> bool:
        """
        A holder of a greater token has led since the entry was made.
        """
        return (node.token or 0) <= self._watcher.taken.get(self.path, 0)

    def _stop_waiting(self) -> None:
        self._waits = self._before = self._own = ""
        self._first = False

    async def _wait(self, entry: Entry, name: str, names: list[str]) -> bool:
        """
        Watch the entry in front of ours; False: it is gone already. Where it is the only one, watch our own too.
        """
        index = names.index(name)
        own = f"{self.path}/{name}" if index == 1 else ""
        self._waits, self._before = entry.key, f"{self.path}/{names[index - 1]}"
        requests = [wire.exists(own, self._trigger)] if own else []
        *stands, before = await self._ask("acquire", *requests, wire.get(self._before, self._trigger))
        if isinstance(before, WireError):
            self._stop_waiting()
            if before.fault is not Fault.NO_NODE:
                raise self._link.explain(before, "acquire")
            return False
        # An event that came with the answer has been here before this line.
        if own and self._before and stands[0] is not None and not isinstance(stands[0], WireError):
            self._own = own
        return True

    async def _remove_strays(self, names: list[str]) -> bool:
        """
        Remove those of this session, which are no attempt's: the store was restored to a time when it had others.

        Nobody else may, and they would lead for as long as the session is renewed. Whether there were any.
        """
        self._doubtful = False  # at first: a connection that is lost meanwhile makes it so again
        try:
            stats = await self._ask("acquire", *(wire.exists(f"{self.path}/{name}") for name in names))
            strays = [
                f"{self.path}/{name}"
                for name, stat in zip(names, stats, strict=True)
                if stat is not None and not isinstance(stat, WireError) and stat.ephemeralOwner == self._link.owner
            ]
            gone = await self._ask("acquire", *map(wire.delete, strays)) if strays else []
            for answer in (*stats, *gone):
                if isinstance(answer, WireError) and answer.fault is not Fault.NO_NODE:
                    raise self._link.explain(answer, "acquire")
        except BaseException:
            self._doubtful = True
            raise
        return bool(strays)

    async def _stand(self, entry: Entry) -> list[str]:
        """
        Be in the queue; the queue.
        """
        node = self._nodes.get(entry.key)
        if node is not None and node.name is None:
            await self._find(entry.key)
            node = self._nodes.get(entry.key)
        return await self._create(entry) if node is None else contenders(await self._names())

    async def _names(self) -> list[str]:
        """
        The election's children, by a read that is no older than the asking.
        """
        answers = await self._ask("acquire", wire.sync(self.path), wire.children(self.path))
        for answer in answers:
            if isinstance(answer, WireError) and answer.fault is not Fault.NO_NODE:
                raise self._link.explain(answer, "acquire")
        names: list[str] = [] if isinstance(answers[1], WireError) else answers[1]
        return names

    async def _create(self, entry: Entry) -> list[str]:
        """
        Make the entry, its parents where they are not known to be there, and read the queue.
        """
        path, metadata, acl = self.path, metadata_of(entry.metadata), self._folders.acl
        made = wire.create(f"{path}/{entry.key}{MARK}", entry.node.encode(), acl, wire.EPHEMERAL_SEQUENTIAL)
        request = made
        folders = [path]
        if metadata is not None:
            side = wire.create(f"{path}{SIDE}/{entry.key}", metadata, acl, wire.EPHEMERAL)
            request = wire.multi([wire.plain(made), wire.plain(side)])
            folders.append(f"{path}{SIDE}")
        before = self._folders.missing(folders)
        node = self._nodes[entry.key] = _Node(metadata is not None)
        try:
            *parents, answer, names = await self._ask("acquire", *before, request, wire.children(path))
        except BaseException:
            if request.give_up():
                self._nodes.pop(entry.key, None)  # it was never sent
            raise
        results: list[Any] = [answer] if metadata is None or isinstance(answer, WireError) else answer
        faults = [result for result in results if isinstance(result, WireError)]
        if faults:
            self._not_created(entry, request, faults, not_permitted(parents))
            return []
        self._folders.made(folders)
        created, _stat = results[0]  # a server leaves the stat out of a transaction's result
        node.name, node.token = created.rpartition("/")[2], request.zxid
        if isinstance(names, WireError):
            raise self._link.explain(names, "acquire")
        return contenders(names)

    def _not_created(self, entry: Entry, request: Request, faults: list[WireError], denied: WireError | None) -> None:
        first = next((fault for fault in faults if fault.fault is not Fault.ROLLED_BACK), faults[0])
        if first.fault in (Fault.LOST, Fault.MOVED) and not request.give_up():
            raise self._link.explain(first, "acquire")  # it may have been created
        self._nodes.pop(entry.key, None)
        if first.fault is not Fault.NO_NODE or denied is not None:
            raise self._link.explain(denied or first, "acquire")
        self._folders.forget(self.path)  # somebody has removed the parents: make them again

    async def _find(self, key: str) -> None:
        """
        Settle an attempt of which nothing is known.
        """
        found = [name for name in await self._names() if key_of(name) == key]
        stat = None
        if found:
            asked = wire.exists(f"{self.path}/{found[0]}")
            (stat,) = await self._link.demand("settle", asked, timeout=self._patience)
        if stat is None:
            self._nodes.pop(key, None)
        else:
            node = self._nodes[key]
            node.name, node.token = found[0], stat.czxid

    async def _remove(self, key: str) -> None:
        """
        Confirm that an attempt's nodes are gone.
        """
        if self._waits == key:
            self._stop_waiting()
        node = self._nodes.get(key)
        if node is not None and node.name is None:
            await self._find(key)
            node = self._nodes.get(key)
        if node is None or node.name is None:
            return
        paths = [f"{self.path}/{node.name}"]
        if node.side:
            paths.append(f"{self.path}{SIDE}/{key}")
        if self._watcher.has_old_request(self.path, node.token):
            paths.append(f"{self.path}{SIDE}/{RESIGN}")
        self._watcher.releasing(self.path, node.name)
        for answer in await self._ask("release", *(wire.delete(path) for path in paths)):
            if isinstance(answer, WireError) and answer.fault is not Fault.NO_NODE:
                raise self._link.explain(answer, "release")
        self._nodes.pop(key, None)

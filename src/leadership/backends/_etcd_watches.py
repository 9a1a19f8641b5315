"""
All watches of one store: views that share one stream.

A view begins with a linearizable read at some revision and goes on with the stream from the next one, so that nothing
is missed in between. Reads of views that begin at a time share transactions. When the stream breaks, every view is
closed and says so: who listens asks again at his own pace, and reads the truth anew. A view whose history was compacted
away, or whose token has expired, goes on without a word, because nothing that counts is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from leadership.backends._etcd_client import Client
from leadership.backends._etcd_errors import Refusal
from leadership.backends._etcd_keys import Keys
from leadership.backends._etcd_messages import MOST_OPERATIONS, Messages
from leadership.backends._etcd_stream import Stream
from leadership.backends._etcd_view import EtcdWatch, Owner, View, Waiting
from leadership.errors import LeadershipError, StoreRefused, StoreUnavailable
from leadership.store import Notify

_log = logging.getLogger("leadership.etcd")


class Watches:
    """
    The views of a store, by election. On the loop only.

    Args:
        client: Of the store.
        prefix: Of the store's keys.
        timeout: Seconds for a read.
        owner: The store's live session of a name, if it has one.
    """

    def __init__(self, client: Client, prefix: str, timeout: float, owner: Callable[[str], Owner | None]) -> None:
        self._client = client
        self._messages = Messages(client.rpc)
        self._prefix = prefix
        self._timeout = timeout
        self.owner = owner
        self.taken: dict[str, int] = {}
        """The newest token of a holder that was put over a claim, by election."""
        self._views: dict[str, View] = {}
        self._numbered: dict[int, View] = {}
        self._created: deque[View] = deque()
        """Asked for, in this order, and not yet confirmed."""
        self._opening: list[View] = []
        self._stream: Stream | None = None
        self._ending: Stream | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    # -- for the store and its sessions -------------------------------------------------------------------------

    def watch(self, election: str, notify: Notify) -> EtcdWatch:
        """
        One more who listens to an election.
        """
        return self._view(election).join(notify)

    def wait(self, election: str, session: str, waiting: Waiting) -> None:
        """
        Tell when it is a claim's turn.
        """
        if not self._stopped:
            self._view(election).wait(session, waiting)

    def wait_no_more(self, election: str, session: str, key: str | None = None) -> None:
        """
        A claim leads, or is given up.
        """
        view = self._views.get(election)
        if view is not None:
            view.wait_no_more(session, key)

    def forget(self, session: str) -> None:
        """
        A session has ended: none of its claims waits.
        """
        for view in tuple(self._views.values()):
            view.wait_no_more(session)

    def known(self, election: str) -> View | None:
        """
        The view of an election, if it shows it.
        """
        view = self._views.get(election)
        return view if view is not None and view.live else None

    def saw_taken(self, election: str, token: int) -> None:
        """
        Somebody has put a key over a claim.
        """
        self.taken[election] = max(self.taken.get(election, 0), token)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """
        Run something beside; it ends with the store.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self, timeout: float) -> None:
        """
        End all, and wait for the stream's thread. Idempotent.
        """
        self._stopped = True
        for task in tuple(self._tasks):
            task.cancel()
        for view in self._views.values():
            view.watchers.clear()
        self._views.clear()
        self._numbered.clear()
        stream, self._stream = self._stream or self._ending, None
        if stream is None:
            return
        stream.close()
        try:
            async with asyncio.timeout(timeout):
                await stream.ended.wait()
        except TimeoutError:
            return  # it ends with its connection
        stream.join(timeout)

    # -- opening ------------------------------------------------------------------------------------------------

    def _view(self, election: str) -> View:
        view = self._views.get(election)
        if view is None:
            view = self._views[election] = View(self, election, Keys(self._prefix, election))
            self._open(view)
        return view

    def _open(self, view: View) -> None:
        if not self._opening:
            asyncio.get_running_loop().call_soon(self._open_all)
        self._opening.append(view)

    def _open_all(self) -> None:
        opening = [view for view in self._opening if not view.closed]
        self._opening.clear()
        for start in range(0, len(opening), MOST_OPERATIONS):
            if not self._stopped:
                self.spawn(self._read(opening[start : start + MOST_OPERATIONS]))

    async def _read(self, views: Sequence[View]) -> None:
        """
        Begin views with the truth.
        """
        about = str(views[0].keys) if len(views) == 1 else f"the keys of {len(views)} elections"
        until = asyncio.get_running_loop().time() + self._timeout
        request = self._messages.txn([], [self._messages.everything(view.keys) for view in views])
        try:
            answer = await self._client.call("Txn", request, about, until)
            stream = self._ready()
        except StoreRefused as error:
            if len(views) == 1:
                self._close(views[0], error)
                return
            for view in views:  # one of them is refused, and the others need not suffer
                self.spawn(self._read([view]))
            return
        except LeadershipError as error:
            for view in views:
                self._close(view, error)
            return
        revision = answer.header.revision
        for view, found in zip(views, answer.responses, strict=True):
            if not view.closed:
                self._created.append(view)
                stream.send(self._messages.watch(view.keys, revision + 1))
                view.load(found.response_range.kvs, revision)

    def _ready(self) -> Stream:
        if self._stopped:
            msg = "the store is closed"
            raise StoreUnavailable(msg)
        stream = self._stream
        if stream is not None and stream.connection is not self._client.connection:
            stream.close()  # its host was given up
            self._ended(stream, "CANCELLED", "the connection was given up")
            stream = None
        if stream is None:
            stream = Stream(self._client.connection, self._client.metadata, self._respond, self._ended)
            self._stream = stream
        return stream

    # -- closing ------------------------------------------------------------------------------------------------

    def left(self, view: View) -> None:
        """
        Somebody has gone; a view that nobody needs is closed.
        """
        if not view.unused or view.closed or self._views.get(view.election) is not view:
            return
        view.closed, view.live = True, False
        del self._views[view.election]
        if view.number is not None:
            self._numbered.pop(view.number, None)
            self._unwatch(view.number)

    def _unwatch(self, number: int) -> None:
        if self._stream is not None:
            self._stream.send(self._messages.unwatch(number))

    def _close(self, view: View, error: LeadershipError) -> None:
        if view.closed:
            return
        self._views.pop(view.election, None)
        if view.number is not None:
            self._numbered.pop(view.number, None)
        view.close(error)

    def _ended(self, stream: Stream, code: str, details: str) -> None:
        """
        The stream has broken.
        """
        if stream is not self._stream or self._stopped:
            return
        self._stream, self._ending = None, stream
        refusal = self._client.refused(stream.connection, code, details)
        self._created.clear()
        for view in tuple(self._views.values()):
            if view.live or view.number is not None:
                self._close(view, refusal.explain(f"watching {view.keys}", self._client.user))

    # -- what the stream tells ----------------------------------------------------------------------------------

    def _respond(self, stream: Stream, response: Any) -> None:
        if stream is not self._stream or self._stopped:
            return
        if response.created:
            view = self._created.popleft()
            if response.canceled:
                self._cancelled(view, response)
            elif view.closed:
                self._unwatch(response.watch_id)
            else:
                view.number, view.renewals = response.watch_id, 0
                self._numbered[response.watch_id] = view
            return
        known = self._numbered.get(response.watch_id)
        if known is None:
            return
        if response.canceled:
            del self._numbered[response.watch_id]
            known.number = None
            self._cancelled(known, response)
        else:
            known.apply(response.events)

    def _cancelled(self, view: View, response: Any) -> None:
        """
        The server has ended a watch of its own accord.
        """
        if view.closed:
            return
        if response.compact_revision:
            _log.debug("leadership.etcd_watch_compacted election=%s", view.election)
            self._open(view)
            return
        stream = self._stream
        reason = response.cancel_reason or "the server has ended the watch without a reason"
        refusal = Refusal("CANCELLED", reason, self._client.host, tls=False)
        if refusal.token_refused and self._client.user is not None and stream is not None and view.renewals < 1:
            view.renewals += 1
            self._renew(stream)
            return
        self._close(view, refusal.explain(f"watching {view.keys}", self._client.user))

    def _renew(self, stream: Stream) -> None:
        """
        The token that the stream began with has expired: begin it again with another, where it is.
        """
        self._stream, self._ending = None, stream
        stream.close()
        self._created.clear()
        self._numbered.clear()
        self._client.forget(stream.token)
        for view in self._views.values():
            if view.live and view not in self._opening:
                view.number = None
                self._open(view)

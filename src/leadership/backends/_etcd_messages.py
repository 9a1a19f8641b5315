"""
The requests that are sent, in the words of python-etcd3's messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from leadership.backends._etcd_keys import Keys

LOOKED_AT: Final = 4
"""Of the keys below an election, the oldest so many are read to find who leads; more where none of them is a claim."""
MOST_OPERATIONS: Final = 128
"""In one transaction; the server's default."""


class Messages:
    """
    Makes requests.
    """

    def __init__(self, rpc: Any) -> None:
        self._rpc = rpc

    def get(self, key: bytes) -> Any:
        """
        Read one key.
        """
        return self._rpc.RequestOp(request_range=self._rpc.RangeRequest(key=key))

    def heads(self, keys: Keys, *, limit: int = LOOKED_AT) -> Any:
        """
        Read the oldest keys below an election; all with a limit of 0.
        """
        rpc = self._rpc
        order, target = rpc.RangeRequest.ASCEND, rpc.RangeRequest.CREATE
        return rpc.RequestOp(
            request_range=rpc.RangeRequest(
                key=keys.claims, range_end=keys.end, limit=limit, sort_order=order, sort_target=target
            )
        )

    def everything(self, keys: Keys) -> Any:
        """
        Read all that belongs to an election.
        """
        return self._rpc.RequestOp(request_range=self._rpc.RangeRequest(key=keys.start, range_end=keys.end))

    def put(self, key: bytes, value: bytes, lease: int) -> Any:
        """
        Write one key.
        """
        return self._rpc.RequestOp(request_put=self._rpc.PutRequest(key=key, value=value, lease=lease))

    def delete(self, key: bytes) -> Any:
        """
        Remove one key.
        """
        return self._rpc.RequestOp(request_delete_range=self._rpc.DeleteRangeRequest(key=key))

    def created(self, key: bytes, revision: int) -> Any:
        """
        That a key was created at a revision; 0: that it is not there.
        """
        compare = self._rpc.Compare
        return compare(result=compare.EQUAL, target=compare.CREATE, key=key, create_revision=revision)

    def has(self, key: bytes, value: bytes) -> Any:
        """
        That a key has a value.
        """
        compare = self._rpc.Compare
        return compare(result=compare.EQUAL, target=compare.VALUE, key=key, value=value)

    def txn(self, compare: Sequence[Any], success: Sequence[Any], failure: Sequence[Any] = ()) -> Any:
        """
        A transaction.
        """
        return self._rpc.TxnRequest(compare=compare, success=success, failure=failure)

    def watch(self, keys: Keys, revision: int) -> Any:
        """
        Tell what happens to an election from a revision on.
        """
        rpc = self._rpc
        what = rpc.WatchCreateRequest(key=keys.start, range_end=keys.end, start_revision=revision)
        return rpc.WatchRequest(create_request=what)

    def unwatch(self, number: int) -> Any:
        """
        Tell no more.
        """
        return self._rpc.WatchRequest(cancel_request=self._rpc.WatchCancelRequest(watch_id=number))

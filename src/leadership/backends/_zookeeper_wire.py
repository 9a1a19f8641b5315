"""
ZooKeeper's requests, as kazoo's connection sends them, and what the server answers to them.

Law: a request that was given up before it was sent is never carried out later. kazoo keeps requests in a queue while it
has no connection; one that nobody waits for any more goes out as a harmless look at the root instead.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Final

from leadership.backends import _zookeeper_kazoo as kazoo

EPHEMERAL_SEQUENTIAL: Final = 3
EPHEMERAL: Final = 1
PERSISTENT: Final = 0
ANY_VERSION: Final = -1

_HEADER: Final = struct.Struct("!iBi")
_INT: Final = struct.Struct("!i")


class Fault(StrEnum):
    """
    What a request failed by, as far as anybody asks.
    """

    NO_NODE = "no node"
    NODE_EXISTS = "the node exists"
    NO_AUTH = "permission denied"
    NOT_EMPTY = "the node has children"
    EXPIRED = "the session has expired"
    MOVED = "the session has moved to another server"
    UNIMPLEMENTED = "not implemented by the server"
    REFUSED = "refused"
    LOST = "the connection was lost"
    UNANSWERED = "no answer"
    ROLLED_BACK = "another part of the transaction failed"


_FAULTS: Final[dict[Any, Fault]] = {
    kazoo.exceptions.NoNodeError: Fault.NO_NODE,
    kazoo.exceptions.NodeExistsError: Fault.NODE_EXISTS,
    kazoo.exceptions.NoAuthError: Fault.NO_AUTH,
    kazoo.exceptions.NotEmptyError: Fault.NOT_EMPTY,
    kazoo.exceptions.SessionExpiredError: Fault.EXPIRED,
    kazoo.exceptions.SessionMovedError: Fault.MOVED,
    kazoo.exceptions.UnimplementedError: Fault.UNIMPLEMENTED,
    kazoo.exceptions.InvalidACLError: Fault.REFUSED,
    kazoo.exceptions.BadArgumentsError: Fault.REFUSED,
    kazoo.exceptions.NoChildrenForEphemeralsError: Fault.REFUSED,
    kazoo.exceptions.AuthFailedError: Fault.REFUSED,
    kazoo.exceptions.QuotaExceededError: Fault.REFUSED,
    kazoo.exceptions.RolledBackError: Fault.ROLLED_BACK,
    kazoo.exceptions.RuntimeInconsistency: Fault.ROLLED_BACK,
}


class WireError(Exception):
    """
    A request that failed.
    """

    def __init__(self, fault: Fault, words: str, path: str = "") -> None:
        super().__init__(f"{fault}: {words}" if words else str(fault))
        self.fault = fault
        self.path = path


def failure(error: BaseException, path: str = "") -> WireError:
    """
    A client's exception, by what it means.
    """
    if isinstance(error, WireError):
        return error
    fault = _FAULTS.get(type(error), Fault.LOST)
    words = "" if fault is not Fault.LOST else f"{type(error).__name__} {error}".strip()
    return WireError(fault, words, path)


class _Sealed:
    """
    A request whose fate is decided once: sent, or given up.

    kazoo's thread reads `type` first when it sends; from then on the request is on its way.
    """

    _code: int
    _clock: Callable[[], float] | None = None
    sent_at: float | None = None
    """The moment before it was written to the connection."""
    zxid: int = 0
    """Of a write that was answered: its place in the servers' log."""
    since: float | None = None
    """Of a request that was answered: what its answer proves of the lease."""

    @property
    def type(self) -> int:
        """
        The operation's code on the wire.
        """
        fate = self.__dict__.setdefault("_fate", "sent")
        if fate == "given up":
            return int(kazoo.serialization.Exists.type)
        if self.sent_at is None and self._clock is not None:
            self.sent_at = self._clock()
        return self._code

    def timed_by(self, clock: Callable[[], float]) -> None:
        """
        Note the moment of its sending on that clock.
        """
        self._clock = clock

    def give_up(self) -> bool:
        """
        Nobody waits for it any more. True: it was never sent and will not be carried out.
        """
        return bool(self.__dict__.setdefault("_fate", "given up") == "given up")

    def serialize(self) -> Any:
        if self.__dict__.get("_fate") == "given up":
            return kazoo.serialization.Exists("/", None).serialize()
        return super().serialize()  # type: ignore[misc]  # the kazoo class beside this one

    def deserialize(self, answer: bytes, offset: int) -> Any:
        if self.__dict__.get("_fate") == "given up":
            return None
        if self._code == kazoo.serialization.Close.type:  # which kazoo does not read the answer of
            return None
        return super().deserialize(answer, offset)  # type: ignore[misc]  # as above


def _sealed(kazoo_class: Any) -> Any:
    """
    A class of kazoo's requests, sealed.
    """
    return type(f"Sealed{kazoo_class.__name__}", (_Sealed, kazoo_class), {"_code": kazoo_class.type})


_Create = _sealed(kazoo.serialization.Create2)
_Delete = _sealed(kazoo.serialization.Delete)
_Exists = _sealed(kazoo.serialization.Exists)
_Get = _sealed(kazoo.serialization.GetData)
_Children = _sealed(kazoo.serialization.GetChildren)
_Sync = _sealed(kazoo.serialization.Sync)
_Close = _sealed(kazoo.serialization.Close)

Request = Any
"""One of the sealed requests; kazoo's classes have no types."""
Trigger = Callable[[Any], None]
"""Takes a watch's event, on kazoo's thread."""


def create(path: str, data: bytes, acl: Sequence[Any], flags: int) -> Request:
    """
    Answered by the path that was made and its stat.
    """
    return _Create(path, data, acl, flags)


def delete(path: str) -> Request:
    """
    Whatever its version.
    """
    return _Delete(path, ANY_VERSION)


def exists(path: str, trigger: Trigger | None = None) -> Request:
    """
    Answered by the stat, or None.
    """
    return _Exists(path, trigger)


def get(path: str, trigger: Trigger | None = None) -> Request:
    """
    Answered by data and stat.
    """
    return _Get(path, trigger)


def children(path: str, trigger: Trigger | None = None) -> Request:
    """
    Answered by the names.
    """
    return _Children(path, trigger)


def sync(path: str) -> Request:
    """
    What is read after it on the same connection is no older than its sending.
    """
    return _Sync(path)


def close() -> Request:
    """
    The session's end; kazoo's thread ends when it is answered.
    """
    return _Close()


class _Batch:
    """
    Several operations in one request: all of them happen, or none.
    """

    def __init__(self, operations: Sequence[Any]) -> None:
        self.operations = operations
        self.path = operations[0].path
        self.watcher = None

    def serialize(self) -> bytes:
        """
        Each operation behind a header.
        """
        parts = bytearray()
        for operation in self.operations:
            parts += _HEADER.pack(operation.type, 0, -1) + operation.serialize()
        return bytes(parts + _HEADER.pack(-1, 1, -1))

    def deserialize(self, answer: bytes, offset: int) -> list[Any]:
        """
        What each operation was answered by, failures as `WireError`.
        """
        results: list[Any] = []
        while True:
            kind, done, _error = _HEADER.unpack_from(answer, offset)
            offset += _HEADER.size
            if done:
                return results
            operation = self.operations[len(results)] if len(results) < len(self.operations) else None
            result, offset = _result(kind, answer, offset, "" if operation is None else operation.path)
            results.append(result)


def _result(kind: int, answer: bytes, offset: int, path: str) -> tuple[Any, int]:
    if kind == -1:
        (code,) = _INT.unpack_from(answer, offset)
        known = kazoo.exceptions.EXCEPTIONS
        error = known[code]() if code in known else kazoo.exceptions.SystemZookeeperError(f"error {code}")
        if code == 0:
            return WireError(Fault.ROLLED_BACK, "", path), offset + _INT.size
        return failure(error, path), offset + _INT.size
    if kind in (kazoo.serialization.Create.type, kazoo.serialization.Create2.type):
        made, offset = kazoo.serialization.read_string(answer, offset)
        if kind == kazoo.serialization.Create.type:
            return (made, None), offset
        stat, offset = _stat(answer, offset)
        return (made, stat), offset
    if kind == kazoo.serialization.SetData.type:
        return _stat(answer, offset)
    if kind == kazoo.serialization.GetData.type:
        data, offset = kazoo.serialization.read_buffer(answer, offset)
        stat, offset = _stat(answer, offset)
        return (data, stat), offset
    if kind == kazoo.serialization.GetChildren.type:
        (count,) = _INT.unpack_from(answer, offset)
        offset += _INT.size
        names: list[str] = []
        for _ in range(max(0, count)):
            name, offset = kazoo.serialization.read_string(answer, offset)
            names.append(name)
        return names, offset
    return True, offset  # delete, check


def _stat(answer: bytes, offset: int) -> tuple[Any, int]:
    layout = kazoo.serialization.stat_struct
    return kazoo.serialization.ZnodeStat._make(layout.unpack_from(answer, offset)), offset + layout.size


class _Multi(_Sealed, _Batch):
    _code = 14


class _MultiRead(_Sealed, _Batch):
    _code = 22


def multi(operations: Sequence[Any]) -> Request:
    """
    A transaction; answered by each operation's result, failures as `WireError`.
    """
    return _Multi(operations)


def multi_read(operations: Sequence[Any]) -> Request:
    """
    Reads of data and children, each with its own result; servers from 3.6 on know it.
    """
    return _MultiRead(operations)


def check(path: str) -> Any:
    """
    An operation of a transaction: the node is there. It changes nothing, and is committed like any other.
    """
    return kazoo.serialization.CheckVersion(path, ANY_VERSION)


def set_data(path: str, data: bytes) -> Any:
    """
    An operation of a transaction.
    """
    return kazoo.serialization.SetData(path, data, ANY_VERSION)


def plain(request: Request) -> Any:
    """
    A request as an operation of a transaction.
    """
    return next(base for base in type(request).__mro__ if base.__module__ == kazoo.serialization.__name__)(*request)

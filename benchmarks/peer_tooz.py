"""
A process with contenders of tooz: leaders of a group on ZooKeeper, or a lock on files of one machine.

A group's leader is elected when a member runs its watchers; how often that is, is the program's own business: once a
second here, as in tooz's own examples. It takes the commands of `worker.py`, and tells the same.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import uuid
from typing import Any
from urllib.parse import urlsplit

from tooz import coordination

from benchmarks.contenders import Contender, contend

POLL = 1.0


class GroupContender(Contender):
    """
    A member of a group, on a connection of its own.
    """

    def __init__(self, hosts: str, election: str) -> None:
        super().__init__(election)
        self._group = election.replace("/", "-").encode()
        self._member: Any = member(f"kazoo://{hosts}")
        self._elected = False
        with contextlib.suppress(coordination.GroupAlreadyExist):
            self._member.create_group(self._group).get()
        self._member.join_group(self._group).get()

    def _note(self, _event: object) -> None:
        self._elected = True

    def campaign(self) -> None:
        self._elected = False
        self._member.watch_elected_as_leader(self._group, self._note)
        self._member.run_watchers()
        while not self._elected:
            self._resign.wait(POLL)  # never set before it leads
            self._member.run_watchers()

    def resign(self) -> None:
        self._member.unwatch_elected_as_leader(self._group, self._note)
        self._member.stand_down_group_leader(self._group)


class FileContender(Contender):
    def __init__(self, folder: str, election: str) -> None:
        super().__init__(election)
        self._lock: Any = member(f"file://{folder}").get_lock(election.encode())

    def campaign(self) -> None:
        self._lock.acquire()

    def resign(self) -> None:
        self._lock.release()


def member(url: str) -> Any:
    made = coordination.get_coordinator(url, uuid.uuid4().hex.encode())
    made.start()
    return made


def main() -> None:
    address = urlsplit(sys.argv[1])
    if address.scheme == "zookeeper":
        contend(lambda election, _ttl: GroupContender(address.netloc, election))
    else:
        folder = f"{address.path}.tooz"
        contend(functools.partial(_file, folder))


def _file(folder: str, election: str, _ttl: float) -> Contender:
    return FileContender(folder, election)


if __name__ == "__main__":
    main()

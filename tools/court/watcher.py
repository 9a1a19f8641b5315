"""
The process of one follower: it is asked every 5 ms who leads, and what it answers is written down, like a contender's
looks.

The library's follower and a negative control are here. The commands are those of a contender (`worker`) that a follower
can follow: `start`, `round`, `leave`.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from servers.etcd import below

from court.clock import now
from court.contender import Role, Say
from court.evidence import View
from court.journal import Journal
from court.worker import IDLE, tell
from leadership import Follower, connect


class Watcher(Protocol):
    """
    Who tells who leads.
    """

    def start(self) -> None:
        """
        Follow, without waiting.
        """

    def look(self) -> View:
        """
        Who leads, and whether that is known. Any thread.
        """
        ...

    def leave(self) -> bool:
        """
        End it, and whether that was settled in time.
        """
        ...


class LibraryFollower:
    """
    The library's follower. What its callback is told is written down.
    """

    def __init__(self, role: Role, say: Say) -> None:
        self._store = connect(role.url)
        self._follower = Follower(self._store, role.election)

        @self._follower.on_leader_changed
        def changed(leader: Any) -> None:
            say("leader", node=leader and leader.node, token=leader and leader.token)

        @self._follower.on_error
        def failed(error: BaseException) -> Any:
            say("error", text=f"{type(error).__name__}: {error}")

    def start(self) -> None:
        """
        Follow, without waiting.
        """
        self._follower.start()

    def look(self) -> View:
        """
        Look whether it knows, then at the leader: what it names then is no older.
        """
        before = now()
        known = not self._follower.is_stale
        leader = self._follower.leader
        after = now()
        if leader is None:
            return View(before, after, known, None, None)
        return View(before, after, known, leader.node, leader.token)

    def leave(self) -> bool:
        """
        Stop it, and close its store.
        """
        settled = self._follower.stop()
        self._store.close()
        return settled


class WatchFromNow:
    """
    A negative control on etcd: reads until somebody leads, and watches from now on, each time that it has to connect.

    What happens between a watch and the next is never told.
    """

    def __init__(self, role: Role, say: Say) -> None:
        self._host = role.url.partition("://")[2].split("/")[0]
        self._prefix = f"court/{role.election}/"
        self._say = say
        self._entries: dict[str, tuple[int, str]] = {}
        self._known = False

    def start(self) -> None:
        """
        Follow.
        """
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        while True:
            try:
                while not self._known:
                    with self._ask("kv/range", below(self._prefix)) as reply:
                        self._take([{"kv": each} for each in json.load(reply).get("kvs", ())])
                    self._known = bool(self._entries)
                    time.sleep(0.02)
                with self._ask("watch", {"create_request": below(self._prefix)}) as reply:
                    for line in reply:
                        self._take(json.loads(line)["result"].get("events", ()))
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._say("error", text=repr(error))
            time.sleep(0.1)

    def _ask(self, path: str, fields: dict[str, Any]) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self._host, timeout=60.0)
        connection.request("POST", f"/v3/{path}", json.dumps(fields))
        return connection.getresponse()

    def _take(self, events: Any) -> None:
        entries = dict(self._entries)
        for event in events:
            key = base64.b64decode(event["kv"]["key"]).decode()
            if event.get("type") == "DELETE":
                entries.pop(key, None)
            elif "lease" in event["kv"]:
                entries[key] = int(event["kv"]["create_revision"]), base64.b64decode(event["kv"]["value"]).decode()
        self._entries = entries

    def look(self) -> View:
        """
        The holder of the oldest entry.
        """
        before = now()
        known, entries = self._known, self._entries
        token, node = min(entries.values(), default=(None, None))
        return View(before, now(), known, node, token)

    def leave(self) -> bool:
        """
        Its process is ended as it is.
        """
        return False


WATCHERS: Final[dict[str, Callable[[Role, Say], Watcher]]] = {
    "library": LibraryFollower,
    "watch-from-now": WatchFromNow,
}


def sample(watcher: Watcher, journal: Journal) -> None:
    """
    Look every 5 ms, for ever.
    """
    told: tuple[bool, int | None] | None = None
    while True:
        look = watcher.look()
        known = "true" if look.known else "false"
        node, token = json.dumps(look.node), json.dumps(look.token)
        journal.write(f'{{"b":{look.before:.6f},"a":{look.after:.6f},"k":{known},"n":{node},"t":{token}}}')
        if told != (look.known, look.token):
            told = look.known, look.token
            tell(believes=look.known, token=look.token, at=look.after)
        time.sleep(IDLE)


def main() -> None:
    """
    Serve commands until standard input ends.
    """
    told = json.loads(sys.argv[1])
    role = Role(**told["role"])
    journal = Journal(role.node, ".views.jsonl")
    journal.turn(told["folder"])
    watcher = WATCHERS[role.kind](role, journal.say)
    threading.Thread(target=sample, args=(watcher, journal), daemon=True).start()
    tell(answer="ready", at=now())
    for line in sys.stdin:
        command = json.loads(line)
        at = now()
        settled = True
        match command["do"]:
            case "start":
                watcher.start()
            case "round":
                journal.turn(command["folder"])
            case "leave":
                settled = watcher.leave()
        journal.say("command", **command)
        tell(answer=command["do"], at=at, settled=settled)
    os._exit(0)


if __name__ == "__main__":
    main()

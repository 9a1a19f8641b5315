"""
Stores in processes of their own: each takes commands and tells what happens, one JSON object a line.

Run as a script, this file is such a process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from leadership._clock import now
from leadership.backends._sqlite_database import Database
from leadership.backends.sqlite import SqliteStore
from leadership.errors import LeadershipError
from leadership.store import Entry, Fact, Outcome, Reply, Session, WatchEvent

PATIENCE = 10.0
"""Seconds for what takes a fraction of one on an idle machine."""


class StoreProcess:
    """
    A process with a store on `path`; `prefix` is a command that runs it, such as `unshare`.
    """

    def __init__(self, path: Path | str, *prefix: str) -> None:
        self.process = subprocess.Popen(
            [*prefix, sys.executable, __file__, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.told: Queue[dict[str, Any]] = Queue()
        self._answers: Queue[dict[str, Any]] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.pid: int = self.wait("ready")["pid"]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told = json.loads(line)
            (self._answers if told["what"] == "answer" else self.told).put(told)

    def send(self, do: str, **arguments: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()

    def call(self, do: str, **arguments: object) -> dict[str, Any]:
        self.send(do, **arguments)
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """
        The answer to the next command that has been sent.
        """
        return self._answers.get(timeout=PATIENCE)

    def wait(self, what: str, *, timeout: float = PATIENCE, **values: object) -> dict[str, Any]:
        """
        The next event of this kind, with these values; those before it are forgotten.
        """
        give_up = time.monotonic() + timeout
        while True:
            try:
                told = self.told.get(timeout=max(0.0, give_up - time.monotonic()))
            except Empty:
                msg = f"waited {timeout:g} s in vain for {what} {values} of process {self.process.pid}"
                raise AssertionError(msg) from None
            if told["what"] == what and values.items() <= told.items():
                return told

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


@contextlib.contextmanager
def store_processes(path: Path | str) -> Iterator[Callable[..., StoreProcess]]:
    """
    Makes processes with a store on `path`, and leaves none behind.
    """
    made: list[StoreProcess] = []

    def start(*prefix: str) -> StoreProcess:
        made.append(StoreProcess(path, *prefix))
        return made[-1]

    try:
        yield start
    finally:
        for process in made:
            process.kill()


class _Child:
    """
    Carries out the commands.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.store = SqliteStore(path)
        self.sessions: dict[str, Session] = {}
        self.standing = True
        self.heirs: list[subprocess.Popen[bytes]] = []

    def tell(self, what: str, **values: object) -> None:
        os.write(1, (json.dumps({"what": what, "at": now(), **values}) + "\n").encode())

    def notify(self, event: WatchEvent) -> None:
        holder = event.holder
        self.tell(
            event.fact.value,
            token=event.token if holder is None else holder.token,
            node=None if holder is None else holder.node,
            reason=event.reason,
            error=None if event.error is None else str(event.error),
        )

    async def carry_out(self, do: str, arguments: dict[str, Any]) -> None:
        began = now()
        try:
            answer = await getattr(self, f"do_{do}")(**arguments)
        except LeadershipError as error:
            answer = {"error": type(error).__name__, "message": str(error)}
        if isinstance(answer, Reply):
            answer = {
                "outcome": answer.outcome.value,
                "token": answer.token,
                "reset": answer.token_reset,
                "holder": None if answer.holder is None else answer.holder.node,
                "message": str(answer.error),
            }
        self.tell("answer", took=now() - began, **(answer or {}))

    async def do_open(self, ttl: float, name: str = "s") -> dict[str, Any]:
        session = self.sessions[name] = await self.store.open_session(ttl, self.notify)
        return {"session": session.id}

    async def do_acquire(
        self, election: str = "e", name: str = "s", key: str = "k", above: int = 0, node: str | None = None
    ) -> Reply:
        entry = Entry(election, node or str(os.getpid()), key, {"pid": os.getpid()}, above)
        return await self.sessions[name].acquire(entry)

    async def do_release(self, election: str = "e", name: str = "s", key: str = "k") -> Reply:
        return await self.sessions[name].release(Entry(election, "", key))

    async def do_renew(self, name: str = "s") -> Reply:
        return await self.sessions[name].renew()

    async def do_end(self, name: str = "s") -> Reply:
        return await self.sessions[name].end()

    async def do_read(self, election: str = "e") -> dict[str, Any]:
        holder = (await self.store.read([election]))[election]
        return {} if holder is None else {"node": holder.node, "token": holder.token, **holder.metadata}

    async def do_watch(self, election: str = "e") -> None:
        self.store.watch(election, self.notify)

    async def do_resign(self, token: int, reason: str | None = None, election: str = "e") -> Reply:
        return await self.store.request_resign(election, token, reason)

    async def do_close(self) -> None:
        await self.store.aclose()

    async def do_keep(self, ttl: float, name: str = "s") -> None:
        """
        Renew a session as an engine does.
        """

        async def keep() -> None:
            while (await self.sessions[name].renew()).outcome is Outcome.DONE:
                await asyncio.sleep(ttl / 3)

        self.keeper = asyncio.create_task(keep())

    async def do_heir(self) -> dict[str, Any]:
        """
        A process that inherits the locks, as a guard does.
        """
        fds = [fd for session in self.sessions.values() for fd in session.liveness_fds()]
        self.heirs.append(subprocess.Popen(["sleep", "60"], pass_fds=fds, stdout=subprocess.DEVNULL))
        return {"pid": self.heirs[-1].pid}

    async def do_fork(self, *, busy: bool = False) -> dict[str, Any]:
        """
        A forked child that tries the inherited store, then one of its own; `busy`: while a job is under way.
        """
        if busy:
            began = threading.Event()

            def work(_database: Database) -> None:
                began.set()
                time.sleep(2.0)

            self.store._worker.submit(work, lambda _result, _error: None)
            await asyncio.to_thread(began.wait)
        pid = os.fork()
        if pid == 0:
            self.be_a_child()
        return {"pid": pid}

    def be_a_child(self) -> None:
        try:
            asyncio._set_running_loop(None)  # the parent's, which is not ours
            asyncio.new_event_loop().run_until_complete(self.try_stores())
            time.sleep(60)
        finally:
            os._exit(0)

    async def try_stores(self) -> None:
        store: SqliteStore | None = None
        told = {"inherited": "", "own": ""}
        try:
            await self.store.read(["e"])
        except LeadershipError as error:
            told["inherited"] = f"{type(error).__name__}: {error}"
        try:
            store = SqliteStore(self.path)
        except LeadershipError as error:
            told["own"] = str(error)
        self.tell("child", locks=[session.liveness_fds() for session in self.sessions.values()], **told)
        if store is not None:
            holder = (await store.read(["e"]))["e"]
            session = await store.open_session(30.0, self.notify)
            reply = await session.acquire(Entry("child", "child", "k"))
            self.tell("child_own", token=holder and holder.token, outcome=reply.outcome.value)

    async def do_contend(self, ttl: float, candidates: int = 1) -> None:
        """
        Stand with a session each, whenever the election is vacant; tell each term.
        """
        for number in range(candidates):
            session = await self.store.open_session(ttl, self.notify)
            self.sessions[f"c{number}"] = session
            asyncio.get_running_loop().create_task(self._keep(session, ttl))
            self.store.watch("e", partial(self._stand, number))

    async def _keep(self, session: Session, ttl: float) -> None:
        while (await session.renew()).outcome is Outcome.DONE:
            await asyncio.sleep(ttl / 3)

    def _stand(self, number: int, event: WatchEvent) -> None:
        if event.fact in (Fact.KEY_DELETED, Fact.LEASE_EXPIRED, Fact.VACANT_OBSERVED):
            if self.standing:
                self.task = asyncio.get_running_loop().create_task(self._claim(number))
        elif event.fact is Fact.LEADER_OBSERVED:
            self.standing = True
        else:
            self.notify(event)

    async def _claim(self, number: int) -> None:
        reply = await self.sessions[f"c{number}"].acquire(Entry("e", str(os.getpid()), str(number)))
        if reply.outcome is Outcome.DONE:
            self.tell("elected", token=reply.token, number=number)

    async def do_hand_over(self, number: int) -> dict[str, Any]:
        self.standing = False
        before = now()
        await self.sessions[f"c{number}"].release(Entry("e", "", str(number)))
        return {"before": before}


async def _main(path: str) -> None:
    child = _Child(path)
    child.tell("ready", pid=os.getpid())
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)

    threading.Thread(target=read, daemon=True).start()
    while True:
        arguments = json.loads(await lines.get())
        await child.carry_out(arguments.pop("do"), arguments)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))

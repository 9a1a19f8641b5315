"""
What an attack on the library found, each told as a test.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from election_processes import processes

from leadership import AsyncCandidate, AsyncTerm, AuditLog, Candidate, ConfigError, Follower, Term, Transition, connect


def until(holds: Callable[[], object], timeout: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


@pytest.mark.parametrize("beside", [("-wal", "-shm"), ("-shm",)], ids=" ".join)
def test_two_do_not_believe_when_the_log_is_removed(tmp_path: Path, beside: tuple[str, ...]) -> None:
    """
    Somebody removes the files that SQLite keeps beside the database: whoever leads in the old ones steps down.
    """
    path = tmp_path / "log.db"
    with processes(path, "a", "b", ttl=1.0) as (first, second):
        first.ask("start")
        first.wait("elected")
        for suffix in beside:
            Path(f"{path}{suffix}").unlink()
        second.ask("start")
        time.sleep(2.5)
        states = [one.ask("state")["states"] for one in (first, second)]

        assert 1 == states.count(["leader"])


def test_a_database_with_two_names_is_refused(tmp_path: Path) -> None:
    """
    SQLite keeps its log beside each name: through a hard link two would lead, each in a log of its own.
    """
    path, other = tmp_path / "one.db", tmp_path / "two.db"
    path.touch()
    other.hardlink_to(path)

    with pytest.raises(ConfigError, match="2 hard links"):
        connect(f"sqlite:///{path}")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root; CI is root")
def test_a_database_that_is_mounted_by_itself_is_refused(tmp_path: Path) -> None:
    """
    So it is with a file that is mounted alone into a container: its log would stand beside it, seen by nobody else.
    """
    path, other = tmp_path / "one.db", tmp_path / "mounted.db"
    path.touch()
    other.touch()
    subprocess.run(["mount", "--bind", path, other], check=True)
    try:
        with pytest.raises(ConfigError, match="mount its folder"):
            connect(f"sqlite:///{other}")
    finally:
        subprocess.run(["umount", other], check=True)


def test_a_signal_before_there_is_anything_to_stop() -> None:
    """
    SIGTERM that comes while `run()` is still starting stops it all the same.
    """
    script = """
        import os, signal, socket
        from leadership import Candidate, connect
        real = socket.gethostname
        socket.gethostname = lambda: (os.kill(os.getpid(), signal.SIGTERM), real())[1]
        Candidate(connect("memory://"), "early", ttl=1.0, log=False).run()
        print("stopped")
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=20, check=False
    )
    assert ("stopped\n", 0) == (ran.stdout, ran.returncode)


def test_an_audit_that_must_be_ends_a_term_under_every_policy(tmp_path: Path) -> None:
    """
    With `on_callback_error="keep"`, too, nobody holds the election without an audit: another is elected.
    """
    folder = tmp_path / "audits"
    folder.mkdir()
    audit = AuditLog(str(folder / "audit.jsonl"), required=True)
    folder.rename(tmp_path / "gone")
    with connect("memory://") as store:
        silent = Candidate(store, "audited", "silent", ttl=1.0, observers=[audit], on_callback_error="keep", log=False)
        other = Candidate(store, "audited", "other", ttl=1.0, log=False)
        silent.start()
        assert until(lambda: silent.history)
        other.start()

        assert other.wait_elected(10.0) is not None
        assert not silent.is_leader


def test_an_observer_that_exits_silences_nobody_else() -> None:
    """
    SystemExit in an observer ends neither the observers' thread nor the other observers.
    """
    told: list[str] = []

    def exits(transition: Transition) -> None:
        sys.exit(3)

    with connect("memory://") as store:
        first = Candidate(store, "a", ttl=1.0, observers=[exits], log=False)
        second = Candidate(store, "b", ttl=1.0, observers=[lambda transition: told.append(transition.dest)], log=False)
        with first:
            assert first.wait_elected(5.0) is not None
            with second:
                assert second.wait_elected(5.0) is not None
                assert until(lambda: "leader" in told)


def test_a_store_closed_from_inside_a_callback_waits_for_its_end() -> None:
    """
    `store.close()` in an on_elected releases nothing before that callback has returned.
    """
    ended: list[float] = []
    elected: list[float] = []
    working = threading.Event()
    with connect("memory://closing") as store, connect("memory://closing") as other:
        first = Candidate(store, "closing", "first", ttl=4.0, log=False)
        second = Candidate(other, "closing", "second", ttl=4.0, log=False)

        @first.on_elected
        def lead(term: Term) -> None:
            working.set()
            store.close()
            time.sleep(0.5)
            ended.append(time.monotonic())

        @second.on_elected
        def follow(term: Term) -> None:
            elected.append(time.monotonic())

        first.start()
        assert working.wait(5.0)
        second.start()
        assert until(lambda: elected)
        assert ended[0] <= elected[0]


def test_a_loop_that_is_gone_does_not_block_the_candidate() -> None:
    """
    A coroutine callback whose loop was closed under it counts as ended, and the candidate stands again on a new loop.
    """
    with connect("memory://") as store:
        candidate = AsyncCandidate(store, "loops", ttl=2.0, cool_down=0.0, log=False)

        @candidate.on_elected
        async def lead(term: AsyncTerm) -> None:
            await term.wait()

        async def leaves() -> None:
            await candidate.start()
            assert await candidate.wait_elected(5.0) is not None
            await asyncio.sleep(0.05)

        async def returns() -> None:
            await candidate.stop(timeout=5.0)
            await candidate.start()
            assert await candidate.wait_elected(8.0) is not None
            await candidate.stop()

        asyncio.run(leaves())
        asyncio.run(returns())


def test_a_task_beside_a_callback_may_wait() -> None:
    """
    A task that a coroutine callback has started is not inside it: its `stop()` waits, and answers when it is settled.
    """
    settled: list[bool] = []

    async def main() -> None:
        candidate = AsyncCandidate("memory://", "beside", ttl=2.0, log=False)
        tasks: list[asyncio.Task[None]] = []

        async def stops() -> None:
            await asyncio.sleep(0.1)
            settled.append(await candidate.stop())

        @candidate.on_elected
        async def lead(term: AsyncTerm) -> None:
            tasks.append(asyncio.create_task(stops()))

        await candidate.start()
        assert await candidate.wait_elected(5.0) is not None
        async with asyncio.timeout(5.0):
            while not tasks:
                await asyncio.sleep(0.01)
        await tasks[0]

    asyncio.run(main())
    assert [True] == settled


def test_handlers_of_the_host_are_put_back() -> None:
    """
    After an asyncio `run()` the host's own signal handlers are in place again.
    """
    script = """
        import asyncio, os, signal, threading, time
        from leadership import AsyncCandidate, connect
        mine = lambda *_: None
        signal.signal(signal.SIGTERM, mine)
        def terminate():
            while signal.getsignal(signal.SIGTERM) is mine:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)
        threading.Thread(target=terminate).start()
        asyncio.run(AsyncCandidate(connect("memory://"), "handlers", ttl=1.0, log=False).run())
        print(signal.getsignal(signal.SIGTERM) is mine)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=20, check=False
    )
    assert ("True\n", "", 0) == (ran.stdout, ran.stderr, ran.returncode)


def test_a_child_of_a_candidate_that_was_starting_is_idle() -> None:
    """
    A fork right after `start()`: in the child, `stop()` and `wait_elected` answer at once.
    """
    for _ in range(10):
        with connect("memory://") as store:
            candidate = Candidate(store, "forked", ttl=1.0, log=False)
            candidate.start()
            pid = os.fork()
            if pid == 0:
                began = time.monotonic()
                quick = candidate.stop() and candidate.wait_elected(1.0) is None
                os._exit(0 if quick and time.monotonic() - began < 0.5 else 1)
            assert 0 == os.waitpid(pid, 0)[1]


def test_a_term_that_was_over_before_it_began_has_no_demotion(tmp_path: Path) -> None:
    """
    The process stood still between the election and its announcement: no on_elected, hence no on_demoted.
    """

    class Slow(AuditLog):
        waited = False

        def submit(self, record: Transition, acknowledge: Callable[[BaseException | None], None] | None = None) -> None:
            if record.dest == "leader" and not self.waited:
                self.waited = True
                time.sleep(1.2)  # on the engine's thread: as a suspend would
            super().submit(record, acknowledge)

    told: list[str] = []
    with connect("memory://") as store:
        observers = [Slow(str(tmp_path / "audit.jsonl"))]
        candidate = Candidate(store, "slow", ttl=1.0, observers=observers, log=False)
        candidate.on_elected(lambda term: told.append(f"elected {term.token}"))
        candidate.on_demoted(lambda term, cause: told.append(f"demoted {term.token}"))
        with candidate:
            assert candidate.wait_elected(10.0) is not None
            assert until(lambda: told)
    assert ["elected 2", "demoted 2"] == told


def test_a_candidate_with_its_own_store_leaks_none(tmp_path: Path) -> None:
    """
    Stopped from inside its callback, it closes the store that it opened.
    """

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    def own(number: int) -> Candidate:
        candidate = Candidate(f"sqlite:///{tmp_path / 'own.db'}", f"own-{number}", ttl=1.0, cool_down=0.0, log=False)

        @candidate.on_elected
        def lead(term: Term) -> None:
            candidate.stop()

        return candidate

    before, threads = None, 0
    for number in range(6):
        candidate = own(number)
        candidate.start()
        assert until(lambda: candidate.history and candidate.state == "idle")  # noqa: B023 - it is called at once
        assert until(lambda: not any("sqlite" in thread.name.lower() for thread in threading.enumerate()))
        if before is None:
            before, threads = descriptors(), threading.active_count()
    assert before is not None
    assert until(lambda: descriptors() <= before)
    assert until(lambda: threading.active_count() <= threads)


def test_starting_in_a_signal_handler_does_not_deadlock() -> None:
    """
    A handler that comes while `start()` holds its lock may call `start()` itself.
    """
    script = """
        import os, signal, socket
        from leadership import Candidate, connect
        candidate = Candidate(connect("memory://"), "handler", ttl=1.0, log=False)
        signal.signal(signal.SIGUSR1, lambda *_: candidate.start())
        real = socket.gethostname
        def slow():
            socket.gethostname = real
            os.kill(os.getpid(), signal.SIGUSR1)
            return real()
        socket.gethostname = slow
        candidate.start()
        print(candidate.wait_elected(5.0) is not None)
        candidate.stop()
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=20, check=False
    )
    assert ("True\n", 0) == (ran.stdout, ran.returncode)


def test_absurd_times_are_typed_errors_or_work() -> None:
    """
    A timeout that is no number is refused by name; a grace of centuries does not overflow.
    """
    with connect("memory://") as store:
        candidate = Candidate(store, "absurd", ttl=1.0, grace=1e10, log=False)
        with pytest.raises(ConfigError, match="'a'"):
            candidate.stop("a")  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="nan"):
            candidate.wait_elected(float("nan"))
        with pytest.raises(ConfigError, match="list of functions"):
            Follower(store, "absurd", observers=5)  # type: ignore[arg-type]
        candidate.start()
        assert candidate.wait_elected(5.0) is not None
        assert candidate.stop()


@pytest.mark.parametrize("stderr", ["stalled", "closed"])
def test_a_command_whose_stderr_nobody_reads(tmp_path: Path, stderr: str) -> None:
    """
    A terminal that is halted, or a stderr that is closed, stalls neither the lease nor CMD of `leadership run`.
    """
    out = tmp_path / "out"
    job = f"echo started >> {out}; sleep 5; echo finished >> {out}"
    command = ["-m", "leadership", "run", "stalled", "--store", f"sqlite:///{tmp_path / 's.db'}", "--ttl", "3"]
    words = [sys.executable, *command, "--", "sh", "-c", job]
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writable, b"x" * 65536)
    os.set_blocking(writable, True)
    script = " ".join(f"'{word}'" for word in words)
    if stderr == "closed":
        words = ["sh", "-c", f"exec {script} 2>&-"]
    with subprocess.Popen(words, stderr=writable if stderr == "stalled" else None) as process:
        assert 0 == process.wait(25.0)
    os.close(readable)
    os.close(writable)
    assert ["started", "finished"] == out.read_text().split()

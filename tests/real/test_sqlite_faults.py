"""
The embedded store under faults, with real processes: deaths, stops, forks, namespaces, a file or a disk that goes.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from court.freeze import freeze
from sqlite_processes import StoreProcess, store_processes

from leadership._clock import now

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="deaths are attested and namespaces exist on Linux only"
)

Start = Callable[..., StoreProcess]

# Changes what it will not commit, and stops or waits: a process that is stopped inside a write transaction.
WRITER = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE elections SET node = 'never seen'")
print("in", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
connection.execute("ROLLBACK")
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "e.db"


@pytest.fixture
def start(path: Path) -> Iterator[Start]:
    with store_processes(path) as make:
        yield make


def in_namespace(*flags: str) -> tuple[str, ...]:
    """
    A command that runs another in namespaces of its own; the test is skipped where that is not allowed, but not in CI.
    """
    command = ("unshare", "--fork", "--kill-child", *(() if os.getuid() == 0 else ("--map-root-user",)), *flags)
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        why = f"no namespaces here: {' '.join(command)}: {tried.stderr.strip()}"
        assert not os.environ.get("CI"), why
        pytest.skip(why)
    return command


def holder_and_watcher(start: Start, ttl: float, *prefix: str) -> tuple[StoreProcess, StoreProcess]:
    """
    A process that leads and renews, and one that watches it.
    """
    holder, watcher = start(*prefix), start()
    holder.call("open", ttl=ttl)
    assert 1 == holder.call("acquire")["token"]
    holder.call("keep", ttl=ttl)
    watcher.call("open", ttl=30.0)
    watcher.call("watch")
    watcher.wait("leader_observed", token=1)
    return holder, watcher


def fill(file: Path) -> None:
    """
    Write until there is no room left.
    """
    with file.open("wb", buffering=0) as ballast:
        while True:
            ballast.write(b"\0" * 1024)


# -- deaths and hangs -----------------------------------------------------------------------------------------------


def test_a_killed_holder_is_replaced_within_milliseconds(start: Start, path: Path) -> None:
    """
    The kernel attests the death, whatever the TTL, and nothing is left of the dead. A busy machine may delay some.
    """
    delays = []
    watcher = start()
    watcher.call("open", ttl=30.0)
    watcher.call("watch")
    for number in range(5):
        holder = start()
        holder.call("open", ttl=30.0)
        token = holder.call("acquire")["token"]
        watcher.wait("leader_observed", token=token)
        killed = now()
        holder.process.kill()
        expired = watcher.wait("lease_expired", token=token)
        assert token < watcher.call("acquire", key=str(number))["token"]
        delays.append(expired["at"] - killed)
        watcher.call("release", key=str(number))
    assert min(delays) <= 0.05
    assert max(delays) <= 2.0
    with closing(sqlite3.connect(path)) as connection:
        assert [(1,)] == connection.execute("SELECT count(*) FROM sessions").fetchall()
    assert 1 == len(list(Path(f"{path}-leadership").glob("*.lock")))


def test_a_stopped_holder_is_waited_for_until_its_deadline(start: Start, path: Path) -> None:
    """
    It is not dead: its TTL passes, then it is replaced, and when it goes on its session is over.
    """
    holder, watcher = holder_and_watcher(start, 1.0)
    freeze(holder.pid, path)
    stopped = now()
    assert "refused" == watcher.call("acquire")["outcome"]
    expired = watcher.wait("lease_expired", token=1)
    assert 0.3 <= expired["at"] - stopped <= 2.0
    assert 2 == watcher.call("acquire")["token"]
    os.kill(holder.pid, signal.SIGCONT)
    assert "refused" == holder.call("renew")["outcome"]
    assert "refused" == holder.call("acquire")["outcome"]
    assert 2 == watcher.call("read")["token"]


def test_a_process_that_inherited_the_lock_keeps_the_holder_alive(start: Start) -> None:
    """
    A guard holds the election after the death of its holder, until it has ended too.
    """
    holder, watcher = holder_and_watcher(start, 30.0)
    heir = holder.call("heir")["pid"]
    holder.kill()
    time.sleep(0.4)
    assert "refused" == watcher.call("acquire")["outcome"]
    ended = now()
    os.kill(heir, signal.SIGKILL)
    assert watcher.wait("lease_expired", token=1)["at"] - ended <= 0.8
    assert 2 == watcher.call("acquire")["token"]


def test_a_removed_lock_file_proves_nothing(start: Start, path: Path) -> None:
    """
    Without the file that it locked a dead holder cannot be told from one that hangs: the TTL is waited for.
    """
    holder, watcher = holder_and_watcher(start, 1.0)
    for lock in Path(f"{path}-leadership").glob("*.lock"):
        lock.unlink()
        lock.touch()
    killed = now()
    holder.kill()
    assert watcher.wait("lease_expired", token=1)["at"] - killed >= 0.3
    assert 2 == watcher.call("acquire")["token"]


def test_a_new_process_removes_what_the_dead_have_left(start: Start, path: Path) -> None:
    """
    Rows, locks and sockets of killed processes that held nothing, or that nobody succeeded.
    """
    for number in range(3):
        dead = start()
        dead.call("open", ttl=30.0)
        dead.call("watch")
        if number == 0:
            dead.call("acquire")
        dead.kill()
    alive = start()
    alive.call("open", ttl=30.0)
    alive.call("watch")
    alive.wait("vacant_observed")
    alive.call("acquire", election="another")

    def left() -> list[str]:
        return sorted(file.suffix for file in Path(f"{path}-leadership").iterdir())

    give_up = now() + 5.0
    while [".lock", ".sock"] != left() and now() < give_up:
        time.sleep(0.01)
    assert [".lock", ".sock"] == left()
    with closing(sqlite3.connect(path)) as connection:
        assert [(1,)] == connection.execute("SELECT count(*) FROM sessions").fetchall()


# -- forks ----------------------------------------------------------------------------------------------------------


def test_a_forked_child_holds_nothing_and_may_connect_anew(start: Start) -> None:
    """
    The inherited store is refused; one of its own shares the file with its parent, whose death it does not hide.
    """
    holder, watcher = holder_and_watcher(start, 30.0)
    child = holder.call("fork")["pid"]
    try:
        told = holder.wait("child")
        assert told["inherited"].startswith("ConfigError: the store sqlite://")
        assert told["inherited"].endswith("call connect() again")
        assert [[]] == told["locks"]
        own = holder.wait("child_own")
        assert (1, "done") == (own["token"], own["outcome"])
        assert "child" == watcher.call("read", election="child")["node"]
        assert "done" == holder.call("renew")["outcome"]
        killed = now()
        holder.process.kill()
        assert watcher.wait("lease_expired", token=1)["at"] - killed <= 2.0
        assert "child" == watcher.call("read", election="child")["node"]
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_file_that_could_not_be_closed_before_a_fork_is_refused_in_the_child(start: Start) -> None:
    """
    SQLite would believe in locks that the child has not; the error says how to start the process instead.
    """
    holder, _ = holder_and_watcher(start, 30.0)
    child = holder.call("fork", busy=True)["pid"]
    try:
        assert "was in use while this process was forked" in holder.wait("child")["own"]
    finally:
        os.kill(child, signal.SIGKILL)


# -- views of the file from elsewhere -------------------------------------------------------------------------------


def test_a_holder_with_another_clock_is_waited_for_by_its_counter(start: Start, path: Path) -> None:
    """
    Its deadline is not comparable: it is over when its counter has not moved for a full TTL on the watcher's own clock.
    """
    holder, watcher = holder_and_watcher(start, 1.0, *in_namespace("--time", "--boottime", "1000000"))
    time.sleep(1.5)
    looked = now()
    assert "refused" == watcher.call("acquire")["outcome"]
    freeze(holder.pid, path)
    expired = watcher.wait("lease_expired", token=1)
    assert 1.0 <= expired["at"] - looked <= 3.0
    assert 2 == watcher.call("acquire")["token"]


def test_the_death_of_a_holder_with_another_clock_or_other_processes_is_attested_all_the_same(start: Start) -> None:
    """
    The lock needs no clock; where the process cannot be seen, the lock is looked at once a second.
    """
    holder, watcher = holder_and_watcher(start, 30.0, *in_namespace("--time", "--boottime", f"-{now() / 2:.0f}"))
    holder.kill()
    watcher.wait("lease_expired", token=1, timeout=2.0)
    hidden = start(*in_namespace("--pid"))
    hidden.call("open", ttl=30.0)
    token = hidden.call("acquire")["token"]
    watcher.wait("leader_observed", token=token)
    time.sleep(1.1)  # a poll would see the change of before
    hidden.kill()
    watcher.wait("lease_expired", token=token, timeout=3.0)


# -- the file and the disk ------------------------------------------------------------------------------------------


def test_a_process_stopped_inside_a_write_transaction_is_a_typed_error_until_it_goes_on(
    start: Start, path: Path
) -> None:
    """
    Renewals and claims say who is in the way before a quarter of the TTL has passed; reads go on; then all is well.
    """
    holder, watcher = holder_and_watcher(start, 30.0)
    holder.call("open", ttl=8.0, name="short")
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        for call in ("renew", "acquire"):
            answer = holder.call(call, name="short", **({"election": "f"} if call == "acquire" else {}))
            assert "StoreUnavailable" == answer["error"]
            assert "another process holds a write transaction" in answer["message"]
            assert answer["took"] <= 8.0 / 4
        assert 1 == watcher.call("read")["token"]
        writer.send_signal(signal.SIGCONT)
        writer.wait()
    assert "done" == holder.call("renew", name="short")["outcome"]
    assert "done" == holder.call("acquire", name="short", election="f")["outcome"]


def test_a_process_killed_inside_a_write_transaction_leaves_nothing_of_it(start: Start, path: Path) -> None:
    """
    Its locks go with it and its change was never there.
    """
    holder, watcher = holder_and_watcher(start, 30.0)
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        writer.kill()
    assert "done" == holder.call("renew")["outcome"]
    assert str(holder.pid) == watcher.call("read")["node"]


def test_a_removed_database_gives_no_belief_and_a_new_one_is_led_again(start: Start, path: Path) -> None:
    """
    Whoever has it open is told, once; in the new file the old session is over, and tokens go on rising.
    """
    holder, watcher = holder_and_watcher(start, 30.0)
    for token in (2, 3):
        assert token == holder.call("acquire", key=str(token))["token"]
    watcher.wait("leader_observed", token=3)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink()
    renewed = holder.call("renew")
    assert "StoreUnavailable" == renewed["error"]
    assert "was removed or replaced while it was in use" in renewed["message"]
    assert "was removed or replaced" in watcher.wait("watch_closed")["error"]
    assert "refused" == holder.call("renew")["outcome"]
    assert "node" not in watcher.call("read")
    holder.call("open", ttl=30.0, name="new")
    answer = holder.call("acquire", name="new")
    assert (4, True) == (answer["token"], answer["reset"])


def test_only_the_main_file_removed_is_survived_too(start: Start, path: Path) -> None:
    """
    A log that belongs to no file is in the way only as long as somebody has the old file open.
    """
    holder, watcher = holder_and_watcher(start, 30.0)
    path.unlink()
    watcher.wait("watch_closed")
    give_up = now() + 5.0
    while watcher.call("open", ttl=30.0, name="new").get("error") or watcher.call("acquire", name="new").get("error"):
        holder.call("read")
        assert now() < give_up
    assert watcher.call("read")["node"] == holder.call("read")["node"] == str(watcher.pid)


def test_a_removed_folder_is_made_again(start: Start, path: Path) -> None:
    """
    Watches learn that they would hear nothing any more, and those that are opened afterwards do.
    """
    holder, watcher = holder_and_watcher(start, 30.0)
    subprocess.run(["rm", "-r", f"{path}-leadership"], check=True)
    assert "was removed or replaced" in watcher.wait("watch_closed", timeout=3.0)["error"]
    watcher.call("watch")
    watcher.wait("leader_observed")
    assert any(file.suffix == ".sock" for file in Path(f"{path}-leadership").iterdir()), "it can be told"
    holder.call("release")
    watcher.wait("key_deleted", token=1)


def test_a_full_disk_is_a_typed_error_until_there_is_room(tmp_path: Path) -> None:
    """
    Nothing half-written remains, and the entry is as it was.
    """
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size=400k none {disk} && exec "$@"'
    with store_processes(disk / "e.db") as start:
        holder = start(*in_namespace("--mount"), "sh", "-c", mount, "sh")
        holder.call("open", ttl=30.0)
        assert 1 == holder.call("acquire")["token"]
        seen = Path("/proc", str(holder.pid), "root", *disk.parts[1:], "ballast")
        with pytest.raises(OSError, match="No space"):
            fill(seen)
        answers = [holder.call("renew") for _ in range(100)]
        full = [answer for answer in answers if "error" in answer]
        assert full, "the log never needed room"
        assert {"StoreUnavailable"} == {answer["error"] for answer in full}
        assert "full" in full[0]["message"]
        assert 1 == holder.call("read")["token"]
        seen.unlink()
        assert "done" == holder.call("renew")["outcome"]
        assert 2 == holder.call("acquire", key="b")["token"]

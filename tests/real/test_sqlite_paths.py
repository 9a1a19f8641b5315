"""
Bad input of the embedded store: each a typed error that names the value and the remedy, before anything starts.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from leadership import connect
from leadership.backends._sqlite_database import APPLICATION_ID
from leadership.backends._sqlite_path import network_file_system
from leadership.backends.sqlite import SqliteStore
from leadership.errors import ConfigError

MOUNTS = """\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 27 0:40 / /srv rw,relatime shared:5 - nfs4 server:/export rw
32 31 254:1 / /srv/local\\040disk rw,relatime - xfs /dev/vdb rw
33 27 0:41 / /mnt rw - ext4 /dev/vdc rw
34 27 0:42 / /mnt rw - fuse.sshfs me@host: rw
"""


def refused(path: object) -> str:
    with pytest.raises(ConfigError) as caught:
        SqliteStore(path)  # type: ignore[arg-type]  # that is the point
    return str(caught.value)


def test_paths_that_are_no_file_are_refused_with_the_remedy(tmp_path: Path) -> None:
    """
    A directory, a missing folder, a pipe, nothing, ':memory:'.
    """
    os.mkfifo(tmp_path / "pipe")
    assert f"{tmp_path} is a directory: name a file in it" in refused(str(tmp_path))
    assert f"the folder {tmp_path}/none of the database" in refused(str(tmp_path / "none" / "e.db"))
    assert f"{tmp_path}/pipe is not a regular file" in refused(str(tmp_path / "pipe"))
    assert "use memory://" in refused(":memory:")
    assert "caf\\udce9.db' is not UTF-8" in refused(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.db"))
    for nothing in ("", None, 3, "a\0b"):
        assert repr(nothing) in refused(nothing)


def test_files_that_are_no_database_of_ours_are_refused_and_left_alone(tmp_path: Path) -> None:
    """
    Text, another program's database, one of another version of the schema.
    """
    text = tmp_path / "notes.txt"
    text.write_text("nothing to do with a database\n" * 50)
    assert f"{text} is not an SQLite database" in refused(str(text))
    foreign = tmp_path / "invoices.db"
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE invoices (id)")
    before = foreign.read_bytes()
    assert "is a database of another program (application id 0)" in refused(str(foreign))
    assert before == foreign.read_bytes()
    newer = tmp_path / "newer.db"
    with closing(sqlite3.connect(newer)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 2")
    assert "another version of leadership (schema 2, this one knows 1)" in refused(str(newer))
    assert ["invoices.db", "newer.db", "notes.txt"] == sorted(os.listdir(tmp_path))


def test_an_empty_or_missing_file_is_fine_and_not_made_yet(tmp_path: Path) -> None:
    """
    Making a store writes nothing.
    """
    (tmp_path / "empty.db").touch()
    SqliteStore(str(tmp_path / "empty.db"))
    SqliteStore(str(tmp_path / "new.db"))
    assert ["empty.db"] == os.listdir(tmp_path)


@pytest.fixture
def public_path() -> Iterator[Path]:
    """
    A folder that every user can reach, unlike pytest's.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o1777)  # noqa: S103 - as the system's own folder for temporary files
        yield Path(folder)


def test_what_may_not_be_written_is_refused(public_path: Path) -> None:
    """
    A file or a folder without permission; root may write anywhere, so a child drops it first.
    """
    shut, file = public_path / "shut", public_path / "file.db"
    shut.mkdir()
    file.touch()
    shut.chmod(0o555)
    file.chmod(0o444)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        told = []
        try:
            if os.getuid() == 0:
                os.setresuid(65534, 65534, 65534)
            for path in (shut / "e.db", file):
                try:
                    SqliteStore(str(path))
                except ConfigError as error:
                    told.append(str(error))
            os.write(write, "\n".join(told).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    with open(read, encoding="utf-8") as pipe:
        told = pipe.read().splitlines()
    assert f"the folder {shut} cannot be written" in told[0]
    assert f"{file} cannot be read and written" in told[1]


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/srv/data", "nfs4"),
        ("/srv", "nfs4"),
        ("/srv/local disk/data", None),
        ("/srvice", None),
        ("/mnt/x", "fuse.sshfs"),
        ("/var/lib", None),
    ],
)
def test_network_file_systems_are_known_by_their_mounts(tmp_path: Path, folder: str, expected: str | None) -> None:
    """
    The longest mount point counts, and of two at one place the later.
    """
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert expected == network_file_system(folder, str(mounts))


def test_a_system_without_a_list_of_mounts_is_taken_as_local(tmp_path: Path) -> None:
    """
    Where nothing can be known, nothing is refused.
    """
    assert None is network_file_system("/", str(tmp_path / "none"))


def test_a_path_on_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The error names the type and the stores that serve many machines.
    """
    monkeypatch.setattr("leadership.backends._sqlite_path.network_file_system", lambda _folder: "nfs4")
    said = refused(str(tmp_path / "e.db"))
    assert "is on a network file system (nfs4)" in said
    assert said.endswith(": name a local file")


def test_urls_have_three_or_four_slashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Relative to the working directory, resolved at once and shown absolute; or absolute. Two name the right form.
    """
    monkeypatch.chdir(tmp_path)
    assert f"sqlite:///{tmp_path}/rel.db" == connect("sqlite:///rel.db").url
    assert f"sqlite:///{tmp_path}/a%20b.db" == connect(f"sqlite:///{tmp_path}/a%20b.db").url
    for url, form in (("sqlite://rel.db", "sqlite:///rel.db"), ("sqlite://", "sqlite:///leadership.db")):
        with pytest.raises(ConfigError, match=f"write {form}"):
            connect(url)
    with pytest.raises(ConfigError, match="use memory://"):
        connect("sqlite:///:memory:")


@pytest.mark.parametrize("ttl", [0, -1.0, 0.1, float("nan"), float("inf"), 1e6, "15", None, True])
def test_ttls_that_cannot_be_kept_are_refused(tmp_path: Path, ttl: object) -> None:
    """
    Zero, negative, too short, no number, huge, no figure at all.
    """
    store = SqliteStore(str(tmp_path / "e.db"))
    with pytest.raises(ConfigError, match="ttl"):
        store.timing(ttl)  # type: ignore[arg-type]  # that is the point


def test_timing_says_what_a_ttl_means(tmp_path: Path) -> None:
    """
    A hang costs the TTL, a death does not where the kernel attests it.
    """
    store = SqliteStore(str(tmp_path / "e.db"))
    timing = store.timing(15)
    assert (15, 5, 13.5, 15.3) == (
        timing.effective_ttl,
        timing.renew_interval,
        timing.steps_down_after,
        timing.crash_takeover,
    )
    assert (sys.platform == "linux") is (timing.death_takeover < 1.0)
    assert ("machine", True) == (store.guarantees.scope, store.guarantees.tokens_survive_restart)


@pytest.mark.parametrize("length", [250, 5000])
def test_path_that_is_too_long_is_refused_with_the_remedy(length: int, tmp_path: Path) -> None:
    """
    A name that the system cannot look up, be it that of SQLite's journal beside it.
    """
    path = tmp_path / ("x" * length)
    assert f"{path} cannot be looked at: File name too long: name another file" == refused(str(path))

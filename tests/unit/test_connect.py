"""
From a URL to a store: what is understood, what is refused, and who closes it.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from leadership import Candidate, ConfigError, Follower, Store, connect


def test_memory_is_private_to_its_connect() -> None:
    """
    Two memory:// stores know nothing of each other, two memory://name are one.
    """
    with connect("memory://") as one, connect("memory://") as other, connect("memory://shared-1") as shared:
        first, second, third = (Candidate(store, "jobs", ttl=60.0) for store in (one, other, shared))
        for candidate in (first, second, third):
            candidate.start()
        assert first.wait_elected(10.0) is not None
        assert second.wait_elected(10.0) is not None
        assert third.wait_elected(10.0) is not None
        with connect("memory://shared-1") as again, Follower(again, "jobs") as follower:
            leader = follower.wait_leader(10.0)

        assert leader is not None
        assert third.node == leader.node


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://localhost", "'redis://localhost' is no URL of a known store: it must begin with one of memory://"),
        ("memory", "is no URL of a known store"),
        ("", "is no URL of a known store"),
        ("://x", "is no URL of a known store"),
        ("MEMORY//x", "is no URL of a known store"),
        ("sqlite:memory", "is no URL of a known store"),
        (None, "must be text, not None"),
        (b"memory://", "must be text, not b'memory://'"),
        ("memory://?color=red", "memory:// has no option 'color'; it has: none"),
    ],
)
def test_refuses_a_url(url: object, why: str) -> None:
    """
    An unknown scheme or option is refused with those that there are.
    """
    with pytest.raises(ConfigError, match=why):
        connect(url)  # type: ignore[arg-type]  # wrong on purpose


def test_refuses_an_unknown_option() -> None:
    """
    An option given by name is looked at as one in the query is.
    """
    with pytest.raises(ConfigError, match="memory:// has no option 'color'"):
        connect("memory://", color="red")


def test_refuses_an_option_given_twice() -> None:
    """
    Which of two would count is not guessed.
    """
    with pytest.raises(ConfigError, match="the option 'a' is given twice"):
        connect("memory://?a=1", a=2)
    with pytest.raises(ConfigError, match="the option 'a' is given twice"):
        connect("memory://?a=1&a=2")


def test_an_option_does_not_hide_in_the_constructor() -> None:
    """
    The address is no option: it stands in the URL.
    """
    for name in ("address", "path", "self", "cls"):
        with pytest.raises(ConfigError, match=f"has no option '{name}'"):
            connect("memory://", **{name: "x"})


def test_sqlite_paths_are_as_in_sqlalchemy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Three slashes: relative to where the process is now; four: absolute. Both are shown absolute.
    """
    monkeypatch.chdir(tmp_path)
    with connect("sqlite:///rel.db") as relative, connect(f"sqlite:///{tmp_path}/rel.db") as absolute:
        monkeypatch.chdir("/")
        assert f"sqlite:///{tmp_path}/rel.db" == relative.url == absolute.url


def test_a_store_can_be_made_from_the_url_that_it_shows(tmp_path: Path) -> None:
    """
    What is shown is a URL again, with blanks and question marks in it too.
    """
    with connect(f"sqlite:///{tmp_path}/a%20b%3F.db") as store:
        assert str(tmp_path / "a b?.db") in getattr(store, "path", "")
        with connect(store.url) as again:
            assert store.url == again.url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("sqlite://x.db", "write sqlite:///x.db for a path relative"),
        ("sqlite://", "sqlite:///leadership.db"),
        ("sqlite:///", "not empty"),
        ("sqlite:///:memory:", "use memory://"),
        ("sqlite:///nowhere/x.db", "make it first"),
        ("sqlite:///.", "is a directory: name a file in it"),
        ("sqlite:///x.db?color=red", "sqlite:// has no option 'color'"),
        ("sqlite:////dev/null", "is not a regular file"),
    ],
)
def test_refuses_an_sqlite_url(url: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A path that cannot be used is refused at connect(), and nothing is left behind.
    """
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=why):
        connect(url)

    assert [] == os.listdir(tmp_path)


def test_refuses_a_file_that_is_no_database(tmp_path: Path) -> None:
    """
    A text file is not taken for a database, and stays as it is.
    """
    path = tmp_path / "notes.db"
    path.write_text("to do: " * 200)
    with pytest.raises(ConfigError, match=r"notes\.db is not an SQLite database: name another file"):
        connect(f"sqlite:///{path}")

    assert "to do: " * 200 == path.read_text()


def test_refuses_a_database_of_another_program(tmp_path: Path) -> None:
    """
    A database that others keep their data in is not written to.
    """
    path = tmp_path / "shop.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    connection.commit()
    connection.close()
    with pytest.raises(ConfigError, match=r"shop\.db .*another"):
        connect(f"sqlite:///{path}")


def test_refuses_a_database_without_the_right_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A folder that cannot be written is refused with the reason.
    """
    monkeypatch.setattr(os, "access", lambda path, mode: not (str(path) == str(tmp_path) and mode & os.W_OK))
    with pytest.raises(ConfigError, match="cannot be written"):
        connect(f"sqlite:///{tmp_path}/x.db")


def test_close_stops_the_candidates() -> None:
    """
    store.close() first stops what uses the store: the leader is demoted as by stop(), and its entry is released.
    """
    store = connect("memory://")
    candidate, follower = Candidate(store, "jobs", ttl=60.0), Follower(store, "jobs")
    candidate.start()
    follower.start()
    term = candidate.wait_elected(10.0)
    assert term is not None
    store.close()

    assert (False, "stopped") == (candidate.is_leader, term.cause)
    assert ("idle", "idle") == (candidate.state, follower.state)
    assert ["leader", "resigning", "idle"] == [record.dest for record in candidate.history][-3:]


def test_close_right_after_a_start() -> None:
    """
    A start that is still on its way is stopped too: nothing stands on a closed store.
    """
    for _ in range(50):
        store = connect("memory://")
        candidate, follower = Candidate(store, "jobs", ttl=60.0, log=False), Follower(store, "jobs", log=False)
        candidate.start()
        follower.start()
        store.close()
        assert ("idle", "idle") == (candidate.state, follower.state)


def test_close_is_idempotent() -> None:
    """
    A store may be closed twice, used or not.
    """
    unused = connect("memory://")
    for _ in range(2):
        unused.close()
    assert "closed" in repr(unused)


def test_a_closed_store_starts_nothing() -> None:
    """
    start() after store.close() raises ConfigError with the remedy, for one that ran and for one that never did.
    """
    store = connect("memory://")
    ran, never, follower = Candidate(store, "jobs", ttl=60.0), Candidate(store, "mail", ttl=60.0), Follower(store, "x")
    ran.start()
    assert ran.wait_elected(10.0) is not None
    store.close()

    for face in (ran, never, follower):
        with pytest.raises(ConfigError, match=r"memory:// was closed: connect\(\) again"):
            face.start()
        with pytest.raises(ConfigError, match="was closed"):
            face.run()
        assert "idle" == face.state


def test_the_store_of_a_candidate_outlives_it() -> None:
    """
    A candidate that was given a store never closes it.
    """
    with connect("memory://") as store:
        with Candidate(store, "jobs", ttl=60.0) as candidate:
            assert candidate.wait_elected(10.0) is not None
        assert not store.closed
        with Candidate(store, "jobs", ttl=60.0) as again:
            assert again.wait_elected(10.0) is not None


def own_store(face: Candidate | Follower) -> Store:
    return face._store


def test_a_candidate_with_a_url_opens_and_closes_its_own_store() -> None:
    """
    Given a URL, a candidate closes its store when it stops, and opens another when it starts again.
    """
    candidate = Candidate("memory://", "jobs", ttl=60.0)
    first = own_store(candidate)
    for _ in range(2):
        candidate.start()
        assert candidate.wait_elected(10.0) is not None
        assert candidate.stop()
        assert own_store(candidate).closed

    assert first is not own_store(candidate)


def test_the_own_store_stays_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A relative path is resolved once: after a chdir the same file is opened again.
    """
    monkeypatch.chdir(tmp_path)
    candidate = Candidate("sqlite:///a b.db", "jobs")
    url = own_store(candidate).url
    monkeypatch.chdir("/")
    for _ in range(2):
        with candidate:
            assert candidate.wait_elected(10.0) is not None
            assert url == own_store(candidate).url
    assert (tmp_path / "a b.db").exists()


def test_run_closes_the_candidates_own_store() -> None:
    """
    When run() returns, the store that the candidate opened is closed.
    """
    candidate = Candidate("memory://", "jobs", ttl=60.0)
    candidate.on_elected(lambda _term: candidate.stop())
    candidate.run()

    assert own_store(candidate).closed


def test_a_follower_with_a_url_closes_its_own_store() -> None:
    """
    The same holds for a follower.
    """
    with Follower("memory://", "jobs") as follower:
        assert not own_store(follower).closed
    assert own_store(follower).closed

"""
`leadership status`, `follow`, `resign`, `explain`, `diagram` and `audit show`, on SQLite.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_processes import COMMAND, call, running, wait_for

TOKEN = 1


@pytest.fixture
def store(tmp_path: Path) -> str:
    """
    The URL of a store of this test's own.
    """
    return f"sqlite:///{tmp_path / 'e.db'}"


@contextmanager
def leading(store: str, node: str, *, trap: str = "'exit 0' TERM", audit: Path | None = None) -> Generator[None]:
    """
    A `leadership run` that leads.
    """
    options = [] if audit is None else ["--audit", str(audit)]
    script = f"trap {trap}; echo ready; while :; do sleep 0.02; done"
    run = ["run", "nightly", "--store", store, "--node", node, "--ttl", "6", *options, "--", "sh", "-c", script]
    with running(*run) as process:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        yield
        process.terminate()
        process.wait(20)


def read_json(process: subprocess.Popen[str]) -> dict[str, Any]:
    """
    The next line of its stdout.
    """
    assert process.stdout is not None
    value: dict[str, Any] = json.loads(process.stdout.readline())
    return value


def test_status_says_who_leads(store: str) -> None:
    """
    Status 0 when anybody leads, or the node that is asked for; 1 otherwise. The store may come from the environment.
    """
    env = {"LEADERSHIP_STORE": store}
    assert (1, "nightly: nobody leads\n") == _brief(call("status", "nightly", env=env))
    with leading(store, "n1"):
        assert (0, f"nightly: n1 leads with token {TOKEN}\n") == _brief(call("status", "nightly", env=env))
        assert 0 == call("status", "nightly", "--node", "n1", "--store", store).returncode
        assert 1 == call("status", "nightly", "--node", "n2", "--store", store).returncode
        done = call("status", "nightly", "--json", "--store", store)
        leader = {"node": "n1", "token": TOKEN, "metadata": {}}
        assert {"election": "nightly", "leader": leader} == json.loads(done.stdout)
    assert {"election": "nightly", "leader": None} == json.loads(call("status", "nightly", "--json", env=env).stdout)


def _brief(done: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    return done.returncode, done.stdout


def test_follow_prints_each_change_until_interrupted(store: str) -> None:
    """
    Nobody, then the leader, then nobody again: one line each; an interruption is its regular end.
    """
    with running("follow", "nightly", "--store", store, "--json") as follow:
        assert (None, False) == _view(read_json(follow))
        with leading(store, "n1"):
            assert ("n1", False) == _view(read_json(follow))
        assert (None, False) == _view(read_json(follow))
        with leading(store, "n2"):
            assert ("n2", False) == _view(read_json(follow))
        follow.send_signal(signal.SIGINT)
        assert 0 == follow.wait(20)


def _view(line: dict[str, Any]) -> tuple[str | None, bool]:
    leader = line["leader"]
    return None if leader is None else leader["node"], line["stale"]


def test_follow_speaks_words(store: str) -> None:
    """
    Without --json a line says it in words, nobody included.
    """
    with running("follow", "nightly", "--store", store) as follow:
        assert follow.stdout is not None
        assert follow.stdout.readline().endswith("  nightly: nobody leads\n")
        with leading(store, "n1"):
            assert follow.stdout.readline().endswith(f"  nightly: n1 leads with token {TOKEN}\n")
        follow.terminate()
        assert 0 == follow.wait(20)


def test_follow_says_when_it_does_not_know(store: str, tmp_path: Path) -> None:
    """
    A store that is taken away makes the view stale, and the last one known is said with it.
    """
    with leading(store, "n1"), running("follow", "nightly", "--store", store) as follow:
        assert follow.stdout is not None
        assert "n1 leads" in follow.stdout.readline()
        (tmp_path / "folder").mkdir()
        (tmp_path / "e.db").rename(tmp_path / "away.db")
        (tmp_path / "folder").rename(tmp_path / "e.db")
        assert f"unknown; when last seen, n1 leads with token {TOKEN}" in follow.stdout.readline()


def test_follow_promises_to_try_again_only_where_it_does(store: str, tmp_path: Path) -> None:
    """
    A file that cannot be opened may come back; another program's database in its place ends it, without that promise.
    """
    log, database = tmp_path / "log", tmp_path / "e.db"
    with running("follow", "nightly", "--store", store, stderr=log) as follow:
        assert follow.stdout is not None
        assert "nobody leads" in follow.stdout.readline()
        (tmp_path / "broken").symlink_to(tmp_path / "no folder" / "e.db")
        (tmp_path / "broken").replace(database)
        wait_for(lambda: log.read_text().endswith("; trying again\n"), "it tries again")
        (tmp_path / "foreign.db").write_bytes(b"no database " * 100)
        for rest in ("e.db-wal", "e.db-shm"):
            (tmp_path / rest).unlink(missing_ok=True)  # in which SQLite would still find the old one
        (tmp_path / "foreign.db").replace(database)
        assert 77 == follow.wait(20)
    last = log.read_text().splitlines()[-1]
    assert ("leadership: follow: ", False) == (last[:20], "trying again" in last)


def test_reader_that_goes_away_is_no_error(store: str) -> None:
    """
    When nobody reads its output any more, `follow` ends without a traceback.
    """
    command = [*COMMAND, "follow", "nightly", "--store", store]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follow:
        assert follow.stdout is not None
        assert follow.stderr is not None
        follow.stdout.readline()
        follow.stdout.close()
        with leading(store, "n1"):
            assert 141 == follow.wait(20)
        assert "" == follow.stderr.read()


def test_resign_ends_the_term(store: str, tmp_path: Path) -> None:
    """
    Status 0 when the term that led is over; the reason is in the leader's audit.
    """
    audit = tmp_path / "audit.jsonl"
    with leading(store, "n1", audit=audit):
        done = call("resign", "nightly", "--store", store, "--reason", "new kernel", "--json")
        assert 0 == done.returncode
        said = {"election": "nightly", "node": "n1", "token": TOKEN, "reason": "new kernel"}
        assert said == json.loads(done.stdout)
    records = map(json.loads, call("audit", "show", "--json", str(audit)).stdout.splitlines())
    ends = [(record["cause"], record["reason"]) for record in records if record.get("source") == "leader"]
    assert ("resigned", "new kernel") == ends[0]


def test_resign_without_a_leader_is_a_no(store: str) -> None:
    """
    Status 1 when nobody leads.
    """
    done = call("resign", "nightly", "--store", store)
    assert (1, 1) == (done.returncode, done.stderr.count("\n"))


def test_resign_that_takes_too_long_is_unknown(store: str) -> None:
    """
    Status 3 when the term is not over within the time: the leader's work does not end.
    """
    with leading(store, "n1", trap="'' TERM"):
        done = call("resign", "nightly", "--store", store, "--timeout", "1")
        assert (3, 1) == (done.returncode, done.stderr.count("\n"))


@pytest.mark.parametrize("subcommand", ["status", "follow", "resign"])
def test_database_of_another_program_is_refused(subcommand: str, tmp_path: Path) -> None:
    """
    A file that is no database is named, with the remedy, in one line.
    """
    foreign = tmp_path / "foreign.db"
    foreign.write_text("not a database, and longer than the header of one would be, which is a hundred bytes" * 2)
    done = call(subcommand, "nightly", "--store", f"sqlite:///{foreign}")
    assert done.returncode in (2, 77)
    assert 1 == done.stderr.count("\n")
    assert str(foreign) in done.stderr


def test_explain_says_what_a_ttl_means(store: str) -> None:
    """
    The figures of the store's timing, in words and as JSON, without touching the store.
    """
    words = call("explain", "--store", store, "--ttl", "10")
    figures = json.loads(call("explain", "--store", store, "--ttl", "10", "--json").stdout)
    assert 0 == words.returncode
    assert (10.0, 9.0) == (figures["effective_ttl"], figures["steps_down_after"])
    assert f"{figures['crash_takeover']:.4g} s" in words.stdout
    assert not Path(store.removeprefix("sqlite:///")).exists()
    assert 2 == call("explain", "--store", store, "--ttl", "0.001").returncode


def test_diagram_is_drawn_in_every_format(tmp_path: Path) -> None:
    """
    Mermaid and DOT need nothing; a picture goes to a file or a pipe, and needs Graphviz.
    """
    mermaid = call("diagram", "follower")
    assert (0, True) == (mermaid.returncode, "stateDiagram-v2" in mermaid.stdout)
    assert "digraph" in call("diagram", "candidate", "--format", "dot").stdout
    picture = tmp_path / "picture.png"
    done = call("diagram", "candidate", "--format", "png", "--output", str(picture))
    if shutil.which("dot") is None:
        assert (2, 1) == (done.returncode, done.stderr.count("\n"))
    else:
        assert b"\x89PNG" == picture.read_bytes()[:4]
    assert 2 == call("diagram", "candidate", "--output", str(tmp_path)).returncode, "a folder"


def test_audits_are_shown_and_drawn(store: str, tmp_path: Path) -> None:
    """
    `audit show` merges and filters; `diagram --audit` counts.
    """
    audits = [tmp_path / f"{name}.jsonl" for name in ("n1", "n2")]
    for audit in audits:
        with leading(store, audit.stem, audit=audit):
            pass
    files = [str(audit) for audit in audits]
    shown = call("audit", "show", *files)
    assert 0 == shown.returncode
    assert "n1" in shown.stdout
    assert "n2" in shown.stdout
    assert "n1" not in call("audit", "show", "--node", "n2", *files).stdout
    assert "" == call("audit", "show", "--election", "other", *files).stdout
    assert "acquired ×2" in call("diagram", "candidate", "--audit", *files).stdout
    missing = call("audit", "show", str(tmp_path / "missing"))
    assert (2, 1) == (missing.returncode, missing.stderr.count("\n"))

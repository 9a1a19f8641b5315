"""
Forks: a child of a leader is not the leader, and can stand anew.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from children import SOON, child, took_over

from leadership import Candidate, connect
from leadership._clock import now


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "leadership.db"


@pytest.fixture
def other(database: Path) -> Iterator[Candidate]:
    """
    A candidate in the test's process, not started.
    """
    with connect(f"sqlite:///{database}") as store:
        yield Candidate(store, "jobs", "other", ttl=30.0)


FORK = """
candidate.start()
term = candidate.wait_elected()
time.sleep(1.0)
pid = os.fork()
if pid == 0:
    say("child", candidate.is_leader, candidate.term, candidate.state, candidate.leader, term.is_current)
    say("child stop", candidate.stop(), candidate.resign())
    {child}
    os._exit(0)
os.waitpid(pid, 0)
say("parent", candidate.is_leader, term.is_current)
candidate.stop()
"""


def test_a_forked_child_is_not_the_leader(database: Path) -> None:
    """
    A child of a leader is idle, believes nothing, has nothing to stop; the parent leads on.
    """
    with child(database, FORK.format(child="")) as leader:
        status, lines, err = leader.end()

    assert (0, "") == (status, err)
    assert [
        "elected 1",
        "child False None idle None False",
        "child stop True True",
        "parent True True",
        "demoted 1 stopped None",
    ] == lines


@pytest.mark.parametrize("anew", ["connect(sys.argv[1])", "sys.argv[1]"])
def test_a_forked_child_can_stand_anew(database: Path, anew: str) -> None:
    """
    A candidate made in the child, on a store of its own, stands and is elected, in another election as in the same.
    """
    body = f"""
    own = Candidate({anew}, "mail", "own")
    own.start()
    say("own", own.wait_elected(10).token, own.stop())
    rival = Candidate({anew}, "jobs", "rival")
    rival.start()
    say("rival", rival.wait_leader(10).node, rival.is_leader, rival.stop())
"""
    with child(database, FORK.format(child=body.strip())) as leader:
        status, lines, err = leader.end()

    assert (0, "") == (status, err)
    assert "rival child False True" in lines
    assert any(line.startswith("own ") and line.endswith(" True") for line in lines)
    assert "parent True True" in lines


def test_a_forked_child_that_starts_the_inherited_candidate(database: Path) -> None:
    """
    The parent's candidate, made with a URL, opens a store of its own in the child, and waits there for its parent.
    """
    body = """
    candidate.start()
    leader = candidate.wait_leader(10)
    say("again", leader and leader.node, candidate.is_leader, candidate.stop())
"""
    with child(database, FORK.format(child=body.strip())) as leader:
        status, lines, err = leader.end()

    assert (0, "") == (status, err)
    assert "again child False True" in lines
    assert "parent True True" in lines


@pytest.mark.parametrize("url", ["sys.argv[1]", "'memory://'", "'memory://shared'"])
def test_a_forked_child_does_not_use_an_inherited_store(database: Path, url: str) -> None:
    """
    A candidate that was given its store cannot use it in a forked child: a typed error says what to do, and it helps.
    """
    body = f"""
    from leadership import ConfigError
    try:
        Candidate(store, "mail").run()
    except ConfigError as error:
        say(str(error))
    own = Candidate(connect({url}), "mail")
    own.start()
    say("own", own.wait_elected(10) is not None, own.stop())
"""
    leading = f"store = connect({url}); mail = Candidate(store, 'mail'); mail.start(); mail.wait_elected(); mail.stop()"
    with child(database, f"{leading}\n{FORK.format(child=body.strip())}") as leader:
        status, lines, err = leader.end()

    assert (0, "") == (status, err)
    assert any("made before this process was forked: call connect() again" in line for line in lines)
    assert "own True True" in lines


def test_callbacks_that_a_forked_child_adds(database: Path) -> None:
    """
    Callbacks given to the inherited candidate before its start in the child are called there.
    """
    body = """
    candidate._url = "memory://"
    candidate.on_elected(lambda term: say("in the child"))
    candidate.on_leader_changed(lambda leader: say("changed in the child") if leader else None)
    candidate.start()
    candidate.wait_elected(10)
    candidate.stop()
"""
    with child(database, FORK.format(child=body.strip())) as leader:
        status, lines, err = leader.end()

    assert (0, "") == (status, err)
    assert {"in the child", "changed in the child"} <= set(lines)


def test_a_child_that_outlives_the_leader_holds_nothing(database: Path, other: Candidate) -> None:
    """
    A forked child that lives on does not keep its dead parent's leadership alive.
    """
    body = """
candidate.start()
candidate.wait_elected()
time.sleep(1.0)
pid = os.fork()
if pid == 0:
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    time.sleep(60)
    os._exit(0)
say(pid)
candidate.run()
"""
    with child(database, body) as leader:
        assert "elected 1" == leader.line()
        orphan = int(leader.line())
        try:
            other.start()
            other.wait_leader(SOON)
            killed = now()
            leader.process.kill()
            assert took_over(other, killed) < 2.0
            os.kill(orphan, 0)
        finally:
            os.kill(orphan, signal.SIGKILL)

"""
What an audit needs to be judged besides the records: whose clocks can be compared, and who led in the eyes of whom.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from records import a_record

from leadership import AuditLog, Candidate, Follower, _clock, connect
from leadership.audit import read, show
from leadership.testing import Simulation


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[AuditLog]:
    with AuditLog(tmp_path / "audit.jsonl") as log:
        yield log


def lines(audit: AuditLog, kind: str) -> list[dict[str, Any]]:
    audit.close()
    return [line.fields for line in read(audit.path) if line.fields["kind"] == kind]


def views(audit: AuditLog, node: str) -> list[Any]:
    seen = [line["leader"] for line in lines(audit, "leader") if line["node"] == node]
    return [None if leader is None else (leader["node"], leader["token"]) for leader in seen]


def a_view(audit: AuditLog, leader: tuple[str, int] | None = ("underwood", 3)) -> None:
    """
    Submit a view of who leads.
    """
    r = a_record()
    audit.leader(
        at=r.at,
        monotonic=r.monotonic,
        boot=r.boot,
        incarnation=r.incarnation,
        election=r.election,
        node=r.node,
        leader=leader,
    )


def test_each_change_of_who_leads_is_a_line(sim: Simulation, audit: AuditLog) -> None:
    """
    A leader, one that waits and a follower each write what they see, once; a resignation shows as nobody's time.
    """
    first = Candidate(sim.store, "jobs", node="a", ttl=3.0, observers=[audit], cool_down=60.0)
    first.start()
    first.wait_elected()
    second = Candidate(sim.store, "jobs", node="b", ttl=3.0, observers=[audit])
    follower = Follower(sim.store, "jobs", observers=[audit])
    second.start()
    follower.start()
    sim.advance(20.0)
    first.resign()
    sim.advance(20.0)

    both = [("a", 1), None, ("b", 2)]
    assert [None, *both] == views(audit, "a"), "it saw that nobody led before it did"
    assert both == views(audit, "b")
    watching = {line["node"] for line in lines(audit, "leader")} - {"a", "b"}
    assert [both] == [views(audit, node) for node in watching]


def test_line_says_when_and_by_whom_it_was_seen(sim: Simulation, audit: AuditLog) -> None:
    """
    Its keys are those of the schema, its names those of the candidate's records.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0, observers=[audit])
    candidate.start()
    candidate.wait_elected()

    line = lines(audit, "leader")[-1]
    elected = candidate.history[-1].as_dict()
    same = ("boot", "incarnation", "election", "node", "at", "monotonic")
    assert {"v", "kind", "leader", *same} == line.keys()
    assert {key: elected[key] for key in same} == {key: line[key] for key in same}
    assert (1, {"node": "a", "token": 1}) == (line["v"], line["leader"])


def test_view_that_is_not_known_is_not_written(sim: Simulation, audit: AuditLog) -> None:
    """
    Cut off, a follower knows nothing; the same leader seen again afterwards is no change.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0)
    follower = Follower(sim.store, "jobs", observers=[audit])
    candidate.start()
    candidate.wait_elected()
    follower.start()
    follower.wait_leader()
    sim.fault("partition", node="")
    assert sim.run_until(lambda: follower.is_stale)
    sim.heal()
    assert sim.run_until(lambda: not follower.is_stale)

    assert [{"node": "a", "token": 1}] == [line["leader"] for line in lines(audit, "leader")]


def test_each_start_says_anew_who_leads(sim: Simulation, audit: AuditLog) -> None:
    """
    Stopped and started, a follower tells the same leader again: what was meanwhile it does not know.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0)
    follower = Follower(sim.store, "jobs", observers=[audit])
    candidate.start()
    candidate.wait_elected()
    for _ in range(2):
        follower.start()
        follower.wait_leader()
        follower.stop()

    assert [{"node": "a", "token": 1}] * 2 == [line["leader"] for line in lines(audit, "leader")]


def test_views_are_chained_and_take_no_number(sim: Simulation, tmp_path: Path) -> None:
    """
    `seq` counts the transitions alone, without a gap; the chain goes through every line.
    """
    audit = AuditLog(tmp_path / "audit.jsonl", chain=True)
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0, observers=[audit])
    candidate.start()
    candidate.wait_elected()
    candidate.stop()

    records = lines(audit, "transition")
    assert list(range(1, len(records) + 1)) == [record["seq"] for record in records]
    assert 3 == len(lines(audit, "leader"))
    assert all(len(line["prev"]) == 64 for line in lines(audit, "leader"))


@pytest.mark.parametrize(("lost", "said"), [(1, ": 1 record(s) and 2 view(s) of who led could"), (0, ": 2 view(s)")])
def test_lost_views_are_told_apart_from_lost_records(lost: int, said: str, tmp_path: Path) -> None:
    """
    A gap counts transitions as `lost`, so that `seq` agrees with it, and views as `leaders`; `show` says both.
    """
    path = tmp_path / "folder" / "audit.jsonl"
    path.parent.mkdir()
    audit = AuditLog(path)
    path.parent.rmdir()
    for _ in range(lost):
        audit(a_record())
    a_view(audit)
    a_view(audit, None)
    audit.close()
    path.parent.mkdir()
    a_view(audit)

    (gap,) = lines(audit, "gap")
    assert (lost, 2) == (gap["lost"], gap["leaders"])
    assert said in next(line for line in show(path) if line.startswith("!!"))
    assert lost == audit.failures


def test_json_shows_views_and_columns_do_not(audit: AuditLog) -> None:
    """
    `audit show` is about records; `--json` passes views through, by election and node as records.
    """
    audit(a_record())
    a_view(audit, ('a "b"\n', 3))
    a_view(audit, None)
    audit.close()

    assert 2 == len(list(show(audit.path))), "the titles and the record"
    shown = [json.loads(line) for line in show(audit.path, as_json=True)]
    assert ["transition", "leader", "leader"] == [line["kind"] for line in shown]
    assert [{"node": 'a "b"\n', "token": 3}, None] == [line["leader"] for line in shown[1:]]
    assert [] == list(show(audit.path, node="another", as_json=True))


def test_header_names_the_clock_of_this_boot(tmp_path: Path) -> None:
    """
    Two processes of one machine have the same; here it is the process's own.
    """
    audit = AuditLog(tmp_path / "audit.jsonl")
    with connect("memory://") as store, Candidate(store, "jobs", ttl=3.0, observers=[audit]) as candidate:
        assert candidate.wait_elected(10.0)

    assert [_clock.identity()] == [header["clock"] for header in lines(audit, "header")]
    assert _clock.identity() is None or _clock.boot() in str(_clock.identity())


def test_clock_is_not_guessed_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without the name of the boot there is none, and null says so.
    """
    monkeypatch.setattr(_clock, "boot", lambda: "")

    assert _clock.identity() is None


def test_other_time_namespace_is_another_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A container may have its own offset since the boot.
    """
    names = set()
    monkeypatch.setattr(_clock, "boot", lambda: "boot")
    for kind in ("time:[1]", "time:[2]", ""):
        monkeypatch.setattr(_clock, "namespace", lambda _kind, name=kind: name)
        names.add(_clock.identity())

    assert {"boot time:[1]", "boot time:[2]", "boot"} == names


def test_clocks_of_a_simulation_are_comparable_among_themselves(tmp_path: Path) -> None:
    """
    All processes of one run read the same clock; that of another run, of the same seed even, is another.
    """
    clocks = []
    for run in ("1", "2"):
        audit = AuditLog(tmp_path / run)
        with Simulation(seed=1) as sim:
            candidates = [Candidate(sim.store, "jobs", node=node, ttl=3.0, observers=[audit]) for node in "ab"]
            for candidate in candidates:
                candidate.start()
            sim.advance(1.0)
            moments = [candidate.history[0].monotonic for candidate in candidates]
            assert abs(moments[0] - moments[1]) < 0.001
        first, second = lines(audit, "header")
        assert first["boot"] != second["boot"]
        assert first["clock"] == second["clock"] is not None
        clocks.append(first["clock"])

    assert 2 == len({*clocks, _clock.identity()} - {_clock.identity()})


def test_clock_that_goes_wrong_is_another_from_then_on(sim: Simulation, audit: AuditLog) -> None:
    """
    A simulated clock that runs fast can no longer be compared: another header says so before what it holds for.
    """
    for node in "ab":
        Candidate(sim.store, "jobs", node=node, ttl=3.0, observers=[audit]).start()
    sim.advance(1.0)
    sim.fault("clock", node="a", rate=1.05)
    sim.fault("delete", election="jobs")
    sim.advance(30.0)

    headers = lines(audit, "header")
    assert 3 == len(headers)
    assert headers[0]["boot"] == headers[2]["boot"] != headers[1]["boot"]
    assert headers[0]["clock"] == headers[1]["clock"] != headers[2]["clock"]

"""
Trace ids: the record that answers a call carries the span in which the call was made.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry import trace
from records import a_record

from leadership import AuditLog, Candidate, Follower
from leadership.audit import read
from leadership.observers._audit_lines import _members
from leadership.testing import Simulation

IDS = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
SPAN = trace.NonRecordingSpan(trace.SpanContext(int(IDS[0], 16), int(IDS[1], 16), is_remote=True))


def traced(face: Candidate | Follower) -> list[tuple[str, str | None, str | None]]:
    return [(r.trigger, r.trace_id, r.span_id) for r in face.history if r.trace_id is not None or r.span_id is not None]


def within(call: Callable[[], object]) -> None:
    """
    Make a call within a span.
    """
    with trace.use_span(SPAN):
        call()


def test_record_that_answers_a_call_has_its_span(sim: Simulation) -> None:
    """
    start, resign and stop made within a span: one record each has its ids, and what the store's answers cause has none.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0)
    within(candidate.start)
    candidate.wait_elected()
    within(lambda: candidate.resign("deploy 42"))
    candidate.wait_elected()
    within(candidate.stop)

    assert [(trigger, *IDS) for trigger in ("start", "resign", "stop")] == traced(candidate)
    assert len(candidate.history) > 3


def test_follower_has_them_too(sim: Simulation) -> None:
    """
    A follower's start and stop as a candidate's.
    """
    follower = Follower(sim.store, "jobs")
    within(follower.start)
    sim.advance(1.0)
    follower.stop()

    assert [("start", *IDS)] == traced(follower)


def test_without_a_span_there_is_nothing(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Outside of any span, and where the program has not imported OpenTelemetry, records are as they ever were.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0)
    candidate.start()
    candidate.stop()
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    within(candidate.start)
    candidate.stop()

    assert [] == traced(candidate)
    assert "opentelemetry.trace" not in sys.modules
    assert all({"trace_id", "span_id"}.isdisjoint(record.as_dict()) for record in candidate.history)


class Anybodys:
    """
    A module of which nothing works.
    """

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)


@pytest.mark.parametrize(
    "module", [types.ModuleType("opentelemetry.trace"), Anybodys()], ids=["half-imported", "broken"]
)
def test_calls_need_no_span(sim: Simulation, monkeypatch: pytest.MonkeyPatch, module: object) -> None:
    """
    While another thread imports OpenTelemetry, its module is there and empty: calls do what they do, and stop settles.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", module)
    candidate.start()
    assert candidate.wait_elected() is not None
    assert candidate.resign()
    assert candidate.stop()

    assert [] == traced(candidate)


def test_start_while_it_stops_has_the_span_of_its_call(sim: Simulation) -> None:
    """
    A start that waits for the stop's end belongs to the span in which it was asked for.
    """
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0)
    candidate.start()
    candidate.wait_elected()
    candidate.on_demoted(lambda _term, _cause: sim.sleep(0.5))
    candidate.stop(timeout=0.1)
    within(candidate.start)
    sim.advance(1.0)

    assert [("start", *IDS)] == traced(candidate)
    assert candidate.is_leader


def test_log_and_audit_carry_them(sim: Simulation, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    As keys of the event and of the line, where there are any.
    """
    caplog.set_level("INFO")
    audit = AuditLog(tmp_path / "audit.jsonl")
    candidate = Candidate(sim.store, "jobs", node="a", ttl=3.0, observers=[audit])
    candidate.start()
    candidate.wait_elected()
    within(lambda: candidate.resign("deploy 42"))
    audit.close()

    said = [record.getMessage() for record in caplog.records if "trace_id" in record.getMessage()]
    assert [f"trace_id={IDS[0]} span_id={IDS[1]}"] == [" ".join(text.split()[-2:]) for text in said]
    written = [line.fields for line in read(audit.path) if "trace_id" in line.fields]
    assert [("resign", *IDS)] == [(line["trigger"], line["trace_id"], line["span_id"]) for line in written]


def test_line_is_the_json_of_the_record() -> None:
    """
    With the ids as without.
    """
    record = a_record(trace_id=IDS[0], span_id=IDS[1])

    assert json.dumps(record.as_dict(), separators=(",", ":")) == f"{{{_members(record)}}}"

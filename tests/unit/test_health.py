"""
The health app: what it answers, by both protocols, and what it never shows.
"""

from __future__ import annotations

import sys
from http import HTTPStatus
from typing import Any

import pytest
from health_answers import candidate_of, told
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from leadership import AsyncCandidate, Candidate, ConfigError, Follower
from leadership.health import PATHS, HealthApp
from leadership.observers import PrometheusObserver
from leadership.testing import Simulation


def test_leader_is_decided_at_the_call(sim: Simulation) -> None:
    """
    `/leader` is 200 on the leader and 503 elsewhere, and turns at the lease's deadline with `is_leader`.
    """
    ann = candidate_of(sim)
    app = HealthApp(ann)
    assert 503 == app.answer("GET", "/leader").status
    sim.run_until(lambda: ann.is_leader)
    bob = candidate_of(sim, "bob")
    sim.advance(1.0)
    assert 200 == app.answer("GET", "/leader").status
    assert {"election": "jobs", "node": "ann", "leads": True, "leader": "ann", "is_stale": False} == told(
        app.answer("GET", "/leader")
    )
    other = HealthApp(bob).answer("GET", "/leader")
    assert (503, "ann") == (other.status, told(other)["leader"])

    sim.fault("partition", node="ann")
    while ann.is_leader:
        assert 200 == app.answer("GET", "/leader").status
        sim.advance(0.01)
    assert 503 == app.answer("GET", "/leader").status


def test_a_stalled_engine_leads_no_longer_than_its_lease(sim: Simulation) -> None:
    """
    While the engine stands still nobody processes the end of the lease; the app sees it, and says so in /healthz.
    """
    ann = candidate_of(sim)
    app = HealthApp(ann)
    sim.run_until(lambda: ann.is_leader)
    sim.fault("stall", node="ann")
    sim.advance(3.0)

    assert "leader" == ann.state
    assert 503 == app.answer("GET", "/leader").status
    assert 503 == app.answer("GET", "/healthz").status


def test_health_is_whether_renewals_are_due(sim: Simulation) -> None:
    """
    /healthz fails while a leader's last renewal was not acknowledged, and names the election; not for one who waits.
    """
    ann, bob = candidate_of(sim), candidate_of(sim, "bob", "mail")
    sim.run_until(lambda: ann.is_leader and bob.is_leader)
    waiting = candidate_of(sim, "cat")
    app, both = HealthApp(ann), HealthApp(ann, bob)
    assert (200, {"status": "ok"}) == (app.answer("GET", "/healthz").status, told(app.answer("GET", "/healthz")))

    sim.fault("partition", node="ann")
    sim.run_until(lambda: ann.status().renewal_overdue)
    assert 503 == app.answer("GET", "/healthz").status
    assert {"status": "renewal overdue", "elections": ["jobs"]} == told(both.answer("GET", "/healthz"))
    assert 200 == both.answer("GET", "/healthz", "election=mail").status
    assert 200 == HealthApp(waiting).answer("GET", "/healthz").status


def test_status_is_that_of_the_candidates(sim: Simulation) -> None:
    """
    /status has `status().as_dict()` of each election, or of the one asked for.
    """
    ann, mail = candidate_of(sim), Follower(sim.store, "service/mail leader")
    app = HealthApp(ann, mail)
    sim.advance(1.0)
    expected = {"jobs": ann.status().as_dict(), "service/mail leader": mail.status().as_dict()}
    assert {"elections": expected} == told(app.answer("GET", "/status"))
    assert {"elections": {"jobs": expected["jobs"]}} == told(app.answer("GET", "/status", "election=jobs"))
    asked = app.answer("GET", "/status", "election=service%2Fmail+leader")
    assert ["service/mail leader"] == [*told(asked)["elections"]]


def test_several_elections_have_to_be_named(sim: Simulation) -> None:
    """
    With several elections `/leader` has to say which; one that is not there is 404. Both answers list the elections.
    """
    ann, bob = candidate_of(sim), candidate_of(sim, "bob", "mail")
    app = HealthApp(ann, bob)
    sim.run_until(lambda: ann.is_leader)
    unsaid, unknown = app.answer("GET", "/leader"), app.answer("GET", "/leader", "election=post")
    assert (400, ["jobs", "mail"]) == (unsaid.status, told(unsaid)["elections"])
    assert (404, ["jobs", "mail"]) == (unknown.status, told(unknown)["elections"])
    assert 200 == app.answer("GET", "/leader", "election=jobs").status


def test_a_follower_speaks_of_others(sim: Simulation) -> None:
    """
    A follower's /leader is about the node asked for, or the app's; without one it is refused, and stale is 503.
    """
    ann = candidate_of(sim)
    follower = Follower(sim.store, "jobs")
    app = HealthApp(follower)
    assert 503 == app.answer("GET", "/leader", "node=ann").status
    follower.start()
    sim.run_until(lambda: ann.is_leader and follower.leader is not None)

    assert 200 == app.answer("GET", "/leader", "node=ann").status
    assert 503 == app.answer("GET", "/leader", "node=bob").status
    assert 400 == app.answer("GET", "/leader").status
    own = HealthApp(follower, node="ann")
    assert 200 == own.answer("GET", "/leader").status
    assert 503 == own.answer("GET", "/leader", "node=bob").status
    sim.fault("partition", node="")
    sim.run_until(lambda: follower.is_stale)
    assert 503 == own.answer("GET", "/leader").status


def test_a_candidate_speaks_of_others_by_what_it_saw(sim: Simulation) -> None:
    """
    Asked for another node, a candidate says what it saw; asked for itself, what `is_leader` says.
    """
    ann = candidate_of(sim)
    sim.run_until(lambda: ann.is_leader)
    bob = candidate_of(sim, "bob")
    app = HealthApp(bob)
    sim.run_until(lambda: app.answer("GET", "/leader", "node=ann").status == 200)
    assert 503 == app.answer("GET", "/leader", "node=bob").status


def test_an_election_is_no_illness(sim: Simulation) -> None:
    """
    In the moment in which it leads and the term is not published yet, /healthz is well: no renewal is due.
    """
    seen: list[HTTPStatus] = []
    ann = Candidate(sim.store, "jobs", node="ann", ttl=3.0)
    app = HealthApp(ann)
    driver = ann._start()
    published = driver.office._publish

    def look_first() -> None:
        assert ("leader", False) == (ann.state, ann.is_leader)
        seen.append(app.answer("GET", "/healthz").status)
        published()

    driver.office._publish = look_first  # type: ignore[method-assign]
    sim.run_until(lambda: ann.is_leader)
    assert [HTTPStatus.OK] == seen


def test_who_waits_for_an_audit_is_well_until_the_lease_is_over(sim: Simulation) -> None:
    """
    While an audit is being written, nobody leads and /healthz is well; once the lease has run out unnoticed, it is not.
    """
    ann = Candidate(sim.store, "jobs", node="ann", ttl=3.0)
    app = HealthApp(ann)
    ann._start().office.await_audit()  # of a disk that hangs
    sim.run_until(lambda: ann.state == "leader")
    for _ in range(20):
        sim.advance(0.5)
        assert ("leader", False) == (ann.state, ann.is_leader)
        assert 503 == app.answer("GET", "/leader").status
        assert 200 == app.answer("GET", "/healthz").status
    sim.fault("stall", node="ann")
    sim.advance(3.0)
    assert 503 == app.answer("GET", "/healthz").status


@pytest.mark.parametrize("fault", ["hang", "stall"])
def test_what_was_seen_is_believed_for_30_s(sim: Simulation, fault: str) -> None:
    """
    A follower whose store hangs, or which hangs itself, says 503 of the leader 30 s after its last read at the latest.
    """
    ann = candidate_of(sim)
    follower = Follower(sim.store, "jobs")
    app = HealthApp(follower, node="ann")
    follower.start()
    sim.run_until(lambda: ann.is_leader)
    sim.advance(120.0)
    for _ in range(40):  # all is well, between any two rereads
        sim.advance(1.0)
        assert 200 == app.answer("GET", "/leader").status
    sim.fault(fault, node="" if fault == "stall" else None)
    sim.advance(30.0)
    assert (fault == "hang") == follower.is_stale
    answer = app.answer("GET", "/leader")
    assert (503, True) == (answer.status, told(answer)["is_stale"])
    sim.heal(fault, node="" if fault == "stall" else None)
    sim.run_until(lambda: app.answer("GET", "/leader").status == 200)


def test_what_a_candidate_saw_is_believed_for_two_ttls(sim: Simulation) -> None:
    """
    A candidate that hangs says 503 of another node two TTLs after its last read at the latest.
    """
    ann, bob = candidate_of(sim), candidate_of(sim, "bob")
    sim.run_until(lambda: ann.is_leader or bob.is_leader)
    leader, waiting = ("ann", "bob") if ann.is_leader else ("bob", "ann")
    app = HealthApp(bob if ann.is_leader else ann)
    sim.advance(20.0)
    assert 200 == app.answer("GET", "/leader", f"node={leader}").status
    sim.fault("stall", node=waiting)
    sim.advance(6.0)
    assert 503 == app.answer("GET", "/leader", f"node={leader}").status


@pytest.mark.parametrize("query", ["node=", "node", "node=ann&node="])
def test_nobody_is_asked_for(sim: Simulation, query: str) -> None:
    """
    A blank node, of a variable that was not set, is refused, and not taken for the app's own.
    """
    ann = candidate_of(sim)
    sim.run_until(lambda: ann.is_leader)
    assert 400 == HealthApp(ann).answer("GET", "/leader", query).status
    assert 404 == HealthApp(ann).answer("GET", "/leader", "election=").status


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get"])
def test_it_only_reads(sim: Simulation, path: str, method: str) -> None:
    """
    Anything but GET and HEAD is refused, and says what is allowed.
    """
    answer = HealthApp(candidate_of(sim)).answer(method, path)
    assert (405, "GET, HEAD") == (answer.status, dict(answer.headers())["Allow"])


@pytest.mark.parametrize("path", ["", "/", "/leader/", "/leaders", "//leader", "/status/../leader"])
def test_other_paths_are_not_there(sim: Simulation, path: str) -> None:
    """
    What is not there says what is.
    """
    answer = HealthApp(candidate_of(sim)).answer("GET", path)
    assert (404, [*PATHS]) == (answer.status, told(answer)["paths"])


def test_answers_are_not_kept(sim: Simulation) -> None:
    """
    No cache may keep an answer, and each says what it is and how long.
    """
    app = HealthApp(candidate_of(sim))
    for path in PATHS:
        answer = app.answer("GET", path)
        headers = dict(answer.headers())
        assert "no-store" == headers["Cache-Control"]
        assert str(len(answer.body)) == headers["Content-Length"]
        assert ("text/plain" if path == "/metrics" else "application/json") == headers["Content-Type"].split(";")[0]


def test_metrics_are_those_of_the_registry(sim: Simulation) -> None:
    """
    /metrics has the text format, or OpenMetrics for who accepts it.
    """
    registry = CollectorRegistry()
    ann = Candidate(sim.store, "jobs", node="ann", ttl=3.0, observers=[PrometheusObserver(registry)])
    ann.start()
    sim.run_until(lambda: ann.is_leader)
    app = HealthApp(ann, registry=registry)
    families = {family.name for family in text_string_to_metric_families(app.answer("GET", "/metrics").body.decode())}
    assert "leadership_is_leader" in families
    other = app.answer("GET", "/metrics", "", "application/openmetrics-text; version=1.0.0")
    assert other.content_type.startswith("application/openmetrics-text")
    assert other.body.endswith(b"# EOF\n")


@pytest.mark.parametrize("accept", ["text/plain; version=x", "application/openmetrics-text; version=abc", ";", "="])
def test_a_malformed_accept_is_answered(sim: Simulation, accept: str) -> None:
    """
    What /metrics cannot make sense of in Accept, it answers in the plain text format.
    """
    answer = HealthApp(candidate_of(sim), registry=CollectorRegistry()).answer("GET", "/metrics", "", accept)
    assert (200, True) == (answer.status, answer.content_type.startswith("text/plain"))


def test_metrics_without_their_client(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where prometheus_client is not installed, /metrics says so and the rest works.
    """
    app = HealthApp(candidate_of(sim))
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    answer = app.answer("GET", "/metrics")
    assert 501 == answer.status
    assert b"pip install leadership[prometheus]" in answer.body
    assert 200 == app.answer("GET", "/healthz").status


@pytest.mark.parametrize("wrong", [[], ["jobs"], [None]])
def test_it_is_given_whom_to_speak_of(wrong: list[Any]) -> None:
    """
    Nobody, or what is neither candidate nor follower, is refused.
    """
    with pytest.raises(ConfigError, match="HealthApp"):
        HealthApp(*wrong)


def test_an_election_is_given_once(sim: Simulation) -> None:
    """
    Two of one election would not be told apart.
    """
    with pytest.raises(ConfigError, match="'jobs' twice"):
        HealthApp(candidate_of(sim), candidate_of(sim, "bob"))


def test_async_candidates_are_watched_too() -> None:
    """
    The asyncio faces are answered for as the others are.
    """
    app = HealthApp(AsyncCandidate("memory://", "jobs", node="ann"))
    assert 503 == app.answer("GET", "/leader").status
    assert "idle" == told(app.answer("GET", "/status"))["elections"]["jobs"]["state"]

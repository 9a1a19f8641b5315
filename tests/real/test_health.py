"""
The health app under real servers, and the command's own server with clients that hang.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
import uvicorn
from cli_processes import call, running, wait_for
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from leadership import Candidate, ConfigError
from leadership.cli import _http
from leadership.cli._http import MOST, answering, parse_address
from leadership.health import HealthApp
from leadership.observers import PrometheusObserver


def ask(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    """
    Status and body.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10.0)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[Candidate]:
    """
    One who leads.
    """
    with Candidate(f"sqlite:///{tmp_path}/jobs.db", "jobs", node="ann", ttl=6.0) as candidate:
        assert candidate.wait_elected(20.0) is not None
        yield candidate


@contextlib.contextmanager
def under_uvicorn(app: Any) -> Iterator[int]:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="on", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started, "uvicorn has started")
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20.0)


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def under_wsgiref(app: Any) -> Iterator[int]:
    with make_server("127.0.0.1", 0, app.wsgi, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(20.0)


@pytest.mark.parametrize("under", [under_uvicorn, under_wsgiref])
def test_under_real_servers(under: Callable[[HealthApp], Any], leader: Candidate) -> None:
    """
    Under uvicorn and under wsgiref each path answers, HEAD without a body, and the leader's end shows at once.
    """
    registry = CollectorRegistry()
    leader.subscribe(PrometheusObserver(registry))
    with under(HealthApp(leader, registry=registry)) as port:
        assert 200 == ask(port, "/leader")[0]
        assert (200, "") == ask(port, "/leader?election=jobs", "HEAD")
        assert (200, '{"status": "ok"}\n') == ask(port, "/healthz")
        assert "ann" == json.loads(ask(port, "/status")[1])["elections"]["jobs"]["leader"]
        assert [*text_string_to_metric_families(ask(port, "/metrics")[1])]
        assert 405 == ask(port, "/leader", "POST")[0]
        assert 404 == ask(port, "/")[0]
        leader.resign(cool_down=30.0)
        assert 503 == ask(port, "/leader")[0]


def half_a_request(port: int) -> socket.socket:
    """
    A client that connects, sends half a request and then neither sends nor reads.
    """
    client = socket.create_connection(("127.0.0.1", port), timeout=10.0)
    client.sendall(b"GET /leader HTTP/1.1\r\nHost: a")
    return client


def test_clients_that_hang_hold_nobody_up(leader: Candidate) -> None:
    """
    With three times as many hung clients as the server has threads, each answer comes at once, every renewal is in
    time, and the threads stay as many as they may be.
    """
    latest: list[float] = []

    class Watch:
        def __call__(self, _record: object) -> None:
            pass

        def on_renewal(self, renewal: Any) -> None:
            latest.append(renewal.headroom)

    leader.subscribe(Watch())
    port = free_port()
    term = leader.term
    with answering(f"127.0.0.1:{port}", leader), contextlib.ExitStack() as hung:
        slowest, most = 0.0, 0
        until = time.monotonic() + 5.0
        while time.monotonic() < until:
            for _ in range(MOST // 4):
                hung.enter_context(contextlib.closing(half_a_request(port)))
            began = time.monotonic()
            assert 200 == ask(port, "/leader")[0]
            slowest = max(slowest, time.monotonic() - began)
            names = [thread.name for thread in threading.enumerate()]
            most = max(most, sum("process_request_thread" in name for name in names))
            time.sleep(0.4)
    assert slowest < 4.0
    assert most <= MOST + MOST // 4  # those that were just ended
    assert len(latest) >= 2
    assert min(latest) > 2.0  # renewed every 2 s, believed for 5.4 s
    assert term is leader.term


def test_no_connection_lasts(leader: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A client that sends a byte now and then is cut off all the same.
    """
    monkeypatch.setattr(_http, "LONGEST", 0.5)
    port = free_port()
    with answering(f"127.0.0.1:{port}", leader), half_a_request(port) as client:
        began = time.monotonic()
        with contextlib.suppress(OSError):
            while client.send(b"b"):
                assert time.monotonic() - began < 20.0
                time.sleep(0.1)
        assert time.monotonic() - began > 0.4


@pytest.mark.parametrize("wrong", ["", "8080", ":8080", "localhost", "127.0.0.1:", "a:b:1", "::1:80", "h:70000"])
def test_addresses_are_complete(wrong: str) -> None:
    """
    An address names its host, so that nobody is reached by an omission.
    """
    with pytest.raises(ConfigError, match=r"HOST:PORT"):
        parse_address(wrong)


def test_ipv6_addresses_have_brackets() -> None:
    """
    As in a URL.
    """
    assert ("::1", 8080) == parse_address("[::1]:8080")
    assert ("localhost", 0) == parse_address("localhost:0")


def test_serve_follows(tmp_path: Path) -> None:
    """
    `leadership serve` says of any node whether it leads, follows a change, and ends with status 0 at SIGTERM.
    """
    store, port = f"sqlite:///{tmp_path}/jobs.db", free_port()
    with (
        running("serve", "jobs", "--store", store, "--node", "ann", "--listen", f"127.0.0.1:{port}") as process,
        Candidate(store, "jobs", node="ann", ttl=2.0) as ann,
    ):
        assert ann.wait_elected(20.0)
        wait_for(lambda: answers(port, "/leader"), "serve says that ann leads")
        assert 503 == ask(port, "/leader?node=bob")[0]
        assert 200 == ask(port, "/healthz")[0]
        assert "following" == json.loads(ask(port, "/status")[1])["elections"]["jobs"]["state"]
        wait_for(
            lambda: ["following"] == [labels["state"] for labels, value in measured(port, "leadership_state") if value],
            "the metrics say that it follows",
        )
        ann.stop()
        wait_for(lambda: not answers(port, "/leader"), "serve says that ann does not lead")
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(20.0)


def answers(port: int, path: str) -> bool:
    try:
        return ask(port, path)[0] == 200
    except OSError:  # it does not listen yet
        return False


def measured(port: int, name: str) -> list[tuple[dict[str, str], float]]:
    """
    What the metrics say, which are counted a moment after the answers to /leader have changed.
    """
    families = text_string_to_metric_families(ask(port, "/metrics")[1])
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return [(sample.labels, sample.value) for sample in samples]


def test_run_answers_for_its_job(tmp_path: Path) -> None:
    """
    `leadership run --listen` answers for the job's own node while the job runs.
    """
    store, port = f"sqlite:///{tmp_path}/jobs.db", free_port()
    arguments = ["run", "jobs", "--store", store, "--node", "ann", "--listen", f"127.0.0.1:{port}", "--", "sleep", "60"]
    with running(*arguments) as process:
        wait_for(lambda: answers(port, "/leader"), "run says that it leads")
        wait_for(
            lambda: [1.0] == [value for _, value in measured(port, "leadership_is_leader")],
            "the metrics say that it leads",
        )
        process.send_signal(signal.SIGTERM)
        assert 143 == process.wait(20.0)


def test_an_address_in_use_is_named(tmp_path: Path) -> None:
    """
    An address that cannot be had ends the command with status 2 before anything starts.
    """
    store = f"sqlite:///{tmp_path}/jobs.db"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for arguments in (["serve", "jobs"], ["run", "jobs"]):
            tail = ["--", "true"] if arguments[0] == "run" else []
            done = call(*arguments, "--store", store, "--listen", address, *tail)
            assert 2 == done.returncode
            assert f"--listen {address} cannot be had" in done.stderr


def test_nobody_leads_in_a_forked_child(tmp_path: Path) -> None:
    """
    In a child of a leader, app and metrics say that it does not lead, and their locks are free.
    """
    script = f"""
import os, sys, warnings
from prometheus_client import CollectorRegistry, generate_latest
from leadership import Candidate
from leadership.health import HealthApp
from leadership.observers import OpenTelemetryObserver, PrometheusObserver
warnings.simplefilter("ignore", DeprecationWarning)
registry = CollectorRegistry()
observers = [PrometheusObserver(registry), OpenTelemetryObserver()]
with Candidate("sqlite:///{tmp_path}/jobs.db", "jobs", node="ann", ttl=5.0, observers=observers) as candidate:
    assert candidate.wait_elected(20.0)
    app = HealthApp(candidate, registry=registry)
    while b'leadership_is_leader{{election="jobs",node="ann"}} 1.0' not in generate_latest(registry):
        pass
    assert app.answer("GET", "/leader").status == 200
    pid = os.fork()
    if pid == 0:
        told = generate_latest(registry)
        os._exit(app.answer("GET", "/leader").status == 200 or b'leadership_is_leader{{' in told)
    assert os.waitpid(pid, 0)[1] == 0
    assert app.answer("GET", "/leader").status == 200
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=50)
    assert (0, "") == (done.returncode, done.stderr)

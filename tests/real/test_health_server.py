"""
The command's own server with requests that no client of good manners sends, and addresses that are none.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from cli_processes import call

from leadership import Candidate
from leadership.cli._http import LINE, Server, split_target
from leadership.health import Answer, HealthApp


class Failing(HealthApp):
    def answer(self, method: str, path: str, query: str = "", accept: str = "") -> Answer:
        if path == "/status":
            msg = "it is broken"
            raise RuntimeError(msg)
        return super().answer(method, path, query, accept)


@pytest.fixture
def port() -> Iterator[int]:
    """
    Where a server answers for a candidate that has not been started.
    """
    server = Server(("127.0.0.1", 0), Failing(Candidate("memory://", "jobs", node="zoé")))
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join(20.0)
        server.server_close()


def send(port: int, request: bytes) -> tuple[bytes, bytes]:
    """
    The first line of the answer, and its body.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=10.0) as client:
        client.sendall(request)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while more := client.recv(65536):
                answer += more
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0], body


@pytest.mark.parametrize(
    "request_line",
    [b"GET /leader", b"GET /leader HTTP/0.9", b"GET", b"", b"POST /leader"],
)
def test_requests_of_old_are_refused(port: int, request_line: bytes) -> None:
    """
    HTTP/0.9 knows no status, so that its requests are refused by that of HTTP/1.0.
    """
    assert b"HTTP/1.0 400 Bad Request" == send(port, request_line + b"\r\n\r\n")[0]


@pytest.mark.parametrize("length", [LINE, 3 * LINE])
def test_a_line_too_long_is_refused(port: int, length: int) -> None:
    """
    What is longer than may be is not cut, and answered as another question, but refused.
    """
    line = b"GET /leader?election=" + b"a" * length + b"&node=zo%C3%A9 HTTP/1.1\r\n\r\n"
    assert b"414" == send(port, line)[0].split()[1]


@pytest.mark.parametrize(
    "target",
    [
        b"/leader?node=zo%C3%A9",
        "/leader?node=zoé".encode(),
        b"/%6Ceader?node=zo%C3%A9",
        b"http://127.0.0.1:80/leader?node=zo%C3%A9",
        b"HTTPS://there/%6ceader?node=zo%C3%A9",
    ],
)
def test_a_target_has_many_spellings(port: int, target: bytes) -> None:
    """
    Quoted, in bare UTF-8, or as a whole URL: it is the same question.
    """
    status, body = send(port, b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"503" == status.split()[1]
    assert "zoé" == json.loads(body)["node"]


def test_a_quoted_question_mark_is_of_the_path() -> None:
    """
    The query begins at the question mark that was sent as one.
    """
    assert ("/leader?a", "b=%3F") == split_target("/leader%3Fa?b=%3F")
    assert ("", "") == split_target("http://host")


def test_a_failure_is_answered_and_said_once(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Where the app fails, the client is told by 500, each time, and the operator once.
    """
    for _ in range(3):
        status, body = send(port, b"GET /status HTTP/1.1\r\n\r\n")
        assert b"500" == status.split()[1]
        assert {"error": "the answer failed"} == json.loads(body)
    told = capsys.readouterr().err.splitlines()
    assert 1 == len(told)
    assert "'/status' was not answered: RuntimeError: it is broken" in told[0]


@pytest.mark.parametrize("host", ["é..é", "é" * 70, "a" * 70, "a..b"])
def test_a_host_that_is_no_name_is_refused(tmp_path: Path, host: str) -> None:
    """
    What no name service would be asked for ends the command with status 2, as what it does not know.
    """
    done = call("serve", "jobs", "--store", f"sqlite:///{tmp_path}/jobs.db", "--listen", f"{host}:80")
    assert 2 == done.returncode
    assert f"--listen {host}:80 cannot be had" in done.stderr
    assert "Traceback" not in done.stderr

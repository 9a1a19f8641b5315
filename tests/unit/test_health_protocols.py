"""
The health app by its two protocols, and what it never shows.
"""

from __future__ import annotations

import json
import wsgiref.util
import wsgiref.validate
from typing import Any

import pytest
from health_answers import candidate_of, speak

from leadership import ConfigError, StoreUnavailable
from leadership._runtime.candidate import CandidateDriver
from leadership.health import HealthApp, without_credentials
from leadership.testing import Simulation


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        ("GET http://***@consul:8500/v1 failed", "GET http://ann:s3cret@consul:8500/v1 failed"),
        ("url: /v1/kv?token=***&index=4", "url: /v1/kv?token=s3cret&index=4"),
        ("headers {'X-Consul-Token': '***'}", "headers {'X-Consul-Token': 's3cret'}"),
        ("Authorization: *** refused", "Authorization: Bearer s3cret refused"),
        ("password=*** is wrong", "password=s3cret is wrong"),
        ('password="***" is wrong', 'password="open sesame" is wrong'),
        ('{"SecretID": "***", "ID": 3}', '{"SecretID": "abc-123", "ID": 3}'),
        ("api_key=*** refused", "api_key=s3cret refused"),
        ("Authorization: ***", 'Authorization: Digest username="ann", response="s3cret"'),
        ("Cookie: ***\nHost: consul", "Cookie: session=s3cret; other=s3cret\nHost: consul"),
        ("http://***@consul:8500/v1 failed", "http://ann:p@ss/w0rd@consul:8500/v1 failed"),
        ("the term with token 7 is over", "the term with token 7 is over"),
        ("no answer from ann@example within 3 s", "no answer from ann@example within 3 s"),
    ],
)
def test_credentials_are_not_shown(shown: str, text: str) -> None:
    """
    What an error quotes of a URL, a header or an option in a usual shape is shown without its credential.
    """
    assert shown == without_credentials(text)


def test_an_error_is_shown_without_credentials(sim: Simulation) -> None:
    """
    /status shows the last error, without a password that a client library may have put into it.
    """
    ann = candidate_of(sim)
    driver = ann._driver
    assert isinstance(driver, CandidateDriver)
    driver.last_error = StoreUnavailable("http://ann:s3cret@consul:8500 is away")
    body = HealthApp(ann).answer("GET", "/status").body
    assert b"StoreUnavailable: http://***@consul:8500 is away" in body
    assert b"s3cret" not in body


def test_names_are_utf_8(sim: Simulation) -> None:
    """
    A name that was sent as bare UTF-8 is the same as one that was quoted, by both protocols.
    """
    zoe = candidate_of(sim, "zoé")
    sim.run_until(lambda: zoe.is_leader)
    app = HealthApp(zoe)
    for query in ("node=zoé".encode(), b"node=zo%C3%A9"):
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/leader", "QUERY_STRING": query.decode("latin-1")}
        (body,) = app.wsgi(environ, lambda *_: None)
        assert json.loads(body)["leads"]
        scope = {"type": "http", "method": "GET", "path": "/leader", "query_string": query, "headers": []}
        assert 200 == speak(app, scope)[0]["status"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_wsgi(sim: Simulation, method: str) -> None:
    """
    The WSGI side keeps to its protocol, as the standard library's validator sees it; HEAD has no body.
    """
    ann = candidate_of(sim)
    sim.run_until(lambda: ann.is_leader)
    environ: dict[str, Any] = {"SCRIPT_NAME": "/election", "PATH_INFO": "/leader", "REQUEST_METHOD": method}
    environ["QUERY_STRING"] = "election=jobs"
    wsgiref.util.setup_testing_defaults(environ)
    seen: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _info: Any = None) -> Any:
        seen.extend((status, dict(headers)))
        return seen.append

    result = wsgiref.validate.validator(HealthApp(ann).wsgi)(environ, start_response)
    body = b"".join(result)
    result.close()  # type: ignore[attr-defined] # the validator's
    assert ("405 Method Not Allowed" if method == "POST" else "200 OK") == seen[0]
    assert (method == "HEAD") == (body == b"")
    assert int(seen[1]["Content-Length"]) > 10


@pytest.mark.parametrize(
    ("status", "root", "path"),
    [
        (200, "", "/leader"),
        (200, "/election", "/election/leader"),
        (200, "/election/", "/election/leader"),
        (200, "/election", "/leader"),
        (200, "/leader", "/leader"),
        (200, "/leader", "/leader/leader"),
        (200, "/lead", "/leader"),
        (404, "", "/other"),
        (404, "/election", "/election"),
    ],
)
def test_asgi(sim: Simulation, status: int, root: str, path: str) -> None:
    """
    The ASGI side answers, mounted or not; HEAD has no body.
    """
    ann = candidate_of(sim)
    sim.run_until(lambda: ann.is_leader)
    for method in ("GET", "HEAD"):
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "root_path": root,
            "query_string": b"",
            "headers": [],
        }
        start, body = speak(HealthApp(ann), scope)
        assert ("http.response.start", status) == (start["type"], start["status"])
        assert (b"cache-control", b"no-store") in start["headers"]
        assert (method == "HEAD") == (body["body"] == b"")


def test_asgi_of_other_kinds(sim: Simulation) -> None:
    """
    A server's life is acknowledged, a WebSocket is refused, and what nobody knows is an error.
    """
    app = HealthApp(candidate_of(sim))
    life = speak(app, {"type": "lifespan"}, "lifespan.startup", "lifespan.shutdown")
    assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == [message["type"] for message in life]
    assert ["websocket.close"] == [message["type"] for message in speak(app, {"type": "websocket"})]
    with pytest.raises(ConfigError, match="'quic'"):
        speak(app, {"type": "quic"})

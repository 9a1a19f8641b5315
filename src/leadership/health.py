"""
Who leads, and whether all is well, by HTTP: an app to mount in any ASGI or WSGI server.

Law 1: it only reads. It takes no lock of the engine and waits for nothing, so that no request, and no client that
hangs, can delay a renewal.
Law 2: what it says of leading is asked at the moment of the request: of the candidate itself by the lease's deadline,
of another by what was last seen, and no longer than 30 s (a candidate: two of its TTLs) after the store was last read.
It is a hint for routing, never a fence: a request that was routed here may be carried out after the term has ended.
Law 3: it hands out no credentials that it knows of: errors are shown with what looks like one masked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qs

from leadership._runtime.candidate import CandidateDriver
from leadership._runtime.follower import FollowerDriver
from leadership.aio import AsyncCandidate, AsyncFollower
from leadership.candidate import Candidate
from leadership.checks import check_name
from leadership.errors import ConfigError
from leadership.follower import Follower
from leadership.fsm.states import CandidateState

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

Watched = Candidate | Follower | AsyncCandidate | AsyncFollower
Message = MutableMapping[str, Any]

PATHS: Final = ("/healthz", "/leader", "/status", "/metrics")
METHODS: Final = ("GET", "HEAD")
NO_CLIENT: Final = "metrics need prometheus_client: pip install leadership[prometheus]\n"

_USER: Final = re.compile(r"(://)[^\s\"'<>]*@")
_HEADER: Final = re.compile(
    r"""(?ix) \b ((?:proxy-)?authorization | (?:set-)?cookie) (\\?["']?\s*[=:]\s*+)
    (?!["']?(?:bearer|basic)\b) [^\r\n]+"""
)
_SECRET: Final = re.compile(
    r"""(?ix) \b
    ([\w-]*
    (?:token|password|passwd|passphrase|pwd|auth|authorization|(?:api|access)[_-]?key|secret(?:[_-]?(?:id|key))?))
    (\\?["']?\s*[=:]\s*) (["'])? (?(3) (?:(?!\3).)+ | (?:(?:bearer|basic)\s+)? [^\s&"',;]+ )"""
)


class Answer(NamedTuple):
    """
    What is sent back.
    """

    status: HTTPStatus
    content_type: str
    body: bytes

    def headers(self) -> list[tuple[str, str]]:
        """
        Its headers.
        """
        headers = [
            ("Content-Type", self.content_type),
            ("Content-Length", str(len(self.body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        if self.status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append(("Allow", ", ".join(METHODS)))
        return headers


class HealthApp:
    """
    Answers `GET` and `HEAD` of `/healthz`, `/leader`, `/status` and `/metrics` for some candidates and followers.

    Called, it is an ASGI application; its `wsgi` is a WSGI application. Read-only; any thread and any loop may use it.
    """

    def __init__(self, *watched: Watched, node: str | None = None, registry: CollectorRegistry | None = None) -> None:
        """
        Args:
            watched: Candidates and followers, of an election each. They are started and stopped by others.
            node: For followers: whose leadership `/leader` says, unless a request names another by `?node=`.
            registry: What `/metrics` shows; None for prometheus_client's default.

        Raises:
            ConfigError: An argument cannot be used.
        """
        self._watched: dict[str, Watched] = {}
        for one in watched:
            given: object = one
            if not isinstance(given, Watched):
                msg = f"HealthApp takes candidates and followers, not {given!r}"
                raise ConfigError(msg)
            if one.election in self._watched:
                msg = f"HealthApp is given the election {one.election!r} twice: one candidate or follower of it will do"
                raise ConfigError(msg)
            self._watched[one.election] = one
        if not watched:
            msg = "HealthApp needs a candidate or a follower to speak of"
            raise ConfigError(msg)
        self._node = None if node is None else check_name("node", node)
        self._registry = registry

    # -- the two protocols --------------------------------------------------------------------------------------

    async def __call__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """
        ASGI: HTTP is answered, the lifespan's events are acknowledged, a WebSocket is refused.
        """
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "http":
            path: str = scope["path"]
            below = path.removeprefix((scope.get("root_path") or "").rstrip("/"))
            if path in PATHS:  # mounted at such a path itself, or by a server that has cut the root off already
                below = path
            accept = next((text.decode("latin-1") for name, text in scope["headers"] if name == b"accept"), "")
            query = scope["query_string"].decode(errors="replace")
            answer = self.answer(scope["method"], below, query, accept)
            headers = [(name.lower().encode(), text.encode()) for name, text in answer.headers()]
            await send({"type": "http.response.start", "status": int(answer.status), "headers": headers})
            body = b"" if scope["method"] == "HEAD" else answer.body
            await send({"type": "http.response.body", "body": body})
        else:
            msg = f"HealthApp speaks HTTP, not {scope['type']!r}"
            raise ConfigError(msg)

    def wsgi(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """
        WSGI.
        """
        method: str = environ["REQUEST_METHOD"]
        path, query = (as_sent(environ.get(name, "")) for name in ("PATH_INFO", "QUERY_STRING"))
        answer = self.answer(method, path, query, environ.get("HTTP_ACCEPT", ""))
        start_response(f"{answer.status.value} {answer.status.phrase}", answer.headers())
        return [b"" if method == "HEAD" else answer.body]

    # -- answering ----------------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, query: str = "", accept: str = "") -> Answer:
        """
        The answer to a request; waits for nothing. For servers that speak neither ASGI nor WSGI.

        Args:
            method: `GET`; `HEAD` is answered alike, and whoever sends it leaves the body out.
            path: Below the place where the app is mounted.
            query: What follows the `?`, still encoded.
            accept: The request's header of that name.
        """
        if path not in PATHS:
            return _json(HTTPStatus.NOT_FOUND, {"error": f"there is no {path!r} here", "paths": PATHS})
        if method not in METHODS:
            return _json(HTTPStatus.METHOD_NOT_ALLOWED, {"error": f"{method} is not answered: this only reads"})
        asked = {name: values[-1] for name, values in parse_qs(query, True, errors="replace").items()}  # noqa: FBT003
        if path == "/metrics":
            return self._metrics(accept)
        chosen = self._watched
        if "election" in asked:
            election = asked["election"]
            if election not in chosen:
                error = f"there is no election {election!r} here"
                return _json(HTTPStatus.NOT_FOUND, {"error": error, "elections": [*chosen]})
            chosen = {election: chosen[election]}
        if path == "/healthz":
            return _health(chosen)
        if path == "/status":
            told = {election: _status(one) for election, one in chosen.items()}
            return _json(HTTPStatus.OK, {"elections": told})
        if len(chosen) > 1:
            error = "there are several elections here: ask for /leader?election=NAME"
            return _json(HTTPStatus.BAD_REQUEST, {"error": error, "elections": [*chosen]})
        ((_, one),) = chosen.items()
        return self._leader(one, asked.get("node"))

    def _leader(self, one: Watched, node: str | None) -> Answer:
        own = one.node if isinstance(one, Candidate | AsyncCandidate) else self._node
        if node == "":  # a variable that was not set, say: it must not ask for somebody else
            return _json(HTTPStatus.BAD_REQUEST, {"error": "node= names nobody: ask for /leader?node=NAME"})
        node = own if node is None else node
        if isinstance(one, Candidate | AsyncCandidate):
            leads = one.is_leader if node == own else None
        elif node is None:
            return _json(HTTPStatus.BAD_REQUEST, {"error": "a follower does not lead: ask for /leader?node=NAME"})
        else:
            leads = None
        leader, stale = one.leader, one.is_stale or not _is_fresh(one)
        if leads is None:  # of another: what was seen
            leads = leader is not None and not stale and leader.node == node
        told = {
            "election": one.election,
            "node": node,
            "leads": leads,
            "leader": None if leader is None else leader.node,
            "is_stale": stale,
        }
        return _json(HTTPStatus.OK if leads else HTTPStatus.SERVICE_UNAVAILABLE, told)

    def _metrics(self, accept: str) -> Answer:
        try:
            import prometheus_client
            from prometheus_client import exposition
        except ImportError:
            return Answer(HTTPStatus.NOT_IMPLEMENTED, "text/plain; charset=utf-8", NO_CLIENT.encode())
        try:
            encode, content_type = exposition.choose_encoder(accept)
        except (TypeError, ValueError, LookupError):  # a version that is none: what everybody understands
            encode, content_type = exposition.choose_encoder("")
        return Answer(HTTPStatus.OK, content_type, encode(self._registry or prometheus_client.REGISTRY))


async def _live(receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]) -> None:
    """
    Acknowledge the beginning and the end of a server's life: nothing is to be done at either.
    """
    while True:
        what = (await receive())["type"]
        await send({"type": f"{what}.complete"})
        if what == "lifespan.shutdown":
            return


def _status(one: Watched) -> dict[str, Any]:
    told = one.status().as_dict()
    if told["last_error"] is not None:
        told["last_error"] = without_credentials(told["last_error"])
    return told


def _health(chosen: Mapping[str, Watched]) -> Answer:
    """
    Ill is a leader whose renewal is overdue, or whose lease has run out before its demotion was processed.
    """
    ill = [election for election, one in chosen.items() if _is_overdue(one)]
    if ill:
        return _json(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "renewal overdue", "elections": ill})
    return _json(HTTPStatus.OK, {"status": "ok"})


def _driver(one: Watched) -> CandidateDriver | FollowerDriver | None:
    face = one if isinstance(one, Candidate | Follower) else one._face  # noqa: SLF001 - one library
    return face._driver  # noqa: SLF001 - one library


def _is_overdue(one: Watched) -> bool:
    """
    One who has been elected and whose term is not published yet, because an audit is being written, is well.
    """
    driver = _driver(one)
    if not isinstance(driver, CandidateDriver):
        return False
    now = driver.engine.now()  # first: whatever happens while this is asked moves the deadline further ahead
    if driver.ctx.state is not CandidateState.LEADER:
        return False
    return driver.renewal_overdue or 0.0 < driver.campaign.keeper.deadline <= now  # 0.0: it is being demoted


def _is_fresh(one: Watched) -> bool:
    """
    What it saw was confirmed not long ago, also where nobody is left to say that it is stale.
    """
    driver = _driver(one)
    view = driver.follower if isinstance(driver, CandidateDriver) else driver
    return view is not None and view.is_fresh


def without_credentials(text: str) -> str:
    """
    An error's text without what stands before the @ of a URL, in a header such as `Cookie`, or after `token=` and such.
    """
    return _SECRET.sub(r"\1\2\3***", _HEADER.sub(r"\1\2***", _USER.sub(r"\1***@", text)))


def as_sent(text: str) -> str:
    """
    What servers have read as Latin-1, as the UTF-8 that it was.
    """
    return text.encode("latin-1", "replace").decode(errors="replace")


def _json(status: HTTPStatus, told: Mapping[str, Any]) -> Answer:
    return Answer(status, "application/json", f"{json.dumps(told)}\n".encode())

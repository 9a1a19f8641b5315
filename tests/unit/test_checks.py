"""
Bad input: a typed error that names the value and the remedy, before anything starts.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

import leadership
from leadership import (
    AsyncCandidate,
    AsyncFollower,
    Backoff,
    Candidate,
    ConfigError,
    Follower,
    LeadershipError,
    connect,
)
from leadership.testing import Simulation

MADE: list[Callable[..., Any]] = [Candidate, AsyncCandidate, Follower, AsyncFollower]
CANDIDATES: list[Callable[..., Any]] = [Candidate, AsyncCandidate]


@pytest.mark.parametrize("face", MADE)
@pytest.mark.parametrize(
    ("election", "why"),
    [
        ("", "must not be empty, and it is ''"),
        ("  ", "must not be empty, and it is '  '"),
        (None, "must be text, not None"),
        (7, "must be text, not 7"),
        (b"jobs", "must be text, not b'jobs'"),
        ("/jobs", "'/jobs' begins or ends with a slash"),
        ("jobs/", "'jobs/' begins or ends with a slash"),
        ("a//b", "'a//b' begins or ends with a slash, or has a double one"),
        ("a\nb", r"'a\\nb' has a control character"),
        ("a\x00b", "has a control character"),
        ("a\ud800b", "a lone surrogate"),
    ],
)
def test_refuses_an_election_name(face: Callable[..., Any], election: object, why: str) -> None:
    """
    An election's name is text, not empty, without control characters, and without slashes where nothing is between.
    """
    with pytest.raises(ConfigError, match=f"^the election name .*{why}"):
        face("memory://", election)


@pytest.mark.parametrize("election", ["jobs", "service/swarm/leader", "Wähler 7", "a b", "...", "日本", "x" * 200])
def test_takes_an_election_name(election: str) -> None:
    """
    Any other text names an election.
    """
    assert election == Candidate("memory://", election).election


@pytest.mark.parametrize("face", CANDIDATES)
@pytest.mark.parametrize(("node", "why"), [("", "must not be empty"), (7, "must be text, not 7"), ("a\tb", "control")])
def test_refuses_a_node_name(face: Callable[..., Any], node: object, why: str) -> None:
    """
    A node's name is text, not empty, without control characters.
    """
    with pytest.raises(ConfigError, match=f"^the node name .*{why}"):
        face("memory://", "jobs", node)


def test_a_node_name_may_have_slashes() -> None:
    """
    A node is no path: slashes are characters like others.
    """
    assert "/a//b/" == Candidate("memory://", "jobs", "/a//b/").node


@pytest.mark.parametrize("face", CANDIDATES)
@pytest.mark.parametrize(
    ("ttl", "why"),
    [
        (0, "ttl=0 cannot be kept .* the nearest is 0.05"),
        (-1.0, "ttl=-1.0 .* the nearest is 0.05"),
        (0.01, "ttl=0.01 .* it keeps 0.05 to 86400 seconds; the nearest is 0.05"),
        (math.nan, "ttl=nan"),
        (math.inf, "ttl=inf .* the nearest is 86400"),
        (1e9, "ttl=1000000000.0 .* the nearest is 86400"),
        ("15", "ttl must be a number of seconds, not '15'"),
        (None, "ttl must be a number of seconds, not None"),
        (True, "ttl must be a number of seconds, not True"),
    ],
)
def test_refuses_a_ttl(face: Callable[..., Any], ttl: object, why: str) -> None:
    """
    A TTL that the store would not keep is refused with the nearest that it would; nothing is clamped.
    """
    with pytest.raises(ConfigError, match=why):
        face("memory://", "jobs", ttl=ttl)


@pytest.mark.parametrize("name", ["grace", "cool_down"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, 10**400, "1", True])
def test_refuses_seconds(name: str, value: object) -> None:
    """
    grace and cool_down are finite numbers of seconds, not negative.
    """
    with pytest.raises(ConfigError, match=f"{name} must be a number of seconds, at least 0, not "):
        Candidate("memory://", "jobs", **{name: value})  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("face", MADE)
@pytest.mark.parametrize("backoff", [3, "fast", {"initial": 1}])
def test_refuses_what_is_no_backoff(face: Callable[..., Any], backoff: object) -> None:
    """
    backoff is a Backoff, not its arguments.
    """
    with pytest.raises(ConfigError, match="backoff must be a Backoff, not "):
        face("memory://", "jobs", backoff=backoff)


def test_a_backoff_refuses_its_own_arguments() -> None:
    """
    A Backoff lists all its faults at once.
    """
    with pytest.raises(ConfigError, match=r"initial .* factor "):
        Backoff(initial=-1.0, factor=0.5)


@pytest.mark.parametrize("face", CANDIDATES)
@pytest.mark.parametrize("policy", ["raise", "", None, "Resign"])
def test_refuses_a_policy(face: Callable[..., Any], policy: object) -> None:
    """
    on_callback_error is one of three words.
    """
    with pytest.raises(ConfigError, match="must be one of resign, keep, stop, not "):
        face("memory://", "jobs", on_callback_error=policy)


@pytest.mark.parametrize("face", CANDIDATES)
@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ("address", "must be a mapping, not 'address'"),
        ([1], "must be a mapping"),
        ({"at": object()}, "must be JSON: Object of type object is not JSON serializable"),
        ({"load": math.nan}, "must be JSON"),
        ({1: "one"}, "text as keys"),
        ({"hosts": (1, 2)}, "would come back as"),
        ({"text": "x" * 4096}, "has 4108 bytes as JSON, and at most 4096 are kept"),
    ],
)
def test_refuses_metadata(face: Callable[..., Any], metadata: object, why: str) -> None:
    """
    Metadata is a JSON object of at most 4 KiB that comes back as it went.
    """
    with pytest.raises(ConfigError, match=why):
        face("memory://", "jobs", metadata=metadata)


def test_takes_metadata_of_4096_bytes() -> None:
    """
    Exactly 4 KiB are kept.
    """
    Candidate("memory://", "jobs", metadata={"text": "x" * (4096 - len('{"text": ""}'))})


@pytest.mark.parametrize("face", MADE)
@pytest.mark.parametrize("store", [None, 7, b"memory://", object(), connect])
def test_refuses_what_is_no_store(face: Callable[..., Any], store: object) -> None:
    """
    A store is what connect() returned, or a URL.
    """
    with pytest.raises(ConfigError, match=r"store must be a Store from connect\(\) or a URL, not "):
        face(store, "jobs")


def two(_a: object, _b: object) -> None: ...


def none() -> None: ...


def one(_a: object) -> None: ...


def named(*, term: object) -> None: ...


async def coroutine(_a: object) -> None: ...


async def coroutine_of_two(_a: object, _b: object) -> None: ...


SYNC: list[Callable[..., Any]] = [Candidate, Follower]
OF_ONE = [
    *[(face, name) for face in MADE for name in ("on_leader_changed", "on_transition", "on_error", "subscribe")],
    *[(face, "on_elected") for face in CANDIDATES],
]


@pytest.mark.parametrize(("face", "name"), OF_ONE)
@pytest.mark.parametrize("callback", [None, 7, "f", none, two, named])
def test_refuses_a_callback_that_cannot_be_called(face: Callable[..., Any], name: str, callback: object) -> None:
    """
    A callback that is not callable, or takes other arguments, is refused when it is given, not when it is needed.
    """
    candidate = face("memory://", "jobs")
    with pytest.raises(ConfigError, match=r"needs a function of \(\w+\)"):
        getattr(candidate, name)(callback)


@pytest.mark.parametrize("face", CANDIDATES)
@pytest.mark.parametrize("callback", [None, none, one])
def test_on_demoted_takes_two_arguments(face: Callable[..., Any], callback: object) -> None:
    """
    on_demoted is told the term and the cause.
    """
    with pytest.raises(ConfigError, match=r"on_demoted needs a function of \(term, cause\)"):
        face("memory://", "jobs").on_demoted(callback)


@pytest.mark.parametrize("face", MADE)
@pytest.mark.parametrize("observer", [None, 7, none, two, coroutine])
def test_refuses_an_observer(face: Callable[..., Any], observer: object) -> None:
    """
    Observers given at construction are looked at as well.
    """
    with pytest.raises(ConfigError, match=r"an observer needs a function of \(transition\)"):
        face("memory://", "jobs", observers=[observer])


@pytest.mark.parametrize(("face", "name"), [(Candidate, "on_elected"), *[(face, "on_leader_changed") for face in SYNC]])
def test_refuses_a_coroutine_function_where_none_can_run(face: Callable[..., Any], name: str) -> None:
    """
    The sync faces have no loop to run a coroutine on, and name the face that has.
    """
    with pytest.raises(ConfigError, match="is a coroutine function: use AsyncCandidate or AsyncFollower"):
        getattr(face("memory://", "jobs"), name)(coroutine)


class Asynchronous:
    """
    An object that is called like a coroutine function.
    """

    async def __call__(self, _term: object) -> None: ...


def test_refuses_an_object_that_is_called_like_a_coroutine_function() -> None:
    """
    It is the same to a sync face, and would not run.
    """
    with pytest.raises(ConfigError, match="use AsyncCandidate"):
        Candidate("memory://", "jobs").on_elected(Asynchronous())


def test_refuses_a_coroutine_function_as_on_demoted() -> None:
    """
    on_demoted of a Candidate is no coroutine function either.
    """
    with pytest.raises(ConfigError, match="use AsyncCandidate"):
        Candidate("memory://", "jobs").on_demoted(coroutine_of_two)


@pytest.mark.parametrize("name", ["on_transition", "on_error", "subscribe"])
@pytest.mark.parametrize("face", [AsyncCandidate, AsyncFollower])
def test_observers_are_plain_functions(face: Callable[..., Any], name: str) -> None:
    """
    The observers' thread runs no coroutines, on the asyncio faces neither.
    """
    with pytest.raises(ConfigError, match="coroutine function"):
        getattr(face("memory://", "jobs"), name)(coroutine)


def test_takes_anything_that_can_be_called() -> None:
    """
    Methods, partials, lambdas and builtins are callbacks, and the decorator gives them back.
    """
    heard: list[object] = []
    candidate = Candidate("memory://", "jobs")
    for callback in (heard.append, print, lambda term: None, lambda *everything: None, lambda term, more=1: None):
        assert callback is candidate.on_elected(callback)


@pytest.mark.parametrize(("name", "value"), [("cool_down", -1), ("cool_down", "1"), ("reason", 7)])
def test_resign_refuses_its_arguments(sim: Simulation, name: str, value: object) -> None:
    """
    resign() checks what it is given before it asks for anything: the leader still leads.
    """
    candidate = Candidate(sim.store, "jobs", node="a")
    candidate.start()
    candidate.wait_elected()
    with pytest.raises(ConfigError, match=name):
        candidate.resign(**{name: value})  # type: ignore[arg-type]  # wrong on purpose
    sim.advance(1.0)

    assert candidate.is_leader


def test_every_error_has_one_base() -> None:
    """
    A ConfigError is a LeadershipError, and a ValueError for those who do not know the library.
    """
    assert issubclass(ConfigError, LeadershipError)
    assert issubclass(ConfigError, ValueError)


@pytest.mark.parametrize("face", SYNC)
@pytest.mark.parametrize(
    ("module", "patched"),
    [
        ("gevent.monkey", {"is_module_patched": lambda name: name == "threading"}),
        ("eventlet.patcher", {"is_monkey_patched": lambda name: name == "thread"}),
    ],
)
def test_refuses_to_start_where_threads_are_patched(
    face: Callable[..., Any], module: str, patched: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    In a process patched by gevent or eventlet, start() raises and nothing has started.
    """
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(**patched))
    candidate = face("memory://", "jobs")
    with pytest.raises(ConfigError, match=r"patched by gevent or eventlet.* not patched"):
        candidate.start()

    assert ("idle", ()) == (candidate.state, candidate.history)
    assert candidate.stop(timeout=0)


def test_starts_where_gevent_has_patched_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    gevent imported, threads left alone: the engine has its thread, and nothing is refused.
    """
    monkeypatch.setitem(sys.modules, "gevent.monkey", SimpleNamespace(is_module_patched=lambda _name: False))
    with Candidate("memory://", "jobs", ttl=60.0) as candidate:
        assert candidate.wait_elected(timeout=10.0) is not None


def test_is_refused_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Nobody has tested the library on Windows, and its import says so.
    """
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ImportError, match="not tested on Windows"):
        importlib.reload(leadership._platform)


@pytest.mark.parametrize("face", [AsyncCandidate, AsyncFollower])
def test_the_asyncio_faces_refuse_virtual_time(face: Callable[..., Any], sim: Simulation) -> None:
    """
    An asyncio loop cannot run in a simulation's time: the faces say which can.
    """
    with pytest.raises(ConfigError, match="runs in virtual time: use Candidate and Follower"):
        face(sim.store, "jobs")

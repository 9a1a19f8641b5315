"""
The structured log: levels, the standard library's host, structlog's host, the host that has configured nothing.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from records import a_record

from leadership.backends._zookeeper_client import _Guarded, logger
from leadership.fsm.record import Transition
from leadership.observers import LogObserver, log
from leadership.observers.log import level_of, log_event, log_failures

LOGGER = logging.getLogger("leadership")


class Keep(logging.Handler):
    """
    Keeps what was logged.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def kept() -> Iterator[list[logging.LogRecord]]:
    handler = Keep()
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.DEBUG)
    yield handler.records
    LOGGER.removeHandler(handler)
    LOGGER.setLevel(logging.NOTSET)


@pytest.fixture
def native() -> Iterator[list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []

    def keep(_logger: Any, _method: str, event: Any) -> Any:
        events.append(dict(event))
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.processors.add_log_level, keep])
    yield events
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("level", "changes"),
    [
        (logging.INFO, {}),
        (logging.INFO, {"source": "leader", "trigger": "resign", "dest": "resigning", "cause": "resigned"}),
        (logging.WARNING, {"source": "leader", "trigger": "lease_expired", "dest": "error"}),
        (logging.WARNING, {"disposition": "illegal", "source": "idle", "dest": "idle"}),
        (logging.WARNING, {"trigger": "acquired", "reason": "token_reset"}),
        (logging.INFO, {"trigger": "resign", "reason": "token_reset"}),  # by a tool that lets an operator say so
        (logging.DEBUG, {"disposition": "stay", "source": "error", "dest": "error"}),
        (logging.DEBUG, {"disposition": "ignore"}),
        (logging.DEBUG, {"disposition": "stale"}),
    ],
)
def test_level_says_who_should_look(level: int, changes: dict[str, Any], kept: list[logging.LogRecord]) -> None:
    """
    INFO for what went, WARNING for what went wrong, DEBUG for what moved nothing.
    """
    assert level == level_of(a_record(**changes))

    LogObserver()(a_record(**changes))
    assert [level] == [record.levelno for record in kept]


class CountedRecord(Transition):
    """
    A record that must not be rendered.
    """

    def as_dict(self) -> dict[str, Any]:
        raise AssertionError("rendered for nobody")  # noqa: EM101, TRY003 - a test's


def test_filtered_record_is_not_rendered() -> None:
    """
    Below the logger's level nothing is built.
    """
    record = CountedRecord(**{name: getattr(a_record(), name) for name in a_record().as_dict()})
    LOGGER.setLevel(logging.WARNING)
    try:
        LogObserver()(record)
    finally:
        LOGGER.setLevel(logging.NOTSET)


def test_message_shows_the_keys(kept: list[logging.LogRecord]) -> None:
    """
    With a plain formatter the message itself says who, what and why; keys without a value are left out.
    """
    LogObserver()(a_record(error='StoreUnavailable: it said "no"\nand 100 %d', node="frank underwood"))

    message = logging.Formatter("%(levelname)s %(name)s %(message)s").format(kept[0])
    assert message.startswith(
        'INFO leadership leadership.transition election=service/leader node="frank underwood" machine=candidate '
        "source=campaigning dest=leader trigger=acquired token=3 seq=1 at=2026-01-02T03:04:05.678901+00:00 "
    )
    assert r' error="StoreUnavailable: it said \"no\"\nand 100 %d" ' in message
    assert "cause=" not in message
    assert "\n" not in message


def test_record_carries_every_key_with_a_prefix(kept: list[logging.LogRecord]) -> None:
    """
    A formatter that writes attributes gets all keys of the record, and the event's name, as `leadership_…`.
    """
    LogObserver()(a_record())

    extras = {key: value for key, value in vars(kept[0]).items() if key.startswith("leadership_")}
    expected = {f"leadership_{key}": value for key, value in a_record().as_dict().items()}
    assert {**expected, "leadership_event": "leadership.transition"} == extras
    json.dumps(extras)


def test_reserved_keys_are_harmless(kept: list[logging.LogRecord]) -> None:
    """
    No key, be it one of logging's own or of structlog's, makes an event raise or get lost.
    """
    reserved = {*vars(logging.makeLogRecord({})), "message", "asctime", "event", "self", "fields", "level"}
    keys: dict[str, Any] = dict.fromkeys(reserved - {"exc_info"}, "x")

    failures = log_failures()
    log_event(logging.INFO, "leadership.test", **keys)

    assert failures == log_failures()
    assert {f"leadership_{key}" for key in keys} <= vars(kept[0]).keys()


def test_native_event_has_the_keys_of_the_record(native: list[dict[str, Any]], kept: list[logging.LogRecord]) -> None:
    """
    A host that has configured structlog gets the event as it is, and its standard log nothing.
    """
    LogObserver()(a_record())

    assert [{**a_record().as_dict(), "event": "leadership.transition", "level": "info"}] == native
    assert [] == kept


def test_configuration_counts_at_the_time_of_logging(kept: list[logging.LogRecord]) -> None:
    """
    A host may configure structlog after the observer was made, and logging goes there from then on.
    """
    observer = LogObserver()
    observer(a_record())
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()], logger_factory=structlog.ReturnLogger)
    try:
        observer(a_record())
    finally:
        structlog.reset_defaults()

    assert 1 == len(kept)


def test_record_keys_suit_a_native_host_that_renders_extras(kept: list[logging.LogRecord]) -> None:
    """
    `render_to_log_kwargs` puts keys into a LogRecord without a prefix: none of ours is reserved.
    """
    structlog.configure(
        processors=[structlog.stdlib.render_to_log_kwargs],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    try:
        LogObserver()(a_record())
    finally:
        structlog.reset_defaults()

    assert ("leadership", "underwood") == (kept[0].name, vars(kept[0])["node"])


class UnusableContext(dict[str, Any]):
    """
    A context class of a host that must not get into our standard log.
    """

    def __init__(self, *_args: Any) -> None:
        raise AssertionError


def test_async_host_is_served_by_the_standard_log(
    kept: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    structlog's AsyncBoundLogger works inside an event loop only; such a host gets standard records.

    Nothing of the host's configuration is in them, although the logger is first used now.
    """
    monkeypatch.delitem(vars(log._logger), "bind", raising=False)  # forget the first use
    structlog.configure(
        processors=[],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.AsyncBoundLogger,
        context_class=UnusableContext,
    )
    try:
        LogObserver()(a_record())
    finally:
        structlog.reset_defaults()

    assert 1 == len(kept)


def test_events_show_the_traceback(kept: list[logging.LogRecord]) -> None:
    """
    An exception is handed to the host's formatter, which shows it with its traceback.
    """
    try:
        raise ValueError("a callback's")  # noqa: EM101, TRY003 - a test's
    except ValueError as error:
        log_event(logging.ERROR, "leadership.callback_failed", exc_info=error, callback="lead")

    text = logging.Formatter().format(kept[0])
    assert text.startswith("leadership.callback_failed callback=lead\nTraceback")
    assert text.endswith("ValueError: a callback's")


def test_native_events_carry_the_exception(native: list[dict[str, Any]]) -> None:
    """
    structlog's processors get `exc_info` under the name that they know.
    """
    error = ValueError("a callback's")
    log_event(logging.ERROR, "leadership.callback_failed", exc_info=error)

    assert [error] == [event["exc_info"] for event in native]


class Raises(logging.Handler):
    """
    A handler that is broken.
    """

    def emit(self, record: logging.LogRecord) -> None:
        raise OSError(record.name)


def test_broken_handler_is_counted_and_not_raised() -> None:
    """
    `log_event` never raises: what a handler raised is counted, and the next event is logged as before.
    """
    handler = Raises()
    LOGGER.addHandler(handler)
    failures = log_failures()
    try:
        log_event(logging.ERROR, "leadership.test")
        with pytest.raises(OSError, match="leadership"):
            LogObserver()(a_record(dest="error"))
    finally:
        LOGGER.removeHandler(handler)

    assert failures + 1 == log_failures()
    log_event(logging.ERROR, "leadership.test")
    assert failures + 1 == log_failures()


class Exits(logging.Handler):
    """
    A host's that ends the program at an error.
    """

    def emit(self, record: logging.LogRecord) -> None:
        sys.exit(record.name)


def test_handler_that_exits_ends_no_thread_of_the_library() -> None:
    """
    There it is one more broken handler, and is counted; on the main thread it does what it is for.
    """
    handler = Exits()
    LOGGER.addHandler(handler)
    failures = log_failures()
    went_on: list[bool] = []

    def run() -> None:
        log_event(logging.ERROR, "leadership.test")
        went_on.append(True)

    thread = threading.Thread(target=run)
    try:
        thread.start()
        thread.join()
        with pytest.raises(SystemExit, match="leadership"):
            log_event(logging.ERROR, "leadership.test")
    finally:
        LOGGER.removeHandler(handler)

    assert [True] == went_on
    assert failures + 1 == log_failures()


@pytest.mark.parametrize("kind", [Raises, Exits])
def test_handler_ends_no_thread_of_kazoo(kind: type[logging.Handler]) -> None:
    """
    What kazoo says reaches the host's handlers on the thread that keeps a session alive.
    """
    said: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        said.append(record.getMessage())
        return True

    handler = kind()
    handler.addFilter(keep)
    LOGGER.addHandler(handler)
    try:
        _Guarded(logger).error("lost by %s", kind.__name__)
    finally:
        LOGGER.removeHandler(handler)

    assert [f"lost by {kind.__name__}"] == said


_SCRIPT = """
import logging, sys
sys.path.insert(0, "tests")
{host}
from records import a_record
from leadership.observers import LogObserver
from leadership.observers.log import log_event
import structlog
assert not structlog.is_configured()
LogObserver()(a_record(dest="error"))
LogObserver()(a_record())
log_event(logging.CRITICAL, "leadership.test", exc_info=ValueError("x"))
"""


def _run(host: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT.format(host=host)], capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout, done.stderr


def test_unconfigured_host_prints_nothing() -> None:
    """
    In a program that has configured no logging at all, not even a CRITICAL event writes to stdout or stderr.
    """
    assert ("", "") == _run("")


def test_host_with_basic_config_reads_lines() -> None:
    """
    `logging.basicConfig` is enough to read transitions.
    """
    out, err = _run("logging.basicConfig(level=logging.INFO)")

    lines = [line for line in err.splitlines() if ":leadership:" in line]
    assert "" == out
    assert ["WARNING", "INFO", "CRITICAL"] == [line.partition(":")[0] for line in lines]
    assert all("leadership.transition election=service/leader" in line for line in lines[:2])

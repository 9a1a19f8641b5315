"""
The structured log: an event `leadership.transition` for each record, and the library's other events.

A host that has configured structlog gets native events, by its own processors. Any other gets records of the standard
logger `leadership`: the message shows the keys as `key=value`, and the record carries them as attributes that begin
with `leadership_`, so that none collides with those of logging itself. A host that configured neither sees nothing.

Which of the two is asked at each event, not at construction: a candidate is often made while modules are imported,
before the program's first line configures anything, and the question costs less than a microsecond.

Nothing here calls `structlog.configure` or starts a thread. A record is logged on a thread of the library, where the
caller's context variables are not set; it brings `trace_id` and `span_id` of the call that it answers. A host that
wants more keys adds a processor or a filter.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Mapping, MutableMapping
from types import TracebackType
from typing import Any, Final

import structlog

from leadership.fsm.record import Transition
from leadership.fsm.row import Disposition

TRANSITION: Final = "leadership.transition"
"""
The name of the event that a record becomes; its keys are those of `Transition.as_dict()`.
"""

ExcInfo = (
    BaseException | tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None] | None
)

_PREFIX: Final = "leadership_"
_METHODS: Final = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warning",
    logging.ERROR: "error",
    logging.CRITICAL: "critical",
}
_LEADING: Final = ("election", "node", "machine", "source", "dest", "trigger", "cause", "token")

_is_word: Final = re.compile(r'[^\s"=]+').fullmatch

_failures = 0


def level_of(record: Transition) -> int:
    """
    The level of a record: a WARNING is what an operator should see, DEBUG is what moved nothing.
    """
    reset = record.trigger == "acquired" and record.reason == "token_reset"  # else they are somebody's words
    if reset or record.disposition == Disposition.ILLEGAL:
        return logging.WARNING
    if record.disposition != Disposition.GO:
        return logging.DEBUG
    return logging.WARNING if record.dest == "error" else logging.INFO


class LogObserver:
    """
    Logs records. Thread-safe: it holds nothing.

    What a handler or processor of the host raises goes to the caller, who isolates observers.
    """

    @staticmethod
    def wants(record: Transition) -> bool:
        """
        Whether the record may be logged, by its level. Waits for nothing: `isEnabledFor` takes a lock of logging's,
        which a host may hold for as long as it configures its handlers.
        """
        return structlog.is_configured() or level_of(record) >= _stdlib.getEffectiveLevel()

    def __call__(self, record: Transition) -> None:
        """
        Log one record, unless its level is filtered out.
        """
        _emit(level_of(record), TRANSITION, lambda: _leading_first(record.as_dict()), None)


def log_event(level: int, event: str, /, exc_info: ExcInfo = None, **keys: Any) -> None:
    """
    Log something that is no transition. Any thread, but a handler of the host may take its time.

    Never raises, but for what ends the program on its main thread (Ctrl-C, say): a handler that exits would end a
    thread of the library instead.

    Args:
        level: Of the standard library: `logging.WARNING` and the like.
        event: A dotted name, never a sentence.
        exc_info: An exception, or what `sys.exc_info()` returned, to be shown with its traceback.
        keys: What there is to know.
    """
    global _failures  # noqa: PLW0603 - a count lost to a race between two threads is of no consequence
    try:
        _emit(level, event, lambda: keys, exc_info)
    except BaseException as error:
        if not isinstance(error, Exception) and threading.current_thread() is threading.main_thread():
            raise
        _failures += 1  # the log itself is broken: there is nowhere to say so


def log_failures() -> int:
    """
    How many events `log_event` could not log because a handler or processor of the host raised.
    """
    return _failures


def _emit(level: int, event: str, fields: Callable[[], Mapping[str, Any]], exc_info: ExcInfo) -> None:
    extras = {} if exc_info is None else {"exc_info": exc_info}
    native = _native()
    if native is not None:
        getattr(native, _METHODS[level])(event, **fields(), **extras)
    elif _stdlib.isEnabledFor(level):
        getattr(_logger, _METHODS[level])(event, fields=fields(), **extras)


def _native() -> Any:
    """
    The host's structlog logger; None if it has configured none that can be used here.
    """
    if not structlog.is_configured():
        return None
    config = structlog.get_config()
    if config["wrapper_class"] is structlog.stdlib.AsyncBoundLogger:
        return None  # it can only be made inside an event loop, and none of the host's runs here
    # What arguments mean is the factory's own business; this one takes the logger's name.
    named = isinstance(config["logger_factory"], structlog.stdlib.LoggerFactory)
    return structlog.get_logger(*(["leadership"] if named else []))


def _leading_first(fields: dict[str, Any]) -> dict[str, Any]:
    """
    What a person looks for, before the rest.
    """
    return {**{key: fields[key] for key in _LEADING}, **fields}


def _render(_logger: Any, _method: str, event_dict: MutableMapping[str, Any]) -> tuple[tuple[str], dict[str, Any]]:
    """
    Turn an event into the arguments of a method of `logging.Logger`.
    """
    event, fields = event_dict["event"], event_dict["fields"]
    words = [event, *(f"{key}={_word(value)}" for key, value in fields.items() if value is not None)]
    extra = {_PREFIX + key: value for key, value in fields.items()}
    extra[_PREFIX + "event"] = event
    return (" ".join(words),), {"extra": extra, "exc_info": event_dict.get("exc_info")}


def _word(value: object) -> str:
    """
    A value as one word of one line, whatever is in it.
    """
    if isinstance(value, float):
        return str(round(value, 6))
    text = str(value)
    if _is_word(text) and text.isprintable():
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


_stdlib: Final = logging.getLogger("leadership")
# Without a handler, the WARNINGs of an unconfigured host would go to stderr (logging's handler of last resort).
_stdlib.addHandler(logging.NullHandler())

# Every argument is given: one left out would be taken from the host's configuration.
_logger: Final = structlog.wrap_logger(
    _stdlib,
    processors=[_render],
    wrapper_class=structlog.stdlib.BoundLogger,
    context_class=dict,
    cache_logger_on_first_use=True,
)

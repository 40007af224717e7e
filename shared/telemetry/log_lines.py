"""The format of log lines: JSON objects, or text for a terminal; and the removal of sensitive data.

A line contains ids and amounts, never a secret or personal data. Log calls are written accordingly. In addition, this
module removes the texts of exceptions that quote values, and in messages everything that looks like a token, a secret,
an e-mail address, a phone or a taxpayer number.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from json.encoder import encode_basestring
from typing import Any, Final, Protocol

REQUESTS: Final = "lastro.requests"
DELIVERIES: Final = "lastro.deliveries"
_MAX_FRAMES: Final = 30
_FIELDS: Final = ("operation", "tenant", "request_id")

# Exceptions whose texts consist of code and system messages and contain no data.
_QUOTES_NO_DATA: Final = (OSError, ImportError, AttributeError, NameError, TypeError, IndexError, RuntimeError)
_HIDDEN: Final = re.compile(
    r"""
    \bey[\w-]+\.ey[\w-]+\.[\w-]*                # a JSON Web Token
    | \b(?:bearer|basic)\s+[\w.~+/=-]+          # the value of an Authorization header
    | \b(?:whsec|sk)_[\w+/=-]+                  # a secret of ours, as it is shown
    | \bv1=[A-Za-z0-9+/]{43}=                   # a signature
    | (?<=://)[^\s/@]+@                         # user and password of a URL
    | [\w.+-]+@[\w-]+(?:\.[\w-]+)+              # an e-mail address
    | \+\d[\d ()-]{7,}\d                        # a phone number
    | \b\d{3}\.\d{3}\.\d{3}-\d{2}\b | \b\d{11}\b # a CPF
    | \b[0-9A-Z]{2}\.[0-9A-Z]{3}\.[0-9A-Z]{3}/[0-9A-Z]{4}-\d{2}\b | \b\d{14}\b  # a CNPJ
    | \b[0-9a-f]{64}\b | (?<![\w-])[\w-]{43}(?![\w-])  # a secret of 256 bits
    """,
    re.VERBOSE | re.IGNORECASE,
)


class Correlated(Protocol):
    """A request or event, with its tenant and correlation."""

    @property
    def tenant_id(self) -> str | None:
        """The tenant; None when there is none."""
        ...

    @property
    def correlation_id(self) -> str:
        """What joins the log lines of one request and of the events that follow from it."""
        ...


LoggedRun = tuple[str, Correlated, str]
"""A run of an operation: the operation, its cause and its traceparent, for the lines logged during it.

It is a plain tuple, because one is created for every request and delivery.
"""


current_run: Final[ContextVar[LoggedRun | None]] = ContextVar("current_run", default=None)


RequestLine = tuple[float, str, int, float, str, str, str]
"""An answered request: time (seconds since the epoch), operation, status, seconds, tenant, request id, traceparent.

It is a plain tuple, because one is created for every request.
"""


def shown(message: str) -> str:
    """Return the message without texts that look like secrets or personal data."""
    return _HIDDEN.sub("[hidden]", message)


def fields_of(record: logging.LogRecord) -> dict[str, str]:
    """Return the operation, tenant, request id and trace id of a line: its own, or those of the run that logged it."""
    fields = {name: str(value) for name in _FIELDS if (value := getattr(record, name, None))}
    run = current_run.get()
    if run is not None:
        operation, cause, traceparent = run
        fields.setdefault("operation", operation)
        fields.setdefault("tenant", cause.tenant_id or "")
        fields.setdefault("request_id", cause.correlation_id)
        fields.setdefault("trace_id", traceparent[3:35])
    return {name: value for name, value in fields.items() if value and value != "-"}


def exception_of(error: BaseException) -> list[str]:
    """Return an exception's type and frames, innermost first, and the same of its causes."""
    found: list[str] = []
    seen: set[int] = set()
    while id(error) not in seen and len(found) < _MAX_FRAMES:
        seen.add(id(error))
        quotes = not isinstance(error, _QUOTES_NO_DATA) and type(error).__module__ != "sqlite3"
        found.append(type(error).__name__ if quotes else shown(f"{type(error).__name__}: {error}"))
        frames = traceback.extract_tb(error.__traceback__)
        found += [f"  at {frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames)]
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is None:
            break
        error = cause
    return found[:_MAX_FRAMES]


class JsonLines:
    """Formats lines as JSON objects with time, level, logger, message, and operation, tenant, request and trace if
    known."""

    def line(self, at: float, level: str, logger: str, message: str, more: Mapping[str, Any]) -> str:
        """Return the text of a log record."""
        line = {"time": time_text(at), "level": level, "logger": logger, "message": message, **more}
        return json.dumps(line, ensure_ascii=False, default=str, separators=(",", ":")) + "\n"

    def request(self, line: RequestLine) -> str:
        """Return the line of a request. It is built by hand for speed, because every request has one."""
        at, operation, status, seconds, tenant_id, request_id, traceparent = line
        tenant = f'"tenant":{encode_basestring(tenant_id)},' if tenant_id and tenant_id != "-" else ""
        trace = f'"trace_id":"{traceparent[3:35]}",' if traceparent else ""
        # The other texts are names in the code, or have no quotes and backslashes (shared/http/request_id.py).
        return (
            f'{{"time":"{time_text(at)}","level":"info","logger":"{REQUESTS}",'
            f'"message":"{operation} answered {status}","operation":"{operation}",{tenant}'
            f'"request_id":"{request_id}",{trace}"status":{status},"duration_ms":{seconds * 1000:.3f}}}\n'
        )


class TextLines:
    """Formats lines as text for a terminal: time of day, level, logger, message, and the other fields in brackets."""

    def line(self, at: float, level: str, logger: str, message: str, more: Mapping[str, Any]) -> str:
        """Return the text of a log record; the frames of an exception follow on separate lines."""
        exception = more.get("exception", ())
        known = " ".join(f"{name}={value}" for name, value in more.items() if name != "exception")
        head = f"{time_text(at)[11:23]} {level.upper():7} {logger}: {message}" + (f" [{known}]" if known else "")
        # A line break in a message would look like a new log line.
        return "\n".join([head.replace("\n", "\\n").replace("\r", "\\r"), *exception]) + "\n"

    def request(self, line: RequestLine) -> str:
        """Return the line of a request."""
        at, operation, status, seconds, tenant_id, request_id, _ = line
        more: dict[str, Any] = {"tenant": tenant_id} if tenant_id not in ("", "-") else {}
        more |= {"request_id": request_id, "duration_ms": f"{seconds * 1000:.1f}"}
        return self.line(at, "info", REQUESTS, f"{operation} answered {status}", more)


Lines = JsonLines | TextLines

_MAX_SECONDS_KNOWN: Final = 64
_seconds_known: dict[int, str] = {}


def time_text(at: float) -> str:
    """Return the time as RFC 3339 text in UTC with milliseconds."""
    second = int(at)
    text = _seconds_known.get(second)
    if text is None:
        if len(_seconds_known) >= _MAX_SECONDS_KNOWN:
            _seconds_known.clear()
        text = _seconds_known[second] = datetime.fromtimestamp(second, UTC).isoformat()[:19]
    return f"{text}.{int((at - second) * 1000):03d}Z"

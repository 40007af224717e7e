"""The output of log lines to standard error, through a buffer in memory, so that logging a line costs little.

A thread writes the lines, several at a time, in the order in which they were logged. Nothing waits for the reader of
standard error: lines that do not fit in the buffer are counted, and a line reports their number. A message that is
repeated at `warning` or above is limited in rate.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TextIO

from shared.telemetry.log_lines import (
    DELIVERIES,
    REQUESTS,
    JsonLines,
    Lines,
    RequestLine,
    TextLines,
    exception_of,
    fields_of,
    shown,
)

REPEATS_A_SECOND: Final = 5
"""The number of lines of one message (without its arguments) that are written in a second at `warning` or above."""
MAX_WAITING: Final = 20_000
_GATHER_SECONDS: Final = 0.1
_CHECK_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 1.0
_MAX_MESSAGES: Final = 1024
_PIECE: Final = 1000

# Messages of libraries below `warning` concern their internals; those of the HTTP client contain URLs, those of PyMongo
# whole documents.
_QUIET_LIBRARIES: Final = (
    "aiokafka",
    "asyncio",
    "httpcore",
    "httpx",
    "opentelemetry",
    "pymongo",
    "urllib3",
    "uvicorn.error",
)
# uvicorn gives these loggers handlers of their own. Its line for each request contains the query, so ours replaces it.
_UVICORN: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")

# A conversion of printf-style formatting, as log messages have them: %s, %d, %.1f, and %% for a percent sign.
_PLACEHOLDER: Final = re.compile(r"%(?:%|[-+ #0]*\d*(?:\.\d+)?[a-z])")

_Message = tuple[str, int, str]


class Repeats:
    """Counts the lines of each message within the present second."""

    def __init__(self, allowed: int = REPEATS_A_SECOND) -> None:
        self._allowed = allowed
        self._began: dict[_Message, float] = {}
        self._written: dict[_Message, int] = {}
        self._dropped: dict[_Message, int] = {}

    def admits(self, message: _Message, now: float) -> bool:
        """Return whether another line of this message may be written at `now` (monotonic seconds)."""
        if now - self._began.get(message, now - 2.0) >= 1.0:
            if len(self._began) >= _MAX_MESSAGES:
                self._began.clear()
                self._written.clear()
            self._began[message], self._written[message] = now, 0
        self._written[message] += 1
        if self._written[message] <= self._allowed:
            return True
        self._dropped[message] = self._dropped.get(message, 0) + 1
        return False

    def dropped(self, now: float) -> list[tuple[_Message, int]]:
        """Return, once, the messages of which lines were dropped in an elapsed second, and their numbers."""
        over = [message for message in self._dropped if now - self._began.get(message, 0.0) >= 1.0]
        return [(message, self._dropped.pop(message)) for message in over]


class LogSink(logging.Handler):
    """The root logger's handler. Lines of requests are added directly, without the logging module. `close` writes the
    rest."""

    def __init__(self, stream: TextIO, lines: Lines) -> None:
        super().__init__()
        self._write = _writing_to(stream)
        self._lines = lines
        self._waiting: deque[str | RequestLine] = deque()
        self._lost = 0
        self._repeats = Repeats()
        self._wake = threading.Event()
        self._writing = threading.Lock()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="lastro-log", daemon=True)
        self._thread.start()

    def request(
        self, operation: str, status: int, seconds: float, tenant_id: str, request_id: str, traceparent: str
    ) -> None:
        """Queue the line of an answered request for the writing thread; when too many wait, count it as lost."""
        waiting = self._waiting
        if not waiting:
            self._wake.set()
        elif len(waiting) >= MAX_WAITING:
            self._lost += 1
            return
        waiting.append((time.time(), operation, status, seconds, tenant_id, request_id, traceparent))

    def emit(self, record: logging.LogRecord) -> None:
        """Add a line of the logging module."""
        message = (record.name, record.levelno, str(record.msg))
        if record.levelno >= logging.WARNING and not self._repeats.admits(message, time.monotonic()):
            return
        try:
            self._put(self._line_of(record))
        except Exception:  # noqa: BLE001 - as every handler of the logging module: what cannot be logged stops nothing
            self.handleError(record)

    def flush(self) -> None:
        """Write all waiting lines, unless standard error is blocked."""
        if self._writing.acquire(timeout=_CLOSE_SECONDS):
            try:
                self._log_dropped()
                self._write_waiting()
            finally:
                self._writing.release()

    def close(self) -> None:
        """Write all waiting lines, unless standard error is blocked for too long, and end the thread."""
        if not self._closing:
            self._closing = True
            self._wake.set()
            self._thread.join(_CLOSE_SECONDS)
        super().close()

    def _line_of(self, record: logging.LogRecord) -> str:
        more: dict[str, Any] = fields_of(record)
        if record.exc_info and record.exc_info[1] is not None:
            more["exception"] = exception_of(record.exc_info[1])
        return self._lines.line(record.created, record.levelname.lower(), record.name, shown(record.getMessage()), more)

    def _put(self, line: str) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self._lost += 1
            return
        self._waiting.append(line)
        self._wake.set()

    def _own(self, level: str, message: str) -> str:
        return self._lines.line(time.time(), level, __name__, message, {})

    def _work(self) -> None:
        while not self._closing:
            # The thread also wakes up at intervals, to report messages of which lines were dropped.
            self._wake.wait(_CHECK_SECONDS)
            self._wake.clear()
            self.flush()
            if not self._closing:
                time.sleep(_GATHER_SECONDS)
        self.flush()

    def _log_dropped(self) -> None:
        self.acquire()
        try:
            dropped = self._repeats.dropped(time.monotonic())
        finally:
            self.release()
        for (logger, _, message), count in dropped:
            text = f"{count} more lines of {logger} like this one were left out: {shown(_without_values(message))}"
            self._waiting.append(self._own("warning", text))
        if self._lost:
            lost, self._lost = self._lost, 0
            text = f"{lost} lines were lost: standard error does not take them as fast as they come"
            self._waiting.append(self._own("warning", text))

    def _write_waiting(self) -> None:
        waiting, lines = self._waiting, self._lines
        while waiting:
            gathered = [waiting.popleft() for _ in range(min(len(waiting), _PIECE))]
            text = "".join(item if isinstance(item, str) else lines.request(item) for item in gathered)
            # Standard error is closed or broken, so the error cannot be reported.
            with contextlib.suppress(OSError, ValueError):
                self._write(text.encode("utf-8", "backslashreplace"))


def _without_values(message: str) -> str:
    """Return a message's format with an ellipsis in place of each value."""
    return _PLACEHOLDER.sub(lambda found: "%" if found[0] == "%%" else "…", message)


def _writing_to(stream: TextIO) -> Callable[[bytes], None]:
    """Return a function that writes bytes to a stream, without the stream's own buffer if possible: the interpreter
    aborts at its end when a thread that is blocked in a write holds the buffer's lock."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return lambda content: _write_text(stream, content)
    return lambda content: _write_all(descriptor, content)


def _write_text(stream: TextIO, content: bytes) -> None:
    stream.write(content.decode())
    stream.flush()


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def log_once(level: str, logger: str, message: str, format: str, stream: TextIO | None = None) -> None:
    """Write one line when logging cannot be set up."""
    stream = stream or sys.stderr
    line = lines_for(format, stream).line(time.time(), level, logger, shown(message), {})
    _writing_to(stream)(line.encode("utf-8", "backslashreplace"))


def lines_for(format: str, stream: TextIO) -> Lines:
    """Return the formatter for a stream: text if `format` is `text`, or on a terminal unless it is `json`."""
    return TextLines() if format == "text" or (format != "json" and stream.isatty()) else JsonLines()


class Logs:
    """The logging of the process. `close` ends it."""

    def __init__(self, level: str, format: str, stream: TextIO | None = None) -> None:
        """`level` and `format` are those of the settings. Writes to `stream`, standard error by default."""
        stream = stream or sys.stderr
        self.sink = LogSink(stream, lines_for(format, stream))
        self._root = logging.getLogger()
        self._level_before = self._root.level
        self._root.setLevel(level.upper())
        self._root.addHandler(self.sink)
        for name in _UVICORN:
            library = logging.getLogger(name)
            library.handlers.clear()
            library.propagate = True
        for name in _QUIET_LIBRARIES:
            logging.getLogger(name).setLevel(max(logging.WARNING, self._root.level))
        logging.getLogger("uvicorn.access").disabled = True

    @property
    def requests(self) -> LogSink | None:
        """The log of answered requests, or None when the level excludes them."""
        return self.sink if logging.getLogger(REQUESTS).isEnabledFor(logging.INFO) else None

    @property
    def deliveries(self) -> logging.Logger | None:
        """The log of deliveries of events, or None when the level excludes them."""
        logger = logging.getLogger(DELIVERIES)
        return logger if logger.isEnabledFor(logging.DEBUG) else None

    def close(self) -> None:
        """Write all waiting lines and remove the handler."""
        self._root.removeHandler(self.sink)
        self._root.setLevel(self._level_before)
        self.sink.close()

"""Where log lines go: to standard error, through memory, so that a line costs the one who logs it next to nothing.

Lines are gathered and written by a thread, several at a time, in the order in which they were logged. Nothing waits for
the reader of standard error: what does not fit in memory any more is counted and said in a line of its own.
A message that is repeated at `warning` or above is bounded by rate.
"""

from __future__ import annotations

import contextlib
import logging
import os
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
"""How many lines of one message (before its arguments are put in) are written a second at `warning` or above."""
MAX_WAITING: Final = 20_000
_GATHER_SECONDS: Final = 0.1
_LOOK_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 1.0
_MAX_MESSAGES: Final = 1024
_PIECE: Final = 1000

# What libraries say below `warning` is about their own insides, and of a client that is a URL.
_QUIET_LIBRARIES: Final = ("asyncio", "httpcore", "httpx", "opentelemetry", "urllib3", "uvicorn.error")
# uvicorn gives these handlers of their own; its line for each request, with the query in it, is replaced by ours.
_UVICORN: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")

_Message = tuple[str, int, str]


class Repeats:
    """Counts the lines of each message within the present second."""

    def __init__(self, allowed: int = REPEATS_A_SECOND) -> None:
        self._allowed = allowed
        self._began: dict[_Message, float] = {}
        self._written: dict[_Message, int] = {}
        self._dropped: dict[_Message, int] = {}

    def admits(self, message: _Message, now: float) -> bool:
        """Whether one more line of this message is to be written at `now` (monotonic seconds)."""
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
        """The messages of which lines were left out in a second that is over, and how many. They are told once."""
        over = [message for message in self._dropped if now - self._began.get(message, 0.0) >= 1.0]
        return [(message, self._dropped.pop(message)) for message in over]


class LogSink(logging.Handler):
    """The root logger's handler, and the way of requests' lines around the logging module. `close` writes the rest."""

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
        """Log one answered request."""
        waiting = self._waiting
        if not waiting:
            self._wake.set()
        elif len(waiting) >= MAX_WAITING:
            self._lost += 1
            return
        waiting.append((time.time(), operation, status, seconds, tenant_id, request_id, traceparent))

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line of the logging module."""
        message = (record.name, record.levelno, str(record.msg))
        if record.levelno >= logging.WARNING and not self._repeats.admits(message, time.monotonic()):
            return
        try:
            self._put(self._line_of(record))
        except Exception:  # noqa: BLE001 - as every handler of the logging module: what cannot be logged stops nothing
            self.handleError(record)

    def flush(self) -> None:
        """Write what is waiting, unless standard error is stuck."""
        if self._writing.acquire(timeout=_CLOSE_SECONDS):
            try:
                self._tell_dropped()
                self._write_waiting()
            finally:
                self._writing.release()

    def close(self) -> None:
        """Write what is waiting, unless standard error takes too long for it, and end the thread."""
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
            # Looked at now and then without being woken, for the messages of which lines were left out.
            self._wake.wait(_LOOK_SECONDS)
            self._wake.clear()
            self.flush()
            if not self._closing:
                time.sleep(_GATHER_SECONDS)
        self.flush()

    def _tell_dropped(self) -> None:
        self.acquire()
        try:
            dropped = self._repeats.dropped(time.monotonic())
        finally:
            self.release()
        for (logger, _, message), count in dropped:
            text = f"{count} more lines like this one of {logger} were left out: {shown(message)}"
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
            # A closed or broken standard error has no reader: there is nowhere to say so.
            with contextlib.suppress(OSError, ValueError):
                self._write(text.encode("utf-8", "backslashreplace"))


def _writing_to(stream: TextIO) -> Callable[[bytes], None]:
    """What writes bytes to a stream. Around the stream's own buffer where that can be done: at its end the
    interpreter dies of a buffer whose lock a thread holds that is stuck in a write."""
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
    """Write one line where logging is not set up, and cannot be."""
    stream = stream or sys.stderr
    line = lines_for(format, stream).line(time.time(), level, logger, shown(message), {})
    _writing_to(stream)(line.encode("utf-8", "backslashreplace"))


def lines_for(format: str, stream: TextIO) -> Lines:
    """How lines are written to a stream: text when `format` says so, or on a terminal when it does not say `json`."""
    return TextLines() if format == "text" or (format != "json" and stream.isatty()) else JsonLines()


class Logs:
    """The process's logging, set up; `close` ends it."""

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
        """Where answered requests are logged, or None where the level leaves them out."""
        return self.sink if logging.getLogger(REQUESTS).isEnabledFor(logging.INFO) else None

    @property
    def deliveries(self) -> logging.Logger | None:
        """Where deliveries of events are logged, or None where the level leaves them out."""
        logger = logging.getLogger(DELIVERIES)
        return logger if logger.isEnabledFor(logging.DEBUG) else None

    def close(self) -> None:
        """Write what is waiting, and take the handler away."""
        self._root.removeHandler(self.sink)
        self._root.setLevel(self._level_before)
        self.sink.close()

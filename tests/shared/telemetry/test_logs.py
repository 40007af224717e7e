"""Log lines: their fields, the data that they never contain, and their cost."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from shared.telemetry.log_lines import JsonLines, RequestLine, TextLines, current_run, shown
from shared.telemetry.logs import REPEATS_A_SECOND, Logs, Repeats, log_once
from tests.waiting import PATIENCE_SECONDS

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
LINE: RequestLine = (1_790_000_000.25, "payments/create_payment", 201, 0.0032, "demo", "req_1", TRACEPARENT)
log = logging.getLogger("tests.logs")


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@contextmanager
def logging_to(stream: io.StringIO, level: str = "info", format: str = "auto") -> Iterator[Logs]:
    """Set up the logging as in a process of Lastro."""
    logs = Logs(level, format, stream)
    try:
        yield logs
    finally:
        logs.close()


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return the written lines, each parsed as JSON."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object() -> None:
    """A line has time, level, logger and message, and in a run the operation, tenant, request id and trace id."""
    stream = io.StringIO()
    cause = SimpleNamespace(tenant_id="demo", correlation_id="req_1")
    with logging_to(stream):
        log.info("before")
        token = current_run.set(("payments/settle", cause, TRACEPARENT))
        log.warning("a line\nwith a break and %s", "ç")
        current_run.reset(token)
    before, within = lines_of(stream)
    assert before.keys() == {"time", "level", "logger", "message"}
    assert {**within, "time": ""} == {
        "time": "",
        "level": "warning",
        "logger": "tests.logs",
        "message": "a line\nwith a break and ç",
        "operation": "payments/settle",
        "tenant": "demo",
        "request_id": "req_1",
        "trace_id": TRACEPARENT[3:35],
    }
    assert within["time"].endswith("Z")


def test_the_default_format_on_a_terminal_is_text() -> None:
    """`auto` is text on a terminal and JSON elsewhere; `text` and `json` are fixed; a message with a line break is
    one line."""
    for stream, format, is_text in (
        (Terminal(), "auto", True),
        (Terminal(), "json", False),
        (io.StringIO(), "auto", False),
        (io.StringIO(), "text", True),
    ):
        with logging_to(stream, format=format) as logs:
            log.info("two\nlines")
            assert logs.requests is not None
            logs.requests.request(*LINE[1:])
        first, second = stream.getvalue().splitlines()
        assert first.startswith("{") is not is_text
        assert ("INFO    tests.logs: two\\nlines" in first) is is_text
        assert ("lastro.requests: payments/create_payment answered 201 [tenant=demo" in second) is is_text


def test_the_line_of_a_request_is_equal_to_a_general_line() -> None:
    """The line of a request, which is built by hand, has the same JSON as one of the general formatter."""
    line = json.loads(JsonLines().request(LINE))
    assert line == {
        "time": "2026-09-21T14:13:20.250Z",
        "level": "info",
        "logger": "lastro.requests",
        "message": "payments/create_payment answered 201",
        "operation": "payments/create_payment",
        "tenant": "demo",
        "request_id": "req_1",
        "trace_id": TRACEPARENT[3:35],
        "status": 201,
        "duration_ms": 3.2,
    }
    strange = json.loads(JsonLines().request((*LINE[:4], 'a"b\\c\n', "req_1", "")))
    assert (strange["tenant"], "trace_id" in strange) == ('a"b\\c\n', False)
    assert "tenant" not in json.loads(JsonLines().request((*LINE[:4], "-", "req_1", "")))
    assert "tenant" not in TextLines().request((*LINE[:4], "-", "req_1", ""))


@pytest.mark.parametrize(
    ("level", "requests", "deliveries"),
    [("debug", True, True), ("info", True, False), ("warning", False, False), ("error", False, False)],
)
def test_the_level_decides(level: str, requests: bool, deliveries: bool) -> None:
    """Requests are logged at `info`, deliveries at `debug`."""
    with logging_to(io.StringIO(), level) as logs:
        assert (logs.requests is not None, logs.deliveries is not None) == (requests, deliveries)


def test_repeated_failures_are_bounded_by_rate() -> None:
    """Of a thousand lines of one message a few are written, then one with the number of dropped lines; lines of other
    messages, and those below `warning`, are all written."""
    stream = io.StringIO()
    with logging_to(stream) as logs:
        for number in range(1000):
            log.warning("the store cannot write: %d", number)
        log.warning("another")
        for number in range(20):
            log.info("fine: %d", number)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while "left out" not in stream.getvalue():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        logs.sink.flush()
    messages = [line["message"] for line in lines_of(stream)]
    written = [message for message in messages if message.startswith("the store")]
    left_out = [int(message.split()[0]) for message in messages if "left out" in message]
    assert len(written) < 50
    assert len(written) + sum(left_out) == 1000
    assert all("the store cannot write: …" in message for message in messages if "left out" in message)
    assert messages.count("another") == 1
    assert sum(message.startswith("fine") for message in messages) == 20


def test_dropped_lines_are_counted_by_message_and_second() -> None:
    """Each message has its own limit in a second, and its number of dropped lines is reported once, after the
    second."""
    repeats = Repeats()
    message = ("logger", logging.WARNING, "text")
    assert [repeats.admits(message, 10.0) for _ in range(REPEATS_A_SECOND + 3)].count(True) == REPEATS_A_SECOND
    assert repeats.admits(("logger", logging.ERROR, "text"), 10.0)
    assert repeats.dropped(10.5) == []
    assert repeats.dropped(11.0) == [(message, 3)]
    assert repeats.dropped(12.0) == []
    assert repeats.admits(message, 11.0)


def test_the_messages_that_are_counted_are_bounded() -> None:
    """Unlimited different messages are all written, and the memory for counting them is bounded."""
    repeats = Repeats()
    assert all(repeats.admits(("logger", logging.WARNING, f"{number}"), 10.0) for number in range(5000))
    assert len(repeats._began) <= 1024


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("token eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl refused", "eyJ"),
        ("Authorization: Bearer abc.def", "abc.def"),
        ("Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        (f"signature v1={'A' * 43}= of", "AAAA"),
        ("secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ"),
        (f"client secret {'0f' * 32}", "0f0f"),
        ("mongodb://user:pa55@host:27017/x", "pa55"),
        ("mail to ana.souza+x@example.com.br failed", "ana.souza"),
        ("cpf 52998224725", "52998224725"),
        ("cpf 529.982.247-25", "529.982"),
        ("cnpj 11222333000181", "11222333000181"),
        ("cnpj 12.ABC.345/01DE-35", "12.ABC"),
        ("phone +55 11 91234-5678", "91234"),
    ],
)
def test_secrets_and_personal_data_are_hidden(text: str, secret: str) -> None:
    """Tokens, secrets, signatures, e-mail addresses and numbers of persons are removed from messages."""
    assert secret in text
    assert secret not in shown(text)
    assert "[hidden]" in shown(text)


@pytest.mark.parametrize(
    "text",
    [
        "pay_0199f1b2c3d47e5f8a9b0c1d2e3f4a5b settled 1050 BRL in 3 ms",
        "lastro.payment.created.v1 evt_0199f1b2c3d48e5f8a9b0c1d2e3f4a5b answered 204",
        "http://127.0.0.1:8080/realms/lastro cannot be read: 2026-11-26T10:58:41.311Z",
        "the data directory .lastro is in use by another Lastro process",
    ],
)
def test_ids_amounts_and_addresses_are_shown(text: str) -> None:
    """Ids, amounts and network addresses in messages are not removed."""
    assert shown(text) == text


def test_an_exception_is_logged_with_its_place_and_without_data() -> None:
    """The type and frames of an exception and its causes are logged, without texts that may quote data."""

    def failing() -> None:
        try:
            int("Ana Souza")
        except ValueError as error:
            raise FileNotFoundError(2, "No such file", "keys.json") from error

    stream = io.StringIO()
    with logging_to(stream):
        try:
            failing()
        except OSError:
            log.exception("it failed")
        log.warning("without one", exc_info=True)  # noqa: LOG014 - that is what is tried
    first, second = lines_of(stream)
    assert first["exception"][0] == "FileNotFoundError: [Errno 2] No such file: 'keys.json'"
    assert "ValueError" in first["exception"]
    assert any("test_logs.py" in frame and "failing" in frame for frame in first["exception"])
    assert "Souza" not in stream.getvalue()
    assert "exception" not in second


def test_an_endless_chain_of_causes_ends() -> None:
    """Exceptions that are each other's cause are logged."""
    stream = io.StringIO()
    first, second = KeyError("a"), KeyError("b")
    first.__cause__, second.__cause__ = second, first
    with logging_to(stream, format="text"):
        log.error("in a circle", exc_info=first)
    assert stream.getvalue().splitlines()[1:] == ["KeyError", "KeyError"]


def test_a_blocked_standard_error_delays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """While standard error is not read, lines are dropped and counted, and neither logging nor the end of the process
    waits."""
    monkeypatch.setattr("shared.telemetry.logs.MAX_WAITING", 1000)
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, contextlib.ExitStack() as later:
        later.callback(os.close, reading)
        fill(writing)
        logs = Logs("info", "json", stream)
        log.info("the first line blocks the thread")
        waited_until = time.monotonic() + PATIENCE_SECONDS
        while logs.sink._waiting or not logs.sink._writing.locked():
            assert time.monotonic() < waited_until
            time.sleep(0.01)
        for _ in range(2000):
            logs.sink.request(*LINE[1:])
            log.info("x" * 100)
        logs.close()
        assert logs.sink._lost == 3000
        later.close()
        logs.sink._thread.join(PATIENCE_SECONDS)
        assert not logs.sink._thread.is_alive()


def fill(writing: int) -> None:
    """Write to a pipe until it takes no more."""
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 512)
    os.set_blocking(writing, True)


def test_the_number_of_dropped_lines_is_logged() -> None:
    """The number of lines that did not fit in the buffer is logged."""
    stream = io.StringIO()
    with logging_to(stream) as logs:
        logs.sink._lost = 7
        logs.sink.flush()
    assert [line["message"][:17] for line in lines_of(stream)] == ["7 lines were lost"]


def test_the_line_of_a_request_costs_one_call() -> None:
    """Logging a request calls one method; another thread makes and writes the text."""
    with logging_to(io.StringIO()) as logs:
        logs.sink.request(*LINE[1:])
        calls: list[str] = []
        logs.sink._waiting.append("not empty")
        sys.setprofile(lambda frame, event, _: calls.append(frame.f_code.co_name) if event == "call" else None)
        logs.sink.request(*LINE[1:])
        sys.setprofile(None)
    assert calls == ["request"]


def test_libraries_are_quiet_and_uvicorn_writes_no_lines_of_its_own() -> None:
    """Libraries log only warnings, in the same format, and uvicorn's access log is off."""
    stream = io.StringIO()
    with logging_to(stream, "debug"):
        for name in ("httpx", "uvicorn.error", "asyncio", "urllib3.connectionpool", "pymongo.command"):
            logging.getLogger(name).info("HTTP Request: GET http://x/?cpf=52998224725")
        logging.getLogger("uvicorn.access").warning("GET /v1/users?x")
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    assert [line["message"] for line in lines_of(stream)] == ["Invalid HTTP request received."]
    logging.getLogger("uvicorn.access").disabled = False


def test_one_line_can_be_written_before_logging_is_set_up() -> None:
    """The reason for a failed start is written in the configured format, also when the format is misspelt."""
    streams = io.StringIO(), Terminal(), io.StringIO()
    for stream, format in zip(streams, ("nonsense", "", "text"), strict=True):
        log_once("error", "x", "LASTRO_LOG_FORMAT='nonsense' is not one of …", format, stream)
    assert json.loads(streams[0].getvalue())["level"] == "error"
    assert [stream.getvalue().startswith("{") for stream in streams] == [True, False, False]

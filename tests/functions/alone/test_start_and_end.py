"""The start, errors and end of a function's own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.files.keyfile import KEY_FILE
from shared.adapters.sqlite.store import SqliteStore
from shared.core.clock import SystemClock
from shared.core.settings import Settings
from tests.functions.alone.starting import ROOT, SERVED, Alone, fork_server, started
from tests.opening import open_adapter
from tests.processes import bound
from tests.shared.adapters.otlp.receiver import receiving
from tests.waiting import PATIENCE_SECONDS

FUNCTION = {"FUNCTION_TARGET": "get_payment", "FUNCTION_SOURCE": "functions/payments/get_payment.py"}
WAYS: dict[str, list[str]] = {
    "the image's command": ["uvicorn", *SERVED, "--port", "0"],
    "the framework's application": ["uvicorn", "functions_framework.aio:app", "--port", "0"],
    "the framework's command": ["functions_framework", "--asgi", "--port", "0"],
}


def environment(data_dir: Path, **settings: str) -> dict[str, str]:
    """Return the environment of a process with only these settings of Lastro."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LASTRO_", "OTEL_"))}
    return {**kept, **FUNCTION, "PYTHONPATH": str(ROOT), "LASTRO_DATA_DIR": str(data_dir), **settings}


def log_of(text: str) -> list[dict[str, Any]]:
    """Return the lines of Lastro's log."""
    # The process may be writing: text after the last line break is not a line yet.
    complete = text[: text.rfind("\n") + 1]
    return [json.loads(line) for line in complete.splitlines() if line.startswith("{")]


def empty_key_file(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / KEY_FILE).touch(0o600)


def broken_flags(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "flags.yaml").write_text("pix: [\n")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("setting", "prepare", "shown"),
    [
        ({"LASTRO_DOCUMENTS": "mysql://user:pa55@h/x"}, None, "LASTRO_DOCUMENTS names a 'mysql' server"),
        ({"LASTRO_LOG_LEVEL": "nope"}, None, "LASTRO_LOG_LEVEL='nope' is not one of debug, info, warning, error"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, None, "OTEL_EXPORTER_OTLP_PROTOCOL='grpc' is not one of"),
        ({}, empty_key_file, f"{KEY_FILE} is empty"),
        ({}, broken_flags, "flags.yaml cannot be read as YAML"),
    ],
    ids=["server", "value", "otel", "key file", "flags"],
)
def test_an_invalid_setting_or_file_stops_the_process_at_start(
    tmp_path: Path, way: str, setting: dict[str, str], prepare: Callable[[Path], None] | None, shown: str
) -> None:
    """With an invalid setting or file, each way of starting ends with 1 and one line with its name, and no port is
    opened."""
    if prepare is not None:
        prepare(tmp_path / "data")
    ended = fork_server().run(*WAYS[way], cwd=ROOT, env=environment(tmp_path / "data", **setting))
    assert ended.returncode == 1
    (line,) = log_of(ended.stderr)
    assert shown in line["message"]
    assert line["level"] == "error"
    assert "pa55" not in ended.stderr
    assert "running on" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_missing_function_file_is_named(tmp_path: Path) -> None:
    """A source file that does not exist stops the process with one line."""
    ended = subprocess.run(
        bound([sys.executable, "-P", "-m", *WAYS["the image's command"]]),
        cwd=ROOT,
        env=environment(tmp_path, FUNCTION_SOURCE="functions/nowhere.py"),
        capture_output=True,
        text=True,
        check=False,
    )
    (line,) = log_of(ended.stderr)
    assert (ended.returncode, "functions/nowhere.py" in line["message"]) == (1, True)


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Alone]:
    """Start a function that does not wait for the data directory."""
    settings = {"LASTRO_DATA_LOCK_SECONDS": "0.1", "LASTRO_LOGLEVEL": "debug"}
    with started("functions/payments/get_payment.py", tmp_path / "data", **settings) as alone:
        yield alone


async def test_beside_a_running_platform_it_says_who_has_the_data_directory(tmp_path: Path, beside: Alone) -> None:
    """While another process uses its data directory, /readyz is 503 with the reason, which is logged, and /healthz is
    200; afterwards /readyz is 200."""
    held = await open_adapter(SqliteStore(tmp_path / "data", collections=(), settings=Settings(), clock=SystemClock()))
    reason = (
        f"the data directory {tmp_path / 'data'} is in use by another Lastro process: stop that process, or set "
        "LASTRO_DATA_DIR to another directory"
    )
    for _ in range(2):
        answer = beside.send("GET", "/readyz", {})
        assert (answer.status, json.loads(answer.body)["reason"]) == (503, reason)
    assert beside.send("GET", "/healthz", {}).status == 200
    await held.aclose()
    assert beside.send("GET", "/readyz", {}).status == 200
    messages: list[str] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    # A line is written a moment after its request.
    while not any(reason in message for message in messages) and time.monotonic() < deadline:
        messages = [line["message"] for line in log_of(beside.output())]
    assert "the environment has LASTRO_LOGLEVEL, which is not a setting; did you mean LASTRO_LOG_LEVEL?" in messages
    assert [message for message in messages if reason in message]
    assert not [message for message in messages if "ready" in message]


def test_a_database_that_is_damaged_is_named(tmp_path: Path, beside: Alone) -> None:
    """A function whose database cannot be opened is not ready, with the file's name and the remedy."""
    (tmp_path / "data").mkdir(exist_ok=True)
    (tmp_path / "data" / "lastro.db").write_bytes(b"no database" * 1000)
    answer = beside.send("GET", "/readyz", {})
    assert answer.status == 503
    assert "lastro.db is damaged" in json.loads(answer.body)["reason"]


def test_its_telemetry_reaches_a_collector_by_its_end(tmp_path: Path) -> None:
    """With an endpoint, the spans of a function's requests are sent, the last ones when it stops."""
    with receiving() as receiver:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "K_SERVICE": "payments-get-payment"}
        with started("functions/payments/get_payment.py", tmp_path / "data", **settings) as alone:
            assert alone.send("GET", "/v1/payments/pay_0", {}).status == 401
        assert [span.name for span in receiver.spans()] == ["payments/get_payment"]
        assert receiver.resource()["service.name"] == "payments-get-payment"


def test_its_log_has_the_platforms_format(tmp_path: Path) -> None:
    """Every line is JSON: one when it has started, one for each request, one when it stops, and none of uvicorn's."""
    with started("functions/payments/get_payment.py", tmp_path / "data") as alone:
        ids = [
            alone.send("GET", path, {}).headers["x-request-id"] for path in ("/v1/payments/pay_0?x=secret", "/nowhere")
        ]
    assert all(line.startswith("{") for line in alone.output().splitlines())
    started_up, *requests, stopping = log_of(alone.output())
    assert (started_up["message"], stopping["message"]) == ("get_payment has started", "stopping")
    assert [(line["request_id"], line["status"]) for line in requests] == [(ids[0], 401), (ids[1], 404)]
    assert "secret" not in alone.output()

"""The log of `lastro up`, and the data that is never in it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.adapters.sqlite.writer import _FRAME
from tests.cli.started import ROOT, Started, environment, run, started
from tests.shared.adapters.otlp.receiver import receiving
from tests.waiting import PATIENCE_SECONDS

NAME, NUMBER, EMAIL, PHONE = "Ana Maria Souza", "52998224725", "ana.souza@example.com", "+5511912345678"
FIELDS = {"time", "level", "logger", "message"}


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return the log, each line parsed as JSON."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def pay(platform: Started) -> list[str]:
    """Make a payment with all its resources, and return the texts that no log line may show."""
    where = ("--data-dir", str(platform.data_dir))

    def post(path: str, body: object, *options: str) -> Any:
        sent = run("request", "POST", path, "-d", json.dumps(body), *where, *options)
        return json.loads(sent.stdout)

    user = {
        "kind": "customer",
        "name": NAME,
        "document": {"type": "cpf", "number": NUMBER},
        "email": EMAIL,
        "phone": PHONE,
        "metadata": {"note": "a-note-of-theirs"},
    }
    owner = post("/v1/users", user)["id"]
    account = {"owner_id": owner, "currency": "BRL", "overdraft_limit": 1000}
    payer, payee = (post("/v1/accounts", account)["id"] for _ in range(2))
    payment = {
        "amount": {"value": 100, "currency": "BRL"},
        "method": "internal",
        "payer_account_id": payer,
        "payee_account_id": payee,
        "description": "a-description-of-theirs",
    }
    post("/v1/payments", payment, "--wait", "10")
    tenant = post("/v1/tenants", {"name": "A-name-of-theirs"}, "--platform")
    token = run("token", *where).stdout.strip()
    for path in (f"/v1/users/{NUMBER}?email={EMAIL}", f"/nowhere/{NUMBER}", f"/v1/users?email={EMAIL}"):
        httpx.get(f"{platform.announced['base_url']}{path}", headers={"authorization": f"Bearer {token}"})
    httpx.get(f"{platform.announced['base_url']}/v1/users", headers={"authorization": f"Bearer {token}x"})
    kept = json.loads((platform.data_dir / "credentials.json").read_text())
    return [
        *(NAME, NUMBER, EMAIL, PHONE, "of-theirs", "ana.souza", token, token.split(".")[2]),
        *(kept["platform"]["client_secret"], kept["demo"]["client_secret"], kept["demo"]["signing_secret"]),
        *(tenant["client"]["client_secret"], tenant["signing_key"]["secret"]),
    ]


def test_every_line_is_json_and_no_secret_or_person_is_in_one(tmp_path: Path) -> None:
    """At `debug`, during a payment, refusals and wrong tokens, each line is a JSON object, and none has a secret, a
    token, personal data or a body."""
    errors = tmp_path / "errors"
    with errors.open("wb") as stream, started(tmp_path / "data", stderr=stream, LASTRO_LOG_LEVEL="debug") as platform:
        hidden = pay(platform)
        assert platform.stop() == 0
    lines = lines_of(errors)
    assert all(line.keys() >= FIELDS for line in lines)
    assert {line["level"] for line in lines} <= {"debug", "info", "warning"}
    text = errors.read_text()
    assert [secret for secret in hidden if secret in text] == []
    deliveries = [line for line in lines if line["logger"] == "lastro.deliveries"]
    assert {line["operation"] for line in deliveries} >= {"payments/settle", "ledger/post_transfer"}
    assert all(line["request_id"] and line["trace_id"] and line["level"] == "debug" for line in deliveries)
    settled = next(line for line in deliveries if line["operation"] == "payments/settle")
    assert settled["tenant"] == "demo"
    payment = next(line for line in lines if line.get("operation") == "payments/create_payment")
    assert (settled["request_id"], settled["trace_id"]) == (payment["request_id"], payment["trace_id"])


def test_there_is_one_line_for_each_request_at_the_default_level(tmp_path: Path) -> None:
    """Each request has one line with the X-Request-Id of its answer, and deliveries have none."""
    errors = tmp_path / "errors"
    with errors.open("wb") as stream, started(tmp_path / "data", stderr=stream) as platform:
        ids = [
            httpx.request(method, f"{platform.announced['base_url']}{path}").headers["x-request-id"]
            for method, path in (
                ("GET", "/readyz"),
                ("GET", "/nowhere"),
                ("PUT", "/v1/payments"),
                ("GET", "/v1/payments"),
                ("GET", "/v1/payments/pay_0?x=1"),
                ("POST", "/v1/payments"),
                ("GET", "/v1/openapi.json"),
                ("POST", "/realms/lastro/protocol/openid-connect/token"),
            )
        ]
        assert platform.stop() == 0
    requests = [line for line in lines_of(errors) if line["logger"] == "lastro.requests"]
    logged = [line["request_id"] for line in requests]
    assert [logged.count(id) for id in ids] == [1] * len(ids)
    assert all(line["status"] and line["duration_ms"] >= 0 for line in requests)
    by_id = {line["request_id"]: line for line in requests}
    assert [by_id[id]["operation"] for id in ids[:4]] == [
        "platform/readyz",
        "gateway",
        "gateway",
        "payments/list_payments",
    ]
    assert not [line for line in lines_of(errors) if line["logger"] == "lastro.deliveries"]


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("LASTRO_LOG_LEVEL", "nope", "LASTRO_LOG_LEVEL='nope' is not one of debug, info, warning, error"),
        ("LASTRO_LOG_FORMAT", "xml", "LASTRO_LOG_FORMAT='xml' is not one of auto, json, text"),
        ("LASTRO_TRACE_RATIO", "2", "LASTRO_TRACE_RATIO='2' is not between 0 and 1"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL='grpc' is not one of http/protobuf"),
        ("LASTRO_IDENTITY", "id.example/realms/x", "LASTRO_IDENTITY is not an http:// or https:// URL"),
    ],
)
def test_an_invalid_setting_stops_the_start(tmp_path: Path, name: str, value: str, shown: str) -> None:
    """An invalid setting ends the start with exit code 1 and one line with the variable and its accepted values, and
    no file is created."""
    ended = run("up", "--port", "0", "--data-dir", str(tmp_path / "data"), **{name: value})
    assert (ended.returncode, ended.stderr.splitlines()[-1][: len(shown) + 8]) == (1, f"lastro: {shown}")
    assert len(ended.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()


def test_a_misspelt_setting_causes_a_warning(tmp_path: Path) -> None:
    """A misspelt LASTRO_ variable causes a warning with the probable name, and other variables do not."""
    errors = tmp_path / "errors"
    with (
        errors.open("wb") as stream,
        started(tmp_path / "data", stderr=stream, LASTRO_LOGLEVEL="debug", LASTRO_SERVICE_HOST="10.0.0.1") as platform,
    ):
        assert platform.stop() == 0
    warned = [line["message"] for line in lines_of(errors) if line["level"] == "warning"]
    assert warned == ["the environment has LASTRO_LOGLEVEL, which is not a setting; did you mean LASTRO_LOG_LEVEL?"]


def test_telemetry_of_the_platform_reaches_a_collector_by_its_end(tmp_path: Path) -> None:
    """With an endpoint, the spans of every request are sent by default, the last ones when the platform stops."""
    with receiving() as receiver:
        with started(tmp_path / "data", "--no-demo", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url) as platform:
            httpx.get(f"{platform.announced['base_url']}/v1/payments")
            assert platform.stop() == 0
        assert [span.name for span in receiver.spans()] == ["payments/list_payments"]
        assert receiver.metrics()["http.server.request.duration"].histogram.data_points[-1].count == 1


def test_the_writer_s_process_logs_alike(tmp_path: Path) -> None:
    """An error in the writer process is a JSON line, and the process ends with 1."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        writer = subprocess.Popen(
            [sys.executable, "-P", "-m", "shared.adapters.sqlite.writer", str(tmp_path), str(theirs.fileno())],
            cwd=ROOT,
            env={**environment(), "PYTHONPATH": str(ROOT)},
            pass_fds=(theirs.fileno(),),
            stderr=subprocess.PIPE,
            text=True,
        )
        ours.sendall(_FRAME.pack(1, 4) + b"\xff\xff\xff\xff")
        _, errors = writer.communicate(timeout=PATIENCE_SECONDS)
    (line,) = (json.loads(line) for line in errors.splitlines())
    assert (writer.returncode, line["level"], line["message"]) == (1, "error", "the store's writer failed")
    assert line["exception"][0] == "ValueError"


def test_the_text_format_can_be_chosen(tmp_path: Path) -> None:
    """LASTRO_LOG_FORMAT=text writes text also when standard error is not a terminal."""
    errors = tmp_path / "errors"
    with started(tmp_path / "data", errors=errors, LASTRO_LOG_FORMAT="text") as platform:
        assert platform.stop() == 0
    assert " INFO    " in errors.read_text()
    assert "{" not in errors.read_text()

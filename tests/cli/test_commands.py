"""Every command against a running platform."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from tests.cli.conftest import Lastro
from tests.cli.started import Started


def _json(result: Result) -> Any:
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


def _tenant(lastro: Lastro, name: str) -> str:
    body = json.dumps({"id": name, "name": name})
    made = _json(lastro("request", "--platform", "POST", "/v1/tenants", "-d", body))
    return str(made["id"])


def test_the_demo_succeeds(lastro: Lastro) -> None:
    """The demo succeeds, prints a table or JSON, and can be repeated."""
    shown = lastro("demo")
    document = _json(lastro("demo", "--json"))
    assert shown.exit_code == 0, shown.output
    assert "insufficient_funds" in shown.stdout
    assert "Trial balance, BRL" in shown.stdout
    assert document["ok"] is True
    assert [balance["available"] for balance in document["balances"]] == [35000, 8766, 16234]


def test_the_marketplace_of_the_demo_succeeds(lastro: Lastro) -> None:
    """The story `marketplace` runs with any number of users, and every step of it is as expected, a return by PIX, a
    charge with a due date and a report of fraud too; another story is refused with the names of those that there
    are."""
    document = _json(lastro("demo", "--story", "marketplace", "--users", "12", "--json"))
    assert document["ok"], [step for step in document["steps"] if not step["ok"]]
    outcomes = {step["outcome"] for step in document["steps"]}
    assert {"declined: limit_exceeded", "declined: user_suspended", "settled"} <= outcomes
    returned = [step for step in document["steps"] if step["what"] == "a part of it is returned to its payer"]
    assert [step["outcome"] for step in returned] == ["settled"]
    outcome_of = {step["what"]: (step["outcome"], step["amount"]) for step in document["steps"]}
    assert outcome_of["it is paid early, with a discount"] == ("paid", "45.00 BRL")
    assert outcome_of["what was held goes back to the payer"] == ("settled", "20.00 BRL")
    assert len(document["balances"]) == 12
    refused = lastro("demo", "--story", "war")
    assert "choose one of payments, marketplace" in str(refused.exception)


def test_a_failing_demo_ends_with_1(lastro: Lastro, monkeypatch: pytest.MonkeyPatch) -> None:
    """When an outcome is not as expected, the table marks it and the command ends with 1."""
    monkeypatch.setattr("cli.demo.is_balanced", lambda _: False)
    result = lastro("demo")
    assert result.exit_code == 1
    assert "expected yes" in result.stdout


def test_request_prints_the_answer(lastro: Lastro) -> None:
    """`request` prints the body to standard output; -i adds status and headers; --json prints all three as JSON."""
    plain = _json(lastro("request", "GET", "/v1/accounts?limit=1"))
    headed = lastro("request", "-i", "GET", "/v1/accounts")
    wrapped = _json(lastro("request", "--json", "get", "/v1/accounts"))
    assert plain["data"] is not None
    assert headed.stdout.startswith("HTTP 200\n")
    assert "x-request-id: " in headed.stdout
    assert (wrapped["status"], wrapped["headers"]["content-type"]) == (200, "application/json")


def test_request_sends_body_headers_and_key(lastro: Lastro, tmp_path: Path) -> None:
    """`request` sends a body from a file or standard input, further headers, and an idempotency key."""
    _tenant(lastro, "request-tests")
    body = tmp_path / "user.json"
    body.write_text(json.dumps(_user("11144477735")))
    options = ("request", "--json", "--tenant", "request-tests", "--idempotency-key", "k1", "POST", "/v1/users", "-d")
    first = _json(lastro(*options, f"@{body}", "-H", "X-Request-Id: mine"))
    again = _json(lastro(*options, "@-", input=body.read_text()))
    assert (first["status"], first["headers"]["x-request-id"]) == (201, "mine")
    assert again["body"] == first["body"]
    assert again["headers"]["idempotent-replayed"] == "true"


def test_a_refused_request_fails_and_shows_the_problem(lastro: Lastro) -> None:
    """A refused request prints the problem to standard output and ends with 1."""
    result = lastro("request", "POST", "/v1/payments", "-d", "{}")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["code"] == "validation_failed"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("GET", "v1/accounts"), 2),
        (("GET", "/v1/accounts", "-H", "no header"), 2),
        (("GET", "/v1/accounts", "--tenant", "nobody"), 1),
        (("GET", "/v1/accounts", "--tenant", "demo", "--platform"), 2),
        (("POST", "/v1/users", "-d", "@/no/such/file"), 1),
    ],
)
def test_wrong_usage_is_explained(lastro: Lastro, arguments: tuple[str, ...], code: int) -> None:
    """A request that cannot be sent is an error with a reason, and a wrong usage ends with 2."""
    result = lastro("request", *arguments)
    assert getattr(result.exception, "exit_code", None) == code
    assert str(result.exception)


def test_the_credentials_of_a_new_tenant_are_stored(lastro: Lastro, platform: Started) -> None:
    """A tenant that `request` creates is stored in credentials.json, with each later signing key."""
    _tenant(lastro, "kept")
    lastro("request", "--platform", "POST", "/v1/tenants/kept/signing-keys", "-d", '{"grace_seconds": 0}')
    body = json.dumps(_user("52998224725"))
    made = lastro("request", "--tenant", "kept", "POST", "/v1/users", "-d", body)
    path = platform.data_dir / "credentials.json"
    assert made.exit_code == 0, made.output
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["tenants"]["kept"]["tenant_id"] == "kept"


def test_token_prints_a_token(lastro: Lastro) -> None:
    """`token` prints a token of the demo tenant, of the platform, or with fewer scopes; a refusal has a reason."""
    assert lastro("token").stdout.count(".") == 2
    assert _json(lastro("token", "--platform", "--json"))["token_type"] == "Bearer"
    assert lastro("token", "--scope", "users:read").exit_code == 0
    assert "scope" in str(lastro("token", "--scope", "platform:admin").exception)
    assert "not a user" in str(lastro("token", "--user", "usr_1").exception)


def test_token_prints_a_persons_token(lastro: Lastro) -> None:
    """`token --user` prints a token with which a user of the tenant sees only what is the user's own."""
    person = {
        "kind": "customer",
        "name": "Rui Alves",
        "document": {"type": "cpf", "number": "98765432100"},
        "email": "rui@example.com",
    }
    user = _json(lastro("request", "POST", "/v1/users", "-d", json.dumps(person)))
    token = lastro("token", "--user", user["id"]).stdout.strip()
    header = f"Authorization: Bearer {token}"
    page = _json(lastro("request", "GET", "/v1/users", "-H", header))
    assert [found["id"] for found in page["data"]] == [user["id"]]
    assert lastro("request", "GET", "/v1/dead-letters", "-H", header).exit_code == 1


def test_functions_lists_every_function(lastro: Lastro) -> None:
    """`functions` lists states and ways in, also of one domain."""
    found = _json(lastro("functions", "--json"))["data"]
    shown = lastro("functions", "--domain", "ledger")
    assert len(found) > 40
    assert "ledger/post_transfer" in shown.stdout
    assert "payments/settle" not in shown.stdout
    assert "route GET /v1/ledger/trial-balance" in shown.stdout
    assert "no function of a domain nosuch" in str(lastro("functions", "--domain", "nosuch").exception)


def test_nothing_is_cut_off_in_a_narrow_terminal(lastro: Lastro) -> None:
    """A line that is longer than the terminal continues in the next line."""
    shown = lastro("functions", "--domain", "tenants", env={"COLUMNS": "70"})
    assert "…" not in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 70


def test_a_payment_is_shown_with_its_refunds(lastro: Lastro) -> None:
    """`payments show` prints the timeline as a tree with the refunds below, or completely as JSON."""
    payment = _refunded_payment(lastro)
    shown = lastro("payments", "show", payment)
    document = _json(lastro("payments", "show", payment, "--json"))
    assert "payment.created" in shown.stdout
    assert "refund.settled" in shown.stdout
    assert "rfd_" in shown.stdout
    assert document["payment"]["id"] == payment
    assert document["events"][0]["type"] == "lastro.payment.created.v1"
    assert "not_found" in str(lastro("payments", "show", "pay_none").exception)


def test_events_are_shown_as_they_happen(lastro: Lastro) -> None:
    """`events tail` shows a payment's events from its beginning, by type if asked; one JSON line each with --json."""
    payment = _refunded_payment(lastro)
    shown = lastro("events", "tail", "--no-follow", "--payment", payment)
    narrowed = lastro("events", "tail", "--no-follow", "--payment", payment, "--type", "lastro.ledger.*", "--json")
    assert f"lastro.payment.settled.v1 {payment}" in shown.stdout
    assert "by payments/settle" in shown.stdout
    types = {json.loads(line)["type"] for line in narrowed.stdout.splitlines()}
    assert types == {"lastro.ledger.transfer_posted.v1"}


def test_an_event_can_be_published(lastro: Lastro, tmp_path: Path) -> None:
    """`events publish` sends a file or standard input to the Broker; an invalid event is refused before it is sent."""
    event = {"specversion": "1.0", "id": "evt_cli", "source": "/cli", "type": "lastro.test.x.v1", "tenantid": "demo"}
    file = tmp_path / "event.json"
    file.write_text(json.dumps(event))
    assert "taken: lastro.test.x.v1 evt_cli" in lastro("events", "publish", str(file)).stdout
    assert _json(lastro("events", "publish", "-", "--json", input=file.read_text()))["status"] == 202
    assert "not_found" in str(lastro("events", "publish", "--broker", "none", str(file)).exception)
    file.write_text("{}")
    assert "does not contain a CloudEvent" in str(lastro("events", "publish", str(file)).exception)
    assert "cannot be read" in str(lastro("events", "publish", str(tmp_path / "none")).exception)


def test_schemas_are_exported(lastro: Lastro, tmp_path: Path) -> None:
    """`events export` writes the schemas and the AsyncAPI document into a folder."""
    files = _json(lastro("events", "export", str(tmp_path), "--json"))["files"]
    assert str(tmp_path / "asyncapi.json") in files
    assert all(Path(file).is_file() for file in files)


def test_dead_letters_from_list_to_discard(lastro: Lastro, tmp_path: Path) -> None:
    """An event that its function refuses is listed, shown, replayed, and discarded with a reason."""
    _tenant(lastro, "letters")
    tenant = ("--tenant", "letters")
    assert "No dead letters." in lastro("dead-letters", "list", *tenant).stdout
    letter = _dead_letter(lastro, tmp_path, tenant)
    listed = lastro("dead-letters", "list", *tenant).stdout
    shown = lastro("dead-letters", "show", letter, *tenant).stdout
    assert letter in listed
    assert "validation_failed" in shown
    assert "lastro.payment.created.v1" in shown
    assert _json(lastro("dead-letters", "show", letter, "--json", *tenant))["id"] == letter
    assert "replayed" in lastro("dead-letters", "replay", letter, *tenant).stdout
    _until_parked(lastro, letter, tenant)
    assert lastro("dead-letters", "replay", *tenant).exit_code != 0
    assert lastro("dead-letters", "replay", letter, "--all", *tenant).exit_code != 0
    filters = ("--type", "lastro.payment.created.v1", "--before", "2100-01-01T00:00:00Z")
    assert letter in _json(lastro("dead-letters", "replay", *filters, "--json", *tenant))["replayed"]
    _until_parked(lastro, letter, tenant)
    none = lastro("dead-letters", "replay", "--consumer", "ledger-post-transfer", *tenant)
    assert none.stdout.startswith("0 of ")
    discarded = _json(lastro("dead-letters", "discard", letter, "--reason", "a test", "--json", *tenant))
    assert discarded["status"] == "discarded"


def test_dead_letters_of_no_tenant_are_the_operator_s(lastro: Lastro, tmp_path: Path) -> None:
    """With --platform the operator lists, shows, replays and discards dead letters without a tenant."""
    file = tmp_path / "of-no-tenant.json"
    event = {"specversion": "1.0", "id": "evt_nobody", "source": "/outside", "type": "lastro.payment.created.v1"}
    file.write_text(json.dumps({**event, "data": {}}))
    platform = ("--platform",)
    lastro("events", "publish", str(file))
    letter = _parked(lastro, platform)
    assert letter in lastro("dead-letters", "list", *platform).stdout
    shown = lastro("dead-letters", "show", letter, *platform).stdout
    assert "malformed_request" in shown
    assert "evt_nobody" in shown
    assert "replayed" in lastro("dead-letters", "replay", letter, *platform).stdout
    _until_parked(lastro, letter, platform)
    discarded = _json(lastro("dead-letters", "discard", letter, "--reason", "a test", "--json", *platform))
    assert discarded["status"] == "discarded"


def test_the_trial_balance_is_balanced(lastro: Lastro) -> None:
    """The trial balance is printed by currency, and ends with 1 when debits and credits differ."""
    _refunded_payment(lastro)
    assert "turnover" in lastro("ledger", "trial-balance").stdout
    balance = _json(lastro("ledger", "trial-balance", "--json"))
    assert balance["data"][0]["debits"] == balance["data"][0]["credits"]
    _tenant(lastro, "empty")
    assert "Nothing was posted yet." in lastro("ledger", "trial-balance", "--tenant", "empty").stdout


def test_openapi_needs_no_platform(lastro: Lastro, tmp_path: Path) -> None:
    """`openapi` needs no platform and can write the document to a file."""
    document = _json(lastro("openapi", "--base-url", "https://pay.example"))
    lastro("openapi", "-o", str(tmp_path / "openapi.json"))
    assert document["servers"] == [{"url": "https://pay.example"}]
    assert json.loads((tmp_path / "openapi.json").read_text())["paths"] == document["paths"]


def _user(cpf: str) -> dict[str, Any]:
    return {
        "kind": "customer",
        "name": "Ana",
        "document": {"type": "cpf", "number": cpf},
        "email": "ana@example.com",
    }


_made: dict[str, str] = {}


def _refunded_payment(lastro: Lastro) -> str:
    """Return a payment of the demo tenant with a refund, which is created once."""
    if "payment" in _made:
        return _made["payment"]
    user = _json(lastro("request", "POST", "/v1/users", "-d", json.dumps(_user("39053344705"))))["id"]
    account = json.dumps({"owner_id": user, "currency": "BRL", "overdraft_limit": 1000})
    payer, payee = (_json(lastro("request", "POST", "/v1/accounts", "-d", account))["id"] for _ in range(2))
    payment = {
        "amount": {"value": 100, "currency": "BRL"},
        "method": "internal",
        "payer_account_id": payer,
        "payee_account_id": payee,
    }
    made = _json(lastro("request", "--wait", "10", "POST", "/v1/payments", "-d", json.dumps(payment)))
    path = f"/v1/payments/{made['id']}/refunds"
    assert _json(lastro("request", "--wait", "10", "POST", path, "-d", "{}"))["status"] == "settled"
    _made["payment"] = made["id"]
    return str(made["id"])


def _dead_letter(lastro: Lastro, tmp_path: Path, tenant: tuple[str, ...]) -> str:
    """Return the dead letter of an event whose data is invalid for its function."""
    event = {
        "specversion": "1.0",
        "id": "evt_bad",
        "source": "/cli",
        "type": "lastro.payment.created.v1",
        "tenantid": "letters",
        "partitionkey": "letters/pay_1",
        "subject": "pay_1",
        "data": {"payment_id": "pay_1"},
    }
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(event))
    assert lastro("events", "publish", str(file)).exit_code == 0
    return _parked(lastro, tenant)


def _parked(lastro: Lastro, whose: tuple[str, ...]) -> str:
    for _ in range(100):
        letters = _json(lastro("dead-letters", "list", "--json", *whose))["data"]
        if letters:
            return str(letters[0]["id"])
    raise AssertionError("the event was not parked")


def _until_parked(lastro: Lastro, letter: str, tenant: tuple[str, ...]) -> None:
    for _ in range(100):
        if _json(lastro("dead-letters", "show", letter, "--json", *tenant))["status"] == "parked":
            return
    raise AssertionError("the replayed event was not parked again")


def test_the_report_of_a_day_is_shown_and_written(lastro: Lastro, tmp_path: Path) -> None:
    """The report is printed for people or as JSON, and written as a page; a file that cannot be written is named in one
    line."""
    assert "Dead letters" in lastro("report").stdout
    assert {"audit", "seal", "reconciliations", "dead_letters"} <= _json(lastro("report", "--json")).keys()
    page = tmp_path / "report.html"
    assert lastro("report", "--html", str(page), "--language", "en").exit_code == 0
    assert page.read_text().startswith('<!doctype html>\n<html lang="en"')
    missing = tmp_path / "nowhere" / "report.html"
    refused = lastro("report", "--html", str(missing))
    assert str(refused.exception) == f"{missing} cannot be written: No such file or directory"

"""`lastro bank import` against a running platform: a bank's settlement file gives its payments their outcomes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.conftest import Lastro
from tests.cli.started import Started
from tests.cnab import content, payment
from tests.waiting import PATIENCE_SECONDS

BANK = "/simulators/bank_transfer"
ACCOUNT = {
    "bank": "341",
    "branch": "1234",
    "number": "1234567-8",
    "type": "checking",
    "holder": {"name": "Ana Souza", "document": {"type": "cpf", "number": "529.982.247-25"}},
}


def sent(lastro: Lastro, path: str, body: Any) -> Any:
    """Send a POST request, wait for what follows, and return the resource."""
    result = lastro("request", "POST", path, "-H", "Prefer: wait=10", "-d", json.dumps(body))
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


def read(lastro: Lastro, path: str) -> Any:
    """Return a resource."""
    return json.loads(lastro("request", "GET", path).stdout)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds. Fails when it takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition does not come true"
        time.sleep(0.05)


def ordered(lastro: Lastro, platform: Started) -> Any:
    """Pay by bank transfer, of which the bank reports no outcome; return the payment, which the bank has."""
    owner = {
        "kind": "customer",
        "name": "Ana",
        "document": {"type": "cpf", "number": "11144477735"},
        "email": "a@b.test",
    }
    users = read(lastro, "/v1/users?limit=100")["data"]
    known = next((user["id"] for user in users if user["document"]["number"] == "11144477735"), None)
    account = sent(
        lastro, "/v1/accounts", {"owner_id": known or sent(lastro, "/v1/users", owner)["id"], "currency": "BRL"}
    )
    amount = {"value": 1050, "currency": "BRL"}
    sent(lastro, "/v1/deposits", {"account_id": account["id"], "amount": amount, "method": "pix"})
    wait_until(lambda: read(lastro, f"/v1/accounts/{account['id']}/balance")["posted"] == 1050)
    fault = httpx.post(f"{platform.announced['base_url']}{BANK}/faults", json={"fault": "never"})
    assert fault.status_code == 202
    body = {"amount": amount, "method": "bank_transfer", "payer_account_id": account["id"], "bank_account": ACCOUNT}
    result = lastro("request", "POST", "/v1/payments", "-d", json.dumps(body))
    made = json.loads(result.stdout)
    wait_until(lambda: read(lastro, f"/v1/payments/{made['id']}")["status"] == "processing")
    return read(lastro, f"/v1/payments/{made['id']}")


def settlement_file(platform: Started, path: Path, sequence: int) -> str:
    """Write the simulated bank's settlement file, and return its text."""
    url = f"{platform.announced['base_url']}{BANK}/settlement-file?sequence={sequence}"
    text = httpx.get(url).raise_for_status().text
    path.write_bytes(text.encode("latin-1"))
    return text


def test_a_settlement_file_settles_its_payments_once(lastro: Lastro, platform: Started, tmp_path: Path) -> None:
    """A file of the bank settles the payment that the bank did not report; the same file again is refused with the id
    of the first import, and another file of the same payments changes nothing."""
    made, path = ordered(lastro, platform), tmp_path / "first.ret"
    settlement_file(platform, path, 1)
    result = lastro("bank", "import", str(path))
    assert result.exit_code == 0, (result.output, result.exception)
    assert f"{path} is applied as " in result.stdout
    assert "0 without a payment here" in result.stdout
    imported = result.stdout.split(" as ")[1].split(":")[0]
    wait_until(lambda: read(lastro, f"/v1/payments/{made['id']}")["status"] == "settled")
    again = lastro("bank", "import", str(path))
    assert again.exit_code == 1
    assert f"{path} is not imported (409):" in str(again.exception)
    assert imported in str(again.exception)
    settlement_file(platform, path, 2)
    shown = json.loads(lastro("bank", "import", str(path), "--json").stdout)
    assert (shown["status"], {line["result"] for line in shown["lines"]}) == ("applied", {"matched"})
    found = read(lastro, f"/v1/payments/{made['id']}")
    assert (found["status"], found["amount_captured"]["value"]) == ("settled", 1050)
    assert read(lastro, f"/v1/accounts/{made['payer_account_id']}/balance")["posted"] == 0


def test_a_wrong_settlement_file_is_refused_with_every_line(lastro: Lastro, platform: Started, tmp_path: Path) -> None:
    """A file with errors imports nothing, and each error is printed with its line and column; it can be imported when
    it is right."""
    made, path = ordered(lastro, platform), tmp_path / "wrong.ret"
    lines = settlement_file(platform, path, 3).splitlines()
    last = max(number for number, line in enumerate(lines) if made["bank_account"]["end_to_end_id"] in line)
    wrong = [line[:119] + "x" * 15 + line[134:] if number == last else line for number, line in enumerate(lines)]
    path.write_text("\r\n".join([*wrong[:-1], wrong[-1][:239]]) + "\r\n", encoding="latin-1")
    refused = lastro("bank", "import", str(path))
    assert refused.exit_code == 1
    told = str(refused.exception)
    assert f"{path} is not imported (422):" in told
    assert f"ine {last + 1}, column 120" in told
    assert f"ine {len(lines)}" in told
    assert read(lastro, f"/v1/payments/{made['id']}")["status"] == "processing"
    path.write_text("\r\n".join(lines) + "\r\n", encoding="latin-1")
    assert lastro("bank", "import", str(path)).exit_code == 0
    wait_until(lambda: read(lastro, f"/v1/payments/{made['id']}")["status"] == "settled")


@pytest.mark.parametrize("name", ["missing.ret", "."])
def test_a_file_that_is_not_there_is_refused(lastro: Lastro, tmp_path: Path, name: str) -> None:
    """A path without a file, or of a directory, is refused before anything is sent."""
    result = lastro("bank", "import", str(tmp_path / name))
    assert result.exit_code == 2


def test_a_line_without_a_payment_is_named(lastro: Lastro, tmp_path: Path) -> None:
    """A line whose reference is no payment of the tenant is printed with its number and outcome."""
    path = tmp_path / "other.ret"
    path.write_text(content(payment(1), sequence=900), encoding="latin-1")
    result = lastro("bank", "import", str(path))
    assert result.exit_code == 0, (result.output, result.exception)
    assert "1 payments, 1 without a payment here\n  line 3: ABCDEFGHIJ2345672345, settled" in result.stdout

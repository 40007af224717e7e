"""Transfers, entries and the trial balance in the API."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any

import orjson
import pytest

from shared.ports.ledger import AccountTurnover
from tests.harness import Harness


async def paid(harness: Harness, *values: int) -> tuple[str, str]:
    """Create a payer with 1000, and a payee that has received these payments."""
    payer = (await harness.account(1000))["id"]
    payee = (await harness.account())["id"]
    for value in values:
        await harness.pay(payer, payee, value)
        await harness.run_events()
    return payer, payee


async def test_a_transfer_is_found_with_its_legs_and_cause(harness: Harness) -> None:
    """A transfer is returned with its legs, its payment as the cause, and the time of its recording."""
    payer, payee = await paid(harness, 300)
    entries = (await harness.call("GET", f"/v1/ledger/accounts/{payee}/entries")).json["data"]
    transfer = (await harness.call("GET", f"/v1/ledger/transfers/{entries[0]['transfer_id']}")).json
    assert transfer["legs"] == [
        {"account_id": payer, "direction": "debit", "amount": {"value": 300, "currency": "BRL"}},
        {"account_id": payee, "direction": "credit", "amount": {"value": 300, "currency": "BRL"}},
    ]
    assert transfer["cause"]["type"] == "payment"
    assert transfer["recorded_at"] == entries[0]["recorded_at"]


async def test_entries_come_oldest_first_in_pages(harness: Harness) -> None:
    """Entries have running balances; a cursor leads to the next page, and the last page has none."""
    payer, _ = await paid(harness, 1, 2, 3)
    path = f"/v1/ledger/accounts/{payer}/entries"
    first = (await harness.call("GET", path, query="limit=3")).json
    rest = (await harness.call("GET", path, query=f"limit=3&cursor={first['next_cursor']}")).json
    entries = first["data"] + rest["data"]
    assert [entry["balance_after"]["value"] for entry in entries] == [1000, 999, 997, 994]
    assert [entry["direction"] for entry in entries] == ["credit", "debit", "debit", "debit"]
    assert len({entry["id"] for entry in entries}) == 4
    assert rest["next_cursor"] is None


async def test_a_ledger_out_of_balance_is_shown_and_logged(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When debits and credits differ, the trial balance shows it, and an error is logged for the operator."""

    async def turnover(tenant_id: str) -> list[AccountTurnover]:
        assert tenant_id == "acme"
        return [AccountTurnover("acc_1", "BRL", 300, 0), AccountTurnover("acc_2", "BRL", 0, 299)]

    monkeypatch.setattr(harness.runtime.ledger, "turnover", turnover)
    (row,) = (await harness.call("GET", "/v1/ledger/trial-balance")).json["data"]
    assert (row["debits"], row["credits"]) == (300, 299)
    assert [record.message for record in caplog.records] == ["the ledger is out of balance in BRL"]


def crafted(*content: Any) -> str:
    """Return a well-formed cursor that this platform has not issued."""
    return urlsafe_b64encode(orjson.dumps(content)).rstrip(b"=").decode()


@pytest.mark.parametrize("after", ["x", "", "-1", "9" * 19, "1.5", "٣"])
async def test_a_crafted_cursor_is_refused(harness: Harness, after: str) -> None:
    """A cursor that the platform has not issued is answered with 400 and not with an internal error."""
    payer, _ = await paid(harness)
    cursor = crafted("ledger/list_entries", "acme", {"account_id": payer}, after)
    answer = await harness.call("GET", f"/v1/ledger/accounts/{payer}/entries", query=f"cursor={cursor}")
    assert answer.code == "malformed_request"


async def test_a_cursor_is_valid_for_its_account_only(harness: Harness) -> None:
    """A cursor of another account's list is answered with 400."""
    payer, payee = await paid(harness, 1, 2)
    cursor = (await harness.call("GET", f"/v1/ledger/accounts/{payer}/entries", query="limit=1")).json["next_cursor"]
    answer = await harness.call("GET", f"/v1/ledger/accounts/{payee}/entries", query=f"cursor={cursor}")
    assert answer.code == "malformed_request"


async def test_the_ledger_of_another_tenant_is_not_found(harness: Harness) -> None:
    """A transfer and entries of another tenant are answered with 404; a system account's id means the caller's own
    account, which is empty."""
    payer, _ = await paid(harness, 300)
    entries = (await harness.call("GET", f"/v1/ledger/accounts/{payer}/entries")).json["data"]
    await harness.tenant("rival")
    for path in (f"/v1/ledger/transfers/{entries[0]['transfer_id']}", f"/v1/ledger/accounts/{payer}/entries"):
        assert (await harness.call("GET", path, tenant="rival")).code == "not_found"
    own = await harness.call("GET", "/v1/ledger/accounts/sys_clearing_pix_brl/entries", tenant="rival")
    assert own.json == {"data": [], "next_cursor": None}
    assert (await harness.call("GET", "/v1/ledger/trial-balance", tenant="rival")).json["data"] == []


async def test_what_does_not_exist_is_not_found(harness: Harness) -> None:
    """An unknown transfer and an unknown account, also a system account, are answered with 404."""
    for path in ("transfers/ltr_0", "accounts/acc_0/entries", "accounts/sys_nothing/entries"):
        assert (await harness.call("GET", f"/v1/ledger/{path}")).code == "not_found"


async def test_the_trial_balance_comes_out_equal_by_currency(harness: Harness) -> None:
    """The trial balance lists the turnover of every account, ordered by currency and id, and each currency has equal
    debits and credits."""
    payer, payee = await paid(harness, 300)
    dollars = await harness.account(50, currency="USD")
    balance = (await harness.call("GET", "/v1/ledger/trial-balance")).json
    assert [(row["currency"], row["debits"], row["credits"]) for row in balance["data"]] == [
        ("BRL", 1300, 1300),
        ("USD", 50, 50),
    ]
    accounts = {line["account_id"]: (line["debits"], line["credits"]) for line in balance["data"][0]["accounts"]}
    assert accounts == {payer: (300, 1000), payee: (0, 300), "sys_clearing_pix_brl": (1000, 0)}
    assert [line["account_id"] for line in balance["data"][1]["accounts"]] == [dollars["id"], "sys_clearing_pix_usd"]
    assert balance["as_of"] == "2026-01-01T00:00:00.000000Z"

"""The functions on the embedded store, with its queries, indexes and guards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.harness import Harness


@pytest.fixture
async def stored(tmp_path: Path) -> AsyncIterator[Harness]:
    """All functions on the embedded store, with one tenant."""
    harness = await Harness.on_disk(tmp_path / "data")
    await harness.tenant()
    yield harness
    await harness.close()


async def test_a_payment_settles_and_is_in_both_statements(stored: Harness) -> None:
    """With each event delivered twice and out of order, a payment settles and is in the statements of payer and
    payee."""
    payer = (await stored.account(1000))["id"]
    payee = (await stored.account())["id"]
    payments = []
    for value in (100, 200, 300):
        stored.clock.advance(timedelta(hours=1))
        payments.append(await stored.pay(payer, payee, value))
        await stored.run_events(times=2, shuffled=True)
    assert stored.undelivered == []
    assert [(await stored.payment(payment["id"]))["status"] for payment in payments] == ["settled"] * 3
    assert await stored.balance(payer) == (400, 0, 400)
    path = f"/v1/accounts/{payer}/statement"
    first = (await stored.call("GET", path, query="from=2026-01-01T01:00:00Z&limit=2")).json
    rest = (await stored.call("GET", path, query=f"cursor={first['next_cursor']}")).json
    assert [line["balance_after"]["value"] for line in first["data"] + rest["data"]] == [900, 700, 400]
    for at, posted in (("2025-12-31T23:00:00Z", 0), ("2026-01-01T02:00:00Z", 700), ("2026-01-02T00:00:00Z", 400)):
        answer = await stored.call("GET", f"/v1/accounts/{payer}/balance", query=f"at={at}")
        assert answer.json["posted"] == posted
    [trial] = (await stored.call("GET", "/v1/ledger/trial-balance")).json["data"]
    assert (trial["debits"], trial["credits"]) == (1600, 1600)


async def test_fifty_payments_of_one_real_out_of_ten(stored: Harness) -> None:
    """Of fifty concurrent payments ten settle, and nothing stays held."""
    payer = (await stored.account(1000))["id"]
    payee = (await stored.account())["id"]
    payments = await asyncio.gather(*(stored.pay(payer, payee, 100) for _ in range(50)))
    await stored.run_events(times=2, together=True)
    assert stored.undelivered == []
    ends = [(await stored.payment(payment["id"]))["status"] for payment in payments]
    assert (ends.count("settled"), ends.count("declined")) == (10, 40)
    assert await stored.balance(payer) == (0, 0, 0)
    assert await stored.balance(payee) == (1000, 0, 1000)


async def test_one_document_registers_one_user(stored: Harness) -> None:
    """Of ten concurrent registrations of one taxpayer number, one is accepted and nine are refused."""
    body = {
        "kind": "customer",
        "name": "Ana",
        "document": {"type": "cpf", "number": "52998224725"},
        "email": "ana@example.test",
    }
    answers = await asyncio.gather(*(stored.call("POST", "/v1/users", body) for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [201, *[409] * 9]
    [user] = (await stored.call("GET", "/v1/users")).json["data"]
    assert user["name"] == "Ana"


async def test_a_tenant_its_client_and_its_keys_are_stored_together(stored: Harness) -> None:
    """One commit stores the documents of the tenant and of the platform, and a repeated request gets the same
    secrets."""
    body = {"id": "rival", "name": "Rival"}
    first = await stored.call("POST", "/v1/tenants", body, key="k")
    again = await stored.call("POST", "/v1/tenants", body, key="k")
    assert (first.status, first.body) == (201, again.body)
    rotated = await asyncio.gather(*(stored.call("POST", "/v1/tenants/rival/signing-keys") for _ in range(3)))
    assert {answer.status for answer in rotated} == {201}
    statuses = [
        (await stored.call("GET", f"/v1/tenants/rival/signing-keys/{key_id}")).json["status"]
        for key_id in (first.json["signing_key"]["key_id"], *(answer.json["key_id"] for answer in rotated))
    ]
    assert sorted(statuses) == ["active", "grace", "grace", "grace"]

"""The content of a stored response is removed after a documented time; its key never has a second effect."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from events.sweeps import Tick
from shared.core.settings import Settings
from shared.ports.documents import PLATFORM, Query
from shared.records.idempotency import IDEMPOTENCY
from shared.records.payments import PAYMENTS
from tests.harness import Harness


async def sweep(harness: Harness) -> None:
    """Deliver a tick of the daily schedule."""
    envelope = harness.envelope(Tick(schedule="remove_dead_letters"), tenant=PLATFORM)
    assert (await harness.deliver("operations/remove_dead_letters", envelope)).status == 204


async def stored(harness: Harness, tenant: str = "acme") -> list[Any]:
    """Return the stored responses of a tenant."""
    return list(await harness.documents.find(IDEMPOTENCY, tenant, Query(limit=1000)))


async def ordered(harness: Harness) -> dict[str, Any]:
    """Return the body of a payment between two new accounts."""
    payer, payee = await harness.account(10_000), await harness.account()
    return {
        "amount": {"value": 100, "currency": "BRL"},
        "method": "internal",
        "payer_account_id": payer["id"],
        "payee_account_id": payee["id"],
    }


async def pay(harness: Harness, body: Any, key: str = "k1") -> Any:
    """Order the payment with a key."""
    return await harness.call("POST", "/v1/payments", body, key=key)


async def test_a_key_never_pays_twice(harness: Harness) -> None:
    """Until the time is over a repeated request gets its first response; after it, 409 with the place of the payment,
    and 422 for another body. There is one payment all the time."""
    body = await ordered(harness)
    first = await pay(harness, body)
    harness.clock.advance(timedelta(days=30))
    await sweep(harness)
    again = await pay(harness, body)
    assert (again.status, again.body, again.headers["idempotent-replayed"]) == (201, first.body, "true")
    harness.clock.advance(timedelta(seconds=1))
    await sweep(harness)
    for _ in range(2):
        late = await pay(harness, body)
        assert (late.status, late.code) == (409, "already_exists")
        assert f"/v1/payments/{first.json['id']} " in late.json["detail"]
        await sweep(harness)
    other = await pay(harness, {**body, "amount": {"value": 101, "currency": "BRL"}})
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert len(await harness.documents.find(PAYMENTS, "acme", Query())) == 1
    assert (await pay(harness, body, "k2")).status == 201


async def test_what_is_left_of_a_stored_response(harness: Harness) -> None:
    """Body, headers and the user's id are removed from the stored responses of every tenant and of the platform, sealed
    ones included; what is left is small, and a second run changes nothing."""
    await harness.tenant("other")
    await harness.user()
    created = await pay(harness, await ordered(harness))
    before = {document["id"]: document for document in await stored(harness)}
    assert any(document["sealed"] and document["subject"] for document in before.values())
    harness.clock.advance(timedelta(days=31))
    await sweep(harness)
    left = await stored(harness)
    assert {document["id"] for document in left} == before.keys()
    for document in left:
        assert (document["body"], document["subject"], document["created_at"]) == ("", None, None)
        assert document["fingerprint"] == before[document["id"]]["fingerprint"]
        assert document["headers"].keys() <= {"location"}
    assert {"location": f"/v1/payments/{created.json['id']}"} in [document["headers"] for document in left]
    assert [document["body"] for document in await stored(harness, PLATFORM)] == [""] * len(
        await stored(harness, PLATFORM)
    )
    await sweep(harness)
    assert await stored(harness) == left


async def test_a_run_empties_a_bounded_number() -> None:
    """One run empties at most LASTRO_RETENTION_DOCUMENTS responses of a tenant, the oldest first; the next one goes
    on."""
    harness = Harness.make(settings=Settings(retention_documents=5, sweep_batch=2))
    await harness.tenant()
    account = await harness.account()
    for number in range(8):
        harness.clock.advance(timedelta(seconds=1))
        path = f"/v1/accounts/{account['id']}/{'block' if number % 2 else 'unblock'}"
        await harness.call("POST", path, {}, key=f"k{number}")
    total = len(await stored(harness))
    assert total > 5
    harness.clock.advance(timedelta(days=31))
    times = sorted(document["created_at"] for document in await stored(harness))
    await sweep(harness)
    kept = sorted(document["created_at"] for document in await stored(harness) if document["created_at"])
    assert kept == times[5:]
    await sweep(harness)
    assert not any(document["body"] for document in await stored(harness))


@pytest.mark.parametrize("days", [7, 45])
async def test_the_time_is_a_setting(days: int) -> None:
    """A stored response keeps its content for LASTRO_IDEMPOTENCY_DAYS."""
    harness = Harness.make(settings=Settings(idempotency_days=days))
    await harness.tenant()
    user = await harness.user()
    harness.clock.advance(timedelta(days=days))
    await sweep(harness)
    assert all(document["created_at"] for document in await stored(harness))
    harness.clock.advance(timedelta(seconds=1))
    await sweep(harness)
    assert not any(document["created_at"] for document in await stored(harness))
    assert (await harness.call("GET", f"/v1/users/{user['id']}")).status == 200

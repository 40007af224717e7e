"""PIX charges of the tests: created, read and paid through the API."""

from __future__ import annotations

from typing import Any, Final

from events.sweeps import Tick
from shared.ports.documents import PLATFORM
from tests.functions.providers.rail import callback
from tests.harness import Answer, Harness

CHARGES_PATH: Final = "/v1/pix/charges"
SUSPENSE: Final = "sys_suspense_brl"
TXID: Final = "Order1001Order1001Order1001"


async def asked(
    harness: Harness,
    account_id: str,
    value: int = 1050,
    *,
    tenant: str | None = None,
    key: str | None = None,
    **fields: Any,
) -> Answer:
    """Ask for a charge and return the answer."""
    body = {"account_id": account_id, "amount": {"value": value, "currency": "BRL"}, **fields}
    return await harness.call("POST", CHARGES_PATH, body, tenant=tenant, key=key)


async def charge(harness: Harness, account_id: str, value: int = 1050, **fields: Any) -> Any:
    """Create a charge and return it."""
    answer = await asked(harness, account_id, value, **fields)
    assert answer.status == 201, answer.body
    return answer.json


async def shown(harness: Harness, txid: str, *, tenant: str | None = None) -> Any:
    """Return a charge."""
    answer = await harness.call("GET", f"{CHARGES_PATH}/{txid}", tenant=tenant)
    assert answer.status == 200, answer.body
    return answer.json


async def reported(harness: Harness, *reports: Any) -> None:
    """Report payments as the provider, and deliver all events twice in any order."""
    assert (await callback(harness, *reports)).status == 200
    await harness.run_events(times=2, shuffled=True)


async def suspended(harness: Harness) -> int:
    """Return the balance of the suspense account."""
    return await harness.runtime.ledger.balance("acme", SUSPENSE)


async def sweep(harness: Harness) -> None:
    """Deliver the tick that expires charges, twice, and all events."""
    for _ in range(2):
        tick = harness.envelope(Tick(schedule="expire_pix_charges"), tenant=PLATFORM)
        assert (await harness.deliver("providers/expire_pix_charges", tick)).status == 204
    await harness.run_events()

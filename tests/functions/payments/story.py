"""Payments in the statuses from which the tests start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.ports.documents import PLATFORM, Collection, Commit
from shared.records.payments import PAYMENTS
from tests.harness import Answer, Harness


@dataclass(frozen=True, slots=True)
class Story:
    """A payer with money, a payee without, and actions on payments between them. Amounts are in centavos."""

    harness: Harness
    payer: str
    payee: str

    async def paid(self, value: int = 1000, **fields: Any) -> str:
        """Create a payment, deliver all events, and return its id."""
        payment = await self.harness.pay(self.payer, self.payee, value, **fields)
        await self.harness.run_events()
        return str(payment["id"])

    async def authorized(self, value: int = 1000, **fields: Any) -> str:
        """Create a payment, authorize it for a manual capture, and return its id."""
        payment_id = await self.paid(value, capture="manual", **fields)
        assert await self.status(payment_id) == "authorized"
        return payment_id

    async def act(self, payment_id: str, action: str, body: Any = None) -> Answer:
        """Capture, cancel or refund a payment; the published events are not delivered."""
        return await self.harness.call("POST", f"/v1/payments/{payment_id}/{action}", body)

    async def refund(self, payment_id: str, value: int | None = None) -> Answer:
        """Request a refund; the published events are not delivered."""
        return await self.act(payment_id, "refunds", None if value is None else money(value))

    async def status(self, payment_id: str) -> str:
        """Return the payment's status."""
        return str((await self.harness.payment(payment_id))["status"])

    async def balances(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the posted and held amounts of payer and payee."""
        payer, payee = await self.harness.balance(self.payer), await self.harness.balance(self.payee)
        return payer[:2], payee[:2]

    async def put(self, payment_id: str, **fields: Any) -> None:
        """Change fields of the stored payment directly."""
        await put(self.harness, PAYMENTS, payment_id, **fields)


async def story(harness: Harness, funds: int = 10_000) -> Story:
    """Create a payer with this balance, and a payee with nothing."""
    payer = await harness.account(funds)
    payee = await harness.account()
    return Story(harness, payer["id"], payee["id"])


def money(value: int, currency: str = "BRL") -> dict[str, Any]:
    """Return a body with an amount."""
    return {"amount": {"value": value, "currency": currency}}


async def put(harness: Harness, collection: Collection[Any, ...], id: str, tenant: str = "acme", **fields: Any) -> None:
    """Change fields of a stored document without the functions of its owner."""
    document = await harness.documents.get(collection, tenant, id)
    assert document is not None
    commit = Commit(tenant if tenant != PLATFORM else PLATFORM)
    commit.replaces.append((collection, {**document, **fields}))
    await harness.documents.commit(commit)

"""The documents that connect a provider's ids with the deposits and PIX charges of tenants (owner: the providers
domain)."""

from __future__ import annotations

from typing import Any, Final, Literal

from shared.ports.documents import Collection, Document, NoChanges


class ChargeDocument(Document):
    """The tenant and deposit of a charge. Stored under the platform, because a callback has no tenant.

    The id is the id of the charge at the provider. If it is the id of a PIX charge of the tenant, the deposit is made
    when that is paid.
    """

    provider: str
    charged_tenant_id: str
    deposit_id: str
    correlation_id: str
    created_at: str


ReceiptMismatch = Literal[
    "unknown_charge",
    "wrong_amount",
    "paid_twice",
    "deposit_over",
    "charge_over",
    "account_closed",
    "account_blocked",
]
"""Why a payment belongs to no charge, or does not pay its charge."""


class ReceiptDocument(Document):
    """A payment that a provider reports to have received. The id is the provider's name and the payment's end-to-end
    id.

    A `matched` payment belongs to a deposit. An `unmatched` one is stored for an operator, under the tenant of its
    charge, whose suspense account receives the money, or under the platform when the charge is unknown; `reason` says
    why. `report` is the provider's JSON object; `amount` is in minor units.
    """

    provider: str
    txid: str | None
    amount: int
    status: Literal["matched", "unmatched"]
    reason: ReceiptMismatch | None
    report: dict[str, Any]
    received_at: str


def receipt_id(provider: str, payment_id: str) -> str:
    """Return the id of the document of a reported payment; `payment_id` is the provider's id of it."""
    return f"{provider}:{payment_id}"


CHARGES: Final = Collection("charges", owner="providers", document=ChargeDocument, changes=NoChanges)


RECEIPTS: Final = Collection("provider_receipts", owner="providers", document=ReceiptDocument, changes=NoChanges)

"""What stands between a provider's ids and the deposits of tenants (owner: the providers domain)."""

from __future__ import annotations

from typing import Any, Final, Literal

from shared.ports.documents import Collection, Document, NoChanges


class ChargeDocument(Document):
    """Whose a charge at a provider is. Kept under the platform: a callback knows the charge's id, and no tenant."""

    provider: str
    charged_tenant_id: str
    deposit_id: str
    correlation_id: str
    created_at: str


class ReceiptDocument(Document):
    """Money that a provider reports to have come in, by the provider and the payment's end-to-end id.

    `matched` was asked for and goes to its account. `unmatched` is money all the same: it is kept for a person to
    look at, under the tenant when the charge is known and under the platform when it is not. `report` is what the
    provider sent; `amount` is in minor units.
    """

    provider: str
    txid: str | None
    amount: int
    status: Literal["matched", "unmatched"]
    reason: Literal["unknown_charge", "wrong_amount", "paid_twice", "deposit_over", "account_closed"] | None
    report: dict[str, Any]
    received_at: str


CHARGES: Final = Collection("charges", owner="providers", document=ChargeDocument, changes=NoChanges)


RECEIPTS: Final = Collection("provider_receipts", owner="providers", document=ReceiptDocument, changes=NoChanges)

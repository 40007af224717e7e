"""The documents of PIX charges (owner: the providers domain)."""

from __future__ import annotations

from typing import Any, Final, Literal

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document, Index

PixChargeStatus = Literal["active", "paid", "removed", "expired"]


class PixChargeDocument(Document):
    """A PIX charge. The id is the id of the charge at the provider; `txid` is the tenant's (docs/decisions/0032).

    `amount` is in minor units. `expires_in` is what the request said, in seconds, or None. `exchange` is what was sent
    to the provider and what it answered, without personal data. `deposit_id` is the id that the deposit of its payment
    will have; `end_to_end_id` is the payment's, as soon as the provider has reported it: the charge is `paid` when that
    deposit is settled. `correlation_id` is the id of the request, which the provider's callback does not contain.
    """

    txid: str
    status: PixChargeStatus
    account_id: str
    amount: int
    currency: str
    description: str | None
    expires_in: int | None
    expires_at: str
    br_code: str
    location: str
    exchange: dict[str, Any]
    deposit_id: str
    end_to_end_id: str | None
    correlation_id: str
    created_at: str
    updated_at: str


class PixChargeChanges(TypedDict, total=False):
    """The fields of a PIX charge that may change."""

    status: PixChargeStatus
    end_to_end_id: str | None
    updated_at: str


PIX_CHARGES: Final = Collection(
    "pix_charges",
    owner="providers",
    document=PixChargeDocument,
    changes=PixChargeChanges,
    indexes=(Index(("status", "expires_at")),),
)

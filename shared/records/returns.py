"""The documents of returns of received payments (owner: the providers domain)."""

from __future__ import annotations

from typing import Final, Literal

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document, Index
from shared.records.failure import FailureDocument

ReturnStatus = Literal["created", "held", "processing", "settled", "failed"]
ReturnNature = Literal["requested", "fraud"]
"""Why a payment is returned: the tenant has requested it, or the payer's bank has reported a fraud."""


class ReturnDocument(Document):
    """A return of a received payment, or of a part of it, to its payer (PIX: `devolução`).

    `amount` is in minor units; of a return because of a fraud, it becomes what could be held. `end_to_end_id` is the id
    of the payment; the provider knows the return by this document's id without its prefix. `confirmed_at` is when the
    provider reported that it has returned the money, and `rail_id` its id of that (PIX: the RtrId), or None.
    `correlation_id` is the id of the request.
    """

    status: ReturnStatus
    nature: ReturnNature
    deposit_id: str
    account_id: str
    amount: int
    currency: str
    reason: str | None
    end_to_end_id: str
    rail_id: str | None
    confirmed_at: str | None
    transfer_id: str
    failure: FailureDocument | None
    correlation_id: str
    attempt: int
    due_at: str | None
    created_at: str
    updated_at: str


class ReturnChanges(TypedDict, total=False):
    """The fields of a return that may change."""

    status: ReturnStatus
    amount: int
    rail_id: str | None
    confirmed_at: str | None
    failure: FailureDocument | None
    attempt: int
    due_at: str | None
    updated_at: str


RETURNS: Final = Collection(
    "deposit_returns",
    owner="providers",
    document=ReturnDocument,
    changes=ReturnChanges,
    indexes=(
        Index(("deposit_id",)),
        Index(("status", "due_at"), sparse=True),
        Index(("confirmed_at",), sparse=True),
    ),
)

RETURN_PREFIX: Final = "ret"


def provider_reference(return_id: str) -> str:
    """Return the id by which a provider knows a return: 32 letters and digits."""
    return return_id.partition("_")[2]

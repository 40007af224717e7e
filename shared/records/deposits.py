"""The documents of deposits (owner: the providers domain)."""

from __future__ import annotations

from typing import Final, Literal

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document, Index
from shared.records.failure import FailureDocument

DepositStatus = Literal["created", "settled", "failed"]


class DepositDocument(Document):
    """Money that comes in over a provider (owner: providers).

    `txid` is the charge's id at the provider; `end_to_end_id` names the payment of it, once the provider has told
    of one. `correlation_id` is the request that asked for it: the provider's answer knows nothing of that.
    """

    status: DepositStatus
    account_id: str
    amount: int
    currency: str
    method: Literal["pix"]
    txid: str
    transfer_id: str
    end_to_end_id: str | None
    failure: FailureDocument | None
    correlation_id: str
    attempt: int
    due_at: str | None
    created_at: str
    updated_at: str


class DepositChanges(TypedDict, total=False):
    """What may change of a deposit."""

    status: DepositStatus
    end_to_end_id: str | None
    failure: FailureDocument | None
    attempt: int
    due_at: str | None
    updated_at: str


DEPOSITS: Final = Collection(
    "deposits",
    owner="providers",
    document=DepositDocument,
    changes=DepositChanges,
    indexes=(Index(("status", "due_at"), sparse=True), Index(("account_id", "status"))),
)

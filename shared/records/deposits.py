"""The documents of deposits (owner: the providers domain)."""

from __future__ import annotations

from typing import Final, Literal, NotRequired

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document, Index
from shared.records.failure import FailureDocument

DepositStatus = Literal["created", "settled", "failed"]


class DepositDocument(Document):
    """A deposit: money that a provider collects (owner: providers). `amount` is in minor units.

    `txid` is the id of the charge at the provider; `end_to_end_id` is the id of its payment, after the provider has
    reported it, and `paid_at` the time of that payment. `correlation_id` is the id of the request, which the provider's
    callback does not contain. `amount_returned` is what was returned to the payer, and `amount_returning` the sum of
    the returns that are in progress. Documents of earlier versions do not have the fields that are not required.
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
    paid_at: NotRequired[str | None]
    amount_returned: NotRequired[int]
    amount_returning: NotRequired[int]
    created_at: str
    updated_at: str


class DepositChanges(TypedDict, total=False):
    """The fields of a deposit that may change."""

    status: DepositStatus
    end_to_end_id: str | None
    failure: FailureDocument | None
    attempt: int
    due_at: str | None
    paid_at: str | None
    amount_returned: int
    amount_returning: int
    updated_at: str


DEPOSITS: Final = Collection(
    "deposits",
    owner="providers",
    document=DepositDocument,
    changes=DepositChanges,
    indexes=(Index(("status", "due_at"), sparse=True), Index(("account_id", "status"))),
)

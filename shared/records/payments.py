"""The documents of the payments domain: payments and refunds."""

from __future__ import annotations

from typing import Final, Literal, NotRequired

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document, Index
from shared.records.failure import FailureDocument

PaymentStatus = Literal[
    "created",
    "authorized",
    "capturing",
    "processing",
    "review",
    "settled",
    "declined",
    "failed",
    "canceled",
    "expired",
]


RefundStatus = Literal["created", "processing", "settled", "failed"]
PaymentMethod = Literal["internal", "pix", "bank_transfer", "card"]
"""How the money of a payment moves: between two accounts here, or over the rail of this name."""


class ReturnDocument(TypedDict):
    """What came back of a payment over a rail: the amount in minor units, and the provider's code of the reason. `id`
    is the provider's id of a return in parts."""

    id: NotRequired[str]
    amount: int
    reason: str


def return_purpose(return_id: str | None) -> str:
    """Return the purpose from which the id of the refund of a return derives, for its payment. `return_id` is the
    provider's id of a return in parts, or None when the payment came back as a whole."""
    return "return" if return_id is None else f"return/{return_id}"


class RailPartDocument(TypedDict):
    """What a payment over a rail has in addition.

    `receiver` is the receiver's fields as JSON, sealed; `shown` the same with personal data masked. `end_to_end_id` is
    the provider's id of the payment. `amount_moved` is what the provider has moved, in minor units, or None.
    `is_posted` is whether the ledger was asked to record the transfer: the review of such a payment has been decided.
    `returned` is what has come back of it as a whole, or None, and `returns` what has come back in parts.
    """

    receiver: str
    shown: dict[str, str]
    end_to_end_id: str | None
    amount_moved: int | None
    is_posted: bool
    returned: ReturnDocument | None
    returns: NotRequired[list[ReturnDocument]]


class PaymentDocument(Document):
    """A payment from one account to another (owner: payments). Amounts are in minor units of `currency`.

    `capture_amount` is the amount of the requested transfer. `amount_refunding` is the sum of the refunds in progress,
    so that refunds together never exceed the captured amount. `ledger_deadline` is the time until which the ledger may
    record the transfer. For the saga, `attempt` is the number of the step's attempt and `due_at` its deadline; None
    means that the platform waits for nothing. `created_by` is the person whose token created the payment, or
    None; documents of earlier versions do not have it. `facts` is the number of timeline entries.

    A payment over a rail has `rail`, which documents of earlier versions do not have, and the clearing account of the
    rail in place of the account outside: the payee of a payment out.
    """

    status: PaymentStatus
    amount: int
    currency: str
    amount_captured: int
    amount_refunded: int
    amount_refunding: int
    capture_amount: int | None
    method: PaymentMethod
    rail: NotRequired[RailPartDocument | None]
    payer_account_id: str
    payee_account_id: str
    capture: Literal["automatic", "manual"]
    reference: str | None
    description: str | None
    metadata: dict[str, str] | None
    created_by: NotRequired[str | None]
    failure: FailureDocument | None
    transfer_id: str
    ledger_deadline: str | None
    attempt: int
    due_at: str | None
    facts: int
    created_at: str
    updated_at: str
    expires_at: str


class PaymentChanges(TypedDict, total=False):
    """The fields of a payment that may change."""

    status: PaymentStatus
    amount_captured: int
    amount_refunded: int
    amount_refunding: int
    capture_amount: int | None
    failure: FailureDocument | None
    ledger_deadline: str | None
    attempt: int
    due_at: str | None
    facts: int
    rail: RailPartDocument | None
    updated_at: str


class RefundDocument(Document):
    """A refund of a payment, in full or in part (owner: payments). Its payer is the payee of the payment.

    `amount` is in minor units. `excess` is what came back from a provider in addition, for the suspense account: the
    payment had moved more than its payer had paid. `ledger_deadline`, `attempt` and `due_at` have the same meaning as
    in a payment."""

    payment_id: str
    status: RefundStatus
    amount: int
    excess: NotRequired[int]
    currency: str
    payer_account_id: str
    payee_account_id: str
    reason: str | None
    failure: FailureDocument | None
    transfer_id: str
    ledger_deadline: str
    attempt: int
    due_at: str | None
    created_at: str
    updated_at: str


class RefundChanges(TypedDict, total=False):
    """The fields of a refund that may change."""

    status: RefundStatus
    failure: FailureDocument | None
    attempt: int
    due_at: str | None
    updated_at: str


PAYMENTS: Final = Collection(
    "payments",
    owner="payments",
    document=PaymentDocument,
    changes=PaymentChanges,
    indexes=(
        Index(("status",)),
        Index(("payer_account_id",)),
        Index(("payee_account_id",)),
        Index(("reference",)),
        Index(("status", "due_at"), sparse=True),
    ),
)


REFUNDS: Final = Collection(
    "refunds",
    owner="payments",
    document=RefundDocument,
    changes=RefundChanges,
    indexes=(
        Index(("payment_id", "created_at")),
        Index(("status", "due_at"), sparse=True),
        Index(("payee_account_id", "status")),
    ),
)

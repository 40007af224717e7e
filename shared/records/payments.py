"""The documents of the payments domain: payments and refunds."""

from __future__ import annotations

from typing import Final, Literal

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


class PaymentDocument(Document):
    """An order to move money between two accounts (owner: payments).

    `capture_amount` is what the ledger was asked to move; `amount_refunding` is set aside for refunds under way, so
    that refunds together never exceed what was captured. `ledger_deadline` is the time until which the ledger may
    record the transfer. `attempt` and `due_at` drive the saga: the step's number, and the time by which it is over
    (None: nothing is awaited). `facts` counts the entries of the timeline.
    """

    status: PaymentStatus
    amount: int
    currency: str
    amount_captured: int
    amount_refunded: int
    amount_refunding: int
    capture_amount: int | None
    method: Literal["internal"]
    payer_account_id: str
    payee_account_id: str
    capture: Literal["automatic", "manual"]
    reference: str | None
    description: str | None
    metadata: dict[str, str] | None
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
    """What may change of a payment."""

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
    updated_at: str


class RefundDocument(Document):
    """Money given back of a payment, in part or whole (owner: payments). Its payer is the payment's payee;
    `ledger_deadline`, `attempt` and `due_at` are as a payment's."""

    payment_id: str
    status: RefundStatus
    amount: int
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
    """What may change of a refund."""

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
    indexes=(Index(("payment_id",)), Index(("status", "due_at"), sparse=True)),
)

"""Documents that more than one domain reads. Each has one owner, named here, and only the owner writes it.

Every document also carries `tenant_id` and `version`, which the unit of work sets. Times are RFC 3339 text in UTC of
one width (shared/clock.py); amounts are integers in minor units of the document's currency.
"""

from __future__ import annotations

from typing import Final, Literal, TypedDict

from shared.ports.documents import Collection, Floor, Index

UserStatus = Literal["pending", "active", "suspended", "closed"]
AccountStatus = Literal["active", "blocked", "closed"]
HoldStatus = Literal["active", "captured", "released", "refused"]
HoldCause = Literal["payment", "refund"]
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
DepositStatus = Literal["created", "settled", "failed"]


class FailureDocument(TypedDict):
    """Why something did not come about; `events.failure.Failure` as it is stored."""

    code: str
    detail: str


class UserDocument(TypedDict):
    """A customer or merchant (owner: users). `name`, `document_number`, `email` and `phone` are sealed for the
    tenant; `document_index` is the blind index of type and number, by which a second registration is found."""

    id: str
    tenant_id: str
    version: int
    kind: Literal["customer", "merchant"]
    status: UserStatus
    name: str
    document_type: Literal["cpf", "cnpj"]
    document_number: str
    document_index: str
    email: str
    phone: str | None
    metadata: dict[str, str] | None
    created_at: str
    updated_at: str


class AccountDocument(TypedDict):
    """A payment account (owner: accounts). Available is `posted - held + overdraft_limit` and never below zero.

    `posted` is what the ledger's transfers, as far as they were applied here, add up to; `held` is the sum of the
    active holds. `block_mode` is None unless the status is blocked.
    """

    id: str
    tenant_id: str
    version: int
    owner_id: str
    currency: str
    status: AccountStatus
    block_mode: Literal["debits", "all"] | None
    posted: int
    held: int
    overdraft_limit: int
    metadata: dict[str, str] | None
    created_at: str
    updated_at: str


class HoldDocument(TypedDict):
    """What became of the wish to set an amount aside for a payment or refund (owner: accounts); one per cause.

    A hold that was refused, or released before it was asked for (amount 0), stays: a late or repeated wish finds
    the answer in it. `expires_at` is None for refunds, which do not expire.
    """

    id: str
    tenant_id: str
    version: int
    status: HoldStatus
    account_id: str
    amount: int
    currency: str
    cause_type: HoldCause
    cause_id: str
    payment_id: str
    counterparty_account_id: str
    transfer_id: str | None
    deadline: str | None
    expires_at: str | None
    failure: FailureDocument | None
    created_at: str
    updated_at: str


class PaymentDocument(TypedDict):
    """An order to move money between two accounts (owner: payments).

    `capture_amount` is what the ledger was asked to move; `amount_refunding` is set aside for refunds under way, so
    that refunds together never exceed what was captured. `ledger_deadline` is the time until which the ledger may
    record the transfer. `attempt` and `due_at` drive the saga: the step's number, and the time by which it is over
    (None: nothing is awaited). `facts` counts the entries of the timeline.
    """

    id: str
    tenant_id: str
    version: int
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


class RefundDocument(TypedDict):
    """Money given back of a payment, in part or whole (owner: payments). Its payer is the payment's payee;
    `ledger_deadline`, `attempt` and `due_at` are as a payment's."""

    id: str
    tenant_id: str
    version: int
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


class DepositDocument(TypedDict):
    """Money that comes in over a provider (owner: providers).

    `txid` is the charge's id at the provider; `end_to_end_id` names the payment of it, once the provider has told
    of one. `correlation_id` is the request that asked for it: the provider's answer knows nothing of that.
    """

    id: str
    tenant_id: str
    version: int
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


USERS: Final[Collection[UserDocument]] = Collection("users", indexes=(Index(("document_index",), unique=True),))
ACCOUNTS: Final[Collection[AccountDocument]] = Collection(
    "accounts",
    indexes=(Index(("owner_id",)),),
    floors=(Floor((("posted", 1), ("held", -1), ("overdraft_limit", 1))),),
)
HOLDS: Final[Collection[HoldDocument]] = Collection("holds", indexes=(Index(("status", "expires_at")),))

PAYMENTS: Final[Collection[PaymentDocument]] = Collection(
    "payments",
    indexes=(
        Index(("status",)),
        Index(("payer_account_id",)),
        Index(("payee_account_id",)),
        Index(("reference",)),
    ),
)
REFUNDS: Final[Collection[RefundDocument]] = Collection("refunds", indexes=(Index(("payment_id",)), Index(("status",))))
DEPOSITS: Final[Collection[DepositDocument]] = Collection("deposits", indexes=(Index(("status",)),))


def available(account: AccountDocument) -> int:
    """What can be held on an account now, in minor units: `posted - held + overdraft_limit`."""
    return account["posted"] - account["held"] + account["overdraft_limit"]

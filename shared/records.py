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


class FailureDocument(TypedDict):
    """Why something did not come about; `events.payments.Failure` as it is stored."""

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


USERS: Final[Collection[UserDocument]] = Collection(
    "users", indexes=(Index(("document_index",), unique=True),)
)
ACCOUNTS: Final[Collection[AccountDocument]] = Collection(
    "accounts",
    indexes=(Index(("owner_id",)),),
    floors=(Floor((("posted", 1), ("held", -1), ("overdraft_limit", 1))),),
)
HOLDS: Final[Collection[HoldDocument]] = Collection("holds", indexes=(Index(("status", "expires_at")),))


def available(account: AccountDocument) -> int:
    """What can be held on an account now, in minor units: `posted - held + overdraft_limit`."""
    return account["posted"] - account["held"] + account["overdraft_limit"]

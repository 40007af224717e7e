"""The documents of the accounts domain: payment accounts and holds."""

from __future__ import annotations

from typing import Final, Literal, NotRequired

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document, Floor, Index
from shared.records.failure import FailureDocument

AccountStatus = Literal["active", "blocked", "closing", "closed"]


BlockMode = Literal["debits", "all"]
"""What a block stops: money that leaves the account, or money that enters it too."""


CLOSED: Final[frozenset[AccountStatus]] = frozenset({"closing", "closed"})
"""The statuses in which an account accepts no new payments or deposits."""


HoldStatus = Literal["active", "captured", "released", "refused"]


HoldCause = Literal["payment", "refund"]


class AccountDocument(Document):
    """A payment account (owner: accounts). Its available balance, `posted - held + overdraft_limit`, is never negative.

    Amounts are in minor units. `posted` is the sum of the ledger's transfers that were applied to the account; `held`
    is the sum of its active holds. `block_mode` is None unless the account is blocked, or was when its closing began;
    `block_reason` is the caller's reason for that block. A `closing` account accepts no new payments; it becomes
    `closed` when nothing is in progress to or from it. Documents of earlier versions do not have the fields that are
    not required.
    """

    owner_id: str
    currency: str
    status: AccountStatus
    block_mode: BlockMode | None
    block_reason: NotRequired[str | None]
    posted: int
    held: int
    overdraft_limit: int
    metadata: dict[str, str] | None
    created_at: str
    updated_at: str


class AccountChanges(TypedDict, total=False):
    """The fields of an account that may change."""

    status: AccountStatus
    block_mode: BlockMode | None
    block_reason: str | None
    posted: int
    held: int
    updated_at: str


class HoldDocument(Document):
    """The result of the hold request of a payment or refund (owner: accounts). Each payment or refund has one.

    A refused hold is stored with the amount 0, and so is one that was released before it was requested: a late or
    repeated request finds its answer there. `expires_at` is None for refunds, which do not expire.
    """

    status: HoldStatus
    account_id: str
    amount: int
    currency: str
    cause_type: HoldCause
    cause_id: str
    payment_id: str
    counterparty_account_id: str
    expires_at: str | None
    failure: FailureDocument | None
    created_at: str
    updated_at: str


class HoldChanges(TypedDict, total=False):
    """The fields of a hold that may change."""

    status: HoldStatus
    updated_at: str


ACCOUNTS: Final = Collection(
    "accounts",
    owner="accounts",
    document=AccountDocument,
    changes=AccountChanges,
    indexes=(Index(("owner_id",)), Index(("status",))),
    floors=(Floor((("posted", 1), ("held", -1), ("overdraft_limit", 1))),),
)


HOLDS: Final = Collection(
    "holds",
    owner="accounts",
    document=HoldDocument,
    changes=HoldChanges,
    indexes=(Index(("status", "expires_at"), sparse=True), Index(("counterparty_account_id", "status"))),
)


def available(account: AccountDocument) -> int:
    """Return the available balance in minor units: `posted - held + overdraft_limit`."""
    return account["posted"] - account["held"] + account["overdraft_limit"]

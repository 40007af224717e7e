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


HoldCause = Literal["payment", "refund", "return"]


class RaiseDocument(TypedDict):
    """A raise of a limit that is not in force before a time. `value` is None for a removal of the limit."""

    value: int | None
    effective_at: str


class LimitDocument(TypedDict):
    """A limit in minor units, None for none, and the raises that were requested, by time and value."""

    value: int | None
    raises: list[RaiseDocument]


class LimitsDocument(TypedDict):
    """The limits of an account: for one payment, for the payments of a day, and for those of a night."""

    per_payment: LimitDocument
    per_day: LimitDocument
    per_night: LimitDocument


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
    limits: NotRequired[LimitsDocument | None]
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
    overdraft_limit: int
    limits: LimitsDocument | None
    metadata: dict[str, str] | None
    updated_at: str


class UsageDocument(Document):
    """What an account with limits has paid in its last day and night (owner: accounts). Its id is the account's.

    `day` is a date in São Paulo, `night` the date on which the night began, or empty before the first; the amounts are
    in minor units and belong to that day and night. Holds are counted, and what is released is counted no more. Each
    hold of the account writes this document in the version that it has read: two payments cannot both use the last of a
    limit.
    """

    day: str
    day_used: int
    night: str
    night_used: int


class UsageChanges(TypedDict, total=False):
    """The fields of a usage that may change."""

    day: str
    day_used: int
    night: str
    night_used: int


class HoldDocument(Document):
    """The result of the hold request of a payment, refund or return (owner: accounts). Each of them has one.

    A refused hold is stored with the amount 0, and so is one that was released before it was requested: a late or
    repeated request finds its answer there. `expires_at` is None for refunds and returns, which do not expire.
    `payment_id` of a return is the id of the deposit whose payment is returned. `limited` is whether the amount is
    counted against the limits of the account; documents of earlier versions do not have it.
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
    limited: NotRequired[bool]
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


USAGES: Final = Collection("account_usages", owner="accounts", document=UsageDocument, changes=UsageChanges)


def available(account: AccountDocument) -> int:
    """Return the available balance in minor units: `posted - held + overdraft_limit`."""
    return account["posted"] - account["held"] + account["overdraft_limit"]

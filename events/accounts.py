"""Facts of the accounts domain."""

from __future__ import annotations

from typing import ClassVar, Literal

from events import operations
from events.payments import Failure
from shared.envelope import Event
from shared.money import Money

TOPIC = "lastro.accounts.v1"


class AccountEvent(Event):
    """What every fact about an account carries."""

    topic: ClassVar[str] = TOPIC
    subject_field: ClassVar[str] = "account_id"

    account_id: str


class AccountOpened(AccountEvent):
    """An account was opened for a user."""

    type: ClassVar[str] = "lastro.account.opened.v1"
    terminal: ClassVar[bool] = True

    owner_id: str
    currency: str
    overdraft_limit: int


class FundsHeld(AccountEvent):
    """An amount is set aside on the account for a payment or refund (extension attribute `causetype`).

    For a refund it is also what asks the ledger to move the money: `transfer_id` and `deadline` are set then.
    """

    type: ClassVar[str] = "lastro.account.funds_held.v1"

    hold_id: str
    amount: Money
    cause_type: Literal["payment", "refund"]
    cause_id: str
    payment_id: str
    counterparty_account_id: str
    transfer_id: str | None = None
    deadline: str | None = None


class FundsRefused(AccountEvent):
    """The account cannot set the amount aside for a payment or refund (extension attribute `causetype`)."""

    type: ClassVar[str] = "lastro.account.funds_refused.v1"

    amount: Money
    cause_type: Literal["payment", "refund"]
    cause_id: str
    payment_id: str
    failure: Failure


class FundsReleased(AccountEvent):
    """An amount that was set aside, or the rest of it, is available again."""

    type: ClassVar[str] = "lastro.account.funds_released.v1"
    terminal: ClassVar[bool] = True

    hold_id: str
    amount: Money
    cause_type: Literal["payment", "refund"]
    cause_id: str
    reason: Literal["canceled", "expired", "failed", "captured_in_part"]


class HoldExpired(AccountEvent):
    """The time for which an amount was set aside has passed; it stays held until its payment decides.

    A sweep of operations finds it and tells it, on the topic of its own domain.
    """

    type: ClassVar[str] = "lastro.account.hold_expired.v1"
    topic: ClassVar[str] = operations.TOPIC

    hold_id: str
    payment_id: str
    expires_at: str


class BalanceChanged(AccountEvent):
    """A ledger transfer was applied to the account: `change` is what its posted balance grew by."""

    type: ClassVar[str] = "lastro.account.balance_changed.v1"
    terminal: ClassVar[bool] = True

    transfer_id: str
    change: Money

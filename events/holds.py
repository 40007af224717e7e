"""Facts about holds."""

from typing import ClassVar, Literal

from events.accounts import AccountEvent
from events.failure import Failure
from shared.core.money import Money

ReleaseReason = Literal["canceled", "expired", "failed", "captured_in_part"]


class FundsHeld(AccountEvent):
    """An amount is held on the account for a payment, a refund, or a return of a received payment (extension attribute
    `causetype`). `payment_id` is the id of the payment, or of the deposit whose payment is returned.

    `transfer_id` and `deadline` are always null: `lastro.refund.posting_requested.v1` carries them now. The fields
    stay because version 1 of this type is published with them.
    """

    type: ClassVar[str] = "lastro.account.funds_held.v1"

    hold_id: str
    amount: Money
    cause_type: Literal["payment", "refund", "return"]
    cause_id: str
    payment_id: str
    counterparty_account_id: str
    transfer_id: None = None
    deadline: None = None


class FundsRefused(AccountEvent):
    """The account cannot hold the amount for a payment, refund or return (extension attribute `causetype`)."""

    type: ClassVar[str] = "lastro.account.funds_refused.v1"

    amount: Money
    cause_type: Literal["payment", "refund", "return"]
    cause_id: str
    payment_id: str
    failure: Failure


class FundsReleased(AccountEvent):
    """A held amount, or the rest of it, is available again."""

    type: ClassVar[str] = "lastro.account.funds_released.v1"

    hold_id: str
    amount: Money
    cause_type: Literal["payment", "refund", "return"]
    cause_id: str
    reason: ReleaseReason

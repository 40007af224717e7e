"""lastro.payment.posting_requested.v1."""

from typing import ClassVar

from events.payments.base import PaymentEvent
from shared.core.money import Money


class PaymentPostingRequested(PaymentEvent):
    """The provider has made the payment, so the ledger is to record its transfer, at whatever time.

    `amount_captured` goes from or to the account of the tenant's user, `amount_moved` from or to the clearing account.
    Where a review has decided on different amounts, the difference is the suspense account's.
    """

    type: ClassVar[str] = "lastro.payment.posting_requested.v1"

    transfer_id: str
    amount_captured: Money
    amount_moved: Money
    description: str | None
    attempt: int = 1

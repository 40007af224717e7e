"""lastro.payment.returned.v1."""

from typing import ClassVar

from events.payments.base import PaymentEvent
from shared.core.money import Money


class PaymentReturned(PaymentEvent):
    """The receiver's provider has sent a settled payment back: `refund_id` returns it to the payer.

    `amount_returned` is what came back, `reason` the provider's code.
    """

    type: ClassVar[str] = "lastro.payment.returned.v1"
    terminal: ClassVar[bool] = True

    refund_id: str
    amount_returned: Money
    reason: str

"""lastro.payment.capture_requested.v1."""

from typing import ClassVar

from events.payments.base import PaymentEvent
from shared.core.money import Money


class PaymentCaptureRequested(PaymentEvent):
    """`capture_amount` is to be moved: the ledger is to record the transfer, which it may refuse after `deadline`.

    With the extension attribute `via`, whose value is `rail`, the provider of a rail is to move it first, and there is
    no deadline.
    """

    type: ClassVar[str] = "lastro.payment.capture_requested.v1"

    transfer_id: str
    capture_amount: Money
    description: str | None
    deadline: str
    attempt: int = 1

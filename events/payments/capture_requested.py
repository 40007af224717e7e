"""lastro.payment.capture_requested.v1."""

from typing import ClassVar

from events.payments.base import PaymentEvent
from shared.core.money import Money


class PaymentCaptureRequested(PaymentEvent):
    """The ledger is to record a transfer of `capture_amount`. It may refuse after `deadline`, never before."""

    type: ClassVar[str] = "lastro.payment.capture_requested.v1"

    transfer_id: str
    capture_amount: Money
    description: str | None
    deadline: str
    attempt: int = 1

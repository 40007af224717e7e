"""lastro.payment.canceled.v1."""

from typing import ClassVar

from events.payments.base import PaymentEvent


class PaymentCanceled(PaymentEvent):
    """The payment was canceled before its capture; its hold is to be released."""

    type: ClassVar[str] = "lastro.payment.canceled.v1"

    reason: str | None

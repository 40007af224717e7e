"""lastro.payment.canceled.v1."""

from typing import ClassVar

from events.payments.base import PaymentEvent


class PaymentCanceled(PaymentEvent):
    """The payment was called off before capture; what was held for it is to be released."""

    type: ClassVar[str] = "lastro.payment.canceled.v1"

    reason: str | None

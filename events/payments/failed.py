"""lastro.payment.failed.v1."""

from typing import ClassVar

from events.failure import Failure
from events.payments.base import PaymentEvent


class PaymentFailed(PaymentEvent):
    """The payment failed; its hold is to be released."""

    type: ClassVar[str] = "lastro.payment.failed.v1"

    failure: Failure

"""lastro.payment.declined.v1."""

from typing import ClassVar

from events.failure import Failure
from events.payments.base import PaymentEvent


class PaymentDeclined(PaymentEvent):
    """The payment was declined; an amount that is held for it is to be released."""

    type: ClassVar[str] = "lastro.payment.declined.v1"

    failure: Failure

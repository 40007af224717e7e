"""lastro.payment.declined.v1."""

from typing import ClassVar

from events.failure import Failure
from events.payments.base import PaymentEvent


class PaymentDeclined(PaymentEvent):
    """The payment was declined; nothing is held."""

    type: ClassVar[str] = "lastro.payment.declined.v1"
    terminal: ClassVar[bool] = True

    failure: Failure

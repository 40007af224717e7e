"""lastro.payment.expired.v1."""

from typing import ClassVar

from events.payments.base import PaymentEvent


class PaymentExpired(PaymentEvent):
    """The authorization expired before its capture; the hold is to be released."""

    type: ClassVar[str] = "lastro.payment.expired.v1"

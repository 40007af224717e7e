"""lastro.payment.authorized.v1."""

from typing import ClassVar

from events.payments.base import PaymentEvent


class PaymentAuthorized(PaymentEvent):
    """The payer's funds are held for the payment."""

    type: ClassVar[str] = "lastro.payment.authorized.v1"
    terminal: ClassVar[bool] = True

    expires_at: str

"""lastro.payment.created.v1."""

from typing import ClassVar, Literal

from events.payments.base import PaymentEvent


class PaymentCreated(PaymentEvent):
    """A payment was requested; its amount is not held yet."""

    type: ClassVar[str] = "lastro.payment.created.v1"

    method: str
    capture: Literal["automatic", "manual"]
    expires_at: str
    attempt: int = 1

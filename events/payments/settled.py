"""lastro.payment.settled.v1."""

from typing import ClassVar

from events.payments.base import PaymentEvent
from shared.core.money import Money


class PaymentSettled(PaymentEvent):
    """The ledger has recorded the payment's transfer."""

    type: ClassVar[str] = "lastro.payment.settled.v1"

    amount_captured: Money
    transfer_id: str

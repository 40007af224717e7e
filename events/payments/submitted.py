"""lastro.payment.submitted.v1."""

from typing import ClassVar

from events.payments.base import PaymentEvent


class PaymentSubmitted(PaymentEvent):
    """The provider of the payment's rail has it. `end_to_end_id` is its id there."""

    type: ClassVar[str] = "lastro.payment.submitted.v1"
    terminal: ClassVar[bool] = True

    method: str
    end_to_end_id: str

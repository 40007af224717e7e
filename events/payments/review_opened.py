"""lastro.payment.review_opened.v1."""

from typing import ClassVar

from events.failure import Failure
from events.payments.base import PaymentEvent
from shared.core.money import Money


class PaymentReviewOpened(PaymentEvent):
    """What the provider reports does not fit the payment: an operator decides (`POST /v1/payments/{id}/resolve`).

    `amount_moved` is what the provider has moved. The funds stay held.
    """

    type: ClassVar[str] = "lastro.payment.review_opened.v1"
    terminal: ClassVar[bool] = True

    end_to_end_id: str
    amount_moved: Money
    reason: Failure

"""The base of facts about payments."""

from typing import ClassVar

from events import topics
from shared.core.envelope import Event
from shared.core.money import Money


class PaymentEvent(Event):
    """The fields of every fact about a payment."""

    topic: ClassVar[str] = topics.PAYMENTS
    subject_field: ClassVar[str] = "payment_id"

    payment_id: str
    amount: Money
    payer_account_id: str
    payee_account_id: str

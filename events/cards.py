"""Facts about card payments at the gateway: their authorization and their refunds.

The facts about captures are those of every payment over a rail (events.rail_payments).
"""

from __future__ import annotations

from typing import ClassVar

from events import topics
from events.failure import Failure
from shared.core.envelope import Event
from shared.core.money import Money


class CardAuthorizationEvent(Event):
    """The fields of the facts about an authorization. `payer_account_id` is the clearing account of the gateway."""

    topic: ClassVar[str] = topics.PROVIDERS
    subject_field: ClassVar[str] = "payment_id"

    payment_id: str
    amount: Money
    payer_account_id: str
    payee_account_id: str


class CardAuthorized(CardAuthorizationEvent):
    """The card's issuer has reserved the amount of a payment. It can be captured until `expires_at`."""

    type: ClassVar[str] = "lastro.card.authorized.v1"

    expires_at: str


class CardDeclined(CardAuthorizationEvent):
    """The card's issuer, or the gateway, has refused to reserve the amount of a payment."""

    type: ClassVar[str] = "lastro.card.declined.v1"

    failure: Failure


class CardRefundEvent(Event):
    """The fields of the facts about a refund. `amount` is what was ordered."""

    topic: ClassVar[str] = topics.PROVIDERS
    subject_field: ClassVar[str] = "refund_id"

    refund_id: str
    payment_id: str
    amount: Money


class CardRefundPaid(CardRefundEvent):
    """The gateway has returned the amount to the card. The ledger is to record the refund's transfer, at whatever
    time."""

    type: ClassVar[str] = "lastro.card.refund_paid.v1"

    transfer_id: str
    account_id: str
    clearing_account_id: str


class CardRefundRefused(CardRefundEvent):
    """The gateway has not returned the amount to the card, and will not."""

    type: ClassVar[str] = "lastro.card.refund_refused.v1"

    failure: Failure

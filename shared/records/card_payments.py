"""The documents of card payments and their refunds, as the gateway has them (owner: the providers domain)."""

from __future__ import annotations

from typing import Any, Final, Literal

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document, NoChanges
from shared.records.failure import FailureDocument

CardPaymentState = Literal["sending", "pending", "authorized", "declined", "canceled", "expired"]
CardRefundState = Literal["sending", "processing", "settled", "refused"]


class CardPaymentDocument(Document):
    """The authorization of a card payment. The id is the payment's, and our reference at the gateway.

    It is `sending` from before the first command until the gateway has answered: a command in this status may have
    arrived. It is `pending` while the issuer has not answered. `gateway_id` is the gateway's id of the payment,
    `amount` the authorized amount in minor units, `authorized_until` the time until which it can be captured. `report`
    is the gateway's last one, masked.
    """

    status: CardPaymentState
    gateway_id: str | None
    amount: int
    currency: str
    authorized_until: str | None
    failure: FailureDocument | None
    report: dict[str, Any] | None
    correlation_id: str
    created_at: str
    updated_at: str


class CardPaymentChanges(TypedDict, total=False):
    """The fields of a card payment that may change."""

    status: CardPaymentState
    gateway_id: str | None
    authorized_until: str | None
    failure: FailureDocument | None
    report: dict[str, Any] | None
    updated_at: str


class CardRefundDocument(Document):
    """A refund of a card payment. The id is the refund's, and our reference at the gateway.

    `amount` is what was ordered and `amount_moved` what the gateway reports to have returned, both in minor units.
    """

    payment_id: str
    status: CardRefundState
    amount: int
    amount_moved: int | None
    failure: FailureDocument | None
    report: dict[str, Any] | None
    created_at: str
    updated_at: str


class CardRefundChanges(TypedDict, total=False):
    """The fields of a refund at the gateway that may change."""

    status: CardRefundState
    amount_moved: int | None
    failure: FailureDocument | None
    report: dict[str, Any] | None
    updated_at: str


class CardEventDocument(Document):
    """A callback that was processed. The id is the gateway's id of the event. `report` is its payment, masked."""

    payment_id: str
    type: str
    report: dict[str, Any]
    received_at: str


CARD_PAYMENTS: Final = Collection(
    "card_payments", owner="providers", document=CardPaymentDocument, changes=CardPaymentChanges
)
CARD_REFUNDS: Final = Collection(
    "card_refunds", owner="providers", document=CardRefundDocument, changes=CardRefundChanges
)
CARD_EVENTS: Final = Collection("card_events", owner="providers", document=CardEventDocument, changes=NoChanges)

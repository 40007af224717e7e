"""The facts about payments at the providers, by rail. A new rail adds one entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from events.rail_payments import (
    CardPaymentConfirmed,
    CardPaymentRefused,
    CardPaymentSent,
    PixPaymentConfirmed,
    PixPaymentRefused,
    PixPaymentSent,
    RailPaymentConfirmed,
    RailPaymentRefused,
    RailPaymentSent,
)


class RailFacts(NamedTuple):
    """The three facts of a rail. Each is made from the fields of its model."""

    sent: Callable[[dict[str, Any]], RailPaymentSent]
    confirmed: Callable[[dict[str, Any]], RailPaymentConfirmed]
    refused: Callable[[dict[str, Any]], RailPaymentRefused]


def _pix_sent(fields: dict[str, Any]) -> RailPaymentSent:
    return PixPaymentSent(**fields)


def _pix_confirmed(fields: dict[str, Any]) -> RailPaymentConfirmed:
    return PixPaymentConfirmed(**fields)


def _pix_refused(fields: dict[str, Any]) -> RailPaymentRefused:
    return PixPaymentRefused(**fields)


def _card_sent(fields: dict[str, Any]) -> RailPaymentSent:
    return CardPaymentSent(**fields)


def _card_confirmed(fields: dict[str, Any]) -> RailPaymentConfirmed:
    return CardPaymentConfirmed(**fields)


def _card_refused(fields: dict[str, Any]) -> RailPaymentRefused:
    return CardPaymentRefused(**fields)


RAIL_FACTS: Final[dict[str, RailFacts]] = {
    "pix": RailFacts(_pix_sent, _pix_confirmed, _pix_refused),
    "card": RailFacts(_card_sent, _card_confirmed, _card_refused),
}
"""The facts of each rail, by the payment method."""

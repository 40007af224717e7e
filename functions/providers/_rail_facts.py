"""The facts about payments at the providers, by rail. A new rail adds one entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from events.rail_payments import (
    BankTransferConfirmed,
    BankTransferRefused,
    BankTransferReturned,
    BankTransferSent,
    CardPaymentConfirmed,
    CardPaymentRefused,
    CardPaymentSent,
    PixPaymentConfirmed,
    PixPaymentRefused,
    PixPaymentReturned,
    PixPaymentSent,
    RailPaymentConfirmed,
    RailPaymentRefused,
    RailPaymentReturned,
    RailPaymentSent,
)


class RailFacts(NamedTuple):
    """The facts of a rail. Each is made from the fields of its model."""

    sent: Callable[[dict[str, Any]], RailPaymentSent]
    confirmed: Callable[[dict[str, Any]], RailPaymentConfirmed]
    refused: Callable[[dict[str, Any]], RailPaymentRefused]
    returned: Callable[[dict[str, Any]], RailPaymentReturned] | None
    """None when a payment of the rail does not come back by itself."""


def _pix_sent(fields: dict[str, Any]) -> RailPaymentSent:
    return PixPaymentSent(**fields)


def _pix_confirmed(fields: dict[str, Any]) -> RailPaymentConfirmed:
    return PixPaymentConfirmed(**fields)


def _pix_refused(fields: dict[str, Any]) -> RailPaymentRefused:
    return PixPaymentRefused(**fields)


def _pix_returned(fields: dict[str, Any]) -> RailPaymentReturned:
    return PixPaymentReturned(**fields)


def _bank_sent(fields: dict[str, Any]) -> RailPaymentSent:
    return BankTransferSent(**fields)


def _bank_confirmed(fields: dict[str, Any]) -> RailPaymentConfirmed:
    return BankTransferConfirmed(**fields)


def _bank_refused(fields: dict[str, Any]) -> RailPaymentRefused:
    return BankTransferRefused(**fields)


def _bank_returned(fields: dict[str, Any]) -> RailPaymentReturned:
    return BankTransferReturned(**fields)


def _card_sent(fields: dict[str, Any]) -> RailPaymentSent:
    return CardPaymentSent(**fields)


def _card_confirmed(fields: dict[str, Any]) -> RailPaymentConfirmed:
    return CardPaymentConfirmed(**fields)


def _card_refused(fields: dict[str, Any]) -> RailPaymentRefused:
    return CardPaymentRefused(**fields)


RAIL_FACTS: Final[dict[str, RailFacts]] = {
    "pix": RailFacts(_pix_sent, _pix_confirmed, _pix_refused, _pix_returned),
    "bank_transfer": RailFacts(_bank_sent, _bank_confirmed, _bank_refused, _bank_returned),
    "card": RailFacts(_card_sent, _card_confirmed, _card_refused, None),
}
"""The facts of each rail, by the payment method."""

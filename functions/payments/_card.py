"""Card payments, as requests name them. The platform takes a token of the gateway, and no card numbers."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from shared.core.card_numbers import place_of_card_number
from shared.core.problems import Problem
from shared.http.models import Command
from shared.records.payments import PaymentDocument

_REFUSED = (
    "The body has a card number. It was not stored. Send a token of the card gateway in `card`, and no card number in "
    "any field."
)


class CardToken(Command):
    """The card of a payment, as a token."""

    token: str = Field(
        min_length=8,
        max_length=124,
        pattern=r"^tok_[A-Za-z0-9_-]+$",
        description="The token that the card gateway has given to the cardholder's browser or application. A card "
        "number is refused.",
    )


def refuse_card_number(body: Any) -> None:
    """Raise Problem `validation_failed` when the JSON value of a body has a card number in any field. The number is in
    neither the problem nor the log."""
    pointer = place_of_card_number(body)
    if pointer is not None:
        raise Problem.at("validation_failed", pointer, _REFUSED)


def refuse_card_number_about(payment: PaymentDocument, command: Command) -> None:
    """Raise Problem `validation_failed` when a command about a card payment has a card number in any field."""
    if payment["method"] == "card":
        refuse_card_number(command.model_dump(mode="json"))

"""The body of the card gateway's callbacks."""

from __future__ import annotations

from pydantic import ValidationError

from shared.adapters.card.reports import EventReport
from shared.http.strict_json import parse
from shared.http.validation import body_problem
from shared.ports.card_gateway import CardEvent


def read_event(body: bytes) -> CardEvent:
    """Return the event of a callback's body.

    Raises Problem `malformed_request` when it is not JSON, `validation_failed` when it is not a callback of the
    gateway.
    """
    value = parse(body)
    try:
        report = EventReport.model_validate(value)
    except ValidationError as error:
        raise body_problem(error) from None
    return CardEvent(report.id, report.type, report.payment.payment())

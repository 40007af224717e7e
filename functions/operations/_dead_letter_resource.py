"""A dead letter as it is answered."""

from __future__ import annotations

import json
from typing import Any

from shared.http.models import Resource
from shared.records.dead_letters import DeadLetterDocument, DeadLetterStatus


class Cause(Resource):
    """Why: a problem's code or `http_<status>`, the status answered, and the consumer's words."""

    code: str
    status: int | None
    detail: str


class DeadLetter(Resource):
    """A dead letter."""

    id: str
    event: dict[str, Any]
    consumer: str
    cause: Cause
    attempts: int
    status: DeadLetterStatus
    parked_at: str


def dead_letter_resource(letter: DeadLetterDocument) -> DeadLetter:
    """The dead letter as it is answered."""
    return DeadLetter(
        id=letter["id"],
        event={**letter["event"], "data": json.loads(letter["data"])},
        consumer=letter["consumer"],
        cause=Cause(**letter["cause"]),
        attempts=letter["attempts"],
        status=letter["status"],
        parked_at=letter["parked_at"],
    )

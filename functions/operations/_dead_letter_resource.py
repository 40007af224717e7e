"""The dead letter resource of the HTTP API, and the query and command for it."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field

from shared.context.context import Context
from shared.http.models import Command, Description, ListQuery, Page, Resource, Time
from shared.http.pages import find_page
from shared.ports.documents import Query
from shared.records.dead_letters import DEAD_LETTERS, DeadLetterDocument, DeadLetterStatus


class DeadLettersQuery(ListQuery):
    """The page of dead letters to return, in any status or in one."""

    status: DeadLetterStatus | None = Field(default=None, description="Return only dead letters in this status.")


class Discard(Command):
    """The reason for which an event is discarded."""

    reason: Description = Field(min_length=1, description="Why the event is not needed any more. It is stored.")


class Cause(Resource):
    """The outcome of the last delivery, which failed."""

    code: str = Field(
        description="A problem code of the consumer; `http_<status>` for an answer without one; `no_answer` when the "
        "consumer did not answer."
    )
    status: int | None = Field(description="The HTTP status that the consumer answered with; null without an answer.")
    detail: str = Field(description="The consumer's own explanation, as far as it gave one.")


class DeadLetter(Resource):
    """An event that could not be delivered to one of its consumers."""

    id: str = Field(description="The dead letter's id, `dlt_…`.")
    event: dict[str, Any] = Field(description="The whole event, a CloudEvent in JSON format.")
    consumer: str = Field(description="The name of the function that could not process the event.")
    cause: Cause = Field(description="The reason for which the last delivery failed.")
    attempts: int = Field(
        description="How many times the delivery failed after all retries: 1, and one more for each failed replay."
    )
    status: DeadLetterStatus = Field(
        description="`parked` waits for a decision; `replayed` was published again; `discarded` will not be "
        "delivered again."
    )
    parked_at: Time = Field(description="When the last delivery failed after all retries.")


def dead_letter_resource(letter: DeadLetterDocument) -> DeadLetter:
    """Return the resource of a dead letter."""
    return DeadLetter(
        id=letter["id"],
        event={**letter["event"], "data": json.loads(letter["data"])},
        consumer=letter["consumer"],
        cause=Cause(**letter["cause"]),
        attempts=letter["attempts"],
        status=letter["status"],
        parked_at=letter["parked_at"],
    )


async def dead_letters_page(query: DeadLettersQuery, ctx: Context) -> Page[DeadLetter]:
    """Return a page of dead letters, newest first: those of the context's tenant, or of the platform."""
    return await find_page(
        ctx,
        DEAD_LETTERS,
        query,
        {"status": query.status},
        lambda filters: Query(where=filters, newest_first=True),
        dead_letter_resource,
    )

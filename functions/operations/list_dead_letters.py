"""GET /v1/dead-letters."""

from __future__ import annotations

from pydantic import Field

from functions.operations._dead_letter_resource import DeadLetter, dead_letter_resource
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import ListQuery, Page
from shared.http.pages import find_page
from shared.ports.documents import Query
from shared.records.dead_letters import DEAD_LETTERS, DeadLetterStatus


class DeadLettersQuery(ListQuery):
    """Which dead letters to list."""

    status: DeadLetterStatus | None = Field(default=None, description="Return only dead letters in this status.")


@http_function("GET /v1/dead-letters", scope="operations:read")
async def list_dead_letters(query: DeadLettersQuery, ctx: Context) -> Page[DeadLetter]:
    """List dead letters, newest first."""
    return await find_page(
        ctx,
        DEAD_LETTERS,
        query,
        {"status": query.status},
        lambda filters: Query(where=filters, newest_first=True),
        dead_letter_resource,
    )

"""GET /v1/dead-letters."""

from __future__ import annotations

from functions.operations._dead_letter_resource import DeadLetter, DeadLettersQuery, dead_letters_page
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import Page


@http_function("GET /v1/dead-letters", scope="operations:read")
async def list_dead_letters(query: DeadLettersQuery, ctx: Context) -> Page[DeadLetter]:
    """List dead letters, newest first."""
    return await dead_letters_page(query, ctx)

"""GET /v1/dead-letters/{dead_letter_id}."""

from __future__ import annotations

from functions.operations._dead_letter_resource import DeadLetter, dead_letter_resource
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.records.dead_letters import DEAD_LETTERS


@http_function("GET /v1/dead-letters/{dead_letter_id}", scope="operations:read")
async def get_dead_letter(dead_letter_id: str, ctx: Context) -> DeadLetter:
    """Retrieve a dead letter with its event."""
    return dead_letter_resource(await ctx.required(DEAD_LETTERS, dead_letter_id))

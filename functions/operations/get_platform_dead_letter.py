"""GET /v1/platform/dead-letters/{dead_letter_id}."""

from __future__ import annotations

from functions.operations._dead_letter_resource import DeadLetter, dead_letter_resource
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.operation import Access
from shared.identity.tenancy import PLATFORM_SCOPE
from shared.records.dead_letters import DEAD_LETTERS


@http_function("GET /v1/platform/dead-letters/{dead_letter_id}", scope=PLATFORM_SCOPE, access=Access.PLATFORM)
async def get_platform_dead_letter(dead_letter_id: str, ctx: Context) -> DeadLetter:
    """Retrieve a dead letter of an event that names no tenant."""
    return dead_letter_resource(await ctx.required(DEAD_LETTERS, dead_letter_id))

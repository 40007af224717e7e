"""GET /v1/platform/dead-letters."""

from __future__ import annotations

from functions.operations._dead_letter_resource import DeadLetter, DeadLettersQuery, dead_letters_page
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import Page
from shared.http.operation import Access
from shared.identity.tenancy import PLATFORM_SCOPE


@http_function("GET /v1/platform/dead-letters", scope=PLATFORM_SCOPE, access=Access.PLATFORM)
async def list_platform_dead_letters(query: DeadLettersQuery, ctx: Context) -> Page[DeadLetter]:
    """List the dead letters of events that name no tenant, newest first."""
    return await dead_letters_page(query, ctx)

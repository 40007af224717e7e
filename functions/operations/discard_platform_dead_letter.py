"""POST /v1/platform/dead-letters/{dead_letter_id}/discard."""

from __future__ import annotations

from functions.operations._dead_letter import discard
from functions.operations._dead_letter_resource import DeadLetter, Discard, dead_letter_resource
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.operation import Access
from shared.identity.tenancy import PLATFORM_SCOPE


@http_function(
    "POST /v1/platform/dead-letters/{dead_letter_id}/discard",
    scope=PLATFORM_SCOPE,
    access=Access.PLATFORM,
    problems=("illegal_state",),
)
async def discard_platform_dead_letter(dead_letter_id: str, command: Discard, ctx: Context) -> DeadLetter:
    """Discard a dead letter of an event that names no tenant.

    The event is not delivered again. The dead letter stays in the list, with the reason.
    """
    return dead_letter_resource(await discard(dead_letter_id, command.reason, ctx))

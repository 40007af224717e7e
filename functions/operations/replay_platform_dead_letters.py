"""POST /v1/platform/dead-letters/replay."""

from __future__ import annotations

from functions.operations._replay_batch import ReplayDeadLetters, ReplayedDeadLetters, replay_page
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.operation import Access
from shared.identity.tenancy import PLATFORM_SCOPE


@http_function(
    "POST /v1/platform/dead-letters/replay", scope=PLATFORM_SCOPE, access=Access.PLATFORM, empty_body_is_object=True
)
async def replay_platform_dead_letters(command: ReplayDeadLetters, ctx: Context) -> ReplayedDeadLetters:
    """Replay parked dead letters of events that name no tenant by type, consumer and time, oldest first.

    One request looks at 100 of them. Send the same request with `next_cursor` as `cursor` until it is null.
    """
    return await replay_page(command, ctx)

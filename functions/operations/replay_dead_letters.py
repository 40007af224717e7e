"""POST /v1/dead-letters/replay."""

from __future__ import annotations

from functions.operations._replay_batch import ReplayDeadLetters, ReplayedDeadLetters, replay_page
from shared.context.context import Context
from shared.functions.decorators import http_function


@http_function("POST /v1/dead-letters/replay", scope="operations:write", empty_body_is_object=True)
async def replay_dead_letters(command: ReplayDeadLetters, ctx: Context) -> ReplayedDeadLetters:
    """Replay parked dead letters by type, consumer and time, oldest first.

    One request looks at 100 of them. Send the same request with `next_cursor` as `cursor` until it is null.
    """
    return await replay_page(command, ctx)

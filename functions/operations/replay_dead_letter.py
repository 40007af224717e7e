"""POST /v1/dead-letters/{dead_letter_id}/replay."""

from __future__ import annotations

from functions.operations._dead_letter import replay
from functions.operations._dead_letter_resource import DeadLetter, dead_letter_resource
from shared.context.context import Context
from shared.functions.decorators import http_function


@http_function(
    "POST /v1/dead-letters/{dead_letter_id}/replay",
    scope="operations:write",
    empty_body_is_object=True,
    problems=("illegal_state",),
)
async def replay_dead_letter(dead_letter_id: str, ctx: Context) -> DeadLetter:
    """Replay a dead letter.

    The same event is published again. Consumers that have processed it do nothing. When the delivery fails again,
    the dead letter is parked again.
    """
    return dead_letter_resource(await replay(dead_letter_id, ctx))

"""POST /v1/dead-letters/{dead_letter_id}/replay: let the consumer try again."""

from __future__ import annotations

from events.dead_letters import DeadLetterReplayed
from functions.operations._dead_letter import REPLAYS, dead_letter_parts, require_parked
from functions.operations._dead_letter_resource import DeadLetter, dead_letter_resource
from shared.context.context import Context
from shared.core.envelope import Envelope
from shared.functions.decorators import http_function
from shared.records.dead_letters import DEAD_LETTERS


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
    letter = await ctx.required(DEAD_LETTERS, dead_letter_id)
    require_parked(letter)
    event = Envelope.of(letter["event"], letter["data"].encode())
    ctx.publish(event.with_extensions({REPLAYS: str(letter["attempts"])}))
    ctx.emit(DeadLetterReplayed(**dead_letter_parts(letter)))
    return dead_letter_resource(ctx.update(DEAD_LETTERS, letter, status="replayed", updated_at=ctx.now_text))

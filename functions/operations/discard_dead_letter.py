"""POST /v1/dead-letters/{dead_letter_id}/discard: give an event up for good."""

from __future__ import annotations

from pydantic import Field

from events.dead_letters import DeadLetterDiscarded
from functions.operations._dead_letter import dead_letter_parts, require_parked
from functions.operations._dead_letter_resource import DeadLetter, dead_letter_resource
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import Command, Description
from shared.records.dead_letters import DEAD_LETTERS


class Discard(Command):
    """Why the event is given up."""

    reason: Description = Field(min_length=1, description="Why the event is not needed any more. It is stored.")


@http_function("POST /v1/dead-letters/{dead_letter_id}/discard", scope="operations:write", problems=("illegal_state",))
async def discard_dead_letter(dead_letter_id: str, command: Discard, ctx: Context) -> DeadLetter:
    """Discard a dead letter.

    The event is not delivered again. The dead letter stays in the list, with the reason.
    """
    letter = await ctx.required(DEAD_LETTERS, dead_letter_id)
    require_parked(letter)
    ctx.emit(DeadLetterDiscarded(**dead_letter_parts(letter), reason=command.reason))
    discarded = ctx.update(DEAD_LETTERS, letter, status="discarded", reason=command.reason, updated_at=ctx.now_text)
    return dead_letter_resource(discarded)

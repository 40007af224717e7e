"""What can become of a dead letter, a tenant's or the platform's, and how it is told of."""

from __future__ import annotations

from typing import Any, Final

from events.dead_letters import DeadLetterDiscarded, DeadLetterEvent, DeadLetterReplayed
from shared.context.context import Context
from shared.core.envelope import Envelope
from shared.core.problems import Problem
from shared.records.dead_letters import DEAD_LETTERS, DeadLetterDocument

REPLAYS: Final = "replays"
"""Extension attribute of a replayed event: how often it was. It tells a second failure from an old one that is
delivered again."""


async def replay(dead_letter_id: str, ctx: Context) -> DeadLetterDocument:
    """Publish the event of a parked letter again, with the very text of its data.

    Raises Problem `not_found`, or `illegal_state` unless the letter is parked.
    """
    letter = await _parked(dead_letter_id, ctx)
    event = Envelope.of(letter["event"], letter["data"].encode())
    ctx.publish(event.with_extensions({REPLAYS: str(letter["attempts"])}))
    emit(DeadLetterReplayed(**dead_letter_parts(letter)), ctx)
    return ctx.update(DEAD_LETTERS, letter, status="replayed", updated_at=ctx.now_text)


async def discard(dead_letter_id: str, reason: str, ctx: Context) -> DeadLetterDocument:
    """Give up the event of a parked letter, which stays listed. Raises as `replay` does."""
    letter = await _parked(dead_letter_id, ctx)
    emit(DeadLetterDiscarded(**dead_letter_parts(letter), reason=reason), ctx)
    return ctx.update(DEAD_LETTERS, letter, status="discarded", reason=reason, updated_at=ctx.now_text)


def emit(fact: DeadLetterEvent, ctx: Context) -> None:
    """Publish a fact about a dead letter, marked (DEAD_LETTER_ID) so that it never becomes a dead letter itself."""
    ctx.emit(fact, deadletterid=fact.dead_letter_id)


def dead_letter_parts(letter: DeadLetterDocument) -> dict[str, Any]:
    """What every fact about the dead letter says (fields of events.dead_letters.DeadLetterEvent)."""
    return {
        "dead_letter_id": letter["id"],
        "event_id": letter["event"]["id"],
        "event_type": letter["event"]["type"],
        "consumer": letter["consumer"],
    }


async def _parked(dead_letter_id: str, ctx: Context) -> DeadLetterDocument:
    letter = await ctx.required(DEAD_LETTERS, dead_letter_id)
    if letter["status"] != "parked":
        raise Problem("illegal_state", f"The dead letter is {letter['status']} already.")
    return letter

"""Replaying and discarding dead letters, a tenant's or the platform's, and publishing facts about them."""

from __future__ import annotations

from typing import Any, Final

from events.dead_letters import DeadLetterDiscarded, DeadLetterEvent, DeadLetterReplayed
from shared.context.context import Context
from shared.core.envelope import Envelope
from shared.core.problems import Problem
from shared.records.dead_letters import DEAD_LETTERS, DeadLetterDocument, DeadLetterStatus

DEAD_LETTER_CHANGES: Final[dict[DeadLetterStatus, frozenset[DeadLetterStatus]]] = {
    "parked": frozenset({"replayed", "discarded"}),
    # The delivery has failed again.
    "replayed": frozenset({"parked"}),
    "discarded": frozenset(),
}
"""The statuses that may follow each status."""

REPLAYS: Final = "replays"
"""Extension attribute of a replayed event: the number of its replays. With it, a new failure is distinguished from the
repeated delivery of an old one."""


async def replay(dead_letter_id: str, ctx: Context) -> DeadLetterDocument:
    """Publish the event of a parked dead letter again, with the bytes of its data unchanged.

    Raises Problem `not_found`, or `illegal_state` when the dead letter is not parked.
    """
    return replay_parked(await _required(dead_letter_id, "replayed", ctx), ctx)


def replay_parked(letter: DeadLetterDocument, ctx: Context) -> DeadLetterDocument:
    """Publish the event of a dead letter that is parked."""
    event = Envelope.of(letter["event"], letter["data"].encode())
    ctx.publish(event.with_extensions({REPLAYS: str(letter["attempts"])}))
    emit(DeadLetterReplayed(**dead_letter_parts(letter)), ctx)
    return ctx.update(DEAD_LETTERS, letter, status="replayed", updated_at=ctx.now_text)


async def discard(dead_letter_id: str, reason: str, ctx: Context) -> DeadLetterDocument:
    """Discard a parked dead letter: its event is not delivered again, and the document stays with the reason.

    Raises Problem `not_found`, or `illegal_state` when the dead letter is not parked.
    """
    letter = await _required(dead_letter_id, "discarded", ctx)
    emit(DeadLetterDiscarded(**dead_letter_parts(letter), reason=reason), ctx)
    return ctx.update(DEAD_LETTERS, letter, status="discarded", reason=reason, updated_at=ctx.now_text)


def emit(fact: DeadLetterEvent, ctx: Context) -> None:
    """Publish a fact about a dead letter, marked (DEAD_LETTER_ID) so that it never becomes a dead letter itself."""
    ctx.emit(fact, deadletterid=fact.dead_letter_id)


def dead_letter_parts(letter: DeadLetterDocument) -> dict[str, Any]:
    """Return the fields that every fact about a dead letter has (events.dead_letters.DeadLetterEvent)."""
    return {
        "dead_letter_id": letter["id"],
        "event_id": letter["event"]["id"],
        "event_type": letter["event"]["type"],
        "consumer": letter["consumer"],
    }


async def _required(dead_letter_id: str, status: DeadLetterStatus, ctx: Context) -> DeadLetterDocument:
    """Return a dead letter that may change to the status."""
    letter = await ctx.required(DEAD_LETTERS, dead_letter_id)
    if status not in DEAD_LETTER_CHANGES[letter["status"]]:
        raise Problem("illegal_state", f"The dead letter is {letter['status']} already.")
    return letter

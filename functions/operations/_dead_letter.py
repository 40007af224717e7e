"""A dead letter as it is kept, and as its facts tell of it."""

from __future__ import annotations

from typing import Any, Final

from shared.core.problems import Problem
from shared.records.dead_letters import DeadLetterDocument

REPLAYS: Final = "replays"
"""Extension attribute of a replayed event: how often it was. It tells a second failure from an old one that is
delivered again."""


def dead_letter_parts(letter: DeadLetterDocument) -> dict[str, Any]:
    """What every fact about the dead letter says (fields of events.dead_letters.DeadLetterEvent)."""
    return {
        "dead_letter_id": letter["id"],
        "event_id": letter["event"]["id"],
        "event_type": letter["event"]["type"],
        "consumer": letter["consumer"],
    }


def require_parked(letter: DeadLetterDocument) -> None:
    """Raise Problem `illegal_state` unless the letter lies parked."""
    if letter["status"] != "parked":
        raise Problem("illegal_state", f"The dead letter is {letter['status']} already.")

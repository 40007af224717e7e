"""A dead letter as it is kept, and as its facts tell of it."""

from __future__ import annotations

from typing import Any, Final, Literal, TypedDict

from shared.ports.documents import Collection, Index
from shared.problems import Problem

DeadLetterStatus = Literal["parked", "replayed", "discarded"]

REPLAYS: Final = "replays"
"""Extension attribute of a replayed event: how often it was. It tells a second failure from an old one that is
delivered again."""


class CauseDocument(TypedDict):
    """Why a consumer did not take an event; `status` is what it answered, None when it did not."""

    code: str
    status: int | None
    detail: str


class DeadLetterDocument(TypedDict):
    """An event that a consumer gave up: one document per consumer and event, which `letter_key` stands for. `event`
    is the event as it was published, in the JSON event format; `attempts` counts how often it came to be parked."""

    id: str
    tenant_id: str
    version: int
    letter_key: str
    event: dict[str, Any]
    consumer: str
    cause: CauseDocument
    attempts: int
    status: DeadLetterStatus
    reason: str | None
    parked_at: str
    updated_at: str


DEAD_LETTERS: Final[Collection[DeadLetterDocument]] = Collection(
    "dead_letters", indexes=(Index(("letter_key",), unique=True), Index(("status",)))
)


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

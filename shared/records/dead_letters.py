"""Dead letters (owner: the operations domain)."""

from __future__ import annotations

from typing import Final, Literal

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document, Index

DeadLetterStatus = Literal["parked", "replayed", "discarded"]


class CauseDocument(TypedDict):
    """Why a consumer did not take an event; `status` is what it answered, None when it did not."""

    code: str
    status: int | None
    detail: str


class DeadLetterDocument(Document):
    """An event that a consumer gave up: one document per consumer and event, which `letter_key` stands for. `event`
    holds its context attributes as they were published, `data` its data as the JSON text that came; `attempts` counts
    how often it was parked."""

    letter_key: str
    event: dict[str, str]
    data: str
    consumer: str
    cause: CauseDocument
    attempts: int
    status: DeadLetterStatus
    reason: str | None
    parked_at: str
    updated_at: str


class DeadLetterChanges(TypedDict, total=False):
    """What may change of a dead letter: all that tells of the last time that it was parked, and its end."""

    event: dict[str, str]
    data: str
    cause: CauseDocument
    attempts: int
    status: DeadLetterStatus
    reason: str | None
    parked_at: str
    updated_at: str


DEAD_LETTERS: Final = Collection(
    "dead_letters",
    owner="operations",
    document=DeadLetterDocument,
    changes=DeadLetterChanges,
    indexes=(Index(("letter_key",), unique=True), Index(("status",))),
)

"""Dead letters (owner: the operations domain)."""

from __future__ import annotations

from typing import Final, Literal, TypedDict

from shared.ports.documents import Collection, Index

DeadLetterStatus = Literal["parked", "replayed", "discarded"]


class CauseDocument(TypedDict):
    """Why a consumer did not take an event; `status` is what it answered, None when it did not."""

    code: str
    status: int | None
    detail: str


class DeadLetterDocument(TypedDict):
    """An event that a consumer gave up: one document per consumer and event, which `letter_key` stands for. `event`
    holds its context attributes as they were published, `data` its data as the JSON text that came; `attempts` counts
    how often it was parked."""

    id: str
    tenant_id: str
    version: int
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


DEAD_LETTERS: Final[Collection[DeadLetterDocument]] = Collection(
    "dead_letters", indexes=(Index(("letter_key",), unique=True), Index(("status",)))
)

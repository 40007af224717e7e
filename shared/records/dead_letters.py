"""Dead letters (owner: the operations domain)."""

from __future__ import annotations

from typing import Final, Literal

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document, Index

DeadLetterStatus = Literal["parked", "replayed", "discarded"]


class CauseDocument(TypedDict):
    """Why the delivery of an event failed. `status` is the consumer's HTTP status, or None when it did not answer."""

    code: str
    status: int | None
    detail: str


class DeadLetterDocument(Document):
    """An event that could not be delivered to a consumer. There is one document for each consumer and event.

    `letter_key` identifies the consumer and event. `event` has the context attributes as they were published, `data`
    the JSON text of the data as it was received. `attempts` counts how often the event was parked."""

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
    """The fields of a dead letter that may change: those about its last parking, and those about its end."""

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
    indexes=(Index(("letter_key",), unique=True), Index(("status", "parked_at")), Index(("status", "updated_at"))),
)

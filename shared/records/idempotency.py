"""Stored answers of requests, by idempotency key."""

from __future__ import annotations

from typing import Final

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document


class IdempotencyDocument(Document):
    """The first answer to a key. `body` is sealed when it shows a secret."""

    fingerprint: str
    status: int
    headers: dict[str, str]
    body: str
    sealed: bool
    created_at: str


class IdempotencyChanges(TypedDict, total=False):
    """What may change of a stored answer, when a request has waited for a later one."""

    headers: dict[str, str]
    body: str


IDEMPOTENCY: Final = Collection(
    "idempotency",
    owner="http",
    document=IdempotencyDocument,
    changes=IdempotencyChanges,
)

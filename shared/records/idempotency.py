"""Stored answers of requests, by idempotency key."""

from __future__ import annotations

from typing import TypedDict

from shared.ports.documents import Collection


class IdempotencyDocument(TypedDict):
    """The first answer to a key. `body` is sealed when it shows a secret."""

    id: str
    tenant_id: str
    version: int
    fingerprint: str
    status: int
    headers: dict[str, str]
    body: str
    sealed: bool
    created_at: str


IDEMPOTENCY: Collection[IdempotencyDocument] = Collection("idempotency")

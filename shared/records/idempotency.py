"""The stored responses of commands, by idempotency key."""

from __future__ import annotations

from typing import Final

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document


class IdempotencyDocument(Document):
    """The first answer to a key. `body` is sealed when it shows a secret.

    While the request waits for a later answer (`Prefer: wait`), this one is not final: no other request of the key is
    given it before `open_until`. None: it is final.
    """

    fingerprint: str
    status: int
    headers: dict[str, str]
    body: str
    sealed: bool
    open_until: str | None
    created_at: str


class IdempotencyChanges(TypedDict, total=False):
    """The fields of a stored response that may change, when a request with `Prefer: wait` has got a later one."""

    headers: dict[str, str]
    body: str
    open_until: str | None


IDEMPOTENCY: Final = Collection(
    "idempotency",
    owner="http",
    document=IdempotencyDocument,
    changes=IdempotencyChanges,
)

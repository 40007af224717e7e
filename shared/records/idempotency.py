"""The stored responses of commands, by idempotency key."""

from __future__ import annotations

from typing import Final, NotRequired

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document, Index


class IdempotencyDocument(Document):
    """The first response to an idempotency key. `body` is sealed when it contains a secret.

    While its request waits for a later response (`Prefer: wait`) it is `open`: that request may replace it once. The
    first request that returns it makes it final. `subject` is the id of the resource in a sealed body, or None: by it,
    the bodies with the personal data of a user are found. Documents of earlier versions do not have it.
    """

    fingerprint: str
    subject: NotRequired[str | None]
    status: int
    headers: dict[str, str]
    body: str
    sealed: bool
    open: bool
    created_at: str


class IdempotencyChanges(TypedDict, total=False):
    """The fields of a stored response that may change, when a request with `Prefer: wait` has got a later one."""

    headers: dict[str, str]
    body: str
    open: bool


IDEMPOTENCY: Final = Collection(
    "idempotency",
    owner="http",
    document=IdempotencyDocument,
    changes=IdempotencyChanges,
    indexes=(Index(("subject",), sparse=True),),
)

"""The stored responses of commands, by idempotency key."""

from __future__ import annotations

from typing import Final, NotRequired

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document, Index


class IdempotencyDocument(Document):
    """The first response to an idempotency key. `body` is sealed when it contains a secret.

    After LASTRO_IDEMPOTENCY_DAYS its content is removed: `body` is empty, of `headers` only the location is left,
    and `created_at` is None. The document itself stays for ever, because it is what keeps the key from having a second
    effect.

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
    created_at: str | None


class IdempotencyChanges(TypedDict, total=False):
    """The fields of a stored response that may change: when a request with `Prefer: wait` has got a later one, when the
    personal data in it is erased, and when its content is removed."""

    subject: str | None
    status: int
    headers: dict[str, str]
    body: str
    sealed: bool
    open: bool
    created_at: str | None


IDEMPOTENCY: Final = Collection(
    "idempotency",
    owner="http",
    document=IdempotencyDocument,
    changes=IdempotencyChanges,
    # By the second, the responses are found whose content is not removed yet.
    indexes=(Index(("subject",), sparse=True), Index(("created_at",), sparse=True)),
)

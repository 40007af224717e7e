"""The documents of the users domain."""

from __future__ import annotations

from typing import Final, Literal

from shared.ports.documents import Collection, Document, Index, NoChanges

UserStatus = Literal["pending", "active", "suspended", "closed"]


class UserDocument(Document):
    """A customer or merchant (owner: users). `name`, `document_number`, `email` and `phone` are sealed for the tenant.

    `document_index` is the blind index (a keyed digest) of type and number. Its unique index refuses a second
    registration of the number."""

    kind: Literal["customer", "merchant"]
    status: UserStatus
    name: str
    document_type: Literal["cpf", "cnpj"]
    document_number: str
    document_index: str
    email: str
    phone: str | None
    metadata: dict[str, str] | None
    created_at: str
    updated_at: str


USERS: Final = Collection(
    "users",
    owner="users",
    document=UserDocument,
    changes=NoChanges,
    indexes=(Index(("document_index",), unique=True),),
)

"""The documents of the users domain: users, and the history of their changes."""

from __future__ import annotations

from typing import Final, Literal, NotRequired

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document, Index

UserStatus = Literal["pending", "active", "suspended", "closed"]


UserAction = Literal["registered", "updated", "activated", "suspended", "closed", "erased"]
"""What was done to a user."""


class UserDocument(Document):
    """A customer or merchant (owner: users). `name`, `document_number`, `email` and `phone` are sealed for the tenant.

    `document_index` is the blind index (a keyed digest) of type and number. Its unique index refuses a second
    registration of the number. `closing_since` is the time since which the user is being closed and gets no account, or
    None. `erased_at` is the time when the personal data was erased, or None: the sealed fields are empty then, and
    `document_index` is the user's id. Documents of earlier versions do not have the fields that are not required.
    """

    kind: Literal["customer", "merchant"]
    status: UserStatus
    name: str
    document_type: Literal["cpf", "cnpj"]
    document_number: str
    document_index: str
    email: str
    phone: str | None
    metadata: dict[str, str] | None
    closing_since: NotRequired[str | None]
    erased_at: NotRequired[str | None]
    created_at: str
    updated_at: str


class UserChanges(TypedDict, total=False):
    """The fields of a user that may change."""

    status: UserStatus
    name: str
    document_number: str
    document_index: str
    email: str
    phone: str | None
    metadata: dict[str, str] | None
    closing_since: str | None
    erased_at: str | None
    updated_at: str


class UserChangeDocument(Document):
    """An entry in the history of a user (owner: users): what was done, when and by whom.

    `client_id` is the client that requested it, `actor_user_id` the person in whose name it did; both are None for the
    platform itself. `content` is the sealed JSON text of the reason and of the changed fields, with their values before
    and after; None where there is neither, or where it was erased.
    """

    user_id: str
    action: UserAction
    client_id: str | None
    actor_user_id: str | None
    content: str | None
    created_at: str


class UserChangeChanges(TypedDict, total=False):
    """The fields of an entry that may change."""

    content: str | None


USERS: Final = Collection(
    "users",
    owner="users",
    document=UserDocument,
    changes=UserChanges,
    indexes=(Index(("document_index",), unique=True), Index(("closing_since",), sparse=True)),
)


USER_CHANGES: Final = Collection(
    "user_changes",
    owner="users",
    document=UserChangeDocument,
    changes=UserChangeChanges,
    indexes=(Index(("user_id",)),),
)


def is_erased(user: UserDocument) -> bool:
    """Return whether the personal data of the user was erased."""
    return user.get("erased_at") is not None

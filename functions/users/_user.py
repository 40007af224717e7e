"""A user as it is answered, and the sealing of what is personal about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from shared.context.context import Context
from shared.http.models import Resource
from shared.records.users import UserDocument, UserStatus


class UserDocumentNumber(Resource):
    """A taxpayer number, without punctuation."""

    type: Literal["cpf", "cnpj"]
    number: str


class User(Resource):
    """A customer or merchant."""

    id: str
    kind: Literal["customer", "merchant"]
    status: UserStatus
    name: str
    document: UserDocumentNumber
    email: str
    phone: str | None
    metadata: dict[str, str] | None
    created_at: str
    updated_at: str


async def document_index(ctx: Context, type: str, number: str) -> str:
    """By what a user of this taxpayer number is found in the tenant, without the number being readable."""
    return await ctx.runtime.secrets.blind_index(f"{type}:{number}", ctx.tenant_id)


async def user_resources(ctx: Context, users: Sequence[UserDocument]) -> list[User]:
    """Users as they are answered, all opened in one call of the vault."""
    sealed: list[str] = []
    for user in users:
        sealed += [user["name"], user["document_number"], user["email"]]
        if user["phone"] is not None:
            sealed.append(user["phone"])
    if not sealed:
        return []
    opened = iter(await ctx.runtime.secrets.open(sealed, ctx.tenant_id))
    return [
        User(
            id=user["id"],
            kind=user["kind"],
            status=user["status"],
            name=next(opened),
            document=UserDocumentNumber(type=user["document_type"], number=next(opened)),
            email=next(opened),
            phone=next(opened) if user["phone"] is not None else None,
            metadata=user["metadata"],
            created_at=user["created_at"],
            updated_at=user["updated_at"],
        )
        for user in users
    ]

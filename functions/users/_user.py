"""The user resource of the HTTP API, and the sealing of a user's personal data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from pydantic import Field

from shared.context.context import Context
from shared.http.models import METADATA, CreatedAt, Resource, UpdatedAt
from shared.records.users import UserDocument, UserStatus, is_erased


class UserDocumentNumber(Resource):
    """A taxpayer number of Brazil's Receita Federal."""

    type: Literal["cpf", "cnpj"] = Field(description="`cpf` for a person, `cnpj` for a company.")
    number: str = Field(description="The number without punctuation: 11 digits, or 14 characters of a CNPJ.")


class User(Resource):
    """A customer or merchant of the tenant."""

    id: str = Field(description="The user's id, `usr_…`.")
    kind: Literal["customer", "merchant"] = Field(description="Whether the user pays or sells.")
    status: UserStatus = Field(
        description="`pending`: not reviewed yet, gets no account. `active`: may have accounts and pay. `suspended`: "
        "cannot pay and gets no account. `closed`: final."
    )
    name: str | None = Field(description="The user's full name, or the company's; null when it was erased.")
    document: UserDocumentNumber | None = Field(
        description="The taxpayer number, unique in the tenant; null when it was erased."
    )
    email: str | None = Field(description="The e-mail address; null when it was erased.")
    phone: str | None = Field(description="The telephone number in E.164, such as `+5511987654321`, or null.")
    metadata: dict[str, str] | None = Field(description=METADATA)
    created_at: CreatedAt
    updated_at: UpdatedAt


class PersonalData(NamedTuple):
    """The personal data of a user in plain text."""

    name: str
    document_number: str
    email: str
    phone: str | None


async def personal_data(ctx: Context, users: Sequence[UserDocument]) -> list[PersonalData | None]:
    """Return the personal data of users, None where it was erased. One call of the secrets port opens all fields."""
    sealed: list[str] = []
    for user in users:
        if is_erased(user):
            continue
        sealed += [user["name"], user["document_number"], user["email"]]
        if user["phone"] is not None:
            sealed.append(user["phone"])
    opened = iter(await ctx.secrets.open(sealed) if sealed else ())
    return [
        None
        if is_erased(user)
        else PersonalData(next(opened), next(opened), next(opened), None if user["phone"] is None else next(opened))
        for user in users
    ]


def user_resource(user: UserDocument, data: PersonalData | None) -> User:
    """Return the resource of a user, from the stored document and the personal data in plain text."""
    number = None if data is None else UserDocumentNumber(type=user["document_type"], number=data.document_number)
    return User(
        id=user["id"],
        kind=user["kind"],
        status=user["status"],
        name=None if data is None else data.name,
        document=number,
        email=None if data is None else data.email,
        phone=None if data is None else data.phone,
        metadata=user["metadata"],
        created_at=user["created_at"],
        updated_at=user["updated_at"],
    )


async def user_resources(ctx: Context, users: Sequence[UserDocument]) -> list[User]:
    """Return the resources of users, with their personal data."""
    return [user_resource(user, data) for user, data in zip(users, await personal_data(ctx, users), strict=True)]

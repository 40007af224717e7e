"""PATCH /v1/users/{user_id}."""

from __future__ import annotations

from pydantic import Field

from functions.users._contact import Email, Phone
from functions.users._history import FieldChange, content_of, record_change
from functions.users._user import PersonalData, User, personal_data, user_resource
from shared.context.context import Context
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import METADATA, Command, Metadata, Name
from shared.records.users import USERS


class UpdateUser(Command):
    """The fields to change. A field that is absent stays as it is."""

    name: Name | None = Field(default=None, description="The new full name, or the company's. Null changes nothing.")
    email: Email | None = Field(
        default=None, description="The new e-mail address. Only its form is checked. Null changes nothing."
    )
    phone: Phone | None = Field(
        default=None, description="The new telephone number in international form. Null removes the present one."
    )
    metadata: Metadata | None = Field(
        default=None, description=f"{METADATA} It replaces all of the present metadata. Null removes it."
    )


@http_function("PATCH /v1/users/{user_id}", scope="users:write", problems=("illegal_state",))
async def update_user(user_id: str, command: UpdateUser, ctx: Context) -> User:
    """Change the name, e-mail address, telephone number or metadata of a user.

    Fields that are absent stay as they are. The history of the user has the values before and after. A closed user
    cannot be changed.
    """
    user = await ctx.required(USERS, user_id)
    if user["status"] == "closed":
        raise Problem("illegal_state", "The user is closed and cannot be changed.")
    (before,) = await personal_data(ctx, [user])
    assert before is not None, "only a closed user's data is erased"
    given = command.model_fields_set
    after = PersonalData(
        name=command.name or before.name,
        document_number=before.document_number,
        email=command.email or before.email,
        phone=command.phone if "phone" in given else before.phone,
    )
    metadata = command.metadata if "metadata" in given else user["metadata"]
    changes = tuple(
        FieldChange(field, old, new)
        for field, old, new in (
            ("name", before.name, after.name),
            ("email", before.email, after.email),
            ("phone", before.phone, after.phone),
            ("metadata", user["metadata"], metadata),
        )
        if old != new
    )
    if not changes:
        return user_resource(user, before)
    # All fields are sealed again: one call of the secrets port seals them with the entry of the history.
    plain = [content_of(None, changes), after.name, after.email]
    if after.phone is not None:
        plain.append(after.phone)
    content, name, email, *phone = await ctx.secrets.seal(plain)
    record_change(ctx, user_id, "updated", content)
    user = ctx.update(
        USERS,
        user,
        name=name,
        email=email,
        phone=phone[0] if phone else None,
        metadata=metadata,
        updated_at=ctx.now_text,
    )
    return user_resource(user, after)

"""POST /v1/users."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from events.users import UserActivated, UserRegistered
from functions.users._contact import Email, Phone
from functions.users._history import record_action
from functions.users._user import PersonalData, User, user_resource
from shared.context.context import Context
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.document_number import DocumentNumber
from shared.http.models import METADATA, Command, Metadata, Name
from shared.ports.documents import Query
from shared.records.tenants import TENANTS
from shared.records.users import USERS, UserDocument, UserStatus


class RegisterUser(Command):
    """The customer or merchant to register."""

    kind: Literal["customer", "merchant"] = Field(description="Whether the user pays or sells.")
    name: Name = Field(description="The user's full name, or the company's.")
    document: DocumentNumber = Field(description="The taxpayer number. A tenant registers each number once.")
    email: Email = Field(description="The e-mail address. Only its form is checked.")
    phone: Phone | None = Field(
        default=None, description="The telephone number in international form, such as `+55 11 98765-4321`."
    )
    metadata: Metadata | None = Field(default=None, description=METADATA)


@http_function(
    "POST /v1/users",
    scope="users:write",
    status=201,
    location="/v1/users/{result.id}",
    sensitive=True,
    problems=("already_exists",),
)
async def register_user(command: RegisterUser, ctx: Context) -> User:
    """Register a user.

    The user is active at once, or `pending` where the tenant demands a review. A tenant registers each taxpayer number
    once.
    """
    tenant = await ctx.required(TENANTS, ctx.tenant_id)
    user = await _sealed(command, ctx, "pending" if tenant.get("user_review") else "active")
    # The search gives an error that names the field. For two concurrent registrations the unique index decides.
    if await ctx.find(USERS, Query(where={"document_index": user["document_index"]}, limit=1)):
        raise Problem.at("already_exists", "/document/number", "A user of this document is registered already.")
    ctx.insert(USERS, user)
    ctx.emit(UserRegistered(user_id=user["id"], kind=command.kind))
    if user["status"] == "active":
        ctx.emit(UserActivated(user_id=user["id"]))
    await record_action(ctx, user["id"], "registered")
    return user_resource(user, PersonalData(command.name, command.document.number, command.email, command.phone))


async def _sealed(command: RegisterUser, ctx: Context, status: UserStatus) -> UserDocument:
    plain = [command.name, command.document.number, command.email]
    if command.phone is not None:
        plain.append(command.phone)
    name, number, email, *phone = await ctx.secrets.seal(plain)
    return {
        "id": ctx.new_id("usr"),
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "kind": command.kind,
        "status": status,
        "name": name,
        "document_type": command.document.type,
        "document_number": number,
        "document_index": await ctx.secrets.taxpayer_index(command.document.type, command.document.number),
        "email": email,
        "phone": phone[0] if phone else None,
        "metadata": command.metadata,
        "closing_since": None,
        "erased_at": None,
        "created_at": ctx.now_text,
        "updated_at": ctx.now_text,
    }

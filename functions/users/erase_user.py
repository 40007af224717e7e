"""POST /v1/users/{user_id}/erase."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from events.users import UserErasureRequested
from functions.users._history import record_action
from functions.users._user import User, user_resource
from shared.context.context import Context
from shared.context.tenant_work import in_pages
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http import idempotent_answers
from shared.http.models import Command
from shared.ports.documents import Query
from shared.records.idempotency import IDEMPOTENCY
from shared.records.pix_charges import PIX_CHARGES, PixChargeDocument
from shared.records.users import USER_CHANGES, USERS, UserChangeDocument, is_erased


class EraseUser(Command):
    """An object without fields, or no body at all."""


@http_function(
    "POST /v1/users/{user_id}/erase",
    scope="users:write",
    empty_body_is_object=True,
    problems=("illegal_state",),
)
async def erase_user(user_id: str, command: EraseUser, ctx: Context) -> User:
    """Erase the personal data of a closed user (LGPD, article 18).

    Name, taxpayer number, e-mail address, telephone number and metadata are erased for ever, in the user, in the
    history, in the stored responses and, a moment later, in the PIX charges whose debtor the user is. The user's id and
    accounts stay, and so the ledger stays whole. The taxpayer number can be registered again.
    """
    del command
    user = await ctx.required(USERS, user_id)
    if user["status"] != "closed":
        raise Problem("illegal_state", f"The user is {user['status']}. Only a closed user can be erased.")
    if is_erased(user):
        raise Problem("illegal_state", "The personal data of the user is erased already.")
    erased = ctx.update(
        USERS,
        user,
        name="",
        document_number="",
        # The index is unique in the tenant.
        document_index=user_id,
        email="",
        phone=None,
        metadata=None,
        erased_at=ctx.now_text,
        updated_at=ctx.now_text,
    )
    resource = user_resource(erased, None)
    # First what is about the user, page by page: when this is interrupted, the user is not erased yet, and the request
    # can be repeated.
    debts = Query(where={"debtor_index": user["document_index"]})
    await in_pages(ctx, ctx.tenant_id, "debts", PIX_CHARGES, debts, partial(_request_page, user_id))
    history, responses = Query(where={"user_id": user_id}), Query(where={"subject": user_id})
    await in_pages(ctx, ctx.tenant_id, "history", USER_CHANGES, history, _erase_page)
    shown = partial(idempotent_answers.replace_bodies, resource.model_dump_json().encode())
    await in_pages(ctx, ctx.tenant_id, "responses", IDEMPOTENCY, responses, shown)
    await record_action(ctx, user_id, "erased")
    return resource


async def _request_page(user_id: str, found: Sequence[PixChargeDocument], scope: Context) -> None:
    """Publish a page of the charges whose debtor the user is. Providers, which owns them, erases the debtor there."""
    txids = tuple(charge["txid"] for charge in found)
    # A repeated request publishes the charges that are left; the same ones are the same fact.
    scope.emit(UserErasureRequested(user_id=user_id, charge_ids=txids), event_key=f"{user_id}/{','.join(txids)}")


async def _erase_page(found: Sequence[UserChangeDocument], scope: Context) -> None:
    """Erase the contents of a page of the history."""
    for entry in found:
        if entry["content"] is not None:
            scope.update(USER_CHANGES, entry, content=None)

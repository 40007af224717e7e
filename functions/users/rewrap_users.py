"""A schedule's tick: seal the personal data of users with the newest key, after a rotation."""

from __future__ import annotations

from collections.abc import Sequence

from events.sweeps import Tick
from shared.context.context import Context
from shared.context.tenant_work import in_pages, tenant_ids
from shared.functions.decorators import event_function
from shared.ports.documents import Query
from shared.records.users import USER_CHANGES, USERS, UserChangeDocument, UserDocument, is_erased


@event_function(Tick, platform=True)
async def rewrap_users(_tick: Tick, ctx: Context) -> None:
    """Seal every field of users and of their histories that has an older key with the newest one.

    What has the newest key is not written. An older key is not needed for these fields after a run that has ended.
    """
    async for tenant_id in tenant_ids(ctx):
        await in_pages(ctx, tenant_id, "users", USERS, Query(), _rewrap_users)
        await in_pages(ctx, tenant_id, "changes", USER_CHANGES, Query(), _rewrap_changes)


async def _rewrap_users(found: Sequence[UserDocument], scope: Context) -> None:
    users = [user for user in found if not is_erased(user)]
    sealed: list[str] = []
    for user in users:
        sealed += [user["name"], user["document_number"], user["email"]]
        sealed += [] if user["phone"] is None else [user["phone"]]
    if not sealed:
        return
    newest = iter(await scope.secrets.rewrap(sealed))
    for user in users:
        name, number, email = next(newest), next(newest), next(newest)
        phone = None if user["phone"] is None else next(newest)
        if (name, number, email, phone) != (user["name"], user["document_number"], user["email"], user["phone"]):
            scope.update(USERS, user, name=name, document_number=number, email=email, phone=phone)


async def _rewrap_changes(found: Sequence[UserChangeDocument], scope: Context) -> None:
    entries = [(entry, entry["content"]) for entry in found if entry["content"] is not None]
    if not entries:
        return
    newest = await scope.secrets.rewrap([content for _, content in entries])
    for (entry, content), anew in zip(entries, newest, strict=True):
        if content != anew:
            scope.update(USER_CHANGES, entry, content=anew)

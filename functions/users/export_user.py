"""GET /v1/users/{user_id}/export."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from functions.users._change_resource import UserChange, change_resources
from functions.users._user import User, user_resources
from shared.context.context import Context
from shared.context.persons import require_own
from shared.core.money import Money, money
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import CreatedAt, Resource, Time
from shared.ports.documents import Collection, D, Query
from shared.records.accounts import ACCOUNTS, AccountStatus
from shared.records.notifications import NOTIFICATION_PREFERENCES, NotificationChannel, NotificationLocale
from shared.records.pix_charges import PIX_CHARGES
from shared.records.users import USER_CHANGES, USERS

_MOST_ITEMS: Final = 1000


class ExportedAccount(Resource):
    """An account of the user."""

    id: str = Field(description="The account's id, `acc_…`.")
    currency: str = Field(description="The account's currency, an ISO 4217 code.")
    status: AccountStatus = Field(description="The account's status.")
    statement: str = Field(description="The path of its statement, which has the movements.")


class ExportedPreferences(Resource):
    """How the user is told about payments."""

    locale: NotificationLocale = Field(description="The language of the messages.")
    channels: list[NotificationChannel] = Field(description="The channels in use.")
    push_token: str | None = Field(description="The token of the user's device. Null when none is registered.")
    quiet_from: str | None = Field(description="When the quiet hours begin, `HH:MM`. Null without quiet hours.")
    quiet_to: str | None = Field(description="When they end, `HH:MM`. Null without quiet hours.")


class ExportedCharge(Resource):
    """A PIX charge with a due date that names the user, by the taxpayer number, as its debtor."""

    txid: str = Field(description="The charge's id.")
    debtor_name: str = Field(description="The name of the debtor, as the charge has it.")
    amount: Money = Field(description="The amount before fine, interest, rebate and discount.")
    due_date: str = Field(description="The due date, `YYYY-MM-DD` in São Paulo.")
    created_at: CreatedAt


class UserExport(Resource):
    """What the platform has about a user."""

    user: User = Field(description="The user, with the personal data.")
    changes: list[UserChange] = Field(description="The whole history of the user, oldest first.")
    accounts: list[ExportedAccount] = Field(description="All accounts of the user, oldest first.")
    notification_preferences: ExportedPreferences | None = Field(
        description="How the user is told about payments. Null when the user has no preferences."
    )
    charges_as_debtor: list[ExportedCharge] = Field(
        description="The PIX charges with a due date whose debtor has the user's taxpayer number."
    )
    exported_at: Time = Field(description="When this was read.")


@http_function("GET /v1/users/{user_id}/export", scope="users:read", problems=("illegal_state",))
async def export_user(user_id: str, ctx: Context) -> UserExport:
    """Retrieve everything that the platform has about a user (LGPD, article 18).

    The movements of the accounts are in their statements; messages about payments repeat them. A history or list of
    accounts of more than 1,000 items is refused; read it page by page.
    """
    require_own(ctx, user_id, user_id)
    user = await ctx.required(USERS, user_id)
    changes = await _all(ctx, USER_CHANGES, {"user_id": user_id})
    accounts = await _all(ctx, ACCOUNTS, {"owner_id": user_id})
    return UserExport(
        user=(await user_resources(ctx, [user]))[0],
        changes=await change_resources(ctx, changes),
        accounts=[
            ExportedAccount(
                id=account["id"],
                currency=account["currency"],
                status=account["status"],
                statement=f"/v1/accounts/{account['id']}/statement",
            )
            for account in accounts
        ],
        notification_preferences=await _preferences(ctx, user_id),
        charges_as_debtor=await _charges(ctx, user["document_index"]),
        exported_at=ctx.now_text,
    )


async def _preferences(ctx: Context, user_id: str) -> ExportedPreferences | None:
    found = await ctx.get(NOTIFICATION_PREFERENCES, user_id)
    if found is None:
        return None
    token = found["push_token"]
    return ExportedPreferences(
        locale=found["locale"],
        channels=found["channels"],
        push_token=None if token is None else (await ctx.secrets.open([token]))[0],
        quiet_from=found["quiet_from"],
        quiet_to=found["quiet_to"],
    )


async def _charges(ctx: Context, document_index: str) -> list[ExportedCharge]:
    # A charge that has a debtor's index has a due date and that debtor.
    found = await _all(ctx, PIX_CHARGES, {"debtor_index": document_index})
    owed = [
        (charge, due, debtor["name"])
        for charge in found
        if (due := charge.get("due")) is not None and (debtor := charge.get("debtor")) is not None
    ]
    names = await ctx.secrets.open([name for *_, name in owed]) if owed else ()
    return [
        ExportedCharge(
            txid=charge["txid"],
            debtor_name=name,
            amount=money(charge["amount"], charge["currency"]),
            due_date=due["date"],
            created_at=charge["created_at"],
        )
        for (charge, due, _), name in zip(owed, names, strict=True)
    ]


async def _all(ctx: Context, collection: Collection[D, ...], where: dict[str, Any]) -> list[D]:
    """Return all documents of a query. Raises Problem `illegal_state` when there are more than an export has."""
    found = list(await ctx.find(collection, Query(where=where, limit=_MOST_ITEMS + 1)))
    if len(found) > _MOST_ITEMS:
        raise Problem("illegal_state", f"There are more than {_MOST_ITEMS} items. Read the lists page by page.")
    return found

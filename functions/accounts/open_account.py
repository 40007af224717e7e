"""POST /v1/accounts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from events.accounts import AccountOpened
from functions.accounts._account import Account, account_resource
from shared.context.context import Context
from shared.core.money import MAX_MINOR_UNITS, Currency
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import Command, Identifier, Metadata
from shared.records.accounts import ACCOUNTS, AccountDocument
from shared.records.users import USERS


class OpenAccount(Command):
    """An account to open. `overdraft_limit` is how far below zero it may go, in minor units."""

    owner_id: Identifier
    currency: Currency
    overdraft_limit: Annotated[int, Field(ge=0, le=MAX_MINOR_UNITS)] = 0
    metadata: Metadata | None = None


@http_function(
    "POST /v1/accounts",
    scope="accounts:write",
    status=201,
    location="/v1/accounts/{result.id}",
    problems=("unknown_reference", "user_not_active"),
)
async def open_account(command: OpenAccount, ctx: Context) -> Account:
    """Open a payment account for an active user."""
    owner = await ctx.referenced(USERS, command.owner_id, "/owner_id")
    if owner["status"] != "active":
        raise Problem.at("user_not_active", "/owner_id", f"The user is {owner['status']}.")
    account: AccountDocument = {
        "id": ctx.new_id("acc"),
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "owner_id": command.owner_id,
        "currency": command.currency,
        "status": "active",
        "block_mode": None,
        "posted": 0,
        "held": 0,
        "overdraft_limit": command.overdraft_limit,
        "metadata": command.metadata,
        "created_at": ctx.now_text,
        "updated_at": ctx.now_text,
    }
    ctx.insert(ACCOUNTS, account)
    ctx.emit(
        AccountOpened(
            account_id=account["id"],
            owner_id=command.owner_id,
            currency=command.currency,
            overdraft_limit=command.overdraft_limit,
        )
    )
    return account_resource(account)

"""POST /v1/accounts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from events.accounts import AccountOpened
from functions.accounts._account import Account, account_resource
from functions.accounts._limit_values import LimitValues
from functions.accounts._limits import new_limits
from shared.context.context import Context
from shared.core.money import MAX_MINOR_UNITS, Currency
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import METADATA, Command, Identifier, Metadata, NullIsDefault
from shared.records.accounts import ACCOUNTS, AccountDocument
from shared.records.users import USERS


class OpenAccount(Command):
    """The owner and the currency of a new account, and how far it may be overdrawn."""

    owner_id: Identifier = Field(description="The id of the user who owns the account. The user must be active.")
    currency: Currency = Field(description="The account's currency, an ISO 4217 code. It cannot be changed later.")
    overdraft_limit: Annotated[int, Field(ge=0, le=MAX_MINOR_UNITS), NullIsDefault()] = Field(
        default=0,
        description="How far the balance may go below zero, in minor units of the currency.",
    )
    limits: LimitValues | None = Field(
        default=None, description="Limits of the payments from the account, in force at once."
    )
    metadata: Metadata | None = Field(default=None, description=METADATA)


@http_function(
    "POST /v1/accounts",
    scope="accounts:write",
    status=201,
    location="/v1/accounts/{result.id}",
    problems=("unknown_reference", "user_not_active"),
)
async def open_account(command: OpenAccount, ctx: Context) -> Account:
    """Open an account for a user.

    The user must be active. The account starts with a balance of 0.
    """
    owner = await ctx.referenced(USERS, command.owner_id, "/owner_id")
    if owner["status"] != "active":
        raise Problem.at("user_not_active", "/owner_id", f"The user is {owner['status']}.")
    if owner.get("closing_since") is not None:
        raise Problem.at("user_not_active", "/owner_id", "The user is being closed.")
    ctx.expect(USERS, owner)
    account: AccountDocument = {
        "id": ctx.new_id("acc"),
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "owner_id": command.owner_id,
        "currency": command.currency,
        "status": "active",
        "block_mode": None,
        "block_reason": None,
        "posted": 0,
        "held": 0,
        "overdraft_limit": command.overdraft_limit,
        "limits": None if command.limits is None else new_limits(command.limits.given()),
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
    return account_resource(account, ctx.now_text)

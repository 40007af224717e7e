"""The account resource of the HTTP API."""

from __future__ import annotations

from pydantic import Field

from functions.accounts._limits import LIMIT_NAMES, LimitName, in_force, pending_raises
from shared.context.context import Context
from shared.http.models import METADATA, CreatedAt, Resource, Time, UpdatedAt
from shared.records.accounts import ACCOUNTS, AccountDocument, AccountStatus, BlockMode


class Block(Resource):
    """The block of an account."""

    mode: BlockMode = Field(
        description="`debits`: money cannot leave the account. `all`: money cannot enter it either."
    )
    reason: str | None = Field(description="The caller's reason, or null.")


class PendingRaise(Resource):
    """A raise of a limit that is not in force yet."""

    limit: LimitName = Field(description="The limit that is raised.")
    value: int | None = Field(description="Its new value in minor units; null when the limit is removed.")
    effective_at: Time = Field(description="When it comes into force.")


class AccountLimits(Resource):
    """The limits of what an account pays, in minor units of its currency."""

    per_payment: int | None = Field(description="The largest amount of one payment; null for no limit.")
    per_day: int | None = Field(
        description="The most that is paid in a day by the clock of São Paulo, night included; null for no limit."
    )
    per_night: int | None = Field(
        description="The most that is paid in a night, 20:00 to 06:00 by the clock of São Paulo; null for no limit."
    )
    pending: list[PendingRaise] = Field(description="The raises that are not in force yet, earliest first.")


class Account(Resource):
    """A payment account of a user."""

    id: str = Field(description="The account's id, `acc_…`.")
    owner_id: str = Field(description="The id of the user who owns the account.")
    currency: str = Field(description="The account's currency, an ISO 4217 code. It never changes.")
    status: AccountStatus = Field(
        description="`active`; `blocked`, when money cannot leave it (or enter it either, depending on `block`); "
        "`closing`, when it takes no new payments and waits for what is in progress; or `closed`, which is final."
    )
    block: Block | None = Field(description="What the block stops, and why; null for an account that is not blocked.")
    overdraft_limit: int = Field(
        description="How far the balance may go below zero, in minor units of the currency. 0 means not at all."
    )
    limits: AccountLimits | None = Field(
        description="Limits of the payments from the account; null when it has none. What exceeds one is declined as "
        "`limit_exceeded`."
    )
    metadata: dict[str, str] | None = Field(description=METADATA)
    created_at: CreatedAt
    updated_at: UpdatedAt


def account_resource(account: AccountDocument, now_text: str) -> Account:
    """Return the resource of an account at a time. It has no balance: that is a resource of the statements domain."""
    return Account(
        id=account["id"],
        owner_id=account["owner_id"],
        currency=account["currency"],
        status=account["status"],
        block=_block(account),
        overdraft_limit=account["overdraft_limit"],
        limits=_limits(account, now_text),
        metadata=account["metadata"],
        created_at=account["created_at"],
        updated_at=account["updated_at"],
    )


def _block(account: AccountDocument) -> Block | None:
    mode = account["block_mode"]
    return None if mode is None else Block(mode=mode, reason=account.get("block_reason"))


def _limits(account: AccountDocument, now_text: str) -> AccountLimits | None:
    limits = account.get("limits")
    if limits is None:
        return None
    pending = [
        PendingRaise(limit=name, value=waiting["value"], effective_at=waiting["effective_at"])
        for name in LIMIT_NAMES
        for waiting in pending_raises(limits[name], now_text)
    ]
    return AccountLimits(
        per_payment=in_force(limits["per_payment"], now_text),
        per_day=in_force(limits["per_day"], now_text),
        per_night=in_force(limits["per_night"], now_text),
        pending=sorted(pending, key=lambda waiting: waiting.effective_at),
    )


async def account_progress(ctx: Context, last: Account) -> tuple[Account, bool]:
    """Return the account as it is now, and whether no closing is in progress."""
    account = await ctx.required(ACCOUNTS, last.id)
    return account_resource(account, ctx.now_text), account["status"] != "closing"

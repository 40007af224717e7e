"""The account resource of the HTTP API."""

from __future__ import annotations

from pydantic import Field

from shared.context.context import Context
from shared.http.models import METADATA, CreatedAt, Resource, UpdatedAt
from shared.records.accounts import ACCOUNTS, AccountDocument, AccountStatus, BlockMode


class Block(Resource):
    """The block of an account."""

    mode: BlockMode = Field(
        description="`debits`: money cannot leave the account. `all`: money cannot enter it either."
    )
    reason: str | None = Field(description="The caller's reason, or null.")


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
    metadata: dict[str, str] | None = Field(description=METADATA)
    created_at: CreatedAt
    updated_at: UpdatedAt


def account_resource(account: AccountDocument) -> Account:
    """Return the resource of an account. It has no balance: that is a resource of the statements domain."""
    return Account(
        id=account["id"],
        owner_id=account["owner_id"],
        currency=account["currency"],
        status=account["status"],
        block=_block(account),
        overdraft_limit=account["overdraft_limit"],
        metadata=account["metadata"],
        created_at=account["created_at"],
        updated_at=account["updated_at"],
    )


def _block(account: AccountDocument) -> Block | None:
    mode = account["block_mode"]
    return None if mode is None else Block(mode=mode, reason=account.get("block_reason"))


async def account_progress(ctx: Context, last: Account) -> tuple[Account, bool]:
    """Return the account as it is now, and whether no closing is in progress."""
    account = await ctx.required(ACCOUNTS, last.id)
    return account_resource(account), account["status"] != "closing"

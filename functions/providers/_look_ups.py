"""How many receivers a user may look up: a bucket of tokens for each user, as DICT has one (API-DICT, antiscan).

A look-up takes one token, and 20 when the receiver does not exist; a payment that is made returns one. Two tokens are
added every minute. Without this bound, one user who tries keys would use up what all users of the platform have at the
provider.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from shared.context.context import Context
from shared.context.tenant_work import run_in_tenant_unit_of_work
from shared.core.clock import format_time, parse_time
from shared.records.rail_payments import LOOK_UPS, LookUpsDocument, RailPaymentDocument
from shared.records.users import USERS

HIT: Final = 1
MISS: Final = 20
SIZES: Final = {"cpf": 100, "cnpj": 1_000}
"""The most tokens of a person and of a company, by the kind of their document."""
TOKEN_SECONDS: Final = 30
"""After how many seconds a token is added."""


async def take(ctx: Context, payment: RailPaymentDocument, tokens: int) -> bool:
    """Take tokens of the user who pays, in a commit of its own. Return False when the user has none left.

    The last token is enough for any look-up; the bucket is empty then.
    """
    user_id = payment["payer_user_id"]
    assert user_id is not None, "the payer of a payment to a receiver that is looked up is a user here"

    async def decide(scope: Context) -> bool:
        return await _change(scope, user_id, -tokens)

    return await run_in_tenant_unit_of_work(ctx, ctx.tenant_id, f"look-up/{tokens}/{payment['id']}", decide)


async def give_back(ctx: Context, payment: RailPaymentDocument) -> None:
    """Return a token to the user whose payment was made, in the commit of the handler."""
    user_id = payment["payer_user_id"]
    if user_id is not None and await ctx.get(LOOK_UPS, user_id) is not None:
        await _change(ctx, user_id, HIT)


async def _change(ctx: Context, user_id: str, by: int) -> bool:
    user = await ctx.get(USERS, user_id)
    size = SIZES["cpf" if user is None else user["document_type"]]
    found = await ctx.get(LOOK_UPS, user_id)
    tokens, counted_at = size, ctx.now
    if found is not None:
        counted_at = parse_time(found["counted_at"])
        added = max(0, int((ctx.now - counted_at).total_seconds()) // TOKEN_SECONDS)
        tokens = min(size, found["tokens"] + added)
        counted_at += timedelta(seconds=added * TOKEN_SECONDS)
    if by < 0 and not tokens:
        return False
    left = max(0, min(size, tokens + by))
    if found is None:
        made: LookUpsDocument = {
            "id": user_id,
            "tenant_id": ctx.tenant_id,
            "version": 1,
            "tokens": left,
            "counted_at": format_time(counted_at),
        }
        ctx.insert(LOOK_UPS, made)
    else:
        ctx.update(LOOK_UPS, found, tokens=left, counted_at=format_time(counted_at))
    return True
